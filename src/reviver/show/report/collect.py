"""Collect the results of the runs into the schema of report.json."""

import dataclasses
import math
import shlex
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from reviver.data.tasks.palindromes import PalindromeTask
from reviver.gan.networks import Discriminator, Generator
from reviver.gan.scores.digit_classifier import NUM_FEATURES
from reviver.lstm.classifier import LSTMClassifier
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.environment import describe_changes
from reviver.runs.schema import Rollback
from reviver.settings.gan_presets import PRESETS as GAN_PRESETS
from reviver.settings.lstm_presets import PRESETS as LSTM_PRESETS
from reviver.settings.validation import describe_fields, show_value
from reviver.show.report import schema
from reviver.show.report.comparison import GAN_EPOCHS, compare
from reviver.show.report.diagrams import read_layers
from reviver.show.report.results import GANResults, LSTMResults
from reviver.train.gan.run import GANRun
from reviver.train.lstm.evaluation import CHANCE
from reviver.train.lstm.run import LSTMRun
from reviver.train.lstm.summary import METRICS, last_records
from reviver.train.lstm.training import build_network
from reviver.version import __version__

GAN_METRICS = ("generator_loss", "discriminator_loss", "probability_real", "probability_fake")


def collect(lstm: LSTMResults, gan: GANResults) -> schema.Report:
    """Return the whole content of report.json."""
    return schema.Report(
        schema_version=schema.SCHEMA_VERSION,
        reviver=__version__,
        lstm=collect_lstm(lstm),
        gan=collect_gan(gan),
        comparison=compare(lstm, gan),
    )


def collect_lstm(results: LSTMResults) -> schema.LSTM:
    """Return the results of the LSTM."""
    config = results.runs[0].config
    untrained = build_network(config, PalindromeTask(config))
    assert isinstance(untrained, LSTMClassifier), "the report has no vanilla RNN"
    return schema.LSTM(
        runs=tuple(map(collect_run, results.runs)),
        settings=dataclasses.asdict(config) | {"seed": [run.config.seed for run in results.runs]},
        descriptions=describe_fields(type(config)),
        num_train_sequences=len(results.split.train),
        num_validation_sequences=len(results.split.validation),
        chance_accuracy=CHANCE,
        chance_loss=-math.log(CHANCE),
        example=results.example,
        forget_bias=untrained.lstm.b_f[0].item(),
        parameters=group_parameters(results.network),
        num_parameters=sum(parameter.numel() for parameter in results.network.parameters()),
        final={name: results.final(name) for name in METRICS},
        best={name: results.best(name) for name in METRICS},
        mean_of_last={name: results.mean_of_last(name) for name in METRICS},
        num_last_epochs=min(len(last_records(records)) for records in results.metrics),
        best_validation_accuracy=results.best("validation_accuracy"),
        train_accuracy_without_dropout=schema.Spread.from_values(
            [score.accuracy for score in results.train_scores_without_dropout]
        ),
    )


def collect_gan(results: GANResults) -> schema.GAN:
    """Return the results of the GAN."""
    run, interpolation, last = results.run, results.interpolation, results.run.metrics[-1]
    data = run.folder.record["data"]
    return schema.GAN(
        run=collect_run(run),
        settings=dataclasses.asdict(run.config),
        descriptions=describe_fields(type(run.config)),
        data=data["name"],
        num_images=data["num_images"],
        image_shape=run.generator.image_shape,
        script_epochs=GAN_EPOCHS,
        generator=collect_network(run.generator),
        discriminator=collect_network(run.discriminator),
        grids={name: schema.Grid(epoch=grid.epoch, update=grid.update) for name, grid in results.grids.items()},
        recognition=results.recognition,
        interpolation=schema.Interpolation(
            num_images=len(interpolation.images),
            digits=tuple(interpolation.classes) if interpolation.classes else None,
            confidences=tuple(interpolation.confidences) if interpolation.confidences else None,
        ),
        final={name: last[name] for name in GAN_METRICS},
        scores=collect_scores(results) if results.scores else None,
    )


