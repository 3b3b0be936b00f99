"""A still picture of a widget: what its controls and results say, for a page without a kernel.

What GitHub leaves of HTML decides the form: it drops styles and inline SVG, and keeps paragraphs,
tables and images. So a chart becomes an image with its description, and everything else is words.
"""

from __future__ import annotations

import re
from base64 import b64encode
from html import unescape
from html.parser import HTMLParser
from numbers import Integral, Real
from typing import Any

from course_utils.widgets.common import controls, escape

_CAPTION = "As it stood when this page was saved; run the cell to move it."
_MOST_SVG = 60_000  # characters: a chart of every widget fits, a map of 1,500 texts does not
_MOST_OPTIONS = 30
_SVG = re.compile(r"<svg\b[^>]*>.*?</svg>", re.S)
_LABEL = re.compile(r'<svg\b[^>]*?\baria-label="([^"]*)"')
_RUNS_OR_RESTYLES = re.compile(r"<(script|style)\b.*?</\1\s*>", re.S | re.I)
_BUTTON = '<kbd style="border:1px solid #888;border-radius:3px;padding:0 .4em">{}</kbd>'
_VOID = {"br", "hr", "img", "input"}
_LINES = {"br", "div", "figcaption", "figure", "li", "ol", "p", "pre", "table", "tr", "ul"}
_VIEW = "application/vnd.jupyter.widget-view+json"


class Still:
    """What a widget showed at one moment: ``html``, and ``text`` that says the same in lines.

    A notebook shows the HTML, a terminal the text.
    """

    def __init__(self, html: str, text: str, model_id: str | None = None) -> None:
        self.html, self.text = html, text
        self._model_id = model_id

    def __repr__(self):
        return self.text

    def _repr_mimebundle_(self, include=None, exclude=None):
        bundle: dict[str, Any] = {"text/plain": self.text, "text/html": self.html}
        if self._model_id is not None:
            view = {"version_major": 2, "version_minor": 0, "model_id": self._model_id}
            bundle[_VIEW] = view
        return bundle


def still(box: Any, *, live: bool = False) -> Still:
    """Return what a widget shows now as a ``Still``, which a saved notebook keeps.

    ``box`` is any widget: each control in it becomes "label: value", a list to choose from also
    what could be chosen; an ``HTML`` widget stands as it is, an ``Output`` as what it holds. Hidden
    parts, and what is typed into a password, are left out. Charts become images, and one of more
    than 60,000 characters, such as a map of many texts, its description. With ``live`` the same
    output also carries the box itself: a notebook with a kernel shows the box, a page without one
    the still. Nothing of the box changes, and later changes do not reach the still.

    Raises ``TypeError`` for what is no widget, and ``ImportError`` with the line to type where
    ipywidgets is not installed.

    >>> from course_utils.widgets.common import controls, labelled
    >>> still(labelled("How many?", "Look for more.", k=controls().IntSlider(5, description="k")))
    How many?
    Look for more.
    k: 5
    As it stood when this page was saved; run the cell to move it.
    """
    widgets = controls()
    if not isinstance(box, widgets.DOMWidget):
        raise TypeError(f"A still is made of a widget, not of a {type(box).__name__}.")
    body = _joined(_parts(box, widgets))
    titled = re.search(r"<strong>([^<]*)</strong>", body)
    title = escape(unescape(titled[1])) if titled else "Widget"
    html = (
        f'<figure role="group" aria-label="{title}" style="margin:.5em 0;padding:.3em .9em;'
        f'border-left:3px solid #888">{body}'
        f'<figcaption style="margin-top:.5em"><small>{_CAPTION}</small></figcaption></figure>'
    )
    return Still(html, _words(html), box.model_id if live else None)


def _parts(widget, widgets):
    """Yield (kind, html) of a widget and all inside it: "block", "line" or "button"."""
    if widget.layout.display == "none" or widget.layout.visibility == "hidden":
        return
    if isinstance(widget, widgets.Box):
        for child in widget.children:
            yield from _parts(child, widgets)
    elif isinstance(widget, widgets.Output):
        yield from (("block", _output(output)) for output in widget.outputs)
    elif isinstance(widget, widgets.HTML | widgets.HTMLMath):
        if widget.description:
            yield "line", f"{escape(widget.description)}:"
        yield "block", _SVG.sub(_picture, widget.value)
    elif isinstance(widget, widgets.Button):
        yield "button", _BUTTON.format(escape(widget.description))
    else:
        label = escape(getattr(widget, "description", ""))
        yield "line", f"{label}: {_value(widget, widgets)}" if label else _value(widget, widgets)


