"""Options that several commands share, their groups in the help, and the output of results and advice."""

import contextlib
import dataclasses
import json
import logging
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts
import tomli_w
from cyclopts import Parameter

from reviver.launch import DEFAULT_TIMEOUT
from reviver.settings.fields import Positive, Seed, Text
from reviver.settings.parts import BUILT_IN, Parts
from reviver.settings.presets import PRESETS, SECONDS
from reviver.settings.validation import check, refuse
from reviver.text import duration, escape_controls

if TYPE_CHECKING:
    from reviver.run import GANRun, LSTMRun
    from reviver.runs.folder import RunFolder

_log = logging.getLogger("reviver")


RUN = Parameter(group=cyclopts.Group("Run", sort_key=0))
SETTINGS = cyclopts.Group("Settings", sort_key=1)
"""Group of the settings of a training, which the help shows by their own groups."""
FIGURE = Parameter(group=cyclopts.Group("Figure", sort_key=2))
COMMON = Parameter(group=cyclopts.Group("Common", sort_key=3))
FLATTENED = Parameter(name="*", group=SETTINGS)
"""Parameter of a dataclass of settings, each field of which is an option."""
FLAG = Parameter(negative="", show_default=False)
"""Parameter of a flag that is off by default and has no --no- form."""


@dataclasses.dataclass(frozen=True, kw_only=True)
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

    def require_cpu(self) -> None:
        """Raise ConfigError if a command that uses only the CPU is given another device."""
        check("device", self.device, Literal["auto", "cpu"])

    def show(self, result: Mapping[str, Any], *lines: str) -> dict[str, Any]:
        """Print the result of a command on stdout, as JSON with --json, otherwise `lines`, wrapped on a terminal; return it."""
        if self.json:
            print(json.dumps(result, allow_nan=False))
            return {**result}
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
        for line in (escape_controls(line.rstrip()) for line in lines):
            is_long = len(line) > width
            print(textwrap.fill(line, width, subsequent_indent="    ", break_on_hyphens=False) if is_long else line)
        return {**result}

    def suggest(self, *commands: str) -> None:
        """Log the commands that make sense next, after a training."""
        if not self.json:
            for line in ("next:", *(f"  {command}" for command in commands)):
                _log.info(line)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of a training command besides its settings."""

    config: Annotated[Text | None, RUN] = None
    """Settings file, .toml or .json."""
    out: Annotated[Text | None, RUN] = None
    """Run folder to write; by default a new one in runs/, named after preset, other settings and seed."""
    resume: Annotated[bool, RUN, FLAG] = False
    """Resume the interrupted run in --out."""
    timeout: Annotated[Positive, RUN] = DEFAULT_TIMEOUT
    """Seconds that a process waits for the others, of several that torchrun has started."""
    print_config: Annotated[bool, RUN, FLAG] = False
    """Print the settings as TOML instead of training."""
    parts: Annotated[Parts, RUN, Parameter(show=False, accepts_keys=False)] = BUILT_IN
    """User-defined classes that the settings name; `app.complete_settings` sets it."""

    def show_settings(self, settings: Any) -> None:
        """Print settings as TOML, which --config reads; TOML has no null, so settings that are None are omitted."""
        values = {name: value for name, value in dataclasses.asdict(settings).items() if value is not None}
        sys.stdout.write(tomli_w.dumps(values))

    def arguments(self, common: Common) -> dict[str, Any]:
        """Return the keyword arguments of a `train` function besides the settings."""
        where = {"out": self.out, "parts": self.parts, "resume": self.resume, "device": common.device}
        return {**where, "progress": not common.quiet, "timeout": self.timeout}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FigureCommon(Common):
    """Options of the commands that write figures; `app.run` applies them."""

    figure_width: Annotated[Positive | None, FIGURE] = None
    """Width of figures in inches; by default 6.3 or less, for a page, or what many classes or images need."""
    font_size: Annotated[Positive | None, FIGURE] = None
    """Font size of figures in points; by default 9."""
    dark: Annotated[bool, FIGURE, FLAG] = False
    """Plot figures on a dark background."""

    def figure_style(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which figures have this style."""
        if (self.figure_width, self.font_size, self.dark) == (None, None, False):
            return contextlib.nullcontext()
        from reviver.figures import figure_style

        return figure_style(width=self.figure_width, font_size=self.font_size, dark=self.dark)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnParts:
    """Classes of your own that a run was trained with, which no command takes from its folder."""

    cell: Annotated[Text | None, RUN] = None
    """Class of the cell, of a run with one of your own: my_cell.py:Mine, or module:Mine."""
    task: Annotated[Text | None, RUN] = None
    """Class of the task, likewise."""

    def load(self) -> Parts:
        """Return the classes."""
        return Parts.load(**vars(self))


