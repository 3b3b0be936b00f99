"""An audit as a page that a manager can read, and as a section of a model card.

The page is one file without scripts and without anything from outside. Every text on it, the
course's own included, goes through ``shown``: nothing in a word list or in a model's name can
become markup, turn the direction of writing, or be seen as something that it is not.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from course_utils.bias.auditing.audits import Audit

_MOST, _MOST_NOTES = 400, 4000  # characters of one text, of the notes
# Control characters, direction marks and marks of no width, halves of surrogates, line separators.
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_MARKDOWN = re.compile(r"([\\`*_\[\]|#~])")
_STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem;
  color: #1a1a1a; background: #fff }
h1 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-bottom: 1px solid #999 }
h3 { margin: 2rem 0 .3rem } p { max-width: 46rem }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 } caption { text-align: left }
th, td { border-bottom: 1px solid #ccc; padding: .3rem .6rem .3rem 0; text-align: left;
  vertical-align: top; overflow-wrap: break-word }
td.n { white-space: nowrap; font-variant-numeric: tabular-nums }
.small { color: #444; font-size: .9rem } .scroll { overflow-x: auto }
"""


def shown(text: object, *, most: int = _MOST) -> str:
    """Return a text as safe HTML: escaped, at most so many characters, hidden marks spelt out.

    >>> shown("<b>" + chr(0x202E) + "x")
    '&lt;b&gt;[U+202E]x'
    """
    return html.escape(_visible(text, most), quote=True)


