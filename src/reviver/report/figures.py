"""The figures of the report, saved in one folder as files of several formats."""

import shutil
from pathlib import Path

from matplotlib.figure import Figure

from reviver.figures import save_figure
from reviver.gan.figures import interpolation_strip, loss_curves, score_curves, sheet_figure
from reviver.gan.image_files import read_pixels
from reviver.lstm.figures import learning_curves
from reviver.report.results import GANResults, LSTMResults
from reviver.report.structure import gan_networks, lstm_cell, unrolled
from reviver.runs.files import replacing

GRIDS = ("figure-2-start", "figure-3-middle", "figure-4-end")


def save_figures(folder: Path, lstm: LSTMResults, gan: GANResults) -> None:
    """Draw all figures and save them in `folder`."""
    drawings = {
        "structure-lstm-cell": lstm_cell(lstm.network),
        "structure-lstm-unrolled": unrolled(lstm.network, lstm.example),
        "structure-gan": gan_networks(gan.run.generator, gan.run.discriminator),
        "figure-1-learning-curves": learning_curves(lstm.metrics),
        "gan-losses": loss_curves(gan.metrics),
        "interpolation": _interpolation(gan),
    }
    if gan.scores:
        drawings["gan-scores"] = score_curves(gan.scores, [problem is not None for problem in gan.collapses])
    for name, figure in drawings.items():
        for suffix in ("pdf", "svg", "png"):
            save_figure(figure, folder / f"{name}.{suffix}")
    for name, grid in zip(GRIDS, gan.grids, strict=True):
        save_figure(sheet_figure(read_pixels(grid.path)), folder / f"{name}.pdf")
        _copy(grid.path, folder / f"{name}.png")
    _copy(gan.run.folder.samples / "training.gif", folder / "training.gif")


def _interpolation(gan: GANResults) -> Figure:
    walk, labels = gan.walk, None
    if walk.digits is not None and walk.confidences is not None:
        labels = [f"{digit}\n{sure:.0%}" for digit, sure in zip(walk.digits, walk.confidences, strict=True)]
    return interpolation_strip(walk.images, labels)


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
