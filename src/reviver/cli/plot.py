"""`reviver plot`: plot the training of a run."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from reviver.cli import options
from reviver.settings.fields import Text


def plot(
    run: Annotated[Text, Parameter(name="RUN", help="Run folder of an LSTM or GAN, finished or not.")],
    /,
    *,
    format_: Annotated[Literal["png", "pdf", "svg"], Parameter(name="--format")] = "png",
    out: Text | None = None,
    common: options.FigureOptions = options.FIGURE_DEFAULTS,
) -> None:
    """Plot loss and accuracy of an LSTM over the epochs; of a GAN its losses, its scores and its last samples.

    Examples:
      reviver plot runs/lstm                 writes runs/lstm/curves.png
      reviver plot runs/gan                  also scores.png and samples.png
      reviver plot runs/gan --format pdf --out figures
      reviver plot runs/lstm --figure-width 10 --font-size 16 --dark   for a slide

    Args:
        format_: Format of the figures.
        out: Folder for the figures; by default that of the run.
    """
    from reviver.figures import check_figure_path, save_figure
    from reviver.show.curves import run_figures
    from reviver.train.loading import load

    folder = Path(run if out is None else out)
    check_figure_path(folder / f"curves.{format_}")
    files = []
    for name, figure in run_figures(load(run, device="cpu")).items():
        files.append(str(folder / f"{name}.{format_}"))
        save_figure(figure, Path(files[-1]))
    common.show({"run": run, "files": files}, *files)
