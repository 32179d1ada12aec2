"""Options that several commands share, and the output of their results."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from reviver.cli.grouping import COMMON, FIGURE, RUN
from reviver.settings.fields import Positive, Seed, Text

if TYPE_CHECKING:
    from reviver.runs.folder import RunFolder
    from reviver.train.gan.run import GANRun
    from reviver.train.lstm.run import LSTMRun

FLAG = Parameter(negative="", show_default=False)
"""Parameter of a flag that is off by default and has no --no- form."""


@dataclass(frozen=True, kw_only=True)
class Common:
    """Options of every command."""

    device: Annotated[Text, COMMON] = "auto"
    """Device: auto, cpu, cuda, cuda:0 or mps."""
    json: Annotated[bool, COMMON, FLAG] = False
    """Print the result as JSON on stdout."""
    quiet: Annotated[bool, COMMON, FLAG] = False
    """Hide progress bars and log messages."""
    debug: Annotated[bool, COMMON, FLAG] = False
    """Print the traceback of an error."""

    def show(self, result: Mapping[str, Any], *lines: str) -> None:
        """Print the result of a command on stdout: as JSON with --json, otherwise `lines`."""
        print(json.dumps(result, allow_nan=False) if self.json else "\n".join(line.rstrip() for line in lines))


@dataclass(frozen=True, kw_only=True)
class FigureCommon(Common):
    """Options of the commands that write figures; `app.run` applies them."""

    figure_width: Annotated[Positive | None, FIGURE] = None
    """Width of figures in inches; by default 6.3 or less, for a page."""
    font_size: Annotated[Positive | None, FIGURE] = None
    """Font size of figures in points; by default 9."""
    dark: Annotated[bool, FIGURE, FLAG] = False
    """Plot figures on a dark background."""

    def figure_style(self) -> AbstractContextManager[None]:
        """Return a context in which figures have this style."""
        if (self.figure_width, self.font_size, self.dark) == (None, None, False):
            return nullcontext()
        from reviver.figures import figure_style

        return figure_style(width=self.figure_width, font_size=self.font_size, dark=self.dark)


CommonOptions = Annotated[Common, Parameter(name="*")]
DEFAULTS = Common()
FigureOptions = Annotated[FigureCommon, Parameter(name="*")]
FIGURE_DEFAULTS = FigureCommon()
LSTMRunPath = Annotated[Text, Parameter(name="RUN", help="Run folder of a trained LSTM.")]
GANRunPath = Annotated[Text, Parameter(name="RUN", help="Run folder of a trained GAN.")]
ConfigPath = Annotated[Text | None, RUN, Parameter(help="Settings file, .toml or .json.")]
NewRunPath = Annotated[Text | None, RUN, Parameter(help="Run folder to write; by default a new one in runs/.")]
Resume = Annotated[bool, RUN, FLAG, Parameter(help="Resume the interrupted run in --out.")]
Timeout = Annotated[
    Positive,
    RUN,
    Parameter(help="Seconds that a process waits for the others, of several that torchrun has started."),
]
PrintConfig = Annotated[bool, RUN, FLAG, Parameter(help="Print the settings as TOML instead of training.")]
FigurePath = Annotated[Text, Parameter(help="Figure to write, .pdf, .png or .svg.")]
Checkpoint = Annotated[
    Literal["last", "best"] | None,
    Parameter(
        help="Checkpoint to load: last, or best by validation; by default best for a run with early stopping, else last."
    ),
]
LatentSeed = Annotated[Seed | None, Parameter(help="Seed of the latent vectors; by default that of the run.")]
FeatureExtractor = Annotated[
    Text | None,
    Parameter(
        help="Feature extractor from reviver gan train-extractor; by default that of the run, or the digit classifier for "
        "MNIST."
    ),
]


def open_lstm(run: str, checkpoint: str | None, device: str) -> "LSTMRun":
    """Load the run of an `lstm` command.

    Raises:
        RunFolderError: if the folder holds no LSTM run, or is damaged.
        DeviceError: if the device is unknown or absent.
    """
    from reviver.runs.folder import RunFolder
    from reviver.train.lstm.run import load_lstm

    return load_lstm(RunFolder.open(run, "lstm"), checkpoint, device)


def open_gan(run: str, device: str, seed: int | None) -> tuple["GANRun", int]:
    """Load the run of a `gan` command; return it with `seed`, by default that of the run.

    Raises:
        RunFolderError: if the folder holds no GAN run, or is damaged.
        DeviceError: if the device is unknown or absent.
    """
    from reviver.runs.folder import RunFolder
    from reviver.train.gan.run import load_gan

    loaded = load_gan(RunFolder.open(run, "gan"), device=device)
    return loaded, loaded.config.seed if seed is None else seed


def describe_rollbacks(folder: "RunFolder") -> list[str]:
    """Return a line for each return to a checkpoint after a value that was not finite."""
    return [
        f"  step {rollback['step']}: {rollback['quantity']} was not finite; returned to step {rollback['back_to']} with half "
        "the learning rate"
        for rollback in folder.rollbacks
    ]
