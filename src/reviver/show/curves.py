"""Figures of one run, finished or not: what `reviver plot` writes beside its metrics."""

from io import BytesIO
from typing import Any, Literal

from matplotlib.figure import Figure

from reviver.data.images.image_set import from_pixels
from reviver.data.task import LOSS_NAMES
from reviver.errors import ConfigError
from reviver.figures import grid_figure, styled
from reviver.settings.validation import check
from reviver.show.gan_figures import loss_curves, score_curves
from reviver.show.lstm_figures import learning_curves
from reviver.train.gan.grids import tile
from reviver.train.gan.snapshots import read_snapshots
from reviver.train.opened import OpenedRun


def plot_run(run: OpenedRun, name: str) -> Figure:
    """Return the figure of a run called `name`, see `run_figures`; notebooks show it."""
    figures = run_figures(run)
    check("name", name, Literal[tuple(figures)])
    figure = figures[name]

    def to_png() -> bytes:
        content = BytesIO()
        with styled():
            figure.savefig(content, format="png")
        return content.getvalue()

    figure._repr_png_ = to_png  # type: ignore[attr-defined]  # matplotlib has it only for figures of pyplot
    return figure


def run_figures(run: OpenedRun) -> dict[str, Figure]:
    """Return the figures of a run by their names: `curves`, and of a GAN also `scores` and `samples` where it has them."""
    metrics = run.require_metrics()
    if run.kind == "lstm":
        try:
            task, length = run.task, metrics[-1].get("length", run.config.length)
        except ConfigError:  # a user-defined one, which nobody named: the records do not need it
            levels: tuple[Any, ...] = (None, None, "loss")
        else:
            levels = (task.chance, task.baseline(length), LOSS_NAMES[task.target])
        return {"curves": learning_curves([metrics], *levels, dropout=run.config.uses_dropout)}
    figures = {"curves": loss_curves(metrics, run.config.loss, run.config.label_smoothing)}
    if run.scores:
        figures["scores"] = score_curves(run.scores)
    if files := run.folder.snapshot_files:
        (last,) = read_snapshots(run.folder, [max(files)])
        figures["samples"] = grid_figure(tile(from_pixels(last.images)))
    return figures
