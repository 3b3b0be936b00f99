"""What a writer of questions is shown: texts of no task of the course, each with what was asked for it."""

import json

from course_utils.data.packages import course_folder

_FILE, _WRITTEN = "examples.yaml", "questions.jsonl"


def load_examples(name: str) -> list[tuple[str, str]]:
    """Return the examples of that name, pairs (text, question), for ``generate_questions``.

    ``"terms"``: a handbook's entries and everyday words for them; ``"manuals"``: what a manual says
    and the line that sums it up; ``"titles"``: the beginning of a paper and its name; ``"notices"``: a
    society's notice and a question that it answers. They were written for the course, about things
    that none of its tasks asks for.

    Raises ``ValueError`` for another name, ``FileNotFoundError`` where the file is missing.

    >>> load_examples("terms")[1][1]
    'seedlings tall and floppy'
    """
    import yaml

    text = (course_folder("adaptation", _FILE) / _FILE).read_text("utf-8")
    kinds = yaml.safe_load(text)
    if name not in kinds:
        raise ValueError(f"There are no examples called {name!r}. Known are {', '.join(kinds)}.")
    return [(text, asked) for text, asked in kinds[name]]


def load_written_questions() -> list[tuple[str, str]]:
    """Return what SmolLM2 asked for clinical terms, as ``keep_grounded`` left it: (question, term's id).

    The ids are those of the task ``"medical/with-definitions"``. ``benchmarks/ladder.py`` wrote them by
    ``generate_questions`` with the examples ``"terms"``; none is worded as a question of a medical task.

    Raises ``FileNotFoundError`` where the file is missing.
    """
    path = course_folder("adaptation", _WRITTEN) / _WRITTEN
    rows = map(json.loads, path.read_text("utf-8").splitlines())
    return [(row["asked"], row["id"]) for row in rows]
