"""Runs as Python sees them: train a network, or open a run folder, and look at its settings, records and networks."""

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, TypeVar, Unpack, cast, get_type_hints, overload

import numpy as np
from pydantic import Field
from torch import nn

from reviver.errors import ReviverError
from reviver.explorer.page import Page, build_page
from reviver.recurrent.grammar import Cell
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.settings.keywords import GANKeywords, LSTMKeywords
from reviver.settings.lstm import LSTMConfig
from reviver.settings.parts import Parts
from reviver.settings.presets import GAN_PRESETS, LSTM_PRESETS
from reviver.settings.tasks import TaskDefinition
from reviver.settings.validation import check, refuse
from reviver.text import short_repr
from reviver.train.gan.training import train as run_gan
from reviver.train.lstm import evaluation
from reviver.train.lstm.training import train as run_lstm
from reviver.train.opened import OpenedRun
from reviver.train.start import find_start

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Function = TypeVar("Function", bound=Callable[..., Any])
AnyCell = str | Path | Cell | type | nn.Module
AnyTask = str | type | TaskDefinition
Networks = str | Path | tuple[type | nn.Module, type | nn.Module]


class Run(OpenedRun):
    """A run folder, opened; `load` opens one with its networks. `LSTMRun` and `GANRun` are the two kinds."""

    def plot(self, name: str = "curves") -> "Figure":
        """Return a figure of the run, which a notebook shows: `curves`, or of a GAN also `scores` or `samples`.

        Another name is a ConfigError, a run without metrics yet a RunFolderError.
        """
        from reviver.show.curves import plot_run  # needs matplotlib

        return plot_run(self, name)

    def explore(self, **options: Any) -> Page:
        """Return the explorer of the run, which a notebook shows; see `reviver.explore`."""
        return explore(self, **options)


class LSTMRun(Run):
    """The run of an LSTM."""

    kind = "lstm"
    config: LSTMConfig

    def evaluate(self, length: int | None = None, size: int | None = None) -> evaluation.Evaluation:
        """Measure loss and accuracy on sequences that the network was not trained on.

        Args:
            length: length T; by default that of the run.
            size: number of fresh sequences; by default 10 000, but at most 100 million steps.

        Raises:
            ConfigError: if the task does not have this length, or `size` is out of range.
        """
        values = [value.item() if isinstance(value, np.generic) else value for value in (length, size)]
        return evaluation.evaluate(self.network, self.task, values[0] or self.config.length, values[1])

    def predict(self, digits: str | Sequence[int]) -> evaluation.Prediction:
        """Predict the digit after `digits` of a palindrome, such as `"1 2 3 2"` or `[1, 2, 3, 2]`.

        Raises:
            ConfigError: if the task is not `palindrome`.
            DataError: if there is no digit, or one is not from 0 to 9.
        """
        return evaluation.predict(self.network, self.config, digits)


class GANRun(Run):
    """The run of a GAN."""

    kind = "gan"
    config: GANConfig


KINDS: dict[str, type[LSTMRun | GANRun]] = {"lstm": LSTMRun, "gan": GANRun}


def open_run(path: str | Path, **options: Any) -> LSTMRun | GANRun:
    """Open a run of either kind, without its networks; `options` are those of `Run`."""
    folder = RunFolder.open(path)
    return KINDS[folder.kind](folder, **options)


class Opening(TypedDict, total=False):
    """Arguments of `load`."""

    checkpoint: str | None
    device: str
    cell: AnyCell | None
    task: AnyTask | None
    networks: Networks | None


@overload
def load(path: str | Path, kind: None = None, **opening: Unpack[Opening]) -> LSTMRun | GANRun: ...
@overload
def load(path: str | Path, kind: Literal["lstm"], **opening: Unpack[Opening]) -> LSTMRun: ...
@overload
def load(path: str | Path, kind: Literal["gan"], **opening: Unpack[Opening]) -> GANRun: ...
def load(
    path: str | Path,
    kind: Literal["lstm", "gan"] | None = None,
    *,
    checkpoint: str | None = None,
    device: str = "cpu",
    cell: AnyCell | None = None,
    task: AnyTask | None = None,
    networks: Networks | None = None,
) -> LSTMRun | GANRun:
    """Return the run in the folder at `path` with its settings and trained networks in eval mode.

    Args:
        path: run folder.
        kind: kind of the run, `lstm` or `gan`; None for either.
        checkpoint: see `Run`.
        device: see `Run`.
        cell: user-defined cell of the run: the class, an instance, or a reference such as `my_cell.py:Mine`. No code comes out
            of the folder.
        task: user-defined task of the run, likewise.
        networks: file of the user-defined networks of the run, or both classes or instances.

    Raises:
        RunFolderError: if the folder is missing, damaged or written by a newer version, or has no such checkpoint.
        ConfigError: if `checkpoint` has another value, or a user-defined class is missing, or is another one.
        DeviceError: if the device is not available.
    """
    with speaking_python():
        folder = RunFolder.open(path, kind)
        parts = Parts.load(cell=cell, task=task, networks=networks)
        run = KINDS[folder.kind](folder, checkpoint=checkpoint, device=device, parts=parts)
        assert run.networks, "a run has networks"
    return run


