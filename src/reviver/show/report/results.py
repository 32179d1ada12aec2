"""Results of the report: finished runs, what its figures show of them, and the content of report.json, which has it all.

Shapes: N images, C channels, H height, W width.
"""

import dataclasses
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from reviver.data.images.image_set import from_pixels, load_images
from reviver.data.palindromes import PalindromeTask
from reviver.errors import DataError
from reviver.gan.interpolation import (
    CONFIDENCE,
    Interpolation,
    choose_class_endpoints,
    choose_distant_endpoints,
    generate_interpolation,
)
from reviver.gan.networks import Discriminator, Generator
from reviver.gan.sampling import generate_samples
from reviver.gan.scores.feature_extractor import NUM_FEATURES, DigitClassifier
from reviver.gan.scores.monitor import find_collapses
from reviver.recurrent.classifier import LSTMClassifier
from reviver.rng import make_rng
from reviver.runs.environment import describe_changes
from reviver.settings.gan import count_batches
from reviver.settings.presets import PRESETS
from reviver.settings.validation import describe_fields, show_value
from reviver.show.report.comparison import GAN_EPOCHS, compare_with_original, summarize
from reviver.show.report.diagrams import read_layers
from reviver.train.gan.grids import Grid, find_grids
from reviver.train.gan.snapshots import read_snapshots
from reviver.train.gan.training import build_networks
from reviver.train.lstm.scoring import score
from reviver.train.lstm.summary import METRICS, NUM_LAST_EPOCHS, best, mean_of_last
from reviver.train.lstm.training import build_network
from reviver.train.opened import OpenedRun
from reviver.version import __version__, find_commit

NUM_CLASSIFIED = 1000
"""Images per set (untrained, trained, real) that the digit classifier classifies."""
INTERPOLATION_STEPS = 7
"""Images between both ends of figure 5."""
SCHEMA_VERSION = 3
"""Version of report.json, which rises when a key is removed, renamed or changes its meaning."""
GAN_METRICS = ("generator_loss", "discriminator_loss", "probability_real", "probability_fake")

Records = list[dict[str, Any]]


@dataclass(frozen=True)
class LSTMResults:
    """Finished LSTM runs that differ only in their seed, in the order of their seeds, and the same ones without dropout."""

    runs: Sequence[OpenedRun]
    no_dropout: Sequence[OpenedRun] = ()

    @cached_property
    def metrics(self) -> list[Records]:
        """Metrics of each run."""
        return [run.metrics for run in self.runs]

    @property
    def network(self) -> LSTMClassifier:
        """Network of the first run."""
        network = self.runs[0].network
        assert isinstance(network, LSTMClassifier), "the report has no vanilla RNN"
        return network

    @property
    def example(self) -> tuple[int, ...]:
        """Digits of the first validation palindrome of the first run."""
        return tuple(palindromes_of(self.runs[0]).splits["validation"].digits()[0].tolist())

    def spread(self, value_of: Callable[[Records, str], float]) -> dict[str, dict[str, Any]]:
        """Summarize each metric over the runs, where `value_of` returns the value of one run from its records."""
        return {
            name: summarize(
                [value_of(records, name) for records in self.metrics],
                high=1.0 if name.endswith("accuracy") else math.inf,
            )
            for name in METRICS
        }


@dataclass(frozen=True)
class GANResults:
    """A finished GAN run, and what the figures show of it."""

    run: OpenedRun

    @cached_property
    def classifier(self) -> DigitClassifier | None:
        """Classifier of its images, if they are digits."""
        return DigitClassifier.pinned() if self.run.is_digits else None

    @cached_property
    def scores(self) -> Records:
        """Evaluations while it trained."""
        return self.run.scores

    @cached_property
    def grids(self) -> dict[str, tuple[Grid, Tensor]]:
        """Sample grids: the first, the last, and the one whose progress is closest to halfway, images [N, C, H, W] in [-1, 1]."""
        batches_per_epoch = count_batches(self.run.folder.record["data"]["num_images"], self.run.config.batch_size)
        grids = find_grids(self.run.config, batches_per_epoch)
        snapshots = read_snapshots(self.run.folder, grids)
        if not snapshots:
            raise DataError(f"{self.run.folder.snapshots}: has no samples; train again to save them")

        images = [from_pixels(snapshot.images) for snapshot in snapshots]
        # Progress is not time, since images change fastest at the start: recognized digits, or distances to both ends.
        if (classifier := self.classifier) is not None:
            progress = [_count_digits(classifier.probabilities(batch))["balanced_fraction"] for batch in images]
        else:
            progress = [float((batch - images[0]).abs().mean() - (batch - images[-1]).abs().mean()) for batch in images]
        halfway = (progress[0] + progress[-1]) / 2
        between = range(1, len(images) - 1) or range(len(images))
        middle = min(between, key=lambda index: abs(progress[index] - halfway))
        chosen = {"start": 0, "middle": middle, "end": len(images) - 1}
        return {name: (grids[snapshots[index].step], images[index]) for name, index in chosen.items()}

    @cached_property
    def interpolation(self) -> Interpolation:
        """Linear interpolation between samples of two digits, or if no two are recognized between two distant samples."""
        generator, classifier, seed = self.run.generator, self.classifier, self.run.config.seed
        try:
            ends = choose_class_endpoints(generator, classifier, seed) if classifier else None
        except DataError:
            ends = classifier = None
        ends = choose_distant_endpoints(generator, seed) if ends is None else ends
        return generate_interpolation(generator, classifier, ends, INTERPOLATION_STEPS, "linear")


