"""Audit a model before it is deployed: one call, one dated report, and a gate for the next release.

``audit`` asks a battery of questions of any embedder. An ``Audit`` can be saved, compared with the last
one, shown as a page, and held against limits. It says what was found and with what certainty; it
does not say that a model is fair. What it did not ask is part of it (``missing``).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from course_utils.bias.auditing.battery import NOT_COVERED, questions, standard
from course_utils.bias.auditing.measures import Draws
from course_utils.bias.auditing.parts import Cost, Finding, Memo, Mitigation, built
from course_utils.bias.eraser import LinearEraser, text_fingerprint
from course_utils.bias.stimuli_files import read_yaml
from course_utils.data.packages import course_folder
from course_utils.encoding.encode import as_embedder
from course_utils.metrics import Verdict, compare, evaluate, holm
from course_utils.metrics.evaluation import embedder_name, package_versions
from course_utils.metrics.records import write_text
from course_utils.models.fingerprints import fingerprint_or_none

_FORMAT = "course-utils bias audit 1"
COST_TASKS = ("simlex999", "wordsim353", "lee", "company-wiki")
_METRIC = {"similarity": "spearman", "retrieval": "mrr@10", "clustering": "silhouette"}
_PACKAGES = ("course-utils", "sentence-transformers", "transformers", "torch", "numpy", "scipy")
_NEARLY = 1e-6  # values are kept to six places


@dataclass(frozen=True, repr=False)
class Audit:
    """What a battery found in one model, and all that is needed to repeat it.

    ``findings``: a ``Finding`` for each number. ``missing``: what was not asked, group by group.
    ``stimuli``: a hash of each question's sentences. ``mitigation``: None, or what changed with it.
    ``date`` and ``versions`` do not count when two audits are compared with ``==``.
    """

    model: str
    fingerprint: str | None
    battery: str
    seed: int
    permutations: int
    resamples: int
    findings: tuple[Finding, ...]
    missing: dict[str, str]
    stimuli: dict[str, str]
    mitigation: Mitigation | None = None
    notes: str = ""
    date: str = field(default="", compare=False)
    versions: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def alarms(self) -> list[str]:
        """The names of the findings that chance hardly explains."""
        return [finding.name for finding in self.findings if finding.alarm]

    def __getitem__(self, name) -> Finding:
        """Return the finding of this name. Raises ``KeyError``, naming those there are."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(f"{name!r} is none of {', '.join(f.name for f in self.findings)}")

    def table(self):
        """Return a DataFrame, a row a finding: value, low, high, p_value, p_holm, by_chance, n, unit."""
        import pandas as pd

        columns = ["value", "low", "high", "p_value", "p_holm", "by_chance", "n", "unit"]
        rows = [[getattr(finding, column) for column in columns] for finding in self.findings]
        names = pd.Index([finding.name for finding in self.findings], name="question")
        return pd.DataFrame(rows, names, columns)

    def compare(self, previous):
        """Return what changed since a previous audit: a DataFrame, a row a finding.

        ``old``, ``new``, ``change`` (new - old); ``worse``: farther from 0 than before; ``beyond``:
        outside the old interval, so that it is more than the choice of words or texts would do;
        ``alarm_old`` and ``alarm_new``. Sort by what got worse with ``table[table.worse]``.

        Raises ``ValueError`` when the two asked other questions or with other sentences (the first
        is named): numbers from different sentences do not compare.
        """
        import pandas as pd

        _refuse_unlike(self, previous)
        old = {finding.name: finding for finding in previous.findings}
        rows = [_change(old[finding.name], finding) for finding in self.findings]
        names = pd.Index([finding.name for finding in self.findings], name="question")
        return pd.DataFrame(rows, names)

    def gate(self, thresholds=None):
        """Return whether every number is shown to be within its limit: a ``Verdict`` for CI.

        ``thresholds`` maps names of findings to the largest distance from 0 allowed, as a dict or
        as the path of a YAML file of such lines; None means the course's own
        ``datasets/bias/thresholds.yaml``. A finding fails when *either end of its interval* lies
        farther from 0 than the limit: the burden of proof is on the model, so that few words, which
        make a wide interval, do not let it pass. The findings of the model audited are judged, not
        those after a mitigation; audit the mitigated model itself for that.

        A gate is a guard against getting worse. A limit is somebody's decision, and passing it does
        not make a model fair.

        Raises ``ValueError`` for a name that is no finding of this audit, a limit that is no number
        above 0, or no limits at all; ``FileNotFoundError`` for a path without a file.
        """
        limits = _limits(thresholds)
        known = {finding.name: finding for finding in self.findings}
        for name, limit in limits.items():
            if name not in known:
                raise ValueError(
                    f"The limit for {str(name)[:80]!r} belongs to no finding of this audit. Its "
                    f"findings are {', '.join(known)}."
                )
            if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit < 1e9:
                raise ValueError(f"The limit for {name!r} is {limit!r}. Give a number above 0.")
        beyond = [known[name] for name, limit in limits.items() if _farthest(known[name]) > limit]
        asked = f"{len(limits)} of {len(known)} findings have a limit"
        if not beyond:
            return Verdict(True, f"{self.model}: within all limits ({asked}).")
        named = "; ".join(
            f"{finding.name}: {finding.value:+.3f}, interval {finding.low:+.3f} to "
            f"{finding.high:+.3f}, limit ±{limits[finding.name]:g}"
            for finding in beyond
        )
        return Verdict(
            False, f"{self.model}: {len(beyond)} not within the limit ({asked}): {named}."
        )

    def save(self, path):
        """Write the audit to ``path`` as JSON, whole or not at all; return the path."""
        content = {"format": _FORMAT, **asdict(self)}
        text = json.dumps(content, ensure_ascii=True, allow_nan=False, indent=1)
        return write_text(path, text + "\n")

    @classmethod
    def load(cls, path):
        """Return the audit that ``save`` wrote.

        Raises ``ValueError``, naming the file, for what is no JSON, another format, a part that is
        missing or unknown, and a number or text that is none.
        """
        try:
            content = json.loads(Path(path).read_text("utf-8"))
        except ValueError:
            raise ValueError(f"{path}: this is no JSON. Save the audit again.") from None
        if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
            raise ValueError(f"{path}: this is no saved audit; its format is not {_FORMAT!r}.")
        try:
            return built(cls, content)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise ValueError(f"{path}: a part of it is wrong ({error}). Save it again.") from None

    def to_html(self) -> str:
        """Return the report as one page of HTML, without scripts and without anything from outside."""
        from course_utils.bias.auditing.report import page

        return page(self)

    def save_html(self, path):
        """Write the page of ``to_html`` to ``path``, whole or not at all; return the path."""
        return write_text(path, self.to_html())

    def card_section(self) -> str:
        """Return a section for the model card, in Markdown."""
        from course_utils.bias.auditing.report import card_section

        return card_section(self)

    def __repr__(self):
        tested = sum(finding.p_holm is not None for finding in self.findings)
        return (
            f"Audit of {self.model}: {len(self.findings)} numbers, {tested} of them tested, "
            f"{len(self.alarms)} that chance hardly explains; {len(self.missing)} groups not covered"
        )