def explore(
    runs: Run | str | Path | Sequence[Run | str | Path],
    *,
    training_images: int | None = None,
    with_data: bool = True,
    height: int = 720,
) -> Page:
    """Return the explorer of trained runs, to show in a notebook or to save.

    Args:
        runs: A run folder or a run, or several of them; of none, the page trains a network. Of one with a cell or networks
            of the user's own, the page has what its training recorded, and no code.
        training_images: Training images to embed for each GAN; 0 for none, by default as `reviver explore`.
        with_data: Embed real images of the GANs, and sequences of custom data; False for confidential data.
        height: Height of the frame in a notebook, in pixels.

    Raises:
        ConfigError: if an argument is out of range.
        RunFolderError: if a run folder is missing or damaged.
    """
    check("height", height, Annotated[int, Field(ge=100, le=10_000)])
    check("training_images", training_images, Annotated[int, Field(ge=0)] | None)
    listed = [runs] if isinstance(runs, Run | str | Path) else list(runs)
    opened = [run if isinstance(run, Run) else open_run(run) for run in listed]
    return build_page(opened, num_training=training_images, with_data=with_data)._replace(height=height)


def lists_settings(preset: Any) -> Callable[[Function], Function]:
    """Decorate a function so that `help` and completion list its keyword arguments `settings`, as the `preset` has them."""

    def decorate(function: Function) -> Function:
        signature, kind = inspect.signature(function), inspect.Parameter.KEYWORD_ONLY
        *named, _ = signature.parameters.values()
        listed = [
            inspect.Parameter(name, kind, default=getattr(preset, name), annotation=hint)
            for name, hint in get_type_hints(type(preset)).items()
            if name not in signature.parameters
        ]
        function.__signature__ = signature.replace(parameters=[*named, *listed])  # type: ignore[attr-defined]
        return function

    return decorate


@contextmanager
def speaking_python() -> Iterator[None]:
    """Name the options of the command line in errors inside as the arguments of a function."""
    try:
        yield
    except ReviverError as error:
        text = re.sub(r"--([a-z][a-z-]*)", lambda option: option[1].replace("-", "_"), str(error))
        error.args = (text, *error.args[1:])
        raise


def _train(
    kind: Literal["lstm", "gan"],
    preset: str,
    out: str | Path | None,
    settings: dict[str, Any],
    *,
    resume: bool,
    device: str,
    progress: bool,
) -> LSTMRun | GANRun:
    if not isinstance(out, str | Path | None):
        refuse("out", f"must be a folder, got {short_repr(out)}")
    train: Any = run_lstm if kind == "lstm" else run_gan
    changes = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in settings.items()
        if value is not None or name not in ("cell", "task", "loss", "networks")
    }
    path = None if out is None else str(out)
    with speaking_python(), ExitStack() as stack:
        config, path, parts = find_start(kind, preset, changes, path, resume=resume)
        if progress:
            from reviver.progress import logging_lines  # of the extra train

            stack.enter_context(logging_lines())
        train(config, path, parts=parts, device=device, resume=resume, progress=progress)
        run = KINDS[kind](path, parts=parts)
        assert run.networks, "a run has networks"
    return run


@lists_settings(LSTM_PRESETS["original"])
def train_lstm(
    out: str | Path | None = None,
    preset: str = "original",
    cell: AnyCell | None = None,
    task: AnyTask | None = None,
    *,
    resume: bool = False,
    device: str = "auto",
    progress: bool = True,
    **settings: Unpack[LSTMKeywords],
) -> LSTMRun:
    """Train an LSTM on a memory task or on your own sequences, and return the run.

        run = reviver.train_lstm(length=9, encoding="onehot", epochs=10)
        run.table()["validation_accuracy"], run.plot(), run.network

    Args:
        out: run folder, which must not exist unless `resume`; None for a new one in runs/, named after the settings.
        preset: named settings to start from, see `reviver lstm train --help`.
        cell: a built-in cell such as `gru`, equations as a text, a file such as `mine.cell`, or a `Cell`; or a class of your
            own, or an instance: a template, of which each layer begins as a copy with its weights, so its sizes must fit and
            `seed` does not change it. None for that of the preset.
        task: task, such as `palindrome`, or a class or an instance of your own, such as `Sum(base=3)`; None for that of the
            preset, or `custom` with `data`. Who opens the run names cell and task again, instances with equal arguments.
        resume: go on with an interrupted run.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        progress: show a line of progress, also in a notebook.
        **settings: settings that change the preset, such as `learning_rate=3e-3`: those of `reviver lstm train`.

    Raises:
        ConfigError, DataError, DeviceError, RunFolderError: before anything is written.
        DivergenceError: if a loss is not finite.
        Interrupted: after an interrupt, once the state is saved; `resume` goes on.
    """
    changes = {"cell": cell.text if isinstance(cell, Cell) else cell, "task": task, **settings}
    return cast("LSTMRun", _train("lstm", preset, out, changes, resume=resume, device=device, progress=progress))


@lists_settings(GAN_PRESETS["best"])
def train_gan(
    out: str | Path | None = None,
    preset: str = "best",
    loss: str | type | object | None = None,
    networks: Networks | None = None,
    *,
    resume: bool = False,
    device: str = "auto",
    progress: bool = True,
    **settings: Unpack[GANKeywords],
) -> GANRun:
    """Train a GAN on MNIST or on your own images, and return the run.

        run = reviver.train_gan(data="photos/", image_size=32, epochs=50)
        run.table()["generator_loss"], run.plot("samples"), run.generator

    Args:
        out: run folder, see `train_lstm`.
        preset: named settings to start from, see `reviver gan train --help`.
        loss: loss of both networks, such as `hinge`, or a class or an instance of your own; None for that of the preset.
        networks: file with the classes `Generator` and `Discriminator` of your own, or a pair of classes or of instances, of
            which the run trains copies: their sizes must fit `latent_size` and the images.
        resume: go on with an interrupted run.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        progress: show a line of progress, also in a notebook.
        **settings: settings that change the preset, such as `epochs=50`: those of `reviver gan train`.

    Raises:
        Errors as `train_lstm`.
    """
    changes = {"loss": loss, "networks": networks, **settings}
    return cast("GANRun", _train("gan", preset, out, changes, resume=resume, device=device, progress=progress))
