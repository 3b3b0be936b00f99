"""Where texts come from: named sets, a learner's own files, or a hub.

``load_task`` returns one of three types (see ``tasks``), each with a note on its source.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from course_utils.data.tasks import (
    AssociationTest,
    ClusteringTask,
    RetrievalTask,
    SimilarityTask,
    Source,
)

__all__ = [
    "TASKS",
    "AssociationTest",
    "ClusteringTask",
    "RetrievalTask",
    "SimilarityTask",
    "Source",
    "load_examples",
    "load_licences",
    "load_medical_definitions",
    "load_python_docs",
    "load_task",
    "load_texts",
    "load_wiki_pages",
    "load_written_questions",
]

#: Every named task and what it asks.
TASKS = {
    "python-docs": "find the documentation that a summary line belongs to",
    "python-docs/see-also": "find the functions that a function's authors say to see also",
    "python-docs/library": "group summary lines by the library they come from",
    "medical": "find the clinical term for what a layperson says",
    "medical/no-shared-word": "the same, only where lay and clinical wording share no word",
    "medical/near-synonym": "the same for lay wording that is broader, narrower or only related",
    "medical/with-definitions": "as medical, where a document is the term with its definition",
    "medical/with-definitions/no-shared-word": "the same, only where no word is shared with the term",
    "medical/with-definitions/near-synonym": "the same for the lay wording that is not quite the term",
    "legal": "group sentences by the category of their licence",
    "company-wiki": "find the wiki page that answers a new colleague's question",
    "lee": "human similarity of 1,225 pairs of news texts",
    "wordsim353": "human relatedness of 353 pairs of words",
    "simlex999": "human similarity of 999 pairs of words",
}

_LOADERS = {
    "python-docs": ("python_docs", "load_known_item"),
    "python-docs/see-also": ("python_docs", "load_see_also"),
    "python-docs/library": ("python_docs", "load_library_labels"),
    "legal": ("legal", "load_categories"),
    "company-wiki": ("company_wiki", "load_questions"),
    "lee": ("judgements", "load_lee"),
    "wordsim353": ("judgements", "load_wordsim353"),
    "simlex999": ("judgements", "load_simlex999"),
}
_LAY_TERMS: dict[str, dict[str, Any]] = {
    "medical": {},
    "medical/no-shared-word": {"part": "no-shared-word"},
    "medical/near-synonym": {"part": "near-synonym"},
    "medical/with-definitions": {"with_definitions": True},
    "medical/with-definitions/no-shared-word": {"part": "no-shared-word", "with_definitions": True},
    "medical/with-definitions/near-synonym": {"part": "near-synonym", "with_definitions": True},
}
_TEXTS = {
    "python-docs": ("python_docs", "load_sentences"),
    "medical": ("medical", "load_sentences"),
    "legal": ("legal", "load_sentences"),
    "company-wiki": ("company_wiki", "load_sentences"),
    "everyday": ("judgements", "load_everyday"),
}
_HOME = {
    "load_examples": "examples",
    "load_licences": "legal",
    "load_medical_definitions": "medical",
    "load_python_docs": "python_docs",
    "load_wiki_pages": "company_wiki",
    "load_written_questions": "examples",
}


def load_task(
    name_or_path: str | Path, **options: Any
) -> RetrievalTask | SimilarityTask | ClusteringTask:
    """Return the task of that name (see ``TASKS``), or the one in a file, folder or hub repository.

    A path is a BEIR folder or a .csv, .tsv, .jsonl or .txt file (see ``files.load_file``);
    ``hub:<owner>/<set>`` is a data set on a hub (see ``hub.load_hub``). ``options`` go to the
    loader: ``max_words`` for ``python-docs``, ``split`` for folders and hub, ``revision`` for
    the hub.

    Raises ``ValueError`` for a name that is neither in ``TASKS`` nor a path, and what the loader
    raises: ``ImportError`` for a missing package, ``ValueError`` for broken data.

    >>> load_task("simlex999").pairs[0]
    ('old', 'new')
    """
    name = str(name_or_path)
    if name in _LOADERS:
        return _call(*_LOADERS[name])(**options)
    if name in _LAY_TERMS:
        return _call("medical", "load_lay_terms")(**_LAY_TERMS[name], **options)
    if name.startswith("hub:"):
        return _call("hub", "load_hub")(name.removeprefix("hub:"), **options)
    if _is_path(name_or_path):
        return _call("files", "load_file")(name_or_path, **options)
    raise ValueError(_unknown("task", name, TASKS))


def load_texts(name_or_path: str | Path) -> list[str]:
    """Return a list of texts without judgements: domain text to adapt a model to.

    ``"medical"`` gives the definitions of clinical terms, ``"legal"`` the sentences of
    licences, ``"python-docs"`` the sentences of the documentation, ``"company-wiki"`` those of
    an invented company's wiki, ``"everyday"`` paragraphs and words of the news, which belong to no
    domain; each text once. A path gives the passages of a .txt file or the
    column ``text`` of the other files.

    Raises ``ValueError`` for an unknown name, and what the loader raises.
    """
    name = str(name_or_path)
    if name in _TEXTS:
        return _call(*_TEXTS[name])()
    if _is_path(name_or_path):
        return _call("files", "load_file_texts")(name_or_path)
    raise ValueError(_unknown("set of texts", name, _TEXTS))


def _call(module, function):
    return getattr(import_module(f"{__name__}.{module}"), function)


def _is_path(name_or_path) -> bool:
    path = Path(name_or_path)
    return isinstance(name_or_path, Path) or path.exists() or path.suffix.lower() in {
        ".csv", ".tsv", ".jsonl", ".txt",
    }  # fmt: skip


def _unknown(what, name, known) -> str:
    return (
        f"There is no {what} called {name!r}, nor a file or folder. Known are "
        f"{', '.join(known)}; or give a path, or hub:<owner>/<set>."
    )


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _call(_HOME[name], name)