def page(audit: Audit) -> str:
    """Return an ``Audit`` as one page of HTML."""
    title = f"Bias audit of {shown(audit.model)}"
    parts = [
        '<!DOCTYPE html>\n<html lang="en-GB" dir="ltr">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>",
        f"<h1>Bias audit of {_isolated(audit.model)}</h1>",
        *_summary(audit),
        *_findings(audit),
        *_mitigation(audit.mitigation, audit.findings),
        *_missing(audit),
        *_how(audit),
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def card_section(audit: Audit) -> str:
    """Return an ``Audit`` as a section of a model card, in Markdown."""
    head = (
        f"Audited {_plain(audit.date or 'on a day not stated')} with the battery "
        f"{_plain(audit.battery)} and the seed {audit.seed}: {_counted(audit)} The p values are "
        "adjusted for all tests of the battery (Holm). An association is no harm, and no alarm is "
        "no proof of fairness."
    )
    rows = [
        f"| {_plain(f.name)} | {_number(f.value)} | {_number(f.low)} to {_number(f.high)} | "
        f"{_p(f.p_holm)} | {f.n} {_plain(f.unit)} | {_plain(f.answer)} |"
        for f in audit.findings
    ]
    lines = [
        "## Bias",
        "",
        head,
        "",
        "| question | value | 95 % interval | p, adjusted | over | answer |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
    if audit.mitigation is not None:
        cost = [
            f"- {_plain(c.task)}, {_plain(c.metric)}: {c.before:.4f} before, {c.after:.4f} after, "
            f"difference {c.difference:+.4f} (95 % interval {_ends(c)})"
            for c in audit.mitigation.cost
        ]
        lines += ["", f"Mitigated with {_plain(audit.mitigation.model)}, at this cost:", "", *cost]
    lines += ["", "Not covered: " + "; ".join(_plain(name) for name in audit.missing) + "."]
    if audit.notes:
        lines += ["", f"Notes: {_plain(audit.notes, most=_MOST_NOTES)}"]
    return "\n".join(lines) + "\n"


def _summary(audit):
    yield f"<p>{shown(audit.date)}</p>" if audit.date else ""
    yield f"<p><strong>{_counted(audit)}</strong></p>"
    for finding in audit.findings:
        if finding.alarm:
            yield f"<p>{_isolated(finding.asks)} <strong>{_isolated(finding.answer)}</strong></p>"
    yield (
        "<p>What this page can say: how this model's vectors treat the words, names and sentences "
        "that were put to it, and how likely chance alone gives the same. What it cannot say: that "
        "anybody is harmed or treated fairly. That depends on the system around the model, and on "
        "people who are not among these words. Names of groups are those of the sources; a name says "
        "nothing sure about the person who bears it.</p>"
    )
    if audit.notes:
        yield f"<p>Notes: {_isolated(audit.notes, most=_MOST_NOTES)}</p>"


def _findings(audit):
    yield "<h2>What was asked, and what was found</h2>"
    groups = {}
    for finding in audit.findings:
        groups.setdefault((finding.question, finding.asks, finding.measure), []).append(finding)
    for (_, asks, measure), found in groups.items():
        yield f"<h3>{_isolated(asks)}</h3>"
        yield (
            '<div class="scroll"><table><thead><tr><th scope="col">name</th>'
            '<th scope="col">answer</th><th scope="col">value</th>'
            '<th scope="col">95&nbsp;% interval</th><th scope="col">by chance</th>'
            '<th scope="col">p, adjusted (alone)</th><th scope="col">over</th></tr></thead><tbody>'
        )
        yield from map(_row, found)
        yield "</tbody></table></div>"
        yield f"<p>What it does not show: {shown(found[0].not_shown)}</p>"
        labels = ", ".join(_isolated(g) for g in dict.fromkeys(g for f in found for g in f.groups))
        yield (
            f'<p class="small">Measure: {_isolated(measure)}. Groups and sets: {labels}. '
            f"Sources: {_isolated(found[0].sources)}.</p>"
        )


def _row(finding):
    chance = "" if finding.by_chance is None else _number(finding.by_chance)
    alone = "" if finding.p_value is None else f" ({_p(finding.p_value)})"
    return (
        f'<tr><th scope="row">{shown(finding.name)}</th><td>{shown(finding.answer)}</td>'
        f'<td class="n">{_number(finding.value)}</td>'
        f'<td class="n">{_number(finding.low)} to {_number(finding.high)}</td>'
        f'<td class="n">{chance}</td><td class="n">{_p(finding.p_holm)}{alone}</td>'
        f"<td>{finding.n} {shown(finding.unit)}</td></tr>"
    )


def _mitigation(mitigation, before):
    if mitigation is None:
        yield "<h2>Mitigation</h2>\n<p>None was audited.</p>"
        return
    yield f"<h2>After mitigation: {_isolated(mitigation.model)}</h2>"
    yield (
        '<div class="scroll"><table><thead><tr><th scope="col">name</th><th scope="col">before</th>'
        '<th scope="col">after</th><th scope="col">95&nbsp;% interval after</th>'
        '<th scope="col">p after, adjusted</th><th scope="col">words it was fitted on</th></tr>'
        "</thead><tbody>"
    )
    for old, new in zip(before, mitigation.findings, strict=True):
        seen = mitigation.seen.get(new.question)
        yield (
            f'<tr><th scope="row">{shown(new.name)}</th><td class="n">{_number(old.value)}</td>'
            f'<td class="n">{_number(new.value)}</td>'
            f'<td class="n">{_number(new.low)} to {_number(new.high)}</td>'
            f'<td class="n">{_p(new.p_holm)}</td>'
            f"<td>{'not stated' if seen is None else seen}</td></tr>"
        )
    yield "</tbody></table></div>"
    yield (
        "<p>A word that a mitigation was fitted on is no fair judge of it. A measure that falls to "
        "nothing says that this measure finds nothing; what was removed along one direction can often "
        "be found again by another.</p>"
    )
    yield "<h3>What it costs</h3>"
    if not mitigation.cost:
        yield "<p>Not measured.</p>"
        return
    yield (
        '<div class="scroll"><table><thead><tr><th scope="col">task</th><th scope="col">measure</th>'
        '<th scope="col">before</th><th scope="col">after</th><th scope="col">difference</th>'
        '<th scope="col">95&nbsp;% interval</th><th scope="col">p</th><th scope="col">over</th></tr>'
        "</thead><tbody>"
    )
    for cost in mitigation.cost:
        yield (
            f'<tr><th scope="row">{shown(cost.task)}</th><td>{shown(cost.metric)}</td>'
            f'<td class="n">{cost.before:.4f}</td><td class="n">{cost.after:.4f}</td>'
            f'<td class="n">{cost.difference:+.4f}</td>'
            f'<td class="n">{_ends(cost)}</td>'
            f'<td class="n">{_p(cost.p_value)}</td><td class="n">{cost.n:,}</td></tr>'
        )
    yield "</tbody></table></div>"


def _missing(audit):
    yield "<h2>What was not asked</h2>"
    yield "<p>Nothing on this page speaks for the following groups and questions.</p>\n<ul>"
    for name, why in audit.missing.items():
        yield f"<li><strong>{shown(name)}</strong>: {shown(why)}</li>"
    yield "</ul>"


def _how(audit):
    versions = ", ".join(f"{shown(name)} {shown(v)}" for name, v in audit.versions.items())
    yield "<h2>How to repeat it</h2>"
    yield (
        f"<p>Battery {shown(audit.battery)}, seed {audit.seed}, {audit.permutations:,} permutations "
        f"where not all were counted, {audit.resamples:,} redraws an interval. Fingerprint of the "
        f"model: {shown(audit.fingerprint or 'none')}. Versions: {versions or 'not stated'}.</p>"
    )
    yield '<table><thead><tr><th scope="col">question</th><th scope="col">hash of its sentences</th>'
    yield "</tr></thead><tbody>"
    for name, digest in audit.stimuli.items():
        yield f'<tr><th scope="row">{shown(name)}</th><td>{shown(digest)}</td></tr>'
    yield "</tbody></table>"


def _counted(audit):
    tested = sum(finding.p_holm is not None for finding in audit.findings)
    return (
        f"{len(audit.findings)} numbers, {tested} of them tested: {len(audit.alarms)} that chance "
        f"hardly explains. {len(audit.missing)} groups or questions were left out."
    )


def _number(value):
    return f"{value:+.3f}".replace("-", "−") if abs(value) >= 0.01 else _small(value)


def _ends(cost):
    return "none" if cost.low is None else f"{cost.low:+.4f} to {cost.high:+.4f}"


def _small(value):
    return "0" if value == 0 else f"{value:+.2g}".replace("-", "−")


def _p(value):
    if value is None:
        return "not tested"
    return f"{value:.3f}" if value >= 0.001 else "below 0.001"


def _visible(text, most=_MOST):
    """Return at most so many characters, with those that cannot be seen written as [U+202E]."""
    text = str(text)
    cut = text[:most] + "…" if len(text) > most else text
    cut = cut.replace("\n", " ").replace("\t", " ")
    return "".join(
        f"[U+{ord(character):04X}]" if unicodedata.category(character) in _HIDDEN else character
        for character in cut
    )


def _isolated(text, *, most=_MOST):
    """Return ``shown`` so that letters from right to left do not move what stands beside."""
    return f"<bdi>{shown(text, most=most)}</bdi>"


def _plain(text, *, most=_MOST):
    """Return a text that is one line of Markdown and nothing but text."""
    escaped = html.escape(_visible(text, most), quote=False)
    return _MARKDOWN.sub(r"\\\1", escaped)
