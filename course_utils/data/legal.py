"""Legal texts: the sentences of 2,310 software licences, each labelled with its category."""

import re
from dataclasses import dataclass

from course_utils.data.packages import check_counts, check_sha256, package_path, package_version
from course_utils.data.sentences import split_sentences
from course_utils.data.tasks import ClusteringTask, Source

_SHA256 = "fecb6d27037bb408784be8587965ed09fe9bce87507d1db130991aedf04500fd"
_COUNTS = {"licences": 2310, "categories": 11}
_MIN_WORDS = 5
_FENCE = re.compile(r"^---[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Licence:
    """One licence: its key (``mit``), name, category (``Permissive``), language and text."""

    key: str
    name: str
    category: str
    language: str
    text: str


def load_licences() -> list[Licence]:
    """Return all licences of the package, sorted by key.

    Raises ``ImportError`` when licensedcode-data is missing, ``ValueError`` when its licences are
    not the recorded ones (one checksum over all names and contents, and the counts).
    """
    folder = package_path("licensedcode-data", "licensedcode/data/licenses")
    contents = {path.name: path.read_bytes() for path in sorted(folder.glob("*.LICENSE"))}
    whole = b"".join(f"{n}\0{len(c)}\0".encode() + c for n, c in contents.items())
    check_sha256(whole, _SHA256, where="All of licensedcode-data, name by name,")
    licences = [
        parse_licence(content.decode("utf-8"), where=name) for name, content in contents.items()
    ]
    counts = {"licences": len(licences), "categories": len({x.category for x in licences})}
    check_counts(counts, _COUNTS, where="licensedcode-data")
    return licences


def load_categories() -> ClusteringTask:
    """Return the clustering task ``legal``: which category of licence does a sentence come from?

    Sentences of five words or more of the licences in English, each once. A sentence that
    occurs in licences of several categories has no one label and is left out; ``source.counts``
    says how many. That is a large task: ``load_task("legal").sample(2000)`` is a quick one.

    Categories differ in size (most licences are Permissive) and much wording is common to all
    of them, so a perfect score is out of reach for any model.

    Raises ``ImportError`` and ``ValueError`` as ``load_licences`` does.
    """
    licences = load_licences()
    categories_of: dict[str, set[str]] = {}
    for licence in licences:
        for sentence in _sentences(licence):
            categories_of.setdefault(sentence, set()).add(licence.category)
    labelled = {text: min(names) for text, names in categories_of.items() if len(names) == 1}
    counts = {
        "sentences": len(categories_of),
        "sentences_in_several_categories": len(categories_of) - len(labelled),
        "licences_not_in_English": sum(licence.language != "en" for licence in licences),
    }
    return ClusteringTask("legal", list(labelled), list(labelled.values()), _source(counts))


def load_sentences() -> list[str]:
    """Return every different sentence of five words or more in the English licences, in order.

    Raises ``ImportError`` and ``ValueError`` as ``load_licences`` does.
    """
    return list(dict.fromkeys(s for licence in load_licences() for s in _sentences(licence)))


def parse_licence(content: str, *, where: str = "licence") -> Licence:
    """Return the licence in a file of YAML front matter between ``---`` lines, then the text.

    Raises ``ValueError``, naming the file and the field, when there is no front matter or it has
    no key or category.

    >>> parse_licence('''---
    ... key: fair
    ... name: Fair License
    ... category: Permissive
    ... ---
    ... Usage of the works is permitted.''')
    Licence(key='fair', name='Fair License', category='Permissive', language='en', \
text='Usage of the works is permitted.')
    """
    import yaml

    parts = _FENCE.split(content, maxsplit=2)
    if len(parts) != 3 or parts[0].strip():
        raise ValueError(f"{where}:1: no front matter. Expected a block between two --- lines.")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    fields = yaml.load(parts[1], Loader=loader)  # noqa: S506  (both loaders are the safe ones)
    for field in ("key", "category"):
        if not isinstance(fields.get(field), str):
            raise ValueError(f"{where}: the front matter has no text for {field!r}.")
    return Licence(
        fields["key"],
        fields.get("name") or fields["key"],
        fields["category"],
        fields.get("language") or "en",
        parts[2].strip(),
    )


def _sentences(licence: Licence) -> list[str]:
    if licence.language != "en":
        return []
    # A blank line ends a sentence too: headings and addresses carry no full stop.
    paragraphs = licence.text.replace("\r\n", "\n").split("\n\n")
    return [s for p in paragraphs for s in split_sentences(p, min_words=_MIN_WORDS)]


def _source(counts) -> Source:
    return Source(
        name="ScanCode LicenseDB (package licensedcode-data)",
        version=package_version("licensedcode-data"),
        licence="CC BY 4.0",
        citation="Copyright (c) nexB Inc. and others. ScanCode is a trademark of nexB Inc.",
        counts={**_COUNTS, **counts},
    )