OwnOptions = Annotated[OwnParts, Parameter(name="*")]
NONE_GIVEN = OwnParts()


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnyParts(OwnParts):
    """The classes of a run of any network."""

    networks: Annotated[Text | None, RUN] = None
    """File of the networks, of a GAN with networks of your own: my_gan.py."""


AnyOwnOptions = Annotated[AnyParts, Parameter(name="*")]
NO_PARTS = AnyParts()
CommonOptions = Annotated[Common, Parameter(name="*")]
DEFAULTS = Common()
FigureOptions = Annotated[FigureCommon, Parameter(name="*")]
FIGURE_DEFAULTS = FigureCommon()
NEW_RUN = TrainOptions()
RunOptions = Annotated[TrainOptions, Parameter(name="*")]
LSTMRunPath = Annotated[Text, Parameter(name="RUN", help="Run folder of a trained LSTM.")]
GANRunPath = Annotated[Text, Parameter(name="RUN", help="Run folder of a trained GAN.")]
FigurePath = Annotated[Text, Parameter(help="Figure to write, .pdf, .png or .svg.")]
Checkpoint = Annotated[
    Literal["last", "best"] | None,
    Parameter(
        help="Checkpoint: last, or best by validation; by default best for a run with early stopping, else last."
    ),
]
LatentSeed = Annotated[Seed | None, Parameter(help="Seed of the latent vectors; by default that of the run.")]
ExtractorFile = Annotated[
    Text | None,
    Parameter(
        help="Extractor from gan train-extractor; by default that of the run, or the digit classifier for MNIST."
    ),
]
OwnNetworks = Annotated[
    Text | None, Parameter(help="File of the networks, of a run with networks of your own: my_gan.py.")
]
NO_TIME = ("seed", "checkpoint_every", "keep_checkpoints", "on_nan", "max_rollbacks", "log_every", "sample_every")
"""Settings that do not change how long a training takes."""


def expect_time(kind: str, settings: Any) -> str:
    """Say how long a training will take: as long as the preset with the same settings, in proportion to the epochs."""
    given = dataclasses.asdict(settings)
    neutral = {name: value for name, value in given.items() if name in (*NO_TIME, "epochs")}
    for name, preset in PRESETS[kind].items():
        if dataclasses.replace(preset, **neutral) == settings:
            scale = 1 if given.get("curriculum") else settings.epochs / preset.epochs
            return f"this takes about {duration(SECONDS[kind][name] * scale)} on two cores"
    return "the time that is left will be shown after the first updates"


def leave_out(reason: str, **options: object) -> None:
    """Raise ConfigError if one of these options has a value, for which there is no use."""
    for name, value in options.items():
        if value is not None:
            refuse(name, f"must be left out, since {reason}")


def check_not_read(out: str, *inputs: str) -> None:
    """Raise ConfigError if `out` is one of the files that the command reads."""
    if os.path.realpath(out) in map(os.path.realpath, inputs):
        refuse("out", f"must not be a file that is read, got {out}; choose another --out")


def open_lstm(run: str, checkpoint: str | None, device: str, own: OwnParts) -> "LSTMRun":
    """Open the run of an `lstm` command."""
    from reviver.run import LSTMRun

    return LSTMRun(run, checkpoint=checkpoint, device=device, parts=own.load())


def open_gan(run: str, device: str, seed: int | None, networks: str | None) -> tuple["GANRun", int]:
    """Open the run of a `gan` command, and return it with `seed`, by default that of the run."""
    from reviver.run import GANRun

    loaded = GANRun(run, device=device, parts=Parts.load(networks=networks))
    return loaded, loaded.config.seed if seed is None else seed


def describe_rollbacks(folder: "RunFolder") -> list[str]:
    """Return a line for each return to a checkpoint after a value that was not finite."""
    text = "  step {step}: {quantity} was not finite; returned to step {back_to} with half the learning rate"
    return [text.format_map(rollback) for rollback in folder.record.get("rollbacks", ())]