def last(records: Records, name: str) -> float:
    """Return a metric at the last epoch of a run."""
    return float(records[-1][name])


def palindromes_of(run: OpenedRun) -> PalindromeTask:
    """Return the task of a run of the report."""
    assert isinstance(run.task, PalindromeTask)
    return run.task


def collect(lstm: LSTMResults, gan: GANResults) -> dict[str, Any]:
    """Return the content of report.json: fractions from 0 to 1, losses in nats, times in seconds."""
    lstm_section, gan_section = _collect_lstm(lstm), _collect_gan(gan)
    return {
        "schema_version": SCHEMA_VERSION,
        "reviver": __version__,
        "commit": find_commit(),
        "lstm": lstm_section,
        "gan": gan_section,
        "comparison": compare_with_original(lstm_section, lstm.metrics, gan_section),
    }


def _collect_lstm(results: LSTMResults) -> dict[str, Any]:
    config, task = results.runs[0].config, palindromes_of(results.runs[0])
    untrained = build_network(config, task)
    assert isinstance(untrained, LSTMClassifier), "the report has no vanilla RNN"
    bests = results.spread(best)
    without = LSTMResults(results.no_dropout) if results.no_dropout else None
    train_scores = [score(run.network, palindromes_of(run).splits["train"], "class") for run in results.runs]
    no_dropout = without and {
        "runs": list(map(_collect_run, without.runs)),
        "final": without.spread(last),
        "mean_of_last": without.spread(mean_of_last),
    }
    return {
        "runs": list(map(_collect_run, results.runs)),
        "settings": dataclasses.asdict(config) | {"seed": [run.config.seed for run in results.runs]},
        "descriptions": describe_fields(type(config)),
        "num_train_sequences": len(task.splits["train"]),
        "num_validation_sequences": len(task.splits["validation"]),
        "chance_accuracy": task.chance,
        "chance_loss": -math.log(task.chance),
        "example": results.example,
        "forget_bias": untrained.lstm.b_f[0].item(),
        "parameters": _group_parameters(results.network),
        "num_parameters": sum(parameter.numel() for parameter in results.network.parameters()),
        "final": results.spread(last),
        "best": bests,
        "mean_of_last": results.spread(mean_of_last),
        "num_last_epochs": min(NUM_LAST_EPOCHS, *map(len, results.metrics)),
        "best_validation_accuracy": bests["validation_accuracy"],
        "train_accuracy_without_dropout": summarize([item.accuracy for item in train_scores], high=1.0),
        "no_dropout": no_dropout,
    }


def _collect_gan(results: GANResults) -> dict[str, Any]:
    run, interpolation, final = results.run, results.interpolation, results.run.metrics[-1]
    data = run.folder.record["data"]
    return {
        "run": _collect_run(run),
        "settings": dataclasses.asdict(run.config),
        "descriptions": describe_fields(type(run.config)),
        "data": data["name"],
        "num_images": data["num_images"],
        "image_shape": run.generator.image_shape,
        "script_epochs": GAN_EPOCHS,
        "generator": _collect_network(run.generator),
        "discriminator": _collect_network(run.discriminator),
        "grids": {name: grid._asdict() for name, (grid, _) in results.grids.items()},
        "recognition": _recognize_digits(run, results.classifier) if results.classifier else None,
        "interpolation": {
            "num_images": len(interpolation.images),
            "digits": interpolation.classes,
            "confidences": interpolation.confidences,
        },
        "final": {name: final[name] for name in GAN_METRICS},
        "scores": _collect_scores(results.scores) if results.scores else None,
    }


def _recognize_digits(run: OpenedRun, classifier: DigitClassifier) -> dict[str, Any]:
    """Classify samples of the untrained and of the trained generator, and real test images."""
    untrained_generator, _ = build_networks(run.config, (1, 28, 28))
    untrained, trained = (
        classifier.probabilities(generate_samples(generator, NUM_CLASSIFIED, run.config.seed)[0])
        for generator in (untrained_generator, run.generator)
    )
    test = load_images("mnist", split="test")
    assert test.labels is not None
    indices = torch.randperm(len(test.images), generator=make_rng(run.config.seed, "judged"))[:NUM_CLASSIFIED]
    real = classifier.probabilities(from_pixels(test.images[indices]))
    return {
        "min_confidence": CONFIDENCE,
        "untrained": _count_digits(untrained),
        "trained": _count_digits(trained),
        "real": _count_digits(real),
        "real_accuracy": float((real.argmax(1) == test.labels[indices]).double().mean()),
    }


