"""What an audit is made of: questions that go in, findings that come out, and what they cost."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from course_utils.bias import stimuli
from course_utils.bias.auditing.measures import Draws, Measured
from course_utils.encoding.embedders import AnyEmbedder

if TYPE_CHECKING:
    from course_utils.bias.auditing.audits import Audit

ALARM = 0.05


class Wording(NamedTuple):
    """What a number is about: the question, the measure, what ``n`` counts, what it leaves open."""

    asks: str
    measure: str
    unit: str
    not_shown: str


class Row(NamedTuple):
    """One number of a question; ``above`` and ``below`` say what to read from either sign of it."""

    name: str
    wording: Wording
    groups: tuple[str, ...]
    above: str
    below: str
    measured: Measured


@dataclass(frozen=True)
class Question:
    """What is asked of a model: ``run(embedder, draws) -> list[Row]`` asks it.

    ``words`` are the words or names that stand in its sentences, by which it can be told whether a
    mitigation was fitted on them; ``texts()`` are all its sentences, as ``run`` has them encoded.
    ``has_roles`` says that ``run`` has them encoded as queries and documents.
    """

    name: str
    attribute: str
    sources: str
    words: tuple[str, ...]
    texts: Callable[[], list[str]]
    run: Callable[[AnyEmbedder, Draws], list[Row]]
    has_roles: bool = False


@dataclass(frozen=True)
class Finding:
    """One number of an audit, with all that is needed to read it.

    ``value`` with the 95 % interval ``low`` to ``high``; ``p_value``, and ``p_holm``, adjusted for
    all tests of the battery, None where nothing was tested; ``by_chance``, what the value would be
    on average if groups did not matter; over ``n`` of ``unit``. ``reading`` puts the value in
    words. ``groups`` carry the labels of the sources.

    Raises ``ValueError`` for a number that is none, and a text that is none.
    """

    name: str
    question: str
    attribute: str
    asks: str
    groups: tuple[str, ...]
    measure: str
    value: float
    low: float
    high: float
    p_value: float | None
    p_holm: float | None
    by_chance: float | None
    n: int
    unit: str
    reading: str
    not_shown: str
    sources: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(self.groups))
        _check_fields(self, optional=("p_value", "p_holm", "by_chance"))

    @property
    def alarm(self) -> bool:
        """Whether chance hardly explains the value: the adjusted p value is below 0.05."""
        return self.p_holm is not None and self.p_holm < ALARM

    @property
    def answer(self) -> str:
        """The finding as a sentence or two."""
        if self.p_holm is None:
            return f"Measured, not tested: {self.reading}."
        if self.alarm:
            return f"Found: {self.reading}. Chance alone would hardly give this."
        return f"Not shown: chance alone could give this. If anything, {self.reading}."


@dataclass(frozen=True)
class Cost:
    """What a mitigation did to a task: ``after`` less ``before``, over ``n`` items.

    ``low``, ``high`` and ``p_value`` are None for a metric of which ``compare`` gives none.
    """

    task: str
    metric: str
    before: float
    after: float
    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    n: int

    def __post_init__(self) -> None:
        _check_fields(self, optional=("low", "high", "p_value"))


@dataclass(frozen=True)
class Mitigation:
    """The same battery after a mitigation, and what the mitigation cost.

    ``seen`` maps a question to how many of its words the mitigation was fitted on, None where it
    does not say: a number about words that it has seen promises nothing for others.
    """

    model: str
    fingerprint: str | None
    findings: tuple[Finding, ...]
    cost: tuple[Cost, ...]
    seen: dict[str, int | None]


def filled(templates: Iterable[str], *lists: Iterable[str]) -> list[str]:
    """Return all sentences of all words of some lists, in order."""
    rows = stimuli.fill(templates, [word for words in lists for word in words])
    return [text for row in rows for text in row]


def rounded(value: float) -> float:
    """Return the number as an audit keeps it, to six places and without a minus before 0.

    >>> rounded(-1e-9)
    0.0
    """
    return round(float(value), 6) + 0.0


def built(kind: "type[Audit]", content: dict[str, Any]) -> "Audit":
    """Return the ``Audit``, ``kind``, that a dict of its parts describes; refuse anything else."""
    wrong = set(content) ^ {one.name for one in fields(kind)}
    if wrong:
        raise ValueError(f"{sorted(wrong)[0]!r} is missing or unknown")
    for part in ("model", "battery", "notes", "date"):
        if not isinstance(content[part], str):
            raise ValueError(f"{part} is no text")
    for part in ("missing", "stimuli", "versions"):
        _check_texts(content[part], part)
    found = content | {"findings": tuple(Finding(**one) for one in content["findings"])}
    after = content["mitigation"]
    if after is not None:
        found["mitigation"] = Mitigation(
            str(after["model"]),
            after["fingerprint"],
            tuple(Finding(**one) for one in after["findings"]),
            tuple(Cost(**one) for one in after["cost"]),
            {str(name): None if n is None else int(n) for name, n in after["seen"].items()},
        )
    return kind(**found)


def _check_texts(mapping, part):
    for key, value in mapping.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ValueError(f"{part} holds something that is no text")


def _check_fields(one, optional=()):
    """Refuse anything but texts and finite numbers, so that a page can trust what it shows."""
    for part in fields(one):
        value = getattr(one, part.name)
        if part.name == "groups":
            fine = all(isinstance(label, str) for label in value)
        elif part.type is str:
            fine = isinstance(value, str)
        else:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            fine = (number and math.isfinite(value)) or (value is None and part.name in optional)
        if not fine:
            raise ValueError(
                f"{part.name} of {str(getattr(one, 'name', ''))[:80]!r} is {value!r:.80}"
            )
