"""Training by one function: `reviver.train_lstm` and `reviver.train_gan`."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, Unpack, get_type_hints

from torch import nn

from reviver.runs.folder import RunFolder
from reviver.settings.gan_presets import PRESETS as GAN_PRESETS
from reviver.settings.keywords import GANKeywords, LSTMKeywords
from reviver.settings.lstm_presets import PRESETS as LSTM_PRESETS
from reviver.settings.tasks import TaskDefinition
from reviver.train.gan.run import GANRun, load_gan
from reviver.train.gan.training import train as run_gan
from reviver.train.lstm.run import LSTMRun, load_lstm
from reviver.train.lstm.training import train as run_lstm
from reviver.train.start import find_start

Function = TypeVar("Function", bound=Callable[..., Any])


def lists_settings(preset: Any) -> Callable[[Function], Function]:
    """Decorate a function so that `help` and completion list its keyword arguments `settings`, as the `preset` has them."""

    def decorate(function: Function) -> Function:
        hints, signature = get_type_hints(type(preset)), inspect.signature(function)
        *named, _ = signature.parameters.values()
        known = {parameter.name for parameter in named}
        listed = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=getattr(preset, field.name),
                annotation=hints[field.name],
            )
            for field in fields(preset)
            if field.name not in known
        ]
        function.__signature__ = signature.replace(parameters=[*named, *listed])  # type: ignore[attr-defined]
        return function

    return decorate


@lists_settings(LSTM_PRESETS["original"])
def train_lstm(
    out: str | Path | None = None,
    preset: str = "original",
    cell: str | type | nn.Module | None = None,
    task: str | type | TaskDefinition | None = None,
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
        cell: `lstm`, `rnn`, `gru`, a class of your own, or an instance: a template, of which each layer begins as a copy with
            its weights, so its sizes must fit and `seed` does not change it. None for that of the preset.
        task: task, such as `palindrome`, or a class or an instance of your own, such as `Sum(base=3)`; None for that of the
            preset, or `custom` with `data`. Who opens the run gives cell and task again, instances with equal arguments.
        resume: go on with an interrupted run.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        progress: show a line of progress, also in a notebook.
        **settings: settings that change the preset, such as `learning_rate=3e-3`: those of `reviver lstm train`.

    Raises:
        ConfigError, DataError, DeviceError, RunFolderError: before anything is written.
        DivergenceError: if a loss is not finite.
        Interrupted: after an interrupt, once the state is saved; `resume` goes on.
    """
    own = {"cell": cell, "task": task}
    given: dict[str, Any] = {name: value for name, value in own.items() if value is not None} | dict(settings)
    config, path, parts = find_start(
        "lstm", LSTM_PRESETS, preset, given, None if out is None else str(out), resume=resume
    )
    run_lstm(config, path, parts=parts, device=device, resume=resume, progress=progress)
    return load_lstm(RunFolder.open(path, "lstm"), cell=cell, task=task)


@lists_settings(GAN_PRESETS["best"])
def train_gan(
    out: str | Path | None = None,
    preset: str = "best",
    loss: str | type | object | None = None,
    networks: str | Path | tuple[type | nn.Module, type | nn.Module] | None = None,
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
    own = {"loss": loss, "networks": networks}
    given: dict[str, Any] = {name: value for name, value in own.items() if value is not None} | dict(settings)
    config, path, parts = find_start(
        "gan", GAN_PRESETS, preset, given, None if out is None else str(out), resume=resume
    )
    run_gan(config, path, parts=parts, device=device, resume=resume, progress=progress)
    return load_gan(RunFolder.open(path, "gan"), networks=networks)
