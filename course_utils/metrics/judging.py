"""Which of two systems people prefer, side by side and blind, and how far two judges agree.

A judgement says which of two lists of results answers a query better. Judgements are kept as JSON
Lines, one added at a time, so that nothing is lost when a judge stops half-way.
"""

import json
import os
import warnings
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

CHOICES = ("a", "b", "equal", "skip")


@dataclass(frozen=True)
class Judgement:
    """What one judge said about one item: ``choice`` is "a", "b", "equal" or "skip".

    ``item`` is the id of what was judged, ``query`` its query, ``left`` the system ("a" or "b")
    whose results stood on the left. Raises ``ValueError`` for any other value, naming the field.
    """

    item: str
    query: str
    judge: str
    left: str
    choice: str

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, str) or (not value.strip() and field.name != "query"):
                raise ValueError(f"{field.name} is {value!r}. A judgement needs a text there.")
        if self.left not in ("a", "b"):
            raise ValueError(f'left is {self.left!r}. Say which system stood there, "a" or "b".')
        if self.choice not in CHOICES:
            raise ValueError(f"choice is {self.choice!r}. It is one of {', '.join(CHOICES)}.")


@dataclass(frozen=True)
class Preference:
    """How many items went to each system, and how sure to be of the share that went to b.

    ``share`` is b / (a + b), with ``low`` and ``high`` its exact interval and ``p_value`` that of
    a share of one half; ``a``, ``b``, ``equal`` and ``skipped`` count items. ``left_share`` is the
    share of decided judgements for what stood on the left: far from one half, judges look at the
    side and not at the results.
    """

    share: float
    low: float
    high: float
    p_value: float
    a: int
    b: int
    equal: int
    skipped: int
    left_share: float


@dataclass(frozen=True)
class Agreement:
    """How far two judges agree beyond chance: ``kappa`` with its interval ``low`` to ``high``.

    ``observed`` is the share of the ``n`` items on which they agree, ``expected`` the share that
    two judges would agree on who gave each answer as often as these, without looking.
    """

    kappa: float
    low: float
    high: float
    observed: float
    expected: float
    n: int


def append_judgement(path: str | Path, judgement: Judgement) -> None:
    """Add one ``Judgement`` to the file as a line of JSON; on return it is on the disk.

    The line goes out in one write, followed by fsync; if not all of it could be written, the file
    is cut back to its old length. A line torn by an earlier crash is removed first, with a
    ``UserWarning``. One program may write to a file at a time: give each judge a file.

    Raises ``OSError`` if the file cannot be written, and then leaves it as it was.
    """
    # Half a surrogate pair has no UTF-8; its backslash escape is what JSON writes for it.
    text = json.dumps(asdict(judgement), ensure_ascii=False)
    line = text.encode("utf-8", "backslashreplace") + b"\n"
    # O_BINARY exists on Windows only, where a text file would turn the line end into two bytes.
    mode = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
    handle = os.open(path, mode, 0o644)
    try:
        line = _mend_end(handle, path) + line
        length = os.fstat(handle).st_size
        try:
            if os.write(handle, line) < len(line):
                raise OSError(f"{path}: the disk took only a part of the judgement. Is it full?")
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, length)
            raise
    finally:
        os.close(handle)


def read_judgements(path: str | Path) -> list[Judgement]:
    """Return the list of ``Judgement`` in a file, in the order they were made.

    A last line without a line end that is no JSON was torn by a crash; it is left out with a
    ``UserWarning``. A file with nothing in it gives an empty list.

    Raises ``FileNotFoundError`` if there is no file, and ``ValueError``, naming file and line,
    where a line is no judgement.
    """
    lines = Path(path).read_bytes().split(b"\n")
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8"))
        except ValueError:
            if number == len(lines):
                warnings.warn(
                    f"{path}:{number}: the last line is torn, as after a crash, and is left out. "
                    "Judge that item again.",
                    stacklevel=2,
                )
                break
            raise ValueError(
                f"{path}:{number}: this line is no JSON. Repair or remove it."
            ) from None
        found.append(_judgement(record, f"{path}:{number}"))
    return found


