"""The rooms of the package: imports point down, and what is public is typed and told in one form.

The table is that of CONTRIBUTING.md. Everything here is read from the source; nothing is imported.
"""

import ast
import re
import shutil
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "course_utils"
FRONT_DOOR = "the front door"  # course_utils/__init__.py: it knows every room, and no room knows it
FLOORS = {
    "files": 0, "arrays": 0,
    "models": 1, "data": 1,
    "encoding": 2,
    "metrics": 3, "retrieval": 3,
    "adaptation": 4, "bias": 4,
    "plots": 5,
    "widgets": 6, "exercises": 6,
    FRONT_DOOR: 7,
}  # fmt: skip
# Rooms on one floor do not know each other, but for these: (who asks, who is asked).
SIDEWAYS = {("data", "models")}
# What a room must not know although it lies below: a figure is drawn from what it is handed ...
MUST_NOT_KNOW = {"plots": {"models", "encoding", "retrieval", "adaptation", "bias"}}
# ... (though anybody may ask for an extra, which is done beside the models' files) ...
FOR_ALL = {"course_utils.models.files.require", "course_utils.models.files.install_line"}
# ... and a control or a check asks for a score without knowing the module that computes it. What
# people said of hits is no score.
BY_THE_DOOR_ONLY = {room: {"metrics": {"judging"}} for room in ("widgets", "exercises")}

# A docstring of a function begins with one of these; add another when it says more.
VERBS = {
    "Add", "Append", "Ask", "Begin", "Call", "Close", "Compute", "Copy", "Count", "Delete",
    "Draw", "Encode", "Fill", "Fit", "Forget", "Give", "Go", "Keep", "Load", "Mark", "Move",
    "Name", "Note", "Print", "Put", "Raise", "Read", "Remove", "Return", "Run", "Save", "Score",
    "Set", "Show", "Silence", "Stop", "Take", "Train", "Update", "Wait", "Warn", "Write", "Yield",
}  # fmt: skip
ROLE = re.compile(r":(py:)?[a-z]+:`")
LONGEST = 430
LONGER = {}  # path below course_utils/ -> why it is one module all the same
# One word for one thing; the words are those of sentence-transformers, SciPy and scikit-learn.
WORDS = {
    "show_progress": "show_progress_bar",
    "resamples": "n_resamples",
    "permutations": "n_resamples",
    "p": "p_value",
}


def modules(package):
    """Return {path below the package: source} of every module."""
    return {
        path.relative_to(package): path.read_text("utf-8")
        for path in sorted(package.rglob("*.py"))
        if "__pycache__" not in path.parts
    }


def room_of(dotted):
    """Return the room in which course_utils.<room>.<module> lies."""
    room = [*dotted.split("."), ""][1]
    return room if room in FLOORS else FRONT_DOOR