def _joined(parts):
    """Return the parts below each other; lines and buttons that follow each other in one paragraph."""
    html, last = "", "block"
    for kind, part in parts:
        if kind != last and last != "block":
            html += "</p>"
        if kind == "block":
            html += part
        elif kind == last:
            html += ("<br>" if kind == "line" else " ") + part
        else:
            html += f'<p style="margin:.4em 0">{part}'
        last = kind
    return html + ("</p>" if last != "block" else "")


def _value(widget, widgets):
    """Return what a control is set to, as HTML."""
    if isinstance(widget, widgets.Select | widgets.SelectMultiple):
        return _list_of_options(widget)
    if isinstance(widget, widgets.Password):
        return "(not shown)"
    # What is chosen from options has a label beside its value, and the label is what stands there.
    value = getattr(widget, "label" if hasattr(widget, "label") else "value", None)
    if isinstance(value, tuple):
        return " to ".join(map(_shown, value))
    return _shown(value)


def _shown(value):
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, Integral) or (isinstance(value, float) and value.is_integer()):
        text = f"{int(value):,}"
    elif isinstance(value, Real):
        text = f"{value:,.10g}"
    else:
        text = "" if value is None else str(value)
    if not text.strip():
        return "(empty)"
    lines = [f'<strong dir="auto">{escape(line)}</strong>' for line in text.split("\n")]
    return "".join(f"<br>{line}" for line in lines) if len(lines) > 1 else lines[0]


def _list_of_options(widget):
    """Return every option of a list, since their order may be the state, the chosen ones marked."""
    chosen = widget.index if isinstance(widget.index, tuple) else (widget.index,)
    labels = widget._options_labels
    lines = ""
    for place, label in enumerate(labels[:_MOST_OPTIONS]):
        text = f'<span dir="auto">{escape(label)}</span>'
        lines += f"<br><strong>{text} (chosen)</strong>" if place in chosen else f"<br>{text}"
    more = len(labels) - _MOST_OPTIONS
    return lines + (f"<br>and {more} more" if more > 0 else "")


def _output(output):
    """Return one output of a cell, which the notebook shows already, as HTML."""
    data = output.get("data", {})
    if "image/png" in data:
        said = output.get("metadata", {}).get("image/png", {}).get("alt")
        said = said or f"A picture: {data.get('text/plain', 'without a description')}"
        picture = data["image/png"].replace("\n", "")
        return f'<p><img alt="{escape(said)}" src="data:image/png;base64,{picture}"></p>'
    if "text/html" in data:
        return _SVG.sub(_picture, _RUNS_OR_RESTYLES.sub("", data["text/html"]))
    if output["output_type"] == "error":
        text = f"{output['ename']}: {output['evalue']}"
    else:
        text = output.get("text", data.get("text/plain", ""))
    return f"<pre>{escape(text)}</pre>"


def _picture(match):
    """Return a chart as an image that says what it shows; decoration, which says nothing, as it is."""
    svg, label = match[0], _LABEL.match(match[0])
    if label is None:
        return svg
    if len(svg) > _MOST_SVG:
        return f"<p>[Picture left out, it is too large to keep. {label[1]}]</p>"
    tag, inside = re.split(r"(?<=>)", svg, maxsplit=1)
    # An image does not know the page's colours: black on white is read on a dark page as well.
    paper = '<rect width="100%" height="100%" fill="#fff" stroke="none"/>'
    drawn = tag.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1) + paper + inside
    width = re.search(r'viewBox="0 0 (\d+)', tag)
    wide = f' width="{width[1]}"' if width else ""
    coded = b64encode(drawn.encode("utf-8", "replace")).decode()
    return (
        f'<img alt="{label[1]}"{wide} style="max-width:100%" '
        f'src="data:image/svg+xml;base64,{coded}">'
    )


class _Lines(HTMLParser):
    """The words of a page, a line for each row and paragraph."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.lines, self._open = [""], []

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        silent = bool(self._open and self._open[-1]) or named.get("aria-hidden") == "true"
        if tag not in _VOID:
            self._open.append(silent or tag == "svg")
        if silent:
            return
        if tag in _LINES and self.lines[-1].strip(" |"):
            self.lines.append("")
        if tag == "img":
            self.lines += [f"[{named.get('alt', '')}]", ""]
        elif tag == "li":
            self.lines[-1] += f"{named['value']}. " if "value" in named else "- "
        elif tag in ("td", "th") and self.lines[-1].strip():
            self.lines[-1] += " | "

    def handle_endtag(self, tag):
        if self._open and tag not in _VOID:
            self._open.pop()
        if tag in _LINES and self.lines[-1].strip(" |"):
            self.lines.append("")

    def handle_data(self, data):
        if not (self._open and self._open[-1]):
            self.lines[-1] += data


def _words(html):
    reader = _Lines()
    reader.feed(html)
    reader.close()
    tidy = (re.sub(r"\s+", " ", line).strip(" |") for line in reader.lines)
    return "\n".join(line for line in tidy if line)
