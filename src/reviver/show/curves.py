"""Figures of one run, finished or not: what `reviver plot` writes beside its metrics."""

from matplotlib.figure import Figure

from reviver.data.images.image_files import read_pixels
from reviver.data.task import LOSS_NAMES
from reviver.errors import RunFolderError
from reviver.figures import grid_figure
from reviver.show.gan_figures import loss_curves, score_curves
from reviver.show.lstm_figures import learning_curves
from reviver.train.description import Run
from reviver.train.gan.grids import find_grids
from reviver.train.lstm.run import LSTMRun


def run_figures(run: Run) -> dict[str, Figure]:
    """Return the figures of a run by their names: `curves`, and of a GAN also `scores` and `samples` where it has them."""
    metrics = run.metrics
    if not metrics:
        raise RunFolderError(f"{run.folder.records_path('metrics')} is empty; continue the run with --resume")
    if isinstance(run, LSTMRun):
        task, length = run.task, metrics[-1].get("length", run.config.length)
        return {"curves": learning_curves([metrics], task.chance, task.baseline(length), LOSS_NAMES[task.target])}
    figures = {"curves": loss_curves(metrics, run.config.loss, run.config.label_smoothing)}
    if run.scores:
        figures["scores"] = score_curves(run.scores)
    if grids := find_grids(run.folder.samples):
        figures["samples"] = grid_figure(read_pixels(grids[-1].path))
    return figures
