"""Results of the report: read from run folders, or computed from their networks.

Shapes: N images, C channels, H height, W width.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reviver.data.images.image_set import from_pixels, load_test_images
from reviver.data.palindromes import PalindromeTask, Split
from reviver.errors import DataError, RunFolderError
from reviver.gan.interpolation import CONFIDENCE, Interpolation, generate_interpolation
from reviver.gan.sampling import generate_samples
from reviver.gan.scores.digit_classifier import DigitClassifier
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.scoring import score
from reviver.rng import make_rng
from reviver.runs.folder import RunFolder
from reviver.show.report.report_json import DigitCounts, Recognition, Spread
from reviver.train.gan.grids import Grid, find_grids, read_images
from reviver.train.gan.run import GANRun, load_gan
from reviver.train.gan.training import build_networks
from reviver.train.lstm.run import LSTMRun, load_lstm
from reviver.train.lstm.summary import METRICS

NUM_CLASSIFIED = 1000
"""Images per set (untrained, trained, real) that the digit classifier classifies."""
INTERPOLATION_STEPS = 7
"""Images between both ends of figure 5."""

Records = list[dict[str, Any]]


@dataclass(frozen=True)
class LSTMResults:
    """Results of LSTM runs that differ only in their seed, in the order of their seeds.

    `split` is that of the first run, `train_accuracies_without_dropout` are those of the final networks on their training
    palindromes. `no_dropout` has the results of runs that also differ in their hidden dropout, which is 0; None without.
    """

    runs: tuple[LSTMRun, ...]
    metrics: tuple[Records, ...]
    split: Split
    train_accuracies_without_dropout: tuple[float, ...]
    no_dropout: "LSTMResults | None" = None

    @property
    def network(self) -> LSTMClassifier:
        """Network of the first run."""
        network = self.runs[0].network
        assert isinstance(network, LSTMClassifier), "read_lstm refuses other networks"
        return network

    @property
    def example(self) -> tuple[int, ...]:
        """Digits of the first validation palindrome."""
        return tuple(self.split.validation.digits()[0].tolist())

    def spread(self, summarize: Callable[[Records, str], float]) -> dict[str, Spread]:
        """Return each metric over the runs, where `summarize` returns the value of one run from its records."""
        return {
            name: Spread.from_values(
                [summarize(records, name) for records in self.metrics],
                high=1.0 if name.endswith("accuracy") else math.inf,
            )
            for name in METRICS
        }

    def first_epoch_at(self, name: str, threshold: float) -> list[int | None]:
        """Return the first epoch of each run at which a metric is at least `threshold`; None if there is none."""
        return [
            next((record["epoch"] for record in records if record[name] >= threshold), None) for records in self.metrics
        ]

    def first_epoch_above(self, name: str, threshold: float) -> list[int | None]:
        """Return the epoch of each run from which a metric stays above `threshold`; None if it ends at or below it."""
        last_below = [
            max((record["epoch"] for record in records if record[name] <= threshold), default=0)
            for records in self.metrics
        ]
        ends = [records[-1]["epoch"] for records in self.metrics]
        return [epoch + 1 if epoch < end else None for epoch, end in zip(last_below, ends, strict=True)]

    def fraction_after(self, epoch: float, name: str, threshold: float) -> list[float] | None:
        """Return the fraction of epochs after `epoch` at which a metric is at least `threshold`; None if there are none."""
        later = [[record[name] for record in records if record["epoch"] > epoch] for records in self.metrics]
        if not all(later):
            return None
        return [sum(value >= threshold for value in values) / len(values) for values in later]


@dataclass(frozen=True)
class GANResults:
    """Results of one GAN run, with its sample grids at the `start`, in the `middle` and at the `end` of training.

    `recognition` is None if the run did not learn digits, `scores` is empty without evaluations.
    """

    run: GANRun
    grids: dict[str, Grid]
    interpolation: Interpolation
    recognition: Recognition | None
    scores: Records


def last(records: Records, name: str) -> float:
    """Return a metric at the last epoch of a run."""
    return float(records[-1][name])


def read_lstm(paths: Sequence[Path], no_dropout: Sequence[Path] = ()) -> LSTMResults:
    """Read finished runs that differ only in their seed, and those of the same settings without hidden dropout."""
    if not paths:
        raise RunFolderError("lstm_runs must hold at least one run folder, got none")
    runs = tuple(load_lstm(_open_finished(path, "lstm"), device="cpu") for path in paths)
    first = runs[0].config
    if first.cell != "lstm" or first.task != "palindrome" or first.curriculum:
        raise RunFolderError(
            f"{runs[0].folder.path}: must be an LSTM run on palindromes of one length, got cell {first.cell}, task "
            f"{first.task}, curriculum {first.curriculum}; give another run"
        )
    for run in runs[1:]:
        for name, expected in dataclasses.asdict(first).items():
            value = getattr(run.config, name)
            if name != "seed" and value != expected:
                raise RunFolderError(
                    f"{run.folder.path}: {name} must be {expected!r} as in {runs[0].folder.path}, got {value!r}; give "
                    "runs that differ only in their seed"
                )
    splits = [PalindromeTask(run.config).split for run in runs]
    scores = [score(run.network, split.train, "class") for run, split in zip(runs, splits, strict=True)]
    metrics, accuracies = tuple(run.metrics for run in runs), tuple(item.accuracy for item in scores)
    return LSTMResults(runs, metrics, splits[0], accuracies, read_lstm(no_dropout) if no_dropout else None)


def read_gan(path: Path) -> GANResults:
    """Read a finished run, and classify samples of its generator if it learned digits."""
    run = load_gan(_open_finished(path, "gan"), device="cpu")
    classifier = DigitClassifier.pinned() if run.is_digits else None
    recognition = _recognize_digits(run, classifier) if classifier else None
    return GANResults(run, _choose_grids(run, classifier), _interpolate(run, classifier), recognition, run.scores)


def _open_finished(path: Path, kind: str) -> RunFolder:
    """Open the folder of a finished run that has metrics."""
    folder = RunFolder.open(path, kind)
    if folder.status != "finished":
        raise RunFolderError(f"{path}: is {folder.status}, not finished; finish it with --resume")
    if not folder.read_metrics():
        raise RunFolderError(f"{folder.records_path('metrics')} is empty; train again with a smaller --log-every")
    return folder


def _choose_grids(run: GANRun, classifier: DigitClassifier | None) -> dict[str, Grid]:
    """Choose the first grid, the last grid, and the one whose progress is closest to halfway between both."""
    grids = find_grids(run.folder.samples)
    if not grids:
        raise DataError(f"{run.folder.samples}: has no sample grids; train again to save them")
    images = [read_images(grid.path, run.generator.image_shape) for grid in grids]
    # Progress is not time, since images change fastest at the start: recognized digits, or distances to both ends.
    if classifier is not None:
        progress = [_count_digits(classifier.probabilities(batch)).balanced_fraction for batch in images]
    else:
        progress = [float((batch - images[0]).abs().mean() - (batch - images[-1]).abs().mean()) for batch in images]
    halfway = (progress[0] + progress[-1]) / 2
    between = range(1, len(grids) - 1) or range(len(grids))
    middle = min(between, key=lambda index: abs(progress[index] - halfway))
    return {"start": grids[0], "middle": grids[middle], "end": grids[-1]}


def _interpolate(run: GANRun, classifier: DigitClassifier | None) -> Interpolation:
    """Interpolate linearly between samples of two digits, or if no two are recognized between two distant samples."""
    arguments = (None, None, INTERPOLATION_STEPS, "linear", run.config.seed)
    try:
        return generate_interpolation(run.generator, classifier, *arguments)
    except DataError:
        return generate_interpolation(run.generator, None, *arguments)


def _recognize_digits(run: GANRun, classifier: DigitClassifier) -> Recognition:
    """Classify samples of the untrained and of the trained generator, and real test images."""
    untrained_generator, _ = build_networks(run.config, (1, 28, 28))
    untrained, trained = (
        classifier.probabilities(generate_samples(generator, NUM_CLASSIFIED, run.config.seed)[0])
        for generator in (untrained_generator, run.generator)
    )
    test = load_test_images("mnist")
    assert test.labels is not None
    indices = torch.randperm(len(test.images), generator=make_rng(run.config.seed, "judged"))[:NUM_CLASSIFIED]
    real = classifier.probabilities(from_pixels(test.images[indices]))
    return Recognition(
        min_confidence=CONFIDENCE,
        untrained=_count_digits(untrained),
        trained=_count_digits(trained),
        real=_count_digits(real),
        real_accuracy=float((real.argmax(1) == test.labels[indices]).double().mean()),
    )


def _count_digits(probabilities: Tensor) -> DigitCounts:
    """Count the digits with a probability of at least CONFIDENCE in probabilities [N, 10]."""
    confidences, digits = probabilities.max(1)
    counts = torch.bincount(digits[confidences >= CONFIDENCE], minlength=10)
    return DigitCounts.from_counts(len(probabilities), counts.tolist())
