"""From a report to its two files: one self-contained HTML page, and a PDF."""

import base64
import json
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

import typst
from jinja2 import Environment, PackageLoader, StrictUndefined

from reviver.report.formulas import DEPTH, draw_formula, read_formula
from reviver.report.model import Figure, Report, find, to_plain
from reviver.runs.files import replacing, write_text

MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".gif": "image/gif"}


def save_html(report: Report, figures: Path, path: Path) -> None:
    """Write the report as one HTML file that needs no other; `figures` is the folder of its pictures."""
    environment = Environment(
        loader=PackageLoader("reviver.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.globals.update(
        formula=draw_formula,
        formula_depth=DEPTH,
        read_formula=read_formula,
        svg_uri=lambda svg: _data_uri(svg, ".svg"),
        picture_uri=lambda figure: _picture_uri(figures, figure),
        still_uri=lambda name: _data_uri((figures / f"{name}.png").read_bytes(), ".png"),
    )
    write_text(path, environment.get_template("report.html.jinja").render(report=report))


def save_pdf(report: Report, figures: Path, path: Path) -> None:
    """Write the report as PDF; `figures` is the folder of its pictures.

    What the template gets is a JSON file: nothing in the report is read as Typst's markup.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "report.json").write_text(json.dumps(to_plain(report), ensure_ascii=False), encoding="utf-8")
        template = files("reviver.report") / "templates" / "report.typ"
        (folder / "report.typ").write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
        for figure in find(report, Figure):
            if figure.kind != "animation":
                shutil.copyfile(figures / f"{figure.name}.pdf", folder / f"{figure.name}.pdf")
        pdf = typst.compile(str(folder / "report.typ"), root=name, format="pdf", ignore_system_fonts=True)
    assert isinstance(pdf, bytes)
    with replacing(path) as temporary:
        temporary.write_bytes(pdf)


def _picture_uri(folder: Path, figure: Figure) -> str:
    endings = (".gif",) if figure.kind == "animation" else (".svg", ".png")
    path = next(folder / f"{figure.name}{ending}" for ending in endings if (folder / f"{figure.name}{ending}").exists())
    return _data_uri(path.read_bytes(), path.suffix)


def _data_uri(data: bytes, ending: str) -> str:
    return f"data:{MEDIA_TYPES[ending]};base64,{base64.b64encode(data).decode('ascii')}"
