"""What an audit leaves behind: a dated record to save, compare, show, and hold against limits.

It says what was found and with what certainty; it does not say that a model is fair. What was not
asked is part of it (``missing``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.bias.auditing.parts import Finding, Mitigation, built, rounded
from course_utils.bias.stimuli_files import read_yaml
from course_utils.data.packages import course_folder
from course_utils.files import write_text
from course_utils.metrics import Verdict

if TYPE_CHECKING:
    import pandas as pd

_FORMAT = "course-utils bias audit 1"
_NEARLY = 1e-6  # values are kept to six places


@dataclass(frozen=True, repr=False)
class Audit:
    """What a battery found in one model, and all that is needed to repeat it.

    ``findings``: a ``Finding`` for each number. ``missing``: what was not asked, group by group.
    ``stimuli``: a hash of each question's sentences. ``mitigation``: None, or what changed with it.
    ``permutations`` and ``resamples``: how many rearrangements stand behind a p value where not all
    were counted, and how many redraws behind an interval.
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
        """Return the names of the findings that chance hardly explains."""
        return [finding.name for finding in self.findings if finding.alarm]

    def __getitem__(self, name: str) -> Finding:
        """Return the finding of this name. Raises ``KeyError``, naming those there are."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(f"{name!r} is none of {', '.join(f.name for f in self.findings)}")

    def table(self) -> pd.DataFrame:
        """Return the findings as a DataFrame, a row each, with all their numbers."""
        import pandas as pd

        columns = ["value", "low", "high", "p_value", "p_holm", "by_chance", "n", "unit"]
        rows = [[getattr(finding, column) for column in columns] for finding in self.findings]
        names = pd.Index([finding.name for finding in self.findings], name="question")
        return pd.DataFrame(rows, names, columns)

    def compare(self, previous: Audit) -> pd.DataFrame:
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

    def gate(self, thresholds: Mapping[str, float] | str | Path | None = None) -> Verdict:
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

    def save(self, path: str | Path) -> Path:
        """Write the audit to ``path`` as JSON, whole or not at all; return the path."""
        content = {"format": _FORMAT, **asdict(self)}
        text = json.dumps(content, ensure_ascii=True, allow_nan=False, indent=1)
        return write_text(path, text + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Audit:
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
        """Return the report as one page of HTML, with no scripts and nothing from outside."""
        from course_utils.bias.auditing.report import page

        return page(self)

    def save_html(self, path: str | Path) -> Path:
        """Write the page of ``to_html`` to ``path``, whole or not at all; return the path."""
        return write_text(path, self.to_html())

    def card_section(self) -> str:
        """Return a section for the model card, in Markdown."""
        from course_utils.bias.auditing.report import card_section

        return card_section(self)

    def __repr__(self) -> str:
        tested = sum(finding.p_holm is not None for finding in self.findings)
        return (
            f"Audit of {self.model}: {len(self.findings)} numbers, {tested} of them tested, "
            f"{len(self.alarms)} that chance hardly explains; {len(self.missing)} groups not covered"
        )


def _change(old, new):
    return {
        "old": old.value,
        "new": new.value,
        "change": rounded(new.value - old.value),
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
