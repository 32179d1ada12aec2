"""What a report consists of. Both templates render these classes, so that every sentence exists once.

Text is a tuple of spans. `prose` makes it from our own sentences; values that come from elsewhere are put in
after the marks have been read, so that nothing in them is taken for a mark.
"""

import re
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Span:
    """A piece of a line; `kind` says how it is set. The text of a `math` span is Typst's notation."""

    kind: Literal["text", "code", "strong", "math"]
    text: str


Text = tuple[Span, ...]

_MARKS = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|\$([^$]+)\$")


def prose(sentences: str, **values: str) -> Text:
    """Read a sentence of ours: `code`, **strong** and $math$; then put `values` in at {names}."""
    spans: list[Span] = []
    position = 0
    for mark in _MARKS.finditer(sentences):
        spans.append(Span("text", sentences[position : mark.start()].format(**values)))
        code, strong, math = mark.groups()
        if math is not None:
            spans.append(Span("math", math))
        elif code is not None:
            spans.append(Span("code", code.format(**values)))
        else:
            spans.append(Span("strong", strong.format(**values)))
        position = mark.end()
    spans.append(Span("text", sentences[position:].format(**values)))
    return tuple(span for span in spans if span.text)


def plain(value: object) -> Text:
    """Text without any marks."""
    return (Span("text", str(value)),)


def code(value: object) -> Text:
    """Text as it is typed or as it stands in a file."""
    return (Span("code", str(value)),)


def as_string(text: Text) -> str:
    """The text without its marks."""
    return "".join(span.text for span in text)


@dataclass(frozen=True)
class Paragraph:
    """Sentences that belong together."""

    text: Text


@dataclass(frozen=True)
class Bullets:
    """A list without an order."""

    items: tuple[Text, ...]


@dataclass(frozen=True)
class Equations:
    """Displayed formulas, in Typst's notation."""

    math: str


@dataclass(frozen=True)
class Code:
    """Commands, one a line."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """One of the main results: a number, what it is, and how far to trust it."""

    value: str
    name: str
    note: str


@dataclass(frozen=True)
class Facts:
    """The main results, side by side."""

    items: tuple[Fact, ...]


@dataclass(frozen=True)
class Figure:
    """A picture in the folder of figures.

    Attributes:
        label: such as "Figure 1".
        name: its files are NAME.pdf, NAME.svg, NAME.png, or NAME.gif for an animation.
        kind: `drawing` (lines; may be inverted on a dark screen), `pixels` or `animation` (on screens only).
        alt: what is to be seen, for who cannot see it.
        width: fraction of the line.
        floats: whether it may move to the top or the bottom of a page of the PDF.
    """

    label: str
    name: str
    kind: Literal["drawing", "pixels", "animation"]
    caption: Text
    alt: str
    width: float = 1.0
    floats: bool = True


@dataclass(frozen=True)
class FigureRow:
    """Figures beside each other."""

    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Table:
    """A table with one line of headings.

    Attributes:
        align: `l` or `r` for each column.
        widths: share of the line for each column; 0 is as wide as its content.
        is_long: may go over a page break.
    """

    label: str
    caption: Text
    header: tuple[Text, ...]
    rows: tuple[tuple[Text, ...], ...]
    align: str
    widths: tuple[float, ...]
    is_long: bool = False


Block = Paragraph | Bullets | Equations | Code | Facts | Figure | FigureRow | Table


@dataclass(frozen=True)
class Section:
    """A heading with what follows it; `level` 1 or 2."""

    number: str
    title: str
    level: int
    blocks: tuple[Block, ...]

    @property
    def anchor(self) -> str:
        """Its name in links."""
        return f"section-{self.number.replace('.', '-')}"


@dataclass(frozen=True)
class Report:
    """The whole document. `language` is a BCP 47 tag."""

    title: str
    subtitle: str
    language: str
    summary: tuple[Block, ...]
    sections: tuple[Section, ...]


def to_plain(value: Any) -> Any:
    """Turn a part of a report into what JSON holds; each object says its class as `type`."""
    if is_dataclass(value):
        parts = {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
        return {"type": type(value).__name__, **parts}
    if isinstance(value, tuple):
        return [to_plain(part) for part in value]
    return value


def find(value: Any, kind: type) -> list[Any]:
    """All objects of class `kind` in a part of a report, in the order of the document."""
    if isinstance(value, kind):
        return [value]
    if is_dataclass(value):
        return [found for field in fields(value) for found in find(getattr(value, field.name), kind)]
    if isinstance(value, tuple):
        return [found for part in value for found in find(part, kind)]
    return []
