"""The internal wiki of an invented company, and what new colleagues ask about it.

Written for this course (``datasets/company_wiki/``). The company has words of its own – a *goose*
is its on-call telephone – which only these pages explain, and most questions avoid them: the gap
between a model's words and a domain's, in a form small enough to read.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from course_utils.data.packages import REINSTALL_COURSE, check_counts, course_folder
from course_utils.data.sentences import split_sentences
from course_utils.data.tasks import RetrievalTask, Source

_COUNTS = {"pages": 182, "sentences": 2663, "questions": 357, "judgements": 477}
_CITATION = (
    "Ottermere wiki (2026), version 1. In: Owning embeddings, datasets/company_wiki. "
    "Written for this course; company, products and events are invented."
)
# Shorter ones are headings and the like: "Size: puddle."
_MIN_WORDS = 4
_EMPHASIS = re.compile(r"\*([^*\n]+)\*|`([^`\n]+)`")


@dataclass(frozen=True)
class Page:
    """One page: its id, title, section, and text with a blank line between paragraphs."""

    id: str
    title: str
    section: str
    text: str


def load_wiki_pages() -> list[Page]:
    """Return every page of the wiki, in the order in which it was written.

    Raises ``FileNotFoundError`` when the files are neither in the repository nor in the installed
    package; ``ValueError``, with file and line, for a line that is no page, an id that occurs
    twice or another number of pages than recorded.

    >>> pages = load_wiki_pages()
    >>> pages[0].title
    'Read this before your first coffee'
    """
    pages = _read_pages(wiki_folder())
    check_counts({"pages": len(pages)}, _only("pages"), where="pages.jsonl of the company wiki")
    return pages


def load_questions() -> RetrievalTask:
    """Return the task ``company-wiki``: from a new colleague's question to the pages that answer it.

    A document is a page's title, a blank line and its text. Grade 2 means that the page answers
    the question, grade 1 that it helps. Pages hold up to about 300 tokens; a model that reads 256
    does not see the end of the ten longest.

    Raises what ``load_wiki_pages`` raises, for the files of questions and judgements too.

    >>> task = load_questions()
    >>> task.queries["q001"]
    "I've just arrived and everyone talks in riddles, where do I begin?"
    >>> task.qrels["q001"]
    {'start-here': 2, 'words-shed': 1, 'words-loft': 1}
    """
    folder = wiki_folder()
    pages = load_wiki_pages()
    questions: dict[str, str] = {}
    for where, fields in _json_lines(folder / "questions.jsonl"):
        question = _field(where, fields, "id")
        _check_new(where, question, questions)
        questions[question] = _field(where, fields, "text")
    qrels = _read_judgements(folder / "qrels.tsv")
    counts = {
        "pages": len(pages),
        "sentences": len(_sentences(pages)),
        "questions": len(questions),
        "judgements": sum(len(judged) for judged in qrels.values()),
    }
    check_counts(counts, _COUNTS, where="The company wiki")
    corpus = {page.id: f"{page.title}\n\n{page.text}" for page in pages}
    source = Source("Ottermere wiki", "version 1", "CC BY 4.0", _CITATION, counts)
    return RetrievalTask("company-wiki", corpus, questions, qrels, source)


def load_sentences() -> list[str]:
    """Return the different sentences of the pages, of four words or more, in the order of the wiki.

    Titles are left out, and the asterisks and backticks around emphasised words and commands.
    Raises like ``load_wiki_pages``.

    >>> [s for s in load_sentences() if "we call the goose," in s]
    ['The on-call telephone we call the goose, because of the noise it makes.']
    """
    sentences = _sentences(load_wiki_pages())
    check_counts({"sentences": len(sentences)}, _only("sentences"), where="The company wiki")
    return sentences


def wiki_folder() -> Path:
    """Return where the wiki's files lie; raise ``FileNotFoundError`` if they are nowhere."""
    return course_folder("company_wiki", "pages.jsonl")


def _sentences(pages: list[Page]) -> list[str]:
    found = {}
    for page in pages:
        for paragraph in page.text.split("\n\n"):
            plain = _EMPHASIS.sub(lambda m: m[1] or m[2], paragraph)
            found.update(dict.fromkeys(split_sentences(plain, min_words=_MIN_WORDS)))
    return list(found)


def _read_pages(folder) -> list[Page]:
    pages: dict[str, Page] = {}
    for where, fields in _json_lines(folder / "pages.jsonl"):
        page = Page(*(_field(where, fields, name) for name in ("id", "title", "section", "text")))
        _check_new(where, page.id, pages)
        pages[page.id] = page
    return list(pages.values())


def _read_judgements(path) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for number, line in enumerate(_text(path).splitlines()[1:], start=2):
        cells = line.split("\t")
        if len(cells) != 3 or cells[2] not in ("1", "2"):
            raise ValueError(
                f"{path}:{number}: {line[:80]!r} is no judgement. Expected the ids of a question "
                "and a page and the grade 1 or 2, separated by tabs."
            )
        question, page, grade = cells
        _check_new(f"{path}:{number}", page, qrels.setdefault(question, {}))
        qrels[question][page] = int(grade)
    return qrels


def _json_lines(path) -> Iterator[tuple[str, dict]]:
    """Yield ("file:line", fields) for each line."""
    for number, line in enumerate(_text(path).split("\n"), start=1):
        where = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{where}: this line is not JSON ({error}).") from None
        if not isinstance(fields, dict):
            raise ValueError(f"{where}: expected one JSON object, {{...}}, a line.")
        yield where, fields


def _text(path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. {REINSTALL_COURSE}")
    return path.read_text("utf-8")


def _field(where, fields, name) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: field {name!r} is {value!r}. It needs a text.")
    return value


def _check_new(where, key, seen):
    if key in seen:
        raise ValueError(f"{where}: {key!r} occurs a second time. Keep one.")


def _only(name) -> dict[str, int]:
    return {name: _COUNTS[name]}
