"""The figures of the report, saved in one folder as files of several formats."""

import shutil
from pathlib import Path

from matplotlib.figure import Figure

from reviver.figures import save_figure
from reviver.gan.figures import interpolation_strip, loss_curves, score_curves, sheet_figure
from reviver.gan.grids import read_grid
from reviver.lstm.figures import learning_curves
from reviver.report.evidence import GANEvidence, LSTMEvidence
from reviver.report.structure import gan_networks, lstm_cell, unrolled
from reviver.runs.files import replacing

CELL, UNROLLED, NETWORKS = "structure-lstm-cell", "structure-lstm-unrolled", "structure-gan"
CURVES, LOSSES, SCORES = "figure-1-learning-curves", "gan-losses", "gan-scores"
GRIDS = ("figure-2-start", "figure-3-middle", "figure-4-end")
INTERPOLATION, ANIMATION = "interpolation", "training"


def save_pictures(folder: Path, lstm: LSTMEvidence, gan: GANEvidence) -> None:
    """Draw all figures and save them in `folder`."""
    network = lstm.network
    _save(lstm_cell(network), folder / CELL)
    _save(unrolled(network, lstm.example), folder / UNROLLED)
    _save(gan_networks(gan.run.generator, gan.run.discriminator), folder / NETWORKS)
    _save(learning_curves(lstm.metrics), folder / CURVES)
    _save(loss_curves(gan.metrics), folder / LOSSES)
    if gan.scores:
        _save(score_curves(gan.scores, [problem is not None for problem in gan.collapses]), folder / SCORES)
    _save(interpolation_strip(gan.walk.images, _walk_labels(gan)), folder / INTERPOLATION)
    for name, (_, path) in zip(GRIDS, gan.grids, strict=True):
        save_figure(sheet_figure(read_grid(path)), folder / f"{name}.pdf")
        _copy(path, folder / f"{name}.png")
    _copy(gan.run.folder.samples / "training.gif", folder / f"{ANIMATION}.gif")


def _walk_labels(gan: GANEvidence) -> list[str] | None:
    walk = gan.walk
    if walk.digits is None or walk.confidences is None:
        return None
    return [f"{digit}\n{sure:.0%}" for digit, sure in zip(walk.digits, walk.confidences, strict=True)]


def _save(figure: Figure, stem: Path) -> None:
    for ending in ("pdf", "svg", "png"):
        save_figure(figure, stem.with_name(f"{stem.name}.{ending}"))


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
