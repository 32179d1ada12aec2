"""What the report knows: read from the run folders, measured on their networks, nothing else.

Shapes: N images.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reviver.errors import DataError, RunFolderError
from reviver.gan.classifier import DigitClassifier
from reviver.gan.grids import find_grids
from reviver.gan.images import from_pixels, load_mnist
from reviver.gan.latent import CONFIDENCE, choose_distant, interpolate
from reviver.gan.output import Walk, draw_interpolation
from reviver.gan.sampling import draw, draw_samples
from reviver.gan.training import build_networks
from reviver.gan.watch import find_collapses
from reviver.loading import GANRun, LSTMRun, load_gan, load_lstm
from reviver.lstm.network import LSTMClassifier
from reviver.lstm.tasks.palindromes import PalindromeTask
from reviver.lstm.training import Score, score
from reviver.report.numbers import Spread
from reviver.runs.folder import RunFolder
from reviver.runs.randomness import stream

NUM_JUDGED = 1000
"""Images that the classifier looks at, generated and real."""
INTERPOLATION_STEPS = 7

Metrics = list[dict[str, Any]]


@dataclass(frozen=True)
class LSTMEvidence:
    """Runs of one configuration with several seeds.

    Attributes:
        train_sizes, validation_sizes: sequences in each part; the same for all seeds.
        undropped: scores of the final networks on their training sequences with dropout off, by seed.
        example: the digits of one palindrome of the validation part.
    """

    runs: tuple[LSTMRun, ...]
    metrics: tuple[Metrics, ...]
    train_size: int
    validation_size: int
    undropped: tuple[Score, ...]
    example: tuple[int, ...]

    @property
    def network(self) -> LSTMClassifier:
        """The network of the first seed."""
        network = self.runs[0].network
        assert isinstance(network, LSTMClassifier), "gather_lstm takes no others"
        return network

    def final(self, name: str) -> Spread:
        """The last value of a metric, of each seed."""
        return Spread(tuple(metrics[-1][name] for metrics in self.metrics))

    def best(self, name: str) -> Spread:
        """The highest value of a metric, of each seed."""
        return Spread(tuple(max(point[name] for point in metrics) for metrics in self.metrics))

    def first_at(self, name: str, threshold: float) -> list[int | None]:
        """The first epoch at which a metric is at least `threshold`, of each seed; None if there is none."""
        return [
            next((point["epoch"] for point in metrics if point[name] >= threshold), None) for metrics in self.metrics
        ]

    def above_from(self, name: str, threshold: float) -> list[int | None]:
        """The epoch from which on a metric stays above `threshold`, of each seed; None if it does not at the end."""
        starts: list[int | None] = []
        for metrics in self.metrics:
            last_below = max((point["epoch"] for point in metrics if point[name] <= threshold), default=0)
            starts.append(last_below + 1 if last_below < metrics[-1]["epoch"] else None)
        return starts

    def share_after(self, epoch: float, name: str, threshold: float) -> Spread | None:
        """The share of the epochs after `epoch` at which a metric is at least `threshold`; None without such epochs."""
        later = [[point[name] for point in metrics if point["epoch"] > epoch] for metrics in self.metrics]
        if not all(later):
            return None
        return Spread(tuple(sum(value >= threshold for value in values) / len(values) for values in later))


@dataclass(frozen=True)
class Recognition:
    """What the digit classifier says of N images.

    Attributes:
        size: N.
        counts: images of each digit that it is confident of, [10].
    """

    size: int
    counts: tuple[int, ...]

    @property
    def share(self) -> float:
        """The fraction of images that it is confident of."""
        return sum(self.counts) / self.size

    @property
    def error(self) -> float:
        """Standard error of that fraction, from the number of images alone."""
        return float((self.share * (1 - self.share) / self.size) ** 0.5)

    @property
    def balanced(self) -> float:
        """The same with at most N / 10 images counted for each digit: a generator that repeats one image gets 0.1."""
        most = self.size / len(self.counts)
        return sum(min(count, most) for count in self.counts) / self.size

    @property
    def digits(self) -> int:
        """How many of the ten digits appear."""
        return sum(count > 0 for count in self.counts)


@dataclass(frozen=True)
class Judgement:
    """The classifier on the generator before and after training, and on real images as the ceiling."""

    before: Recognition
    after: Recognition
    real: Recognition
    real_accuracy: float
    """The fraction of the real images whose label it names, at any confidence."""


@dataclass(frozen=True)
class GANEvidence:
    """One run of the GAN.

    Attributes:
        grids: (epoch, file) of the grids at the start, in the middle and at the end.
        judgement: None if the run did not learn digits.
        scores: points of scores taken while training; none if they were not.
        collapses: what was wrong with the run at each of them, if anything.
    """

    run: GANRun
    metrics: Metrics
    grids: tuple[tuple[int, Path], ...]
    walk: Walk
    judgement: Judgement | None
    scores: Metrics
    collapses: list[str | None]


def gather_lstm(paths: Sequence[Path]) -> LSTMEvidence:
    """Read finished runs that differ in their seed only.

    Raises:
        RunFolderError: if one is missing, unfinished or damaged, or they differ in more than their seed.
    """
    runs = tuple(load_lstm(_open_finished(path, "lstm"), device="cpu") for path in paths)
    if not runs:
        raise RunFolderError("lstm_runs: there is none; give at least one run folder")
    first = runs[0].config
    if first.cell != "lstm" or first.task != "palindrome" or first.grow:
        raise RunFolderError(
            f"{runs[0].folder.path}: is no run of the report's kind; give an LSTM trained on palindromes of one length"
        )
    for run in runs[1:]:
        for field in dataclasses.fields(first):
            ours, theirs = getattr(first, field.name), getattr(run.config, field.name)
            if field.name != "seed" and ours != theirs:
                raise RunFolderError(
                    f"{run.folder.path}: its {field.name} is {theirs!r}, that of {runs[0].folder.path} {ours!r}; give "
                    "runs that differ in their seed only"
                )
    data = PalindromeTask(first).split
    undropped = tuple(score(run.network, PalindromeTask(run.config).split.train, "class") for run in runs)
    return LSTMEvidence(
        runs,
        tuple(_read_metrics(run.folder) for run in runs),
        len(data.train),
        len(data.validation),
        undropped,
        tuple(data.validation.digits()[0].tolist()),
    )


def gather_gan(path: Path) -> GANEvidence:
    """Read a finished run and judge what its generator draws.

    Raises:
        RunFolderError: if the run is missing, unfinished or damaged.
        DataError: if a grid of samples is missing.
    """
    run = load_gan(_open_finished(path, "gan"), device="cpu")
    return GANEvidence(
        run,
        _read_metrics(run.folder),
        _find_grids(run),
        _draw_walk(run),
        _judge(run) if run.is_digits else None,
        run.scores,
        find_collapses(run.scores),
    )


def _open_finished(path: Path, kind: str) -> RunFolder:
    folder = RunFolder.open(path, kind)
    if folder.status != "finished":
        raise RunFolderError(f"{path}: is {folder.status}, not finished; train it to its end with --resume")
    return folder


def _read_metrics(folder: RunFolder) -> Metrics:
    metrics = folder.read_metrics()
    if not metrics:
        raise RunFolderError(
            f"{folder.points_path('metrics')}: holds no point; train again, or with a smaller log_every"
        )
    return metrics


def _find_grids(run: GANRun) -> tuple[tuple[int, Path], ...]:
    grids = find_grids(run.folder.samples)
    if not grids:
        raise DataError(f"{run.folder.samples}: holds no grid of samples; train again to draw them")
    wanted = (0, run.config.epochs // 2, run.config.epochs)
    nearest = [min(grids, key=lambda grid: (abs(grid.epoch - target), grid.epoch)) for target in wanted]
    return tuple((grid.epoch, grid.path) for grid in nearest)


def _draw_walk(run: GANRun) -> Walk:
    """Walk between two different digits, or if no two are recognised between two images that differ much."""
    try:
        return draw_interpolation(run, None, None, INTERPOLATION_STEPS, "linear", run.config.seed)
    except DataError:
        ends = choose_distant(run.generator, run.config.seed)
        latents = interpolate(ends.z[0], ends.z[1], INTERPOLATION_STEPS)
        return Walk(latents, draw(run.generator, latents), None, None)


def _judge(run: GANRun) -> Judgement:
    classifier = DigitClassifier.pinned()
    untrained, _ = build_networks(run.config, (1, 28, 28))
    before, _ = draw_samples(untrained, NUM_JUDGED, run.config.seed)
    after, _ = draw_samples(run.generator, NUM_JUDGED, run.config.seed)
    test = load_mnist("test")
    assert test.labels is not None
    chosen = torch.randperm(len(test.images), generator=stream(run.config.seed, "judged"))[:NUM_JUDGED]
    real_probabilities = classifier.probabilities(from_pixels(test.images[chosen]))
    return Judgement(
        _recognise(classifier.probabilities(before)),
        _recognise(classifier.probabilities(after)),
        _recognise(real_probabilities),
        float((real_probabilities.argmax(1) == test.labels[chosen]).float().mean()),
    )


def _recognise(probabilities: Tensor) -> Recognition:
    """Count the digits in probabilities [N, 10]."""
    confidences, digits = probabilities.max(1)
    counts = torch.bincount(digits[confidences >= CONFIDENCE], minlength=10)
    return Recognition(len(probabilities), tuple(counts.tolist()))


def hardware_of(record: Mapping[str, Any]) -> str:
    """One line on what a run was computed on."""
    machine = record.get("hardware", {})
    return (
        f"{machine.get('processor')}, {machine.get('cores')} cores, {machine.get('threads')} threads, "
        f"{machine.get('memory_gb')} GB, device {machine.get('device')}, {machine.get('system')}"
    )
