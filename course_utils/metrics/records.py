"""Tables kept as JSON Lines: written whole or not at all, read back with line numbers."""

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils.files import write_text

if TYPE_CHECKING:
    import pandas as pd


def write_json_lines(path: str | Path, lines: Iterable[Any]) -> Path:
    """Write one JSON value a line to ``path``, replacing the file in one step; return the path.

    Raises ``ValueError`` for NaN and infinity, which JSON does not know; the file is then untouched.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     read_json_lines(write_json_lines(Path(folder) / "a.jsonl", [{"map": 0.1}, {"n": 2}]))
    [{'map': 0.1}, {'n': 2}]
    """
    encoded = (json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
    return write_text(path, "".join(encoded))


def read_json_lines(path: str | Path) -> list[Any]:
    """Return the list of values in a JSON Lines file.

    Raises ``ValueError``, naming file and line, where a line is no JSON or the file is empty.
    """
    lines = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                lines.append(json.loads(line))
            except ValueError:
                raise ValueError(
                    f"{path}:{number}: this line is no JSON. Save the file again."
                ) from None
    if not lines:
        raise ValueError(f"{path}:1: the file is empty; nothing was saved in it.")
    return lines


def write_table(
    path: str | Path, format: str, header: Mapping[str, Any], frame: "pd.DataFrame"
) -> Path:
    """Write a DataFrame to ``path``: a line with the header, then one line a row; return the path.

    ``format`` is the name and number by which ``read_table`` knows the file; ``header`` a dict of
    what describes the whole. A missing number, NaN, is written as null. Raises ``ValueError`` for
    an infinity, as ``write_json_lines``.
    """
    first = {"format": format, **header, "index": frame.index.name, "rows": len(frame)}
    return write_json_lines(path, [first, *to_records(frame)])


def read_table(
    path: str | Path, format: str, fields: Sequence[str]
) -> tuple[dict[str, Any], "pd.DataFrame"]:
    """Return (header, DataFrame) from a file of ``write_table``; the header has just ``fields``.

    Raises ``ValueError``, naming file and line, for a line that is no JSON, another format, a
    header that lacks one of ``fields``, or a file that lacks rows.
    """
    header, *rows = read_json_lines(path)
    if not isinstance(header, dict) or header.get("format") != format:
        raise ValueError(
            f"{path}:1: this is no saved {format.split()[1]}; its format is not {format!r}."
        )
    lacking = [name for name in (*fields, "index", "rows") if name not in header]
    if lacking:
        raise ValueError(f"{path}:1: the field {lacking[0]!r} is missing. Save the file again.")
    if len(rows) != header["rows"]:
        raise ValueError(
            f"{path}:{len(rows) + 1}: the file ends after {len(rows)} of {header['rows']} items. "
            "It was cut off; save it again."
        )
    return {name: header[name] for name in fields}, from_records(rows, header["index"])


def to_records(frame: "pd.DataFrame") -> list[dict[Hashable, Any]]:
    """Return a DataFrame as a list of dicts, the index first, under its name or "item"."""
    name = frame.index.name or "item"
    plain = frame.astype(object).where(frame.notna(), None)
    rows = zip(frame.index.tolist(), plain.to_dict("records"), strict=True)
    return [{name: item, **row} for item, row in rows]


def from_records(records: list[dict[Hashable, Any]], index: str | None) -> "pd.DataFrame":
    """Return the DataFrame that ``to_records`` took apart; ``index`` is its index's name or None."""
    import pandas as pd

    return pd.DataFrame(records).set_index(index or "item").rename_axis(index)
