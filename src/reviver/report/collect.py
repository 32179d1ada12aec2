"""From what was read and measured to the keys of report.json."""

import dataclasses
import math
import shlex
from collections.abc import Mapping
from typing import Any

from torch import nn

from reviver import __version__
from reviver.gan.evaluation.digit_classifier import NUM_FEATURES
from reviver.gan.networks import Discriminator, Generator
from reviver.gan.presets import PRESETS as GAN_PRESETS
from reviver.gan.run import GANRun
from reviver.lstm.evaluation import CHANCE
from reviver.lstm.presets import PRESETS as LSTM_PRESETS
from reviver.lstm.run import LSTMRun
from reviver.lstm.tasks.palindromes import PalindromeTask
from reviver.lstm.training import build_network
from reviver.report import records
from reviver.report.comparison import GAN_EPOCHS, compare
from reviver.report.results import GANResults, LSTMResults
from reviver.report.structure import read_layers
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.environment import describe_changes
from reviver.runs.schema import Rollback
from reviver.validation import describe_fields, show_value

FINAL = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
LAST = ("generator_loss", "discriminator_loss", "probability_real", "probability_fake")


def collect(lstm: LSTMResults, gan: GANResults) -> records.Report:
    """Return all that report.json holds."""
    return records.Report(
        schema_version=records.SCHEMA_VERSION,
        reviver=__version__,
        lstm=collect_lstm(lstm),
        gan=collect_gan(gan),
        comparison=compare(lstm, gan),
    )


def collect_lstm(results: LSTMResults) -> records.LSTM:
    """Return the part about the LSTM."""
    config = results.runs[0].config
    untrained = dict(build_network(config, PalindromeTask(config)).named_parameters())
    return records.LSTM(
        runs=tuple(map(collect_run, results.runs)),
        settings=dataclasses.asdict(config) | {"seed": [run.config.seed for run in results.runs]},
        meanings=describe_fields(type(config)),
        train_sequences=len(results.split.train),
        validation_sequences=len(results.split.validation),
        chance_accuracy=CHANCE,
        chance_loss=-math.log(CHANCE),
        example=results.example,
        forget_bias=untrained["lstm.layers.0.b_f"][0].item(),
        parameters=collect_equal_parameters(results.network),
        num_parameters=sum(parameter.numel() for parameter in results.network.parameters()),
        final={name: results.final(name) for name in FINAL},
        best_validation_accuracy=results.best("validation_accuracy"),
        train_accuracy_without_dropout=records.Spread.of([score.accuracy for score in results.undropped]),
    )


def collect_gan(results: GANResults) -> records.GAN:
    """Return the part about the GAN."""
    run, walk, last = results.run, results.walk, results.run.metrics[-1]
    data = run.folder.record["data"]
    return records.GAN(
        run=collect_run(run),
        settings=dataclasses.asdict(run.config),
        meanings=describe_fields(type(run.config)),
        data=data["name"],
        images=data["num_images"],
        image_shape=run.generator.image_shape,
        script_epochs=GAN_EPOCHS,
        generator=collect_network(run.generator),
        discriminator=collect_network(run.discriminator),
        grids={name: records.Grid(epoch=grid.epoch, update=grid.update) for name, grid in results.grids.items()},
        recognition=results.recognition,
        interpolation=records.Interpolation(
            images=len(walk.images),
            digits=tuple(walk.classes) if walk.classes else None,
            confidences=tuple(walk.confidences) if walk.confidences else None,
        ),
        last={name: last[name] for name in LAST},
        scores=collect_scores(results) if results.scores else None,
    )


def collect_scores(results: GANResults) -> records.Scores:
    """Return the last scores, and where the generator had collapsed."""
    last, scored = results.scores[-1], zip(results.scores, results.collapses, strict=True)
    return records.Scores(
        **{name: last[name] for name in ("extractor", "extractor_sha256", "fid", "fid_ratio", "coverage")},
        **{f"baseline_{name}": last["real_baseline"][name] for name in ("fid", "coverage")},
        count=len(results.scores),
        samples=last["num_samples"],
        num_features=NUM_FEATURES,
        collapsed_epochs=tuple(point["epoch"] for point, problem in scored if problem is not None),
        collapse=results.collapses[-1],
    )


