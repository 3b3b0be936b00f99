"""HTML read as a page reads it, for whatever writes any: widgets and reports."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

HOSTILE = (
    "<script>alert(1)</script> \"double\" 'single' <b onclick=x> &amp; \u202eabc \u2066 \u200f"
)
# Marks that turn the direction of what follows them.
TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_VOID = {"br", "hr", "img", "meta"}


@dataclass
class Element:
    """One element: its tag, its attributes, and all text inside it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    parts: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """A text of HTML, or the value of a widget; fails where tags are not closed in order."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.text = [], [], ""
        self.feed(getattr(html, "value", html))
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append(Element(tag, dict(attributes)))
        if tag not in _VOID:
            self.open.append(self.elements[-1])

    def handle_startendtag(self, tag, attributes):
        self.elements.append(Element(tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag

    def handle_data(self, data):
        self.text += data
        for element in self.open:
            element.text += data
            element.parts.append(data)

    @property
    def tags(self):
        return [element.tag for element in self.elements]

    @property
    def attributes(self):
        return [pair for element in self.elements for pair in element.attributes.items()]

    def texts(self, *tags):
        """The text inside each element of these tags, in the order they begin."""
        return [element.text for element in self.elements if element.tag in tags]

    @property
    def labels(self):
        """What a screen reader calls the parts of the page."""
        return [value for name, value in self.attributes if name == "aria-label"]


def assert_safe(html):
    """No tag or handler of the hostile text's, and no mark that turns what follows it."""
    page = Page(html)
    assert not {"script", "b"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not TURNING.search(getattr(html, "value", html))
    assert "<script>alert(1)</script>" in page.text
