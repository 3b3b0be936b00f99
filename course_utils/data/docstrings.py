"""A docstring taken apart: what it says first, what it says then, what it points to.

Three habits of writing are understood, because the libraries harvested mix them: numpydoc
(a section title underlined with hyphens), Google style (``Args:``) and reStructuredText
directives (``.. seealso::``).
"""

import inspect
import re
from dataclasses import dataclass

from course_utils.data.sentences import split_sentences

# Sections that show code, list names or cite papers rather than explain anything.
_DROPPED = {
    "see also", "references", "reference", "examples", "example", "methods", "attributes",
    "array api standard support",
}  # fmt: skip
# What a body says first: after the description that has no title, these sections, then the
# others (parameters, errors) in their own order. A body is often cut short, and parameters
# differ little from one function to the next.
_FIRST = ("", "note", "notes", "returns", "return", "yields")
_GOOGLE = {
    "args", "arguments", "parameters", "keyword args", "keyword arguments", "returns", "return",
    "yields", "raises", "shape", "note", "notes", "inputs", "outputs", *_DROPPED,
}  # fmt: skip
_DROPPED_DIRECTIVES = (
    "plot", "math", "code", "code-block", "testcode", "testsetup", "testoutput", "doctest",
    "seealso", "ipython", "image", "figure", "table", "list-table", "autosummary", "currentmodule",
    "codeauthor", "sectionauthor", "_", "[", "|", "index", "jupyterlite", "try_examples", "tab-set",
    "raw", "include", "toctree", "automodule", "autoclass", "versionadded", "versionchanged",
    "deprecated",
)  # fmt: skip
_UNDERLINE = re.compile(r"^\s*(-{3,}|={3,}|~{3,})\s*$")
_TABLE_RULE = re.compile(r"^\s*[-=+|][-=+|\s]{5,}$")
_GOOGLE_TITLE = re.compile(r"^\s*([A-Z][A-Za-z ]{2,25}):{1,2}\s*$")
_BOLD_TITLE = re.compile(r"^\s*\*\*([A-Z][\w ]+)\*\*:?\s*$")
_SIGNATURE = re.compile(r"^[\w.]+ ?\(.*?\)(\s*->.*|\s*--)?$", re.DOTALL)
_DIRECTIVE = re.compile(r"^(\s*)\.\.\s+([\w_|\[-]+)(.*)$")
_LISTED = re.compile(r"^\s*([-*] |\d+\. |[\w.*, ]+(\s\([^)]*\))?\s?:(\s|$))")
_ROLE = re.compile(r":[a-zA-Z][\w:+-]*:`([^`]*)`")
_NAME = re.compile(r":[a-zA-Z][\w:+-]*:`~?\.?([\w.]+)(?:\(\))?`|([A-Za-z_][\w.]*)")


@dataclass(frozen=True)
class Docstring:
    """The parts of one docstring: ``summary``, ``body`` and the names under *See Also*."""

    summary: str
    body: str
    see_also: tuple[str, ...]


def parse_docstring(text: str) -> Docstring:
    """Return the summary (the first sentence), the rest as plain running text, and *See Also*.

    Signature lines that C functions put first are skipped. The body leaves out code,
    formulas set on their own, *Examples*, *References*, *See Also*, lists of methods and
    attributes, and mark-up. It has one paragraph, list item or parameter a line; wherever the
    summary comes again in it, it is taken out.

    >>> doc = parse_docstring('''Return the answer.
    ...
    ... It takes a while.
    ...
    ... See Also
    ... --------
    ... question : What was asked.
    ... ''')
    >>> doc.summary, doc.body, doc.see_also
    ('Return the answer.', 'It takes a while.', ('question',))
    """
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text))
    while paragraphs and (not paragraphs[0].strip() or _SIGNATURE.match(paragraphs[0].strip())):
        paragraphs.pop(0)
    lines = "\n\n".join(paragraphs).splitlines()
    prose, see_also = _walk(lines)
    plain = [_plain(paragraph) for paragraph in re.split(r"\n\s*\n", "\n".join(prose))]
    plain = [paragraph for paragraph in plain if paragraph]
    if not plain:
        return Docstring("", "", tuple(see_also))
    summary, *more = split_sentences(plain[0])
    paragraphs = [" ".join(more), *plain[1:]]
    while any(summary in paragraph for paragraph in paragraphs):
        paragraphs = [" ".join(p.replace(summary, " ").split()) for p in paragraphs]
    body = "\n".join(paragraph for paragraph in paragraphs if paragraph)
    return Docstring(summary, body, tuple(dict.fromkeys(see_also)))