def imports(source, where):
    """Yield (line, dotted name) of what a module takes from course_utils, wherever it does so.

    ``where`` is the module's path below the package. Imports inside functions count, those for a type
    checker and those by a string as well. ``from a import b`` yields a.b, whatever b is.
    """
    folders = ["course_utils", *where.parts[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = folders[: len(folders) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found = [f"{base}.{alias.name}" for alias in node.names]
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__", "require"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            found = [str(node.args[0].value)]
        else:
            continue
        for name in found:
            if name.split(".")[0] == "course_utils":
                yield node.lineno, name


def refused(source, where):
    """Return a sentence for every import of a module that the table does not allow."""
    mine = where.parts[0].removesuffix(".py")
    mine = mine if mine in FLOORS else FRONT_DOOR
    sentences = []
    for line, name in imports(source, where):
        room = room_of(name)
        if room == mine:
            continue
        place = f"course_utils/{where.as_posix()}:{line}"
        inside = (name.split(".")[2:] or [""])[0]
        if FLOORS[room] > FLOORS[mine]:
            sentences.append(f"{place}: {mine} imports {name}, which is above it")
        elif FLOORS[room] == FLOORS[mine] and (mine, room) not in SIDEWAYS:
            sentences.append(f"{place}: {mine} imports {name}, which is beside it")
        elif room in MUST_NOT_KNOW.get(mine, ()) and name not in FOR_ALL:
            sentences.append(f"{place}: {mine} imports {name}, which it must not know")
        elif room in BY_THE_DOOR_ONLY.get(mine, {}):
            behind = (PACKAGE / room / f"{inside}.py").exists()
            if behind and inside not in BY_THE_DOOR_ONLY[mine][room]:
                sentences.append(f"{place}: {mine} imports {name}, past the door of {room}")
    return sentences


def refused_in(package):
    return [
        sentence
        for where, source in modules(package).items()
        for sentence in refused(source, where)
    ]


def test_every_room_stands_on_a_floor():
    found = {path.parts[0].removesuffix(".py") for path in modules(PACKAGE)}
    assert found - {"__init__"} == set(FLOORS) - {FRONT_DOOR}


def test_imports_point_down_or_stay_inside_the_room():
    assert not (wrong := refused_in(PACKAGE)), "\n".join(wrong)


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("encoding/cache.py", "from course_utils.retrieval.index import search"),
        ("encoding/cache.py", "from course_utils import retrieval"),
        ("encoding/cache.py", "import course_utils.metrics as m"),
        ("encoding/cache.py", "from ..bias.eraser import LinearEraser"),
        ("encoding/cache.py", "from .. import widgets"),
        ("encoding/cache.py", "def f():\n    from course_utils.metrics import evaluate"),
        ("encoding/cache.py", "if TYPE_CHECKING:\n    from course_utils.plots import scatter"),
        ("encoding/cache.py", "importlib.import_module('course_utils.metrics')"),
        ("retrieval/index.py", "from course_utils import encode"),
        ("files.py", "from course_utils.arrays import finite_matrix"),
        ("models/loading.py", "from course_utils.data.tasks import RetrievalTask"),
        ("metrics/ranks.py", "from course_utils.retrieval import search"),
        ("bias/auditing/audits.py", "from course_utils.adaptation import train_pairs"),
        ("adaptation/loop.py", "from course_utils.bias import weat"),
        ("plots/general.py", "from course_utils.models import load_model"),
        ("exercises/lesson3.py", "from course_utils.metrics.rank_measures import mrr"),
        ("widgets/lesson3.py", "from course_utils.widgets import maps; import course_utils.exercises"),
    ],
)  # fmt: skip
def test_an_import_that_runs_up_or_aside_is_refused(where, source):
    (sentence,) = refused(source, Path(where))
    assert sentence.startswith(f"course_utils/{where}:")


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("encoding/cache.py", "from course_utils.models.loading import cache_dir"),
        ("encoding/cache.py", "from .encode import encode"),
        ("encoding/cache.py", "from course_utils.files import whole_file\nimport numpy, re"),
        ("bias/auditing/audits.py", "from ..directions import unit_rows"),
        ("data/hub.py", "from course_utils.models.files import install_line"),
        ("plots/drawing.py", "from course_utils.models.files import require"),
        ("widgets/judging.py", "from course_utils.metrics.judging import Judgement"),
        ("exercises/lesson3.py", "from course_utils.metrics import retrieval_scores"),
        ("__init__.py", "import course_utils.widgets"),
    ],
)
def test_an_import_that_points_down_is_not(where, source):
    assert refused(source, Path(where)) == []


def test_an_import_planted_in_the_package_is_the_only_one_refused(tmp_path):
    copied = tmp_path / "course_utils"
    shutil.copytree(PACKAGE, copied, ignore=shutil.ignore_patterns("__pycache__"))
    before = refused_in(copied)
    room = copied / "encoding" / "speed.py"
    lines = len(room.read_text("utf-8").splitlines())
    room.write_text(room.read_text("utf-8") + "\n\ndef _f():\n    import course_utils.widgets\n")
    (planted,) = set(refused_in(copied)) - set(before)
    assert planted.startswith(f"course_utils/encoding/speed.py:{lines + 4}: encoding imports")


def test_a_room_opens_without_what_only_the_extras_bring():
    """Outside any function only the core is imported, so that an error can say what to type."""
    core = {"numpy", "pandas", "scipy", "sklearn", "torch", "sentence_transformers", "transformers",
            "huggingface_hub", "safetensors", "accelerate", "tqdm", "yaml", "course_utils"}  # fmt: skip
    wrong = []
    for where, source in modules(PACKAGE).items():
        for node in ast.parse(source).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            found = {name.partition(".")[0] for name in names} - core - sys.stdlib_module_names
            wrong += [f"course_utils/{where.as_posix()}:{node.lineno} {name}" for name in found]
    assert not wrong, "\n".join(wrong)


def test_few_doors_stand_at_the_top():
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 14, sorted(path.name for path in entries)


