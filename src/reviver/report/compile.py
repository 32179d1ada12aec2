"""Compiling report.typ with report.json to one HTML page and one PDF.

Values reach report.typ as JSON and are shown as they are: nothing in them is read as markup.
"""

import shutil
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Literal

import typst

from reviver.runs.files import replacing

TARGETS: tuple[Literal["html", "pdf"], ...] = ("html", "pdf")
SOURCES = ("report.typ", "layout.typ", "numbers.typ", "report.css")


def compile_report(results: Path, figures: Path, html: Path, pdf: Path) -> None:
    """Write the page and the PDF from report.json at `results` and the folder of the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source in SOURCES:
            (folder / source).write_bytes((files("reviver.report") / source).read_bytes())
        shutil.copyfile(results, folder / "report.json")
        shutil.copytree(figures, folder / "figures")
        document = str(folder / "report.typ")
        contents = [
            typst.compile(document, root=name, format=target, sys_inputs={"target": target}, ignore_system_fonts=True)
            for target in TARGETS
        ]
    for path, content in zip((html, pdf), contents, strict=True):
        with replacing(path) as temporary:
            temporary.write_bytes(content)