def audit(
    model,
    *,
    battery="standard",
    seed=0,
    permutations=9999,
    resamples=2000,
    name=None,
    notes="",
    mitigated=None,
    cost=COST_TASKS,
    cache=None,
    show_progress=None,
):
    """Return what a battery of questions finds in a model: an ``Audit``.

    ``model`` is any embedder. ``battery`` is "standard", or a list of names of its questions, keys
    of ``STIMULI``, paths of YAML files and ``AssociationTest`` objects. Every test is two-sided or
    asks "farther than chance", and its p value comes from ``permutations`` rearrangements of words
    or names, all of them where they are fewer than a million; ``p_holm`` keeps the probability of
    even one false alarm in the whole battery at 5 %. Intervals come from ``resamples`` redraws. The
    same ``seed`` on the same machine gives the same digits.

    With ``mitigated``, a model or a ``LinearEraser`` for this one, the battery is asked of it too, and
    the tasks in ``cost`` (names for ``load_task``, or tasks) are scored before and after. A word that
    an eraser was fitted on is no fair judge of it; the report says how many there are.

    ``name`` is how the report calls the model, ``notes`` go into it as they are. The standard
    battery encodes some 4,000 sentences, each once.

    Raises ``ValueError``, naming the question, where a model's vectors cannot be measured (all
    alike, zeros); for an unknown entry of the battery; and what ``encode`` raises.

    >>> def embed(texts):  # letters instead of meaning
    ...     return [[text.count(letter) for letter in "abcdefghijklmnopqrstuvw"] for text in texts]
    >>> found = audit(as_embedder(embed), battery=["gender-career"], name="letters")
    >>> found["gender-career"].n
    16
    """
    from datetime import UTC, datetime

    called, asked = questions(battery)
    draws = Draws(int(permutations), int(resamples), int(seed))
    texts = {question.name: question.texts() for question in asked}
    before = Memo(model, cache, show_progress)
    before.learn([text for some in texts.values() for text in some])
    findings = _findings(before, asked, draws)
    return Audit(
        model=embedder_name(model) if name is None else str(name),
        fingerprint=fingerprint_or_none(model),
        battery=called,
        seed=draws.seed,
        permutations=draws.permutations,
        resamples=draws.resamples,
        findings=findings,
        missing=_missing(asked),
        stimuli={question: _hash(some) for question, some in texts.items()},
        mitigation=_mitigated(before, mitigated, asked, draws, cost, cache, show_progress),
        notes=str(notes),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=package_versions(_PACKAGES),
    )


def _findings(memo, asked, draws):
    rows = []
    for question in asked:
        try:
            rows += [(question, row) for row in question.run(memo, draws)]
        except ValueError as error:
            raise ValueError(f"The question {question.name[:80]!r}: {error}") from None
    p_values = [row.measured.p_value for _, row in rows if row.measured.p_value is not None]
    adjusted = iter(holm(p_values) if p_values else [])
    return tuple(_finding(question, row, adjusted) for question, row in rows)