def _count_digits(probabilities: Tensor) -> dict[str, Any]:
    """Count the images that are recognized as each digit, with probabilities [N, 10] of which one is at least CONFIDENCE.

    `balanced_fraction` counts each digit for at most a tenth of the images, so one digit gives 0.1.
    """
    confidences, digits = probabilities.max(1)
    counts = torch.bincount(digits[confidences >= CONFIDENCE], minlength=10).tolist()
    num_images, fraction = len(probabilities), sum(counts) / len(probabilities)
    return {
        "num_images": num_images,
        "counts": counts,
        "fraction": fraction,
        "standard_error": (fraction * (1 - fraction) / num_images) ** 0.5,
        "balanced_fraction": sum(min(count, num_images / len(counts)) for count in counts) / num_images,
        "num_digits": sum(count > 0 for count in counts),
    }


def _collect_scores(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    final, warnings = records[-1], find_collapses(records)
    names = ("num_samples", "extractor", "extractor_sha256", "fid", "fid_ratio", "coverage")
    return {
        "num_evaluations": len(records),
        **{name: final[name] for name in names},
        "num_features": NUM_FEATURES,
        **{f"real_baseline_{name}": final["real_baseline"][name] for name in ("fid", "coverage")},
        "collapsed_epochs": [
            float(record["epoch"]) for record, warning in zip(records, warnings, strict=True) if warning
        ],
        "collapse_warning": warnings[-1],
    }


def _collect_run(run: OpenedRun) -> dict[str, Any]:
    record = run.folder.record
    versions = record.get("versions", {})
    return {
        "name": run.folder.path.name,
        "seed": run.config.seed,
        "epochs": run.config.epochs,
        "updates": run.step,
        "seconds": record["seconds"],
        "started": str(record.get("started", "unknown"))[:10],
        "command": find_command(run),
        "recorded_command": str(record.get("command", "unknown")),
        "commit": versions.get("commit"),
        "hardware": record.get("hardware", {}),
        "versions": versions,
        "rollbacks": run.folder.record.get("rollbacks", []),
        "changes": list(filter(None, map(describe_changes, record.get("changes", [])))),
    }


def _collect_network(network: Generator | Discriminator) -> dict[str, Any]:
    parameters = [
        _describe_parameters(f"layers.{name}", module, dict(module.named_parameters()))
        for name, module in network.layers.named_children()
        if next(module.parameters(), None) is not None
    ]
    return {
        "layers": read_layers(network),
        "parameters": parameters,
        "num_parameters": sum(group["num_parameters"] for group in parameters),
    }


def _group_parameters(network: LSTMClassifier) -> list[dict[str, Any]]:
    """Group the weights of each cell by first letter and shape, such as W_i, W_f, W_c, W_o; the output layer comes last."""
    groups: dict[tuple[str, str, tuple[int, ...]], dict[str, Tensor]] = {}
    for full_name, weight in network.weights_by_name().items():
        module, _, name = full_name.replace("lstm.layers.0.", "lstm.").rpartition(".")  # the report's has one cell
        letter = name if name.endswith("out") else name.split("_")[0]
        groups.setdefault((module, letter, tuple(weight.shape)), {})[name] = weight
    return [
        _describe_parameters(module, network.lstm if module else network, weights)
        for (module, _, _), weights in groups.items()
    ]


def _describe_parameters(name: str, module: nn.Module, parameters: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        "module": name,
        "kind": type(module).__name__,
        "names": list(parameters),
        "shapes": [list(parameter.shape) for parameter in parameters.values()],
        "num_parameters": sum(parameter.numel() for parameter in parameters.values()),
    }


def find_command(run: OpenedRun) -> str:
    """Return the command that trains a run with these settings: the nearest preset plus the options that differ."""
    kind, settings = run.folder.kind, dataclasses.asdict(run.config)
    changes = {
        name: {field: value for field, value in settings.items() if field != "seed" and getattr(preset, field) != value}
        for name, preset in PRESETS[kind].items()
    }
    nearest = min(changes, key=lambda name: len(changes[name]))
    words = ["reviver", kind, "train", "--preset", nearest, "--seed", str(run.config.seed)]
    for field, value in changes[nearest].items():
        words += [f"--{field.replace('_', '-')}", show_value(value)]
    return shlex.join([*words, "--out", f"runs/{run.folder.path.name}"])
