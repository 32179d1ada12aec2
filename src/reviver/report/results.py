"""What the report knows: read from the run folders, measured on their networks, nothing else.

Shapes: N images, C channels, H height, W width.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reviver.errors import DataError, RunFolderError
from reviver.gan.data.image_set import from_pixels, load_mnist
from reviver.gan.evaluation.digit_classifier import DigitClassifier
from reviver.gan.evaluation.monitor import find_collapses
from reviver.gan.grids import Grid, find_grids, read_images
from reviver.gan.interpolation import (
    CONFIDENCE,
    Interpolation,
    choose_distant_endpoints,
    generate_interpolation,
    interpolate,
)
from reviver.gan.run import GANRun, load_gan
from reviver.gan.sampling import generate, generate_samples
from reviver.gan.training import build_networks
from reviver.lstm.network import LSTMClassifier
from reviver.lstm.run import LSTMRun, load_lstm
from reviver.lstm.tasks.palindromes import PalindromeTask, Split
from reviver.lstm.training import Score, score
from reviver.report.records import Recognition, Recognitions, Spread
from reviver.runs.folder import RunFolder
from reviver.runs.rng import make_rng

NUM_RECOGNISED = 1000
"""Images, generated and real, that the digit classifier is asked about."""
INTERPOLATION_STEPS = 7

Metrics = list[dict[str, Any]]


@dataclass(frozen=True)
class LSTMResults:
    """Runs of one configuration with several seeds."""

    runs: tuple[LSTMRun, ...]
    metrics: tuple[Metrics, ...]
    split: Split
    """The palindromes of the first seed; the other seeds have as many."""
    undropped: tuple[Score, ...]
    """Scores of the final networks on their training sequences with dropout off, by seed."""

    @property
    def network(self) -> LSTMClassifier:
        """The network of the first seed."""
        network = self.runs[0].network
        assert isinstance(network, LSTMClassifier), "read_lstm takes no others"
        return network

    @property
    def example(self) -> tuple[int, ...]:
        """The digits of the first palindrome of the validation part."""
        return tuple(self.split.validation.digits()[0].tolist())

    def final(self, name: str) -> Spread:
        """Return the last value of a metric of each seed."""
        return Spread.of([metrics[-1][name] for metrics in self.metrics])

    def best(self, name: str) -> Spread:
        """Return the highest value of a metric of each seed."""
        return Spread.of([max(point[name] for point in metrics) for metrics in self.metrics])

    def first_at(self, name: str, threshold: float) -> list[int | None]:
        """Return the first epoch at which a metric is at least `threshold`, of each seed; None if there is none."""
        return [next((one["epoch"] for one in metrics if one[name] >= threshold), None) for metrics in self.metrics]

    def above_from(self, name: str, threshold: float) -> list[int | None]:
        """Return the epoch from which on a metric stays above `threshold`, of each seed; None if it ends below."""
        ends = [max((one["epoch"] for one in metrics if one[name] <= threshold), default=0) for metrics in self.metrics]
        return [end + 1 if end < points[-1]["epoch"] else None for end, points in zip(ends, self.metrics, strict=True)]

    def fraction_after(self, epoch: float, name: str, threshold: float) -> Spread | None:
        """Return the fraction of the epochs after `epoch` with a metric of at least `threshold`; None without such epochs."""
        later = [[point[name] for point in metrics if point["epoch"] > epoch] for metrics in self.metrics]
        if not all(later):
            return None
        return Spread.of([sum(value >= threshold for value in values) / len(values) for values in later])


@dataclass(frozen=True)
class GANResults:
    """One run of the GAN."""

    run: GANRun
    grids: dict[str, Grid]
    """Samples at the `start`, in the `middle` and at the `end` of training."""
    walk: Interpolation
    recognition: Recognitions | None
    """None if the run did not learn digits."""
    scores: Metrics
    """Scores during training; empty if there are none."""

    @property
    def collapses(self) -> list[str | None]:
        """What was wrong with the run at each of the scores, if anything."""
        return find_collapses(self.scores)


def read_lstm(paths: Sequence[Path]) -> LSTMResults:
    """Read finished runs that differ in their seed only.

    Raises:
        RunFolderError: if one is missing, unfinished or damaged, or they differ in more than their seed.
    """
    runs = tuple(load_lstm(_open_finished(path, "lstm"), device="cpu") for path in paths)
    if not runs:
        raise RunFolderError("lstm_runs must hold at least one run folder, got none")
    first = runs[0].config
    if first.cell != "lstm" or first.task != "palindrome" or first.curriculum:
        raise RunFolderError(f"{runs[0].folder.path} must be the run of an LSTM on palindromes of one length")
    for run in runs[1:]:
        for name, value in dataclasses.asdict(first).items():
            other = getattr(run.config, name)
            if name != "seed" and other != value:
                raise RunFolderError(
                    f"{run.folder.path}: its {name} is {other!r}, that of {runs[0].folder.path} {value!r}; give runs "
                    "that differ in their seed only"
                )
    splits = [PalindromeTask(run.config).split for run in runs]
    undropped = tuple(score(run.network, split.train, "class") for run, split in zip(runs, splits, strict=True))
    return LSTMResults(runs, tuple(run.metrics for run in runs), splits[0], undropped)


def read_gan(path: Path) -> GANResults:
    """Read a finished run, and recognise the digits that its generator gives.

    Raises:
        RunFolderError: if the run is missing, unfinished or damaged.
        DataError: if a grid of samples is missing or damaged.
    """
    run = load_gan(_open_finished(path, "gan"), device="cpu")
    recognition = _recognise(run) if run.is_digits else None
    return GANResults(run, _choose_grids(run), _interpolate(run), recognition, run.scores)


def _open_finished(path: Path, kind: str) -> RunFolder:
    folder = RunFolder.open(path, kind)
    if folder.status != "finished":
        raise RunFolderError(f"{path}: is {folder.status}, not finished; train it to its end with --resume")
    if not folder.read_metrics():
        raise RunFolderError(f"{folder.records_path('metrics')} is empty; train again, or with a smaller log_every")
    return folder


def _choose_grids(run: GANRun) -> dict[str, Grid]:
    """Choose the first grid, the last, and the one that is most nearly halfway between them.

    Of digits that is halfway in what the classifier recognises, digits balanced; of other images, the grid whose pixels
    are as far from the first as from the last. The middle of training may look like its end: images change fastest at
    first.
    """
    grids = find_grids(run.folder.samples)
    if not grids:
        raise DataError(f"{run.folder.samples}: holds no grid of samples; train again to save them")
    images = [read_images(grid.path, run.generator.image_shape) for grid in grids]
    if run.is_digits:
        classifier = DigitClassifier.pinned()
        progress = [_count_digits(classifier.probabilities(one)).balanced for one in images]
    else:
        progress = [float((one - images[0]).abs().mean() - (one - images[-1]).abs().mean()) for one in images]
    halfway = (progress[0] + progress[-1]) / 2
    between = range(1, len(grids) - 1) or range(len(grids))
    middle = min(between, key=lambda index: abs(progress[index] - halfway))
    return {"start": grids[0], "middle": grids[middle], "end": grids[-1]}


def _interpolate(run: GANRun) -> Interpolation:
    """Interpolate between two different digits, or if no two are recognised between two images that differ much."""
    classifier = DigitClassifier.pinned() if run.is_digits else None
    try:
        return generate_interpolation(
            run.generator, classifier, None, None, INTERPOLATION_STEPS, "linear", run.config.seed
        )
    except DataError:
        start, end = choose_distant_endpoints(run.generator, run.config.seed)
        latents = interpolate(start, end, INTERPOLATION_STEPS)
        return Interpolation(latents, generate(run.generator, latents), None, None)


def _recognise(run: GANRun) -> Recognitions:
    classifier = DigitClassifier.pinned()
    untrained, _ = build_networks(run.config, (1, 28, 28))
    before, _ = generate_samples(untrained, NUM_RECOGNISED, run.config.seed)
    after, _ = generate_samples(run.generator, NUM_RECOGNISED, run.config.seed)
    test = load_mnist("test")
    assert test.labels is not None
    chosen = torch.randperm(len(test.images), generator=make_rng(run.config.seed, "judged"))[:NUM_RECOGNISED]
    real = classifier.probabilities(from_pixels(test.images[chosen]))
    return Recognitions(
        confidence=CONFIDENCE,
        before=_count_digits(classifier.probabilities(before)),
        after=_count_digits(classifier.probabilities(after)),
        real=_count_digits(real),
        real_accuracy=float((real.argmax(1) == test.labels[chosen]).float().mean()),
    )


def _count_digits(probabilities: Tensor) -> Recognition:
    """Count the digits that probabilities [N, 10] are confident of."""
    confidences, digits = probabilities.max(1)
    counts = torch.bincount(digits[confidences >= CONFIDENCE], minlength=10)
    return Recognition.of(len(probabilities), counts.tolist())
