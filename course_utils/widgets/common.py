"""What all widgets share: safe text, a labelled box, redrawing on change, readable colours.

Only ipywidgets' core controls are used, with what versions 7.7 and 8 have in common. Texts shown in
HTML pass through ``escape``; nothing else may put a learner's or a library's text into a page.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from course_utils.models.files import require
from course_utils.plots.svg import escape

if TYPE_CHECKING:
    from ipywidgets import VBox

__all__ = [
    "bar",
    "contrast",
    "controls",
    "duration",
    "escape",
    "highlight",
    "labelled",
    "paragraph",
    "redraw_on_change",
    "region",
    "shade",
]

BLUE = "#0072B2"
_LIGHT, _DARK = (0xF2, 0xF6, 0xFC), (0x08, 0x30, 0x6B)


def controls() -> Any:
    """Return the module ``ipywidgets``.

    Raises ``ImportError`` with the line to type where it is not installed.
    """
    return require("ipywidgets", "course", "A widget")


def highlight(text: str, query: str) -> str:
    """Return the text escaped, with every word of the query that has three letters or more marked.

    >>> highlight("Sort <rows> of a table", "sort of rows").count("<mark")
    2
    """
    words = {word for word in re.findall(r"\w+", query) if len(word) >= 3}
    if not words:
        return escape(text)
    either = "|".join(re.escape(word) for word in sorted(words))
    # Split before escaping: a query such as "quot" must not match inside an entity.
    parts = re.split(rf"\b({either})\b", str(text), flags=re.IGNORECASE)
    marked = '<mark style="background:#F0E442;color:#000">{}</mark>'
    return "".join(
        marked.format(escape(part)) if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def labelled(title: str, look_for: str, **parts: Any) -> VBox:
    """Return a box with a heading, a sentence on what to look for, and the parts below each other.

    ``parts`` are the widgets by name, in the order they stand; each is an attribute of the box, so
    that code can move a control (``box.k.value = 3``) and read a result (``box.results.value``).
    """
    ipywidgets = controls()
    heading = ipywidgets.HTML(
        f'<div style="line-height:1.4"><strong>{escape(title)}</strong><br>{escape(look_for)}</div>'
    )
    box = ipywidgets.VBox([heading, *parts.values()])
    for name, part in parts.items():
        setattr(box, name, part)
    return box


def redraw_on_change(redraw: Callable[[], None], *parts: Any) -> None:
    """Call ``redraw`` once now and again whenever a control changes; its errors are not caught."""
    for control in parts:
        control.observe(lambda change: redraw(), names="value")
    redraw()


def region(name: str, html: str) -> str:
    """Return the HTML as a part of the page that a screen reader can name and hears change."""
    return (
        f'<div role="region" aria-live="polite" aria-label="{escape(name)}" '
        f'style="line-height:1.45">{html}</div>'
    )


def paragraph(text: object) -> str:
    """Return one paragraph that holds the text, escaped.

    >>> paragraph("a < b")
    '<p style="margin:.3em 0">a &lt; b</p>'
    """
    return f'<p style="margin:.3em 0">{escape(text)}</p>'


def bar(share: float, *, width: int = 90) -> str:
    """Return a bar filled to this share of its width; decoration only, so print the number too."""
    filled = round(width * min(max(float(share), 0.0), 1.0))
    return (
        f'<span aria-hidden="true" style="display:inline-block;width:{width}px;height:.7em;'
        'border:1px solid currentColor;vertical-align:baseline">'
        f'<span style="display:block;width:{filled}px;height:100%;background:{BLUE}"></span></span>'
    )


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it: seconds, minutes or hours.

    >>> duration(8.2), duration(600), duration(36_000)
    ('8.2 s', '10 min', '10.0 h')
    """
    if seconds < 90:
        return f"{seconds:,.1f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def shade(share: float) -> tuple[str, str]:
    """Return a background from light (0) to dark blue (1) and the text colour that reads on it.

    >>> shade(0.0), shade(1.0)
    (('#f2f6fc', '#000000'), ('#08306b', '#ffffff'))
    """
    share = min(max(float(share), 0.0), 1.0)
    rgb = [round(light + share * (dark - light)) for light, dark in zip(_LIGHT, _DARK, strict=True)]
    background = "#" + "".join(f"{channel:02x}" for channel in rgb)
    text = max("#000000", "#ffffff", key=lambda colour: contrast(background, colour))
    return background, text


def contrast(one: str, other: str) -> float:
    """Return how far apart two colours are in lightness, from 1 (same) to 21 (black and white).

    ``one`` and ``other`` are written like ``#0072b2``. Text of normal size should have at least
    4.5.

    Source: WCAG 2.2, *contrast ratio*.

    >>> contrast("#000000", "#ffffff")
    21.0
    """
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