def preference(judgements: Iterable[Judgement], *, confidence: float = 0.95) -> Preference:
    """Return which system was preferred, and how sure to be of it: a ``Preference``.

    ``judgements`` is a list of ``Judgement``. The unit is the item: where one judge judged an item
    twice, the later judgement counts; where several judges did, the item goes to the majority of
    those who decided, and is "equal" if there is none. Items that are equal or skipped are counted
    but *left out* of the share, as in the sign test, because they favour neither system; where
    most items are equal, say so beside the share.

    The interval is Clopper and Pearson's, which never covers less than it says; it holds 0.5
    exactly where the two-sided binomial p value is above 1 - ``confidence``.

    Raises ``ValueError`` when no item was decided for either system (there is no share), or
    ``confidence`` is not between 0 and 1.

    Source: Clopper & Pearson, "The use of confidence or fiducial limits", *Biometrika* 26, 1934;
    Conover, *Practical Nonparametric Statistics*, section 3.4 (the sign test and its ties).

    >>> made = [Judgement(str(i), "q", "Kim", "a", "b" if i < 8 else "a") for i in range(10)]
    >>> found = preference(made)
    >>> found.share, round(found.low, 3), round(found.high, 3), round(found.p_value, 3)
    (0.8, 0.444, 0.975, 0.109)
    """
    from scipy.stats import binomtest

    _check_confidence(confidence)
    latest = _latest(judgements)
    votes: dict[str, list[str]] = {}
    for judgement in latest:
        votes.setdefault(judgement.item, []).append(judgement.choice)
    counts = Counter(map(_majority, votes.values()))
    decided = counts["a"] + counts["b"]
    if not decided:
        raise ValueError(
            f"None of the {len(votes)} judged items went to either system, so there is no share. "
            "Judge more items, or items on which the systems differ more."
        )
    test = binomtest(counts["b"], decided)
    low, high = test.proportion_ci(confidence, method="exact")
    sides = [judgement.choice == judgement.left for judgement in latest if _decides(judgement)]
    return Preference(
        share=counts["b"] / decided,
        low=float(low),
        high=float(high),
        p_value=float(test.pvalue),
        a=counts["a"],
        b=counts["b"],
        equal=counts["equal"],
        skipped=counts["skip"],
        left_share=float(np.mean(sides)),
    )


def judged_by_both(
    judgements: Iterable[Judgement], first: str, second: str
) -> tuple[list[str], list[str]]:
    """Return the choices of two judges on the items that both judged: two lists, item by item.

    ``first`` and ``second`` are names of judges. Skipped items are left out, and of an item judged
    twice by one of them the later judgement counts. The lists are what ``cohens_kappa`` takes.

    Raises ``ValueError`` if one of the two has judged nothing.

    >>> made = [Judgement("1", "q", name, "a", "b") for name in ("Kim", "Lou")]
    >>> judged_by_both([*made, Judgement("2", "q", "Kim", "a", "equal")], "Kim", "Lou")
    (['b'], ['b'])
    """
    of_judge: dict[str, dict[str, str]] = {first: {}, second: {}}
    for judgement in _latest(judgements):
        if judgement.judge in of_judge and judgement.choice != "skip":
            of_judge[judgement.judge][judgement.item] = judgement.choice
    for name, choices in of_judge.items():
        if not choices:
            raise ValueError(f"{name!r} has judged none of the items. Are the names spelt alike?")
    shared = [item for item in of_judge[first] if item in of_judge[second]]
    one, other = ([of_judge[name][item] for item in shared] for name in (first, second))
    return one, other