def collect_scores(results: GANResults) -> schema.Scores:
    """Return the scores at the last evaluation, and the epochs of mode collapse."""
    last, baseline = results.scores[-1], results.scores[-1]["real_baseline"]
    evaluations = zip(results.scores, results.collapse_warnings, strict=True)
    return schema.Scores(
        num_evaluations=len(results.scores),
        num_samples=last["num_samples"],
        extractor=last["extractor"],
        extractor_sha256=last["extractor_sha256"],
        num_features=NUM_FEATURES,
        fid=last["fid"],
        fid_ratio=last["fid_ratio"],
        coverage=last["coverage"],
        real_baseline_fid=baseline["fid"],
        real_baseline_coverage=baseline["coverage"],
        collapsed_epochs=tuple(record["epoch"] for record, warning in evaluations if warning is not None),
        collapse_warning=results.collapse_warnings[-1],
    )


def collect_run(run: LSTMRun | GANRun) -> schema.Run:
    """Return settings, machine and training time of a finished run."""
    record = run.folder.record
    return schema.Run(
        name=run.folder.path.name,
        seed=run.config.seed,
        epochs=run.config.epochs,
        updates=int(find_checkpoint(run.folder.checkpoints, "last").name.removeprefix("step-")),
        seconds=record["seconds"],
        started=str(record.get("started", "unknown"))[:10],
        command=find_command(run),
        recorded_command=str(record.get("command", "unknown")),
        hardware=record.get("hardware", {}),
        versions=record.get("versions", {}),
        rollbacks=tuple(map(Rollback.model_validate, run.folder.rollbacks)),
        changes=tuple(filter(None, map(describe_changes, record.get("changes", [])))),
    )


def collect_network(network: Generator | Discriminator) -> schema.Network:
    """Return the layers and parameters of a network of the GAN."""
    return schema.Network(
        layers=tuple(read_layers(network)),
        parameters=tuple(
            describe_parameters(f"layers.{name}", module, parameters)
            for name, module in network.layers.named_children()
            if (parameters := dict(module.named_parameters()))
        ),
        num_parameters=sum(parameter.numel() for parameter in network.parameters()),
    )


def group_parameters(network: LSTMClassifier) -> tuple[schema.Parameters, ...]:
    """Group the weights of each cell by first letter and shape, such as W_i, W_f, W_c, W_o; the output layer comes last."""
    groups: dict[tuple[str, str, tuple[int, ...]], dict[str, Tensor]] = {}
    for full_name, weight in network.weights_by_name().items():
        module, _, name = full_name.replace("lstm.layers.0.", "lstm.").rpartition(".")  # the report's has one cell
        letter = name if name.endswith("out") else name.split("_")[0]
        groups.setdefault((module, letter, tuple(weight.shape)), {})[name] = weight
    return tuple(
        describe_parameters(module, network.lstm if module else network, weights)
        for (module, _, _), weights in groups.items()
    )


def describe_parameters(name: str, module: nn.Module, parameters: Mapping[str, Tensor]) -> schema.Parameters:
    """Return names, shapes and sizes of parameters of the module called `name`."""
    return schema.Parameters(
        module=name,
        kind=type(module).__name__,
        names=tuple(parameters),
        shapes=tuple(tuple(parameter.shape) for parameter in parameters.values()),
        num_parameters=sum(parameter.numel() for parameter in parameters.values()),
    )


def find_command(run: LSTMRun | GANRun) -> str:
    """Return the command that trains a run with these settings: the nearest preset plus the options that differ."""
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


def replace_unprintable(value: Any) -> Any:
    """Return a JSON value without the characters that PDF and HTML do not allow, such as control characters.

    Whitespace becomes a space, every other unprintable character U+FFFD.
    """
    if isinstance(value, str):
        return "".join(
            character if character.isprintable() else " " if character.isspace() else "\ufffd" for character in value
        )
    if isinstance(value, dict):
        return {replace_unprintable(key): replace_unprintable(entry) for key, entry in value.items()}
    return [replace_unprintable(entry) for entry in value] if isinstance(value, list) else value
