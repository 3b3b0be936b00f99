"""What a writer of questions is shown: texts of no task of the course, each with what was asked for it."""

from course_utils.data.packages import course_folder

_FILE = "examples.yaml"


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
