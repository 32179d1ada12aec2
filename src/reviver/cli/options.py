"""Options that several commands share, and how their results are printed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from reviver.config import COMMON, RUN, Seed, Text

if TYPE_CHECKING:
    from reviver.gan.run import GANRun
    from reviver.lstm.run import LSTMRun
    from reviver.runs.folder import RunFolder

FLAG = Parameter(negative="", show_default=False)
"""Of a flag that is off unless it is given."""


@dataclass(frozen=True, kw_only=True)
class Common:
    """Options of every command."""

    device: Annotated[Text, COMMON] = "auto"
    """Device: auto, cpu, cuda, cuda:0 or mps."""
    json: Annotated[bool, COMMON, FLAG] = False
    """Print the result as JSON."""
    quiet: Annotated[bool, COMMON, FLAG] = False
    """Show no progress."""
    debug: Annotated[bool, COMMON, FLAG] = False
    """Show the traceback of an error."""

    def show(self, result: Mapping[str, Any], *lines: str) -> None:
        """Print a command's result to stdout: JSON with `json`, else the lines."""
        print(json.dumps(result, allow_nan=False) if self.json else "\n".join(line.rstrip() for line in lines))


CommonOptions = Annotated[Common, Parameter(name="*")]
DEFAULTS = Common()
LSTMRunPath = Annotated[Text, Parameter(name="RUN", help="Run folder of a trained LSTM.")]
GANRunPath = Annotated[Text, Parameter(name="RUN", help="Run folder of a trained GAN.")]
ConfigPath = Annotated[Text | None, RUN, Parameter(help="File of settings, .toml or .json.")]
NewRunPath = Annotated[Text | None, RUN, Parameter(help="Run folder; by default a new one in runs/.")]
Resume = Annotated[bool, RUN, FLAG, Parameter(help="Go on with the interrupted run in --out.")]
PrintConfig = Annotated[bool, RUN, FLAG, Parameter(help="Print the settings as TOML instead of training.")]
FigurePath = Annotated[Text, Parameter(help="Figure: .pdf, .png or .svg.")]
Checkpoint = Annotated[Literal["last", "best"], Parameter(help="Weights to use: last, or best (in validation).")]
LatentSeed = Annotated[Seed | None, Parameter(help="Seed of the latent vectors; by default the run's.")]
FeatureExtractor = Annotated[
    Text | None,
    Parameter(
        help="Feature extractor, from reviver gan train-extractor; by default the run's own, or the digit classifier for MNIST."
    ),
]


def open_lstm(run: str, checkpoint: str, device: str) -> "LSTMRun":
    """Load the LSTM run of a command."""
    from reviver.lstm.run import load_lstm
    from reviver.runs.folder import RunFolder

    return load_lstm(RunFolder.open(run, "lstm"), checkpoint, device)


def open_gan(run: str, device: str, seed: int | None) -> tuple["GANRun", int]:
    """Load the GAN run of a command, and choose the seed: the one given, or else the run's."""
    from reviver.gan.run import load_gan
    from reviver.runs.folder import RunFolder

    loaded = load_gan(RunFolder.open(run, "gan"), device=device)
    return loaded, loaded.config.seed if seed is None else seed


def describe_rollbacks(folder: "RunFolder") -> list[str]:
    """Return a line for each time that the run went back to a checkpoint because something was not finite."""
    return [
        f"  step {one['step']}: {one['quantity']} was not finite; went back to step {one['back_to']} and halved the learning rate"
        for one in folder.rollbacks
    ]