def cohens_kappa(
    a: Iterable[Hashable], b: Iterable[Hashable], *, confidence: float = 0.95
) -> Agreement:
    """Return how far two judges agree beyond chance: an ``Agreement``.

    ``a`` and ``b`` are the answers of two judges to the same items, in the same order: any labels,
    as the choices that ``judged_by_both`` returns. Kappa is (observed - expected) / (1 - expected),
    where expected is the agreement of two judges who gave the same answers as often, but each at
    random: 1 is full agreement, 0 none beyond chance. Labels have no order: "a" against "b" is no
    worse than "a" against "equal".

    The interval takes the expected agreement as known and puts Wilson's interval around the
    observed one, so that full agreement on 20 items does not look certain. In simulations with 20
    to 200 items its 95 % covered kappa in 93 % of the cases at least; where the judges agree by
    chance alone it is too wide.

    Raises ``ValueError`` when the two differ in length, hold fewer than two answers, both judges
    gave one and the same answer throughout (kappa is then 0/0), or ``confidence`` is not between 0
    and 1.

    Source: Cohen, "A coefficient of agreement for nominal scales", *Educational and Psychological
    Measurement* 20, 1960, equations 1 and 7; Wilson 1927 for the interval of a share.

    >>> cohens_kappa(list("aabb"), list("aabb")).kappa, cohens_kappa(list("aabb"), list("abab")).kappa
    (1.0, 0.0)
    """
    from scipy.stats import binomtest

    _check_confidence(confidence)
    a, b = list(a), list(b)
    if len(a) != len(b):
        raise ValueError(
            f"a holds {len(a)} answers and b {len(b)}. Kappa needs both judges' on the same items."
        )
    n = len(a)
    if n < 2:
        raise ValueError(f"There are {n} items that both judged. Kappa needs 2, and better 50.")
    of_a, of_b = Counter(a), Counter(b)
    expected = sum(of_a[label] * of_b[label] for label in of_a) / n**2
    if expected == 1:
        raise ValueError(
            f"Both judges answered {a[0]!r} throughout, so kappa is 0/0: agreement cannot be told "
            "from habit. Let them judge items that differ more."
        )
    agreed = sum(one == other for one, other in zip(a, b, strict=True))
    low, high = binomtest(agreed, n).proportion_ci(confidence, method="wilson")

    def beyond_chance(share):
        return float((share - expected) / (1 - expected))

    return Agreement(
        kappa=beyond_chance(agreed / n),
        low=beyond_chance(low),
        high=beyond_chance(high),
        observed=agreed / n,
        expected=expected,
        n=n,
    )


def _mend_end(handle, path):
    """Return the line end that is missing from the file; remove its last line if that is torn."""
    size = os.fstat(handle).st_size
    os.lseek(handle, 0, os.SEEK_SET)
    parts = []
    while part := os.read(handle, 2**20):
        parts.append(part)
    tail = b"".join(parts).rpartition(b"\n")[2]
    if not tail:
        return b""
    try:
        json.loads(tail.decode("utf-8"))
    except ValueError:
        warnings.warn(
            f"{path}: the last line was torn, as after a crash, and is removed. Judge that item "
            "again.",
            stacklevel=3,
        )
        os.ftruncate(handle, size - len(tail))
        return b""
    return b"\n"


def _judgement(record, where):
    names = [field.name for field in fields(Judgement)]
    if not isinstance(record, dict) or not set(names) <= set(record):
        raise ValueError(f"{where}: a judgement has the fields {', '.join(names)}.")
    try:
        return Judgement(**{name: record[name] for name in names})
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _latest(judgements):
    """Return the last judgement of every judge on every item."""
    return list({(each.judge, each.item): each for each in judgements}.values())


def _majority(choices):
    lead = choices.count("b") - choices.count("a")
    if lead:
        return "b" if lead > 0 else "a"
    return "skip" if set(choices) == {"skip"} else "equal"


def _decides(judgement):
    return judgement.choice in ("a", "b")


def _check_confidence(confidence):
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence!r}. Give a share between 0 and 1, say 0.95.")