def _finding(question, row, adjusted):
    measured, wording = row.measured, row.wording
    tested = measured.p_value is not None
    return Finding(
        name=row.name,
        question=question.name,
        attribute=question.attribute,
        asks=wording.asks,
        groups=row.groups,
        measure=wording.measure,
        value=_rounded(measured.value),
        low=_rounded(measured.low),
        high=_rounded(measured.high),
        p_value=float(f"{measured.p_value:.6g}") if tested else None,
        p_holm=float(f"{next(adjusted):.6g}") if tested else None,
        by_chance=None if measured.by_chance is None else _rounded(measured.by_chance),
        n=int(measured.n),
        unit=wording.unit,
        reading=_reading(row),
        not_shown=wording.not_shown,
        sources=question.sources,
    )


def _reading(row):
    if _rounded(row.measured.value) == 0:
        return "there is no difference"
    return row.above if row.measured.value > 0 else row.below


def _mitigated(before, mitigated, asked, draws, cost, cache, show_progress):
    if mitigated is None:
        return None
    after, called, identity = mitigated, None, fingerprint_or_none(mitigated)
    if isinstance(mitigated, LinearEraser):
        after = as_embedder(lambda texts: mitigated.transform(before.encode(texts)))
        called, cache = repr(mitigated), None
        weight, bias = mitigated.affine()
        identity = hashlib.sha256(weight.tobytes() + bias.tobytes()).hexdigest()
    else:
        cache = cache if identity is not None else None
    memo = Memo(after, cache, show_progress)
    memo.learn(list(before.rows))
    return Mitigation(
        called or embedder_name(mitigated),
        identity,
        _findings(memo, asked, draws),
        tuple(_cost(before, memo, task) for task in cost),
        {question.name: _seen(mitigated, question) for question in asked},
    )


def _seen(mitigated, question):
    fitted_on = getattr(mitigated, "fitted_on", None)
    if not fitted_on:
        return None
    return sum(text_fingerprint(word) in fitted_on for word in question.words)


def _cost(before, after, task):
    from course_utils.data import load_task

    task = load_task(task) if isinstance(task, str) else task
    scored = []
    for memo in (before, after):
        memo.learn(_texts_of(task))
        scored.append(evaluate(memo, task, show_progress_bar=False))
    metric = _METRIC[scored[0].kind]
    row = compare(*scored).table.loc[metric]
    numbers = ("mean_a", "mean_b", "difference", "low", "high", "p_value")
    return Cost(task.name, metric, *(_rounded(row[column]) for column in numbers), int(row["n"]))


def _texts_of(task):
    if hasattr(task, "corpus"):
        return [*task.corpus.values(), *task.queries.values()]
    return [text for pair in task.pairs for text in pair] if hasattr(task, "pairs") else task.texts


def _missing(asked):
    """Return what the battery does not cover: attributes left out of it, and what none covers."""
    covered = {question.attribute for question in asked}
    left_out = {
        f"{question.attribute}: {question.name}": "In the standard battery, not in this one."
        for question in standard()
        if question.name not in {one.name for one in asked}
    }
    attributes = [a for a in ("gender", "ethnicity", "age") if not any(a in c for c in covered)]
    wholly = dict.fromkeys(attributes, "Not asked by any question of this battery.")
    return {**wholly, **left_out, **NOT_COVERED}


def _change(old, new):
    return {
        "old": old.value,
        "new": new.value,
        "change": _rounded(new.value - old.value),
        "worse": abs(new.value) > abs(old.value) + _NEARLY,
        "beyond": not old.low - _NEARLY <= new.value <= old.high + _NEARLY,
        "alarm_old": old.alarm,
        "alarm_new": new.alarm,
    }


def _refuse_unlike(audit, previous):
    if not isinstance(previous, Audit):
        raise TypeError(
            f"previous is a {type(previous).__name__}. Give an Audit: Audit.load(path)."
        )
    new, old = audit.stimuli, previous.stimuli
    for name in [*new, *old]:
        if name not in new or name not in old:
            where = "previous" if name not in new else "new"
            raise ValueError(
                f"Only the {where} audit asks {name[:80]!r}. Run both with the same battery."
            )
        if new[name] != old[name]:
            raise ValueError(
                f"The sentences of {name[:80]!r} are not the same in both audits, so their numbers "
                "do not compare. Run the older one again on today's."
            )


def _limits(thresholds):
    if isinstance(thresholds, Mapping):
        limits = dict(thresholds)
    else:
        file = "thresholds.yaml"
        limits = read_yaml(thresholds or course_folder("bias", file) / file)
    if not limits:
        raise ValueError("There are no limits. Give at least one line, name: number.")
    return limits


def _farthest(finding):
    return max(abs(finding.low), abs(finding.high), abs(finding.value))


def _rounded(value):
    return round(float(value), 6) + 0.0


def _hash(texts):
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:32]
