"""Scores while training: a generator is scored at intervals, and its collapse is noticed.

A point is a line of scores.jsonl: what `score_record` returns, with its step and epoch.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from reviver.errors import ConfigError, DataError
from reviver.gan.config import GANConfig
from reviver.gan.data.image_set import ImageSet, load_test_images
from reviver.gan.evaluation.feature_extractor import FeatureExtractor
from reviver.gan.evaluation.reference_stats import (
    K_NEAREST,
    Comparison,
    Reference,
    check_size,
    choose_extractor,
    class_fractions,
    load_reference,
)
from reviver.gan.evaluation.scores import REPEATED_SPACING, warn
from reviver.gan.networks import Generator
from reviver.gan.sampling import generate_samples
from reviver.runs.session import Session

Point = Mapping[str, Any]

GROWN_UP = 3
"""Epochs before which little variety is no news: every generator starts with none."""
LOST = 0.5
"""Of the best coverage so far: a generator that keeps less has lost much of what it drew."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingMonitor:
    """What a run is scored with, and when. Made by `create_monitor`.

    Attributes:
        n: samples of one scoring.
        train, test: the images that the run learns, and those that its samples are compared with.
    """

    config: GANConfig
    n: int
    extractor: FeatureExtractor
    train: ImageSet
    test: ImageSet

    @cached_property
    def reference(self) -> Reference:
        """Made, or read from the cache, at the first scoring."""
        return load_reference(self.n, self.extractor, self.train, self.test)

    def is_due(self, epoch: int) -> bool:
        """Whether the run is scored after `epoch`: at the chosen interval, and at the end."""
        return epoch % self.config.eval_interval == 0 or epoch == self.config.epochs

    def score(self, session: Session, generator: Generator) -> None:
        """Score the samples that `reviver gan sample` would draw, write them down, and say so if the run collapses."""
        with session.scoring():
            images, _ = generate_samples(generator, self.reference.n, self.config.seed)
            samples = self.reference.compare(images)
        session.log_scores(epoch=session.state.epoch, **score_record(samples, self.reference))
        points = session.folder.read_scores()
        problem = find_collapse(points)
        if problem is not None and find_collapse(points[:-1]) is None:
            _log.warning("epoch %d: %s", session.state.epoch, problem)
        session.progress.note = summarise(points)


def create_monitor(config: GANConfig, train: ImageSet) -> TrainingMonitor | None:
    """Return what a run on the images `train` is scored with, or None if it is not.

    Raises:
        ConfigError: if scores are asked for and not possible.
    """
    if config.eval_interval == 0:
        return None
    try:
        extractor = choose_extractor(config.data, train.image_shape, config.extractor)
        class_fractions(train, extractor)
        n = min(config.eval_samples, len(train.images))
        check_size("eval_samples", n, train)
        return TrainingMonitor(config, n, extractor, train, load_test_images(config.data, config.image_size))
    except (ConfigError, DataError) as error:
        raise ConfigError(f"eval_every: scores while training fail ({error}); put that right, or give 0") from error


def score_record(samples: Comparison, reference: Reference) -> dict[str, Any]:
    """What samples score, with what is needed to quote it; `classes` are shares."""
    baseline = asdict(reference.real_baseline)
    return {
        **{name: value for name, value in asdict(samples).items() if name != "classes"},
        "class_fractions": [count / reference.n for count in samples.classes],
        "fid_ratio": samples.fid / reference.real_baseline.fid,
        "warning": warn(samples, reference.real_baseline),
        "real_baseline": {name: baseline[name] for name in baseline if name != "classes"},
        "num_samples": reference.n,
        "k": K_NEAREST,
        "data": reference.data,
        "extractor": reference.extractor.name,
        "extractor_sha256": reference.extractor.sha256,
    }


def find_collapse(points: Sequence[Point]) -> str | None:
    """What is wrong with a run at the last of its `points`, and what to try; None if nothing is or it is too early to tell.

    It is collapsed if it has lost variety, so that coverage is below LOST of the best at a score without a warning, or
    if it is stuck without any, see `is_stuck`.
    """
    if not points:
        return None
    *before, last = points
    best = max((point["coverage"] for point in before if point["warning"] is None), default=0.0)
    if last["coverage"] >= LOST * best and not is_stuck(points):
        return None
    if best == 0:
        return str(last["warning"])
    return (
        f"collapsed: the samples have lost variety, coverage is {last['coverage']:.2f} and was {best:.2f}; try a smaller "
        "--learning-rate, another --seed, or fewer epochs, and see where the grids in samples/ lose variety"
    )


def is_stuck(points: Sequence[Point]) -> bool:
    """Whether a run has little variety and shows no sign of gaining any, after GROWN_UP epochs at least.

    The last two scores warn, and at both the samples repeat few images, or coverage is no better than ever before.
    """
    before, latest = points[:-2], points[-2:]
    if len(latest) < 2 or latest[-1]["epoch"] < GROWN_UP or any(point["warning"] is None for point in latest):
        return False
    if all(point["spacing"] < REPEATED_SPACING * point["real_baseline"]["spacing"] for point in latest):
        return True
    best = max((point["coverage"] for point in before), default=0.0)
    return all(point["coverage"] <= best for point in latest)


def find_collapses(points: Sequence[Point]) -> list[str | None]:
    """What `find_collapse` says at each of the points, of what was known then."""
    return [find_collapse(points[: end + 1]) for end in range(len(points))]


def summarise(points: Sequence[Point]) -> str:
    """The last of the `points` in a few words."""
    if not points:
        return ""
    last = points[-1]
    if find_collapse(points) is not None:
        return f"collapsed (coverage {last['coverage']:.2f}), see samples/"
    return f"FID {last['fid']:.1f}, coverage {last['coverage']:.2f}"


def describe_point(point: Point) -> str:
    """A point with its floor and what is needed to quote it, on one line."""
    floor = point["real_baseline"]
    return (
        f"FID {point['fid']:.2f} (real images {floor['fid']:.2f}), coverage {point['coverage']:.3f} "
        f"({floor['coverage']:.3f}) of {point['num_samples']} samples by the {point['extractor']}"
    )