def test_no_module_is_disguised():
    for where, source in modules(PACKAGE).items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                assert not any("ModuleType" in ast.unparse(base) for base in node.bases), where
            if isinstance(node, ast.Assign):
                targets = [t for t in node.targets if isinstance(t, ast.Attribute)]
                assert not any(t.attr == "__class__" for t in targets), where


def test_no_function_has_the_name_of_the_module_or_room_that_holds_it():
    for where, source in modules(PACKAGE).items():
        around = {part.removesuffix(".py") for part in where.parts}
        if where.as_posix() == "encoding/encode.py":  # the one that everybody looks for
            around.remove("encode")
        names = set(_defined(source))
        if where.name == "__init__.py":  # what it hands on must not hide a module of its own
            folder = PACKAGE / where.parent
            around |= {path.stem for path in folder.iterdir()} - {"encode"}
            names |= set(_handed_on(source, ".".join(["course_utils", *where.parts[:-1]])))
        assert not names & around, where


def _defined(source):
    return [node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]


def _handed_on(source, package):
    """Yield the names that an __init__.py offers, imported at once or, listed in _HOME, on demand."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.module != package:
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOME":
            yield from ast.literal_eval(node.value)


def test_a_module_past_the_limit_is_two_modules():
    lengths = {
        where.as_posix(): len(source.splitlines()) for where, source in modules(PACKAGE).items()
    }
    past = {where: lines for where, lines in lengths.items() if lines > LONGEST}
    assert past.keys() == LONGER.keys(), past


# What is public, in every room

ROOMS = pytest.mark.parametrize("room", [room for room in FLOORS if room != FRONT_DOOR])


def public(room):
    """Yield (place, definition) of every public class, function and method of a room."""
    for where, source in modules(PACKAGE).items():
        if where.parts[0].removesuffix(".py") == room:
            yield from _public(ast.parse(source).body, f"course_utils/{where.as_posix()}")


def _public(body, place):
    for node in body:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield f"{place}:{node.lineno} {node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body, place)
        elif isinstance(node, (ast.If, ast.Try)):
            yield from _public([*node.body, *node.orelse], place)


def decorators(node):
    return {ast.unparse(d).split("(")[0].split(".")[-1] for d in node.decorator_list}


def arguments(node):
    a = node.args
    listed = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, [a.vararg, a.kwarg])]
    return listed[1:] if listed and listed[0].arg in {"self", "cls"} else listed


@ROOMS
def test_every_public_function_and_method_is_typed(room):
    untyped = [
        place
        for place, node in public(room)
        if not isinstance(node, ast.ClassDef)
        and (node.returns is None or any(a.annotation is None for a in arguments(node)))
    ]
    assert not untyped, "\n".join(untyped)


@ROOMS
def test_every_public_docstring_says_first_what_is_returned_or_done(room):
    wrong = []
    for place, node in public(room):
        first = (ast.get_docstring(node) or "").partition("\n")[0]
        verb = first.partition(" ")[0].rstrip(".,:")
        if not first:
            wrong.append(f"{place} has no docstring")
        elif isinstance(node, ast.ClassDef) or {"property", "cached_property"} & decorators(node):
            continue  # a thing, not a deed
        elif verb not in VERBS:
            wrong.append(f"{place} begins with {first[:40]!r}")
    assert not wrong, "\n".join(wrong)


@ROOMS
def test_docstrings_have_one_markup(room):
    """Two backticks around code, one star around a title; nothing that only one renderer knows."""
    wrong = []
    for where, source in modules(PACKAGE).items():
        if where.parts[0].removesuffix(".py") != room:
            continue
        for node in ast.walk(ast.parse(source)):
            kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
            text = (ast.get_docstring(node) or "") if isinstance(node, kinds) else ""
            told = re.sub(r"^\s*(>>>|\.\.\.).*$", "", text, flags=re.M)
            single = "`" in re.sub(r"``.+?``", "", told, flags=re.S)
            if ROLE.search(told) or single:
                wrong.append(f"course_utils/{where.as_posix()}: {getattr(node, 'name', 'module')}")
    assert not wrong, "\n".join(wrong)


@ROOMS
def test_one_thing_has_one_word(room):
    wrong = [
        f"{place}({argument.arg}) should be {WORDS[argument.arg]}"
        for place, node in public(room)
        if not isinstance(node, ast.ClassDef)
        for argument in arguments(node)
        if argument.arg in WORDS
    ]
    assert not wrong, "\n".join(wrong)
