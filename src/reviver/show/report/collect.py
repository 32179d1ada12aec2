"""Collect the results of the runs into the schema of report.json."""

import dataclasses
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from reviver.data.palindromes import PalindromeTask
from reviver.gan.networks import Discriminator, Generator
from reviver.gan.scores.digit_classifier import NUM_FEATURES
from reviver.gan.scores.monitor import find_collapses
from reviver.lstm.classifier import LSTMClassifier
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.environment import describe_changes
from reviver.runs.schema import Rollback
from reviver.settings.gan_presets import PRESETS as GAN_PRESETS
from reviver.settings.lstm_presets import PRESETS as LSTM_PRESETS
from reviver.settings.validation import describe_fields, show_value
from reviver.show.report import report_json
from reviver.show.report.comparison import GAN_EPOCHS, compare
from reviver.show.report.diagrams import read_layers
from reviver.show.report.results import GANResults, LSTMResults, last
from reviver.train.description import Run
from reviver.train.lstm.summary import NUM_LAST_EPOCHS, best, mean_of_last
from reviver.train.lstm.training import build_network
from reviver.version import __version__

GAN_METRICS = ("generator_loss", "discriminator_loss", "probability_real", "probability_fake")


def collect(lstm: LSTMResults, gan: GANResults) -> report_json.Report:
    """Return the whole content of report.json."""
    return report_json.Report(
        schema_version=report_json.SCHEMA_VERSION,
        reviver=__version__,
        lstm=_collect_lstm(lstm),
        gan=_collect_gan(gan),
        comparison=compare(lstm, gan),
    )


def _collect_lstm(results: LSTMResults) -> report_json.LSTMSection:
    config = results.runs[0].config
    task = PalindromeTask(config)
    untrained = build_network(config, task)
    assert isinstance(untrained, LSTMClassifier), "the report has no vanilla RNN"
    bests = results.spread(best)
    return report_json.LSTMSection(
        runs=tuple(map(_collect_run, results.runs)),
        settings=dataclasses.asdict(config) | {"seed": [run.config.seed for run in results.runs]},
        descriptions=describe_fields(type(config)),
        num_train_sequences=len(results.split.train),
        num_validation_sequences=len(results.split.validation),
        chance_accuracy=task.chance,
        chance_loss=-math.log(task.chance),
        example=results.example,
        forget_bias=untrained.lstm.b_f[0].item(),
        parameters=_group_parameters(results.network),
        num_parameters=sum(parameter.numel() for parameter in results.network.parameters()),
        final=results.spread(last),
        best=bests,
        mean_of_last=results.spread(mean_of_last),
        num_last_epochs=min(NUM_LAST_EPOCHS, *map(len, results.metrics)),
        best_validation_accuracy=bests["validation_accuracy"],
        train_accuracy_without_dropout=report_json.Spread.from_values(
            results.train_accuracies_without_dropout, high=1.0
        ),
        no_dropout=_collect_no_dropout(results.no_dropout) if results.no_dropout else None,
    )


def _collect_no_dropout(results: LSTMResults) -> report_json.NoDropout:
    final, mean = results.spread(last), results.spread(mean_of_last)
    return report_json.NoDropout(runs=tuple(map(_collect_run, results.runs)), final=final, mean_of_last=mean)


def _collect_gan(results: GANResults) -> report_json.GANSection:
    run, interpolation, final = results.run, results.interpolation, results.run.metrics[-1]
    data = run.folder.record["data"]
    return report_json.GANSection(
        run=_collect_run(run),
        settings=dataclasses.asdict(run.config),
        descriptions=describe_fields(type(run.config)),
        data=data["name"],
        num_images=data["num_images"],
        image_shape=run.generator.image_shape,
        script_epochs=GAN_EPOCHS,
        generator=_collect_network(run.generator),
        discriminator=_collect_network(run.discriminator),
        grids={
            name: report_json.SampleGrid(epoch=grid.epoch, update=grid.update) for name, grid in results.grids.items()
        },
        recognition=results.recognition,
        interpolation=report_json.InterpolatedImages(
            num_images=len(interpolation.images),
            digits=tuple(interpolation.classes) if interpolation.classes else None,
            confidences=tuple(interpolation.confidences) if interpolation.confidences else None,
        ),
        final={name: final[name] for name in GAN_METRICS},
        scores=_collect_scores(results.scores) if results.scores else None,
    )


def _collect_scores(records: Sequence[Mapping[str, Any]]) -> report_json.SampleScores:
    final, warnings = records[-1], find_collapses(records)
    names = ("num_samples", "extractor", "extractor_sha256", "fid", "fid_ratio", "coverage")
    return report_json.SampleScores(
        **{name: final[name] for name in names},
        **{f"real_baseline_{name}": final["real_baseline"][name] for name in ("fid", "coverage")},
        num_evaluations=len(records),
        num_features=NUM_FEATURES,
        collapsed_epochs=tuple(record["epoch"] for record, warning in zip(records, warnings, strict=True) if warning),
        collapse_warning=warnings[-1],
    )


def _collect_run(run: Run) -> report_json.TrainingRun:
    record = run.folder.record
    return report_json.TrainingRun(
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


def _collect_network(network: Generator | Discriminator) -> report_json.NetworkLayers:
    parameters = tuple(
        _describe_parameters(f"layers.{name}", module, dict(module.named_parameters()))
        for name, module in network.layers.named_children()
        if next(module.parameters(), None) is not None
    )
    layers, total = tuple(read_layers(network)), sum(group.num_parameters for group in parameters)
    return report_json.NetworkLayers(layers=layers, parameters=parameters, num_parameters=total)


def _group_parameters(network: LSTMClassifier) -> tuple[report_json.ModuleParameters, ...]:
    """Group the weights of each cell by first letter and shape, such as W_i, W_f, W_c, W_o; the output layer comes last."""
    groups: dict[tuple[str, str, tuple[int, ...]], dict[str, Tensor]] = {}
    for full_name, weight in network.weights_by_name().items():
        module, _, name = full_name.replace("lstm.layers.0.", "lstm.").rpartition(".")  # the report's has one cell
        letter = name if name.endswith("out") else name.split("_")[0]
        groups.setdefault((module, letter, tuple(weight.shape)), {})[name] = weight
    return tuple(
        _describe_parameters(module, network.lstm if module else network, weights)
        for (module, _, _), weights in groups.items()
    )


def _describe_parameters(
    name: str, module: nn.Module, parameters: Mapping[str, Tensor]
) -> report_json.ModuleParameters:
    return report_json.ModuleParameters(
        module=name,
        kind=type(module).__name__,
        names=tuple(parameters),
        shapes=tuple(tuple(parameter.shape) for parameter in parameters.values()),
        num_parameters=sum(parameter.numel() for parameter in parameters.values()),
    )


def find_command(run: Run) -> str:
    """Return the command that trains a run with these settings: the nearest preset plus the options that differ."""
    kind, settings = run.folder.kind, dataclasses.asdict(run.config)
    presets: Mapping[str, Any] = LSTM_PRESETS if kind == "lstm" else GAN_PRESETS
    changes = {
        name: {field: value for field, value in settings.items() if field != "seed" and getattr(preset, field) != value}
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
        return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in value)
    if isinstance(value, dict):
        return {replace_unprintable(key): replace_unprintable(entry) for key, entry in value.items()}
    return [replace_unprintable(entry) for entry in value] if isinstance(value, list) else value