def collect_run(run: LSTMRun | GANRun) -> records.Run:
    """Return what is known about a finished run."""
    record = run.folder.record
    return records.Run(
        name=run.folder.path.name,
        seed=run.config.seed,
        epochs=run.config.epochs,
        updates=int(find_checkpoint(run.folder.checkpoints, "last").name.removeprefix("step-")),
        seconds=record["seconds"],
        started=str(record.get("started", "unknown"))[:10],
        command=command_of(run),
        recorded_command=str(record.get("command", "unknown")),
        hardware=record.get("hardware", {}),
        versions=record.get("versions", {}),
        rollbacks=tuple(map(Rollback.model_validate, run.folder.rollbacks)),
        changes=tuple(filter(None, map(describe_changes, record.get("changes", [])))),
    )


def collect_network(network: Generator | Discriminator) -> records.Network:
    """Return the layers and parameters of a network of the GAN."""
    return records.Network(
        layers=tuple(read_layers(network)),
        parameters=tuple(
            parameters_of(f"layers.{name}", module, found)
            for name, module in network.layers.named_children()
            if (found := dict(module.named_parameters()))
        ),
        num_parameters=sum(parameter.numel() for parameter in network.parameters()),
    )


def collect_equal_parameters(network: nn.Module) -> tuple[records.Parameters, ...]:
    """Group the parameters of each module that have the same first letter and shape; those of the whole come last."""
    groups: dict[tuple[str, str, tuple[int, ...]], dict[str, nn.Parameter]] = {}
    for full_name, parameter in network.named_parameters():
        owner, _, name = full_name.rpartition(".")
        letter = name if name.endswith("out") else name.split("_")[0]
        groups.setdefault((owner, letter, tuple(parameter.shape)), {})[name] = parameter
    in_order = sorted(groups.items(), key=lambda group: not group[0][0])
    return tuple(parameters_of(owner, network.get_submodule(owner), found) for (owner, _, _), found in in_order)


def parameters_of(name: str, module: nn.Module, parameters: Mapping[str, nn.Parameter]) -> records.Parameters:
    """Describe parameters of a module."""
    return records.Parameters(
        module=name,
        kind=type(module).__name__,
        names=tuple(parameters),
        shapes=tuple(tuple(parameter.shape) for parameter in parameters.values()),
        count=sum(parameter.numel() for parameter in parameters.values()),
    )


def command_of(run: LSTMRun | GANRun) -> str:
    """Return the command that trains a run like this one: the nearest preset and what differs from it."""
    kind = run.folder.kind
    presets: Mapping[str, Any] = LSTM_PRESETS if kind == "lstm" else GAN_PRESETS
    settings = {field: value for field, value in dataclasses.asdict(run.config).items() if field != "seed"}
    changes = {
        name: {field: value for field, value in settings.items() if getattr(preset, field) != value}
        for name, preset in presets.items()
    }
    nearest = min(changes, key=lambda name: len(changes[name]))
    words = ["reviver", kind, "train", "--preset", nearest, "--seed", str(run.config.seed)]
    for field, value in changes[nearest].items():
        words += [f"--{field.replace('_', '-')}", show_value(value)]
    return shlex.join([*words, "--out", f"runs/{run.folder.path.name}"])


def printable(value: Any) -> Any:
    """Return a value of JSON without the characters that no PDF or HTML may hold, such as control characters."""
    if isinstance(value, str):
        return "".join(one if one.isprintable() else " " if one.isspace() else "\ufffd" for one in value)
    if isinstance(value, dict):
        return {printable(key): printable(part) for key, part in value.items()}
    return [printable(part) for part in value] if isinstance(value, list) else value
