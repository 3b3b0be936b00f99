"""Texts that a learner brings: a BEIR folder, CSV, TSV, JSON lines or plain text.

The names of the columns say what a file is:

==================  =========================================================
similarity          ``sentence1``, ``sentence2``, ``score``
clustering          ``text``, ``label``
retrieval           ``query``, ``document`` and, if wanted, ``relevance``
only texts          ``text`` (for ``load_texts``)
==================  =========================================================

Other columns are ignored. Every mistake is an error that names file, line and field. Files
are UTF-8, with or without a byte order mark. Benchmarks hold blank documents and grades below 0: in
a BEIR folder they are read and counted, in a file of the learner's own they are mistakes.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from course_utils.data.judged import finite_number, judged_task, refuse_twice, whole_number
from course_utils.data.sentences import split_sentences
from course_utils.data.tasks import ClusteringTask, RetrievalTask, SimilarityTask, Source

_KINDS = {
    "similarity": ("sentence1", "sentence2", "score"),
    "retrieval": ("query", "document"),
    "clustering": ("text", "label"),
}
Row: TypeAlias = tuple[str, dict[str, Any]]  # ("file:line", fields)


def load_file(
    path: str | Path, *, split: str | None = None
) -> RetrievalTask | SimilarityTask | ClusteringTask:
    """Return the task in a BEIR folder or in a .csv, .tsv, .jsonl or .txt file.

    In a file of retrieval judgements (``query``, ``document``, ``relevance``) each line is
    one judgement, grade 1 where there is no ``relevance``; the same text is the same query or
    document throughout, and every document is searched for every query. A plain text file
    becomes a known-item task: the first sentence of a passage is the query, the rest of it
    the document; passages of one sentence are documents that answer nothing. ``split``
    chooses the judgements of a BEIR folder (see ``load_beir``).

    Raises ``FileNotFoundError`` when there is no such path; ``ValueError`` when the name's ending
    or the columns are none of these, and for any broken line, naming file, line and field.
    """
    path = Path(path)
    if path.is_dir():
        return load_beir(path, split=split)
    _check_file(path)
    if split is not None:
        raise ValueError(f"{path}: split={split!r} is for BEIR folders; this is a single file.")
    if path.suffix.lower() == ".txt":
        return _known_item(path)
    kind, rows = _kind_of(path)
    if kind == "similarity":
        return _similarity(path, rows)
    return _clustering(path, rows) if kind == "clustering" else _judged(path, rows)


def load_file_texts(path: str | Path) -> list[str]:
    """Return the texts in a file, in order: passages of a .txt, the ``text`` column of the others.

    In plain text a blank line ends a passage; a file without blank lines between its texts
    holds one passage a line. Raises ``FileNotFoundError`` and ``ValueError`` as ``load_file`` does.
    """
    path = Path(path)
    _check_file(path)
    if path.suffix.lower() == ".txt":
        return _passages(path)
    return [_text(where, fields, "text") for where, fields in _rows(path)]


def load_beir(folder: str | Path, *, split: str | None = None) -> RetrievalTask:
    """Return the retrieval task in a folder of the form that the BEIR benchmark uses.

    ``corpus.jsonl`` (``_id``, ``text``, optionally ``title``, which is put before the text),
    ``queries.jsonl`` (``_id``, ``text``) and ``qrels/<split>.tsv`` (a header line, then query
    id, corpus id and grade). ``split`` None means ``test``, or the only file there is.

    What the task holds and leaves out, and what was odd, ``source.counts`` says: see
    ``judged_task``.

    Raises ``FileNotFoundError`` for a missing file; ``ValueError``, with file, line and field, for
    lines that are not as described, ids that occur twice, judgements on unknown ids, and where
    nothing is left to ask or to find.
    """
    folder = Path(folder)
    corpus = _texts_by_id(folder / "corpus.jsonl")
    queries = _texts_by_id(folder / "queries.jsonl")
    qrels_path = _qrels_path(folder, split)
    judgements = (
        (
            where,
            _text(where, fields, "query-id"),
            _text(where, fields, "corpus-id"),
            fields["score"],
        )
        for where, fields in _rows(qrels_path, names=("query-id", "corpus-id", "score"))
    )
    name = f"{folder.name}/{qrels_path.stem}"
    return judged_task(name, corpus, queries, judgements, _source(folder, {}))


def _similarity(path, rows) -> SimilarityTask:
    pairs: list[tuple[str, str]] = []
    scores: list[float] = []
    for where, fields in rows:
        pairs.append((_text(where, fields, "sentence1"), _text(where, fields, "sentence2")))
        scores.append(finite_number(where, "score", fields.get("score")))
    _check_any(path, pairs)
    source = _source(path, {"pairs": len(pairs)})
    return SimilarityTask(path.stem, pairs, np.array(scores), source=source)


def _clustering(path, rows) -> ClusteringTask:
    both = [(_text(where, f, "text"), _text(where, f, "label")) for where, f in rows]
    _check_any(path, both)
    texts, labels = zip(*both, strict=True)
    counts = {"texts": len(texts), "labels": len(set(labels))}
    return ClusteringTask(path.stem, list(texts), list(labels), _source(path, counts))


def _judged(path, rows) -> RetrievalTask:
    query_ids: dict[str, str] = {}
    document_ids: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    seen: dict[tuple[str, str], str] = {}
    for where, fields in rows:
        query, document = _text(where, fields, "query"), _text(where, fields, "document")
        refuse_twice(where, "this pair of query and document", (query, document), seen)
        q = query_ids.setdefault(query, f"q{len(query_ids) + 1}")
        d = document_ids.setdefault(document, f"d{len(document_ids) + 1}")
        grade = whole_number(where, "relevance", fields.get("relevance", 1))
        if grade < 0:
            raise ValueError(f"{where}: field 'relevance' is {grade}. A grade is 0 or more.")
        qrels.setdefault(q, {})[d] = grade
    _check_any(path, seen)
    counts = {"queries": len(qrels), "documents": len(document_ids), "judgements": len(seen)}
    return RetrievalTask(
        path.stem,
        {d: text for text, d in document_ids.items()},
        {q: text for text, q in query_ids.items()},
        qrels,
        _source(path, counts),
    )


def _known_item(path) -> RetrievalTask:
    corpus, queries = {}, {}
    passages = _passages(path)
    for number, passage in enumerate(passages, start=1):
        first, *rest = split_sentences(passage)
        corpus[str(number)] = " ".join(rest) or first
        if rest:
            queries[str(number)] = first
    if not queries:
        raise ValueError(
            f"{path}: no passage has two sentences, so none can be asked for by its first. "
            "Use load_texts for the texts alone, or bring queries in a CSV file."
        )
    counts = {"passages": len(passages), "queries": len(queries)}
    qrels = {number: {number: 1} for number in queries}
    return RetrievalTask(path.stem, corpus, queries, qrels, _source(path, counts))


def _passages(path) -> list[str]:
    lines = [line.strip() for _, line in _lines(path)]
    _check_any(path, [line for line in lines if line])
    blocks, block = [], []
    for line in [*lines, ""]:
        if line:
            block.append(line)
        elif block:
            blocks.append(" ".join(block))
            block = []
    return blocks if len(blocks) > 1 else [line for line in lines if line]


def _kind_of(path) -> tuple[str, Iterator[Row]]:
    """Return which kind of task the fields of the first row make, and all rows."""
    rows = _rows(path)
    first = next(rows, None)
    if first is None:
        raise ValueError(f"{path}:1: there is no row of data in this file.")
    for kind, needed in _KINDS.items():
        if all(name in first[1] for name in needed):
            return kind, _chain(first, rows)
    wanted = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in _KINDS.items())
    raise ValueError(
        f"{first[0]}: the fields are {', '.join(map(str, first[1]))}. No task can be made of "
        f"them. Name the columns for one of these: {wanted}."
    )


def _chain(first, rows):
    yield first
    yield from rows


def _rows(path: Path, names: tuple[str, ...] | None = None) -> Iterator[Row]:
    """Yield ("file:line", fields) for each row of a table or JSON-lines file.

    ``names`` replaces the header of a table, whose first line is then skipped.
    """
    return _json_rows(path) if path.suffix.lower() == ".jsonl" else _table_rows(path, names)


def _json_rows(path) -> Iterator[Row]:
    for number, line in _lines(path):
        where = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where}: this line is not JSON ({error}).") from None
        if not isinstance(fields, dict):
            raise ValueError(f"{where}: expected one JSON object, {{...}}, a line.")
        yield where, fields


def _table_rows(path, names) -> Iterator[Row]:
    delimiter = "," if path.suffix.lower() == ".csv" else "\t"
    # A BEIR file of judgements has no quotation marks with a meaning; a CSV file has.
    quoting: Any = csv.QUOTE_NONE if names else csv.QUOTE_MINIMAL
    old_limit = csv.field_size_limit(2**31 - 1)  # the default refuses long texts
    try:
        lines = (line for _, line in _lines(path))
        reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
        rows = list(_numbered(path, reader))
    finally:
        csv.field_size_limit(old_limit)
    if not rows:
        raise ValueError(f"{path}:1: the file is empty.")
    if names and rows[0][1][-1].strip().isdigit():
        raise ValueError(
            f"{rows[0][0]}: this is a judgement, but the first line must be a header: "
            f"{' '.join(names)}, separated by tabs. Add it."
        )
    header = list(names or [name.strip() for name in rows[0][1]])
    if len(set(header)) != len(header):
        raise ValueError(f"{rows[0][0]}: a column name occurs twice: {', '.join(header)}.")
    for where, cells in rows[1:]:
        if len(cells) != len(header):
            raise ValueError(
                f"{where}: {len(cells)} fields where {len(header)} are expected "
                f"({', '.join(header)}). Put texts that contain the separator in quotation marks."
            )
        yield where, dict(zip(header, cells, strict=True))


def _numbered(path, reader) -> Iterator[tuple[str, list[str]]]:
    """Yield ("file:line", cells), where line is the first that the row stands on."""
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(
                f"{path}:{start}: this row cannot be read ({error}). Is a quotation mark missing?"
            ) from None
        if cells:
            yield f"{path}:{start}", cells


def _lines(path) -> Iterator[tuple[int, str]]:
    """Yield (number, line) of a UTF-8 file, the byte order mark taken off."""
    with open(path, "rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}:{number}: byte {error.start + 1} of this line is not UTF-8 "
                    f"({error.reason}). Save the file with the encoding UTF-8."
                ) from None
            yield number, line


def _texts_by_id(path) -> dict[str, str]:
    _check_file(path)
    texts: dict[str, str] = {}
    seen: dict[str, str] = {}
    for where, fields in _rows(path):
        key = _text(where, fields, "_id")
        refuse_twice(where, f"the id {key!r}", key, seen)
        title = fields.get("title") or ""
        if not isinstance(title, str):
            raise ValueError(f"{where}: field 'title' is {title!r}, not a text.")
        # A document may be all title; then it needs no field for its text.
        titled = title.strip() and "text" not in fields
        body = "" if titled else _text(where, fields, "text", blank=True)
        texts[key] = f"{title.strip()} {body}".strip()
    _check_any(path, texts)
    return texts


def _qrels_path(folder, split) -> Path:
    found = sorted(path.stem for path in (folder / "qrels").glob("*.tsv"))
    if not found:
        raise FileNotFoundError(
            f"{folder / 'qrels'}: no judgements. Expected a file such as qrels/test.tsv."
        )
    chosen = split or ("test" if "test" in found or len(found) > 1 else found[0])
    if chosen not in found:
        raise ValueError(
            f"{folder / 'qrels'}: no {chosen}.tsv; there are {', '.join(found)}. Choose one with "
            f"split={found[0]!r}."
        )
    return folder / "qrels" / f"{chosen}.tsv"


def _text(where, fields, name, *, blank=False) -> str:
    value = fields.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # ids and labels are often written as numbers
    if value is None:
        raise ValueError(f"{where}: field {name!r} is missing.")
    if not isinstance(value, str):
        raise ValueError(f"{where}: field {name!r} is {str(value)[:60]!r}, not a text.")
    if not blank and not value.strip():
        raise ValueError(f"{where}: field {name!r} is empty. Fill it in or delete the line.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:  # JSON can spell half a character, "\\ud83d"; no tokenizer can
        raise ValueError(f"{where}: field {name!r} contains half a surrogate pair.") from None
    return value.strip()


def _check_file(path):
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file. Check the path.")
    if path.suffix.lower() not in (".csv", ".tsv", ".jsonl", ".txt"):
        raise ValueError(
            f"{path}: files that end in {path.suffix or 'nothing'!r} are not understood. "
            "Bring .csv, .tsv, .jsonl, .txt or a BEIR folder."
        )


def _check_any(path, items):
    if not items:
        raise ValueError(f"{path}:1: there is no text in this file.")


def _source(path, counts) -> Source:
    return Source(path.name, "as found", "the learner's own", "none", counts)
