"""The lessons' cells and the folded boxes in them, for tests that read or run these."""

import ast
import json
import re
from pathlib import Path

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
_BOX = re.compile(
    r"<details><summary>The same in sentence-transformers</summary>(.*?)</details>", re.S
)
_FENCE = re.compile(r"```python\n(.*?)```", re.S)


def sources(path, kind):
    """Return the text of each cell of that kind."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def boxes(path):
    """Return the code of every box "The same in sentence-transformers"."""
    texts = [text for source in sources(path, "markdown") for text in _BOX.findall(source)]
    code = [fence for text in texts for fence in _FENCE.findall(text)]
    assert len(texts) == len(code), "a box holds one piece of code"
    return code


def names_of(path):
    """Return every name that the cells of a notebook give a value."""
    cells = [
        re.sub(r"^(\s*)[%!].*$", r"\1pass", code, flags=re.M) for code in sources(path, "code")
    ]
    return bound("\n".join(cells))


def bound(code):
    """Return the names that code gives values, but for those it imports and those of inner scopes."""
    inner = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp | ast.FunctionDef
    found, todo = set(), [ast.parse(code)]
    while todo:
        for node in ast.iter_child_nodes(todo.pop()):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            if not isinstance(node, inner):
                todo.append(node)
    return found