def _walk(lines: list[str]) -> tuple[list[str], list[str]]:
    """Return lines of prose in the order of ``_FIRST``, and the names that *See Also* lists."""
    prose: dict[str, list[str]] = {}
    see_also: list[str] = []
    section, from_google, in_seealso = "", False, False
    skipped_indent: int | None = None
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if skipped_indent is not None:
            if not line.strip() or indent > skipped_indent:
                see_also += _roles(line) if in_seealso else []
                continue
            skipped_indent, in_seealso = None, False
        if _UNDERLINE.match(line) or _TABLE_RULE.match(line):
            continue
        if line.strip() and _UNDERLINE.match(following):
            section, from_google = line.strip().lower(), False
            continue
        title = _GOOGLE_TITLE.match(line) or _BOLD_TITLE.match(line)
        if title and title[1].lower() in _GOOGLE:
            section, from_google = title[1].lower(), title.re is _GOOGLE_TITLE
            continue
        if from_google and indent == 0 and line.strip():
            section, from_google = "", False
        directive = _DIRECTIVE.match(line)
        if directive and directive[2].startswith(_DROPPED_DIRECTIVES):
            skipped_indent, in_seealso = indent, directive[2] == "seealso"
            see_also += _roles(directive[3]) if in_seealso else []
            continue
        if section == "see also" and not from_google:
            see_also += _listed(line) if indent == 0 else []
        elif section not in _DROPPED:
            text = directive[3].lstrip(":") if directive else line
            if text.rstrip().endswith("::"):
                skipped_indent = indent  # a literal block follows
            is_new = _LISTED.match(text) and (section or text.lstrip()[0] in "-*")
            prose.setdefault(section, []).extend(["", text] if is_new else [text])
    order = sorted(prose, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    return [line for name in order for line in [*_without_code(prose[name]), ""]], see_also


def _without_code(lines: list[str]) -> list[str]:
    """Return the lines less interactive sessions: from ``>>>`` to the next blank line."""
    kept, in_session = [], False
    for line in lines:
        in_session = line.strip().startswith(">>>") or (in_session and bool(line.strip()))
        if not in_session:
            kept.append(line)
    return kept


def _roles(line: str) -> list[str]:
    return [match[1] for match in re.finditer(r":\w+(?::\w+)?:`~?\.?([\w.]+)(?:\(\))?`", line)]


def _listed(line: str) -> list[str]:
    """Return the names on one line of a numpydoc list: ``a, b : what they do``."""
    names = re.split(r"\s:\s|\s:$|:\s*$", line, maxsplit=1)[0]
    if ":" not in names and len(names.replace(",", " ").split()) > 1 and "," not in names:
        return []  # a sentence, not a list of names
    return [(m[1] or m[2]).rstrip(".") for m in _NAME.finditer(names)]


def _plain(text: str) -> str:
    """Return one paragraph without reStructuredText mark-up, on one line."""
    text = _ROLE.sub(lambda m: m[1].split("<")[0].strip().lstrip("~."), text)
    text = re.sub(r"`([^`<]*?)\s*<[^>`]*>`_{1,2}", r"\1", text)
    text = re.sub(r"\[\w+\]_", "", text)
    text = re.sub(r"\|(\w+)\|", r"\1", text)
    text = re.sub(r"\\(?:text|mathrm|mathbf|mathcal|operatorname)\{([^}]*)\}", r"\1", text)
    text = text.replace("`", "").replace("::", ":").replace("\\*", "*").replace("\\_", "_")
    text = re.sub(r"(?<!\S)~(?=\w)", "", text)
    text = re.sub(r"\*{1,2}(\w[^*]*?)\*{1,2}(?!\w)", r"\1", text)
    return " ".join(text.split())
