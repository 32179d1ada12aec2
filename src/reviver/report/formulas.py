"""Formulas for the page: written once in Typst's notation, drawn as SVG, and read aloud as plain text."""

import re
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import typst

SIZE = 11.0
"""Points of an em in the drawings."""
DEPTH = 0.32
"""Em from the baseline of a formula in a line to its lower edge."""
HEIGHT = 1.22
"""Em from the upper to the lower edge of a formula in a line."""

PAGE = """
#set page(width: auto, height: auto, margin: 0pt, fill: none)
#set text(size: {size}pt)
#set par(leading: 0.8em)
#let source = read("formula.txt")
{body}
"""
IN_LINE = '#box(width: 0pt, height: {height}em, baseline: {depth}em)#math.equation(eval(source, mode: "math"))'
DISPLAYED = '#pad(2pt, math.equation(block: true, eval(source, mode: "math")))'

SPOKEN = {
    "dot.o": "⊙",
    "sigma": "σ",
    "beta": "β",
    "tilde": "~",
    "cal(N)": "N",
    "EE": "E",
    "&": "",
    "quad": "",
    "\\": ";",
    '"': "",
}


class Drawn(NamedTuple):
    """A formula as an SVG image with its size in em."""

    svg: bytes
    width: float
    height: float


@cache
def draw_formula(math: str, *, displayed: bool) -> Drawn:
    """Draw a formula; one in a line has the height `HEIGHT`, with its baseline `DEPTH` above its lower edge."""
    body = DISPLAYED if displayed else IN_LINE.format(height=HEIGHT, depth=DEPTH)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "formula.txt").write_text(math.strip(), encoding="utf-8")
        page = Path(folder) / "formula.typ"
        page.write_text(PAGE.format(size=SIZE, body=body), encoding="utf-8")
        svg = typst.compile(str(page), root=folder, format="svg", ignore_system_fonts=True)
    assert isinstance(svg, bytes)
    box = re.search(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert box is not None
    return Drawn(svg, float(box[1]) / SIZE, float(box[2]) / SIZE)


def read_formula(math: str) -> str:
    """A formula as plain text, for who cannot see it."""
    text = math
    for mark, spoken in SPOKEN.items():
        text = text.replace(mark, spoken)
    return " ".join(text.split())
