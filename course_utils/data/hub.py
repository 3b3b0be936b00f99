"""Data sets from a hub, through the ``datasets`` library (extra ``hub``).

Two forms are understood, which cover most sets made for embedding models: BEIR-style
repositories with the configurations ``corpus``, ``queries`` and ``default`` (or ``qrels``),
and tables whose columns are those of a learner's own file (``sentence1``, ``sentence2``,
``score`` or ``text``, ``label``). No code of a repository is ever run.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from course_utils.data.judged import Judgement, judged_task
from course_utils.data.tasks import ClusteringTask, RetrievalTask, SimilarityTask, Source
from course_utils.models.files import ask_hub, install_line, require

# The readers of plain tables. Others open archives, media or formats that hold objects.
_SAFE_READERS = {"parquet", "csv", "json", "arrow"}


def load_hub(
    repository: str,
    *,
    split: str = "test",
    revision: str | None = None,
    cache: str | Path | None = None,
) -> RetrievalTask | SimilarityTask | ClusteringTask:
    """Return the task in a hub repository ``owner/set``, or in a local folder of the same form.

    ``split`` chooses the judgements or rows; a configuration that has only one split is read
    whatever that is called. ``revision`` pins a version of the repository, and is recommended:
    without it the newest is read. ``cache`` is the folder for downloads, ``None`` the
    library's own. Judgements are read as those of a BEIR folder, see ``judged.judged_task``.

    Raises ``ImportError`` when the library is missing (a mere folder called ``datasets`` on the
    path does not count as the library); ``ConnectionError`` when the hub cannot be reached or
    does not have the set; ``ValueError`` when the set is in neither form, has no such split, or
    breaks a rule of its task type.
    """
    datasets = _library()
    if not Path(repository).is_dir() and not os.environ.get("HF_HUB_OFFLINE"):
        problem = ask_hub(repository, kind="dataset")
        if problem:
            raise _not_there(repository, problem)
    table = _Reader(datasets, repository, revision, cache)
    configurations = table.configurations()
    name = f"hub:{repository}" if not Path(repository).is_dir() else Path(repository).name
    if {"corpus", "queries"} <= set(configurations):
        judgements = next((c for c in ("qrels", "default") if c in configurations), None)
        if judgements is None:
            raise ValueError(
                f"{repository}: it has a corpus and queries, but no judgements: expected a "
                f"configuration 'default' or 'qrels' among {', '.join(configurations)}."
            )
        return _retrieval(table, name, judgements, split)
    if len(configurations) > 1 and "default" not in configurations:
        raise ValueError(
            f"{repository}: cannot choose among the configurations {', '.join(configurations)}. "
            "Expected corpus, queries and default, or a single one."
        )
    chosen = "default" if "default" in configurations else configurations[0]
    return _table_task(table, name, chosen, split)


class _Reader:
    """Reads single configurations of one repository as plain rows."""

    def __init__(self, datasets, repository, revision, cache):
        self.datasets, self.repository, self.revision = datasets, repository, revision
        self.cache = None if cache is None else str(cache)

    def configurations(self) -> list[str]:
        try:
            return self.datasets.get_dataset_config_names(
                self.repository, revision=self.revision, download_config=self._quick()
            )
        except Exception as error:  # the library lets errors of several HTTP clients through
            raise self._unreachable(error) from error

    def rows(self, configuration: str, split: str) -> tuple[list[dict], str]:
        """Return all rows of a split, and what was read (configuration/split)."""
        try:
            builder = self.datasets.load_dataset_builder(
                self.repository,
                configuration,
                revision=self.revision,
                cache_dir=self.cache,
                download_config=self._quick(),
            )
            reader = type(builder).__module__.split(".")[-1]
            if reader not in _SAFE_READERS:
                raise ValueError(
                    f"{self.repository}: its files would be read by {reader!r}; only "
                    f"{', '.join(sorted(_SAFE_READERS))} are allowed here."
                )
            builder.download_and_prepare()
        except (OSError, self.datasets.exceptions.DatasetsError) as error:
            raise self._unreachable(error) from error
        splits = list(builder.info.splits)
        chosen = splits[0] if len(splits) == 1 else split
        if chosen not in splits:
            raise ValueError(
                f"{self.repository}: the configuration {configuration!r} has no split {split!r}; "
                f"there are {', '.join(splits)}. Choose one with split=."
            )
        table = builder.as_dataset(chosen)
        labels = {
            column: feature.names
            for column, feature in table.features.items()
            if isinstance(feature, self.datasets.ClassLabel)
        }
        rows = [
            {c: labels[c][v] if c in labels and v is not None else v for c, v in row.items()}
            for row in table
        ]
        return rows, f"{configuration}/{chosen}"

    def _quick(self):
        return self.datasets.DownloadConfig(max_retries=0, cache_dir=self.cache)

    def _unreachable(self, error) -> ConnectionError:
        return _not_there(self.repository, f"{type(error).__name__}: {str(error)[:300]}")


def _not_there(repository, reason) -> ConnectionError:
    return ConnectionError(
        f"{repository}: the data set cannot be read from the hub ({reason}). "
        "Check the name (owner/set) and the connection; set HF_HUB_OFFLINE=1 to use a copy "
        "downloaded earlier; or name a local folder with the same files: "
        "load_task('hub:<folder>')."
    )


def _retrieval(table, name, judgements, split) -> RetrievalTask:
    corpus, queries = (
        _texts(table, configuration, split) for configuration in ("corpus", "queries")
    )
    rows, where = table.rows(judgements, split)

    def judged() -> Iterator[Judgement]:
        for number, row in enumerate(rows):
            at = f"{table.repository} {where}, row {number}"
            yield at, str(row.get("query-id")), str(row.get("corpus-id")), row.get("score", 1)

    return judged_task(name, corpus, queries, judged(), _source(table, where, {}))


def _texts(table, configuration, split) -> dict[str, str]:
    rows, where = table.rows(configuration, split)
    texts: dict[str, str] = {}
    for number, row in enumerate(rows):
        key = row.get("_id", row.get("id"))
        at = f"{table.repository} {where}, row {number}"
        if key is None:
            raise ValueError(f"{at}: field '_id' is missing.")
        if str(key) in texts:
            raise ValueError(f"{at}: the id {str(key)!r} occurs twice.")
        texts[str(key)] = f"{row.get('title') or ''} {row.get('text') or ''}".strip()
    return texts


def _table_task(table, name, configuration, split):
    rows, where = table.rows(configuration, split)
    columns = set(rows[0]) if rows else set()
    source = _source(table, where, {"rows": len(rows)})
    if {"sentence1", "sentence2", "score"} <= columns:
        pairs = [(row["sentence1"], row["sentence2"]) for row in rows]
        scores = np.array([row["score"] for row in rows], dtype=np.float64)
        return SimilarityTask(name, pairs, scores, source=source)
    if {"text", "label"} <= columns:
        labels = [str(row["label"]) for row in rows]
        return ClusteringTask(name, [row["text"] for row in rows], labels, source)
    raise ValueError(
        f"{table.repository} {where}: the columns are {', '.join(sorted(columns)) or 'none'}. "
        "Expected sentence1, sentence2, score; or text, label."
    )


def _library():
    """Return the ``datasets`` library, or raise ``ImportError`` with the line that installs it."""
    # A folder called datasets/ on the path imports too, as an empty namespace without a module.
    require("datasets.load", "hub", "Reading a data set from a hub")
    import datasets

    if int(datasets.__version__.split(".")[0]) < 4:
        raise ImportError(
            f"datasets {datasets.__version__} can run code that comes with a data set; version 4 "
            f"and later cannot. Run: {install_line('hub')} --upgrade"
        )
    return datasets


def _source(table, where, counts) -> Source:
    return Source(
        name=f"{table.repository} ({where})",
        version=table.revision or "newest at the time of loading",
        licence="see the data set's own page",
        citation="see the data set's own page",
        counts=counts,
    )
