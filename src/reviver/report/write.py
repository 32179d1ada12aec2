"""Writing the report: its figures, the results as JSON, and report.typ compiled with them to one HTML page and one PDF.

Values reach report.typ as JSON and are shown as they are: nothing in them is read as markup.
"""

import logging
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Literal, NamedTuple

import typst

from reviver.figures import save_figure
from reviver.gan.data.image_files import read_pixels
from reviver.gan.figures import grid_figure, interpolation_figure, loss_curves, score_curves
from reviver.io.atomic import atomic_write, write_json
from reviver.lstm.figures import learning_curves
from reviver.report.collect import collect, printable
from reviver.report.results import GANResults, LSTMResults
from reviver.report.structure import gan_networks, lstm_cell, unrolled

SOURCES = ("report.typ", "layout.typ", "numbers.typ", "report.css")

logger = logging.getLogger("reviver")


class ReportFiles(NamedTuple):
    """Where the report is: the page, the document, and the results that both are made from."""

    html: Path
    pdf: Path
    json: Path


def write_report(out: Path, lstm: LSTMResults, gan: GANResults) -> ReportFiles:
    """Write the figures and all files of the report into `out`."""
    written = ReportFiles(out / "report.html", out / "report.pdf", out / "report.json")
    figures = out / "figures"
    logger.info("plotting the figures into %s", figures)
    save_figures(figures, lstm, gan)
    logger.info("writing %s, report.html and report.pdf", written.json)
    write_json(written.json, printable(collect(lstm, gan).model_dump(mode="json")))
    compile_report(written.json, figures, written.html, written.pdf)
    return written


def save_figures(folder: Path, lstm: LSTMResults, gan: GANResults) -> None:
    """Plot all figures and save them in `folder`."""
    figures = {
        "structure-lstm-cell": lstm_cell(lstm.network),
        "structure-lstm-unrolled": unrolled(lstm.network, lstm.example),
        "structure-gan": gan_networks(gan.run.generator, gan.run.discriminator),
        "figure-1-learning-curves": learning_curves(lstm.metrics),
        "gan-losses": loss_curves(gan.run.metrics),
        "interpolation": interpolation_figure(gan.walk, annotate=gan.walk.classes is not None),
    }
    if gan.scores:
        figures["gan-scores"] = score_curves(gan.scores, [problem is not None for problem in gan.collapses])
    for suffix in ("pdf", "svg", "png"):
        for name, figure in figures.items():
            save_figure(figure, folder / f"{name}.{suffix}")
    copies = {"training.gif": gan.run.folder.samples / "training.gif"}
    for number, (name, grid) in enumerate(gan.grids.items(), start=2):
        save_figure(grid_figure(read_pixels(grid.path)), folder / f"figure-{number}-{name}.pdf")
        copies[f"figure-{number}-{name}.png"] = grid.path
    for target, source in copies.items():
        with atomic_write(folder / target) as temporary:
            shutil.copyfile(source, temporary)


def compile_report(results: Path, figures: Path, html: Path, pdf: Path) -> None:
    """Write the page and the PDF from report.json at `results` and the folder of the figures."""
    targets: dict[Literal["html", "pdf"], Path] = {"html": html, "pdf": pdf}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source in SOURCES:
            (folder / source).write_bytes((files("reviver.report") / source).read_bytes())
        shutil.copyfile(results, folder / "report.json")
        shutil.copytree(figures, folder / "figures")
        document = str(folder / "report.typ")
        contents = {
            path: typst.compile(document, root=name, format=kind, sys_inputs={"target": kind}, ignore_system_fonts=True)
            for kind, path in targets.items()
        }
    for path, content in contents.items():
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
