"""Evaluation during training: score the generator at intervals and detect mode collapse.

A record is a line of scores.jsonl: the result of `score_record`, with its step and epoch.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from reviver.data.images.image_set import ImageSet, load_images
from reviver.errors import ConfigError, DataError
from reviver.gan.networks import Generator
from reviver.gan.sampling import generate_samples
from reviver.gan.scores.feature_extractor import FeatureExtractor
from reviver.gan.scores.reference_stats import (
    K_NEAREST,
    Comparison,
    Reference,
    check_num_samples,
    class_fractions,
    load_extractor,
    load_reference,
)
from reviver.gan.scores.scores import MIN_SPACING_RATIO, collapse_warning, fid_ratio
from reviver.runs.session import Session
from reviver.settings.gan import GANConfig

ScoreRecord = Mapping[str, Any]

MIN_EPOCHS = 3
"""Ignore low diversity before this epoch: every generator starts with it."""
MIN_COVERAGE_FRACTION = 0.5
"""Fraction of the best coverage so far below which a run has lost diversity."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingMonitor:
    """Evaluates `num_samples` samples of a run while it trains on `train`, against `test`; see `create_monitor`."""

    config: GANConfig
    num_samples: int
    extractor: FeatureExtractor
    train: ImageSet
    test: ImageSet

    @cached_property
    def reference(self) -> Reference:
        """What samples are compared with; computed, or read from the cache, at the first evaluation."""
        return load_reference(self.num_samples, self.extractor, self.train, self.test)

    def is_due(self, epoch: int) -> bool:
        """Return whether to evaluate after `epoch`: at every interval, and at the end."""
        return epoch % self.config.eval_interval == 0 or epoch == self.config.epochs

    def score(self, session: Session, generator: Generator) -> None:
        """Score the samples that `reviver gan sample` would generate, record the scores, warn of a new mode collapse."""
        with session.evaluating():
            images, _ = generate_samples(generator, self.reference.num_samples, self.config.seed)
            samples = self.reference.score(images)
        session.log_scores(epoch=session.state.epoch, **score_record(samples, self.reference))
        records = session.folder.read_scores()
        problem = find_collapse(records)
        if problem is not None and find_collapse(records[:-1]) is None:
            _log.warning("epoch %d: %s", session.state.epoch, problem)
        session.progress.status = progress_line(records)


def create_monitor(config: GANConfig, train: ImageSet) -> TrainingMonitor | None:
    """Return the monitor of a run on `train`, None if its `eval_interval` is 0; `ConfigError` if evaluation is impossible."""
    if config.eval_interval == 0:
        return None
    try:
        extractor = load_extractor(config.data, train.image_shape, config.extractor)
        class_fractions(train, extractor)
        num_samples, test = min(config.eval_samples, len(train)), load_images(config.data, config.image_size, "test")
        check_num_samples("eval_samples", num_samples, train, test)
        return TrainingMonitor(config, num_samples, extractor, train, test)
    except (ConfigError, DataError) as error:
        raise ConfigError(f"eval_every: evaluation during training fails ({error}); fix that, or give 0") from error


def score_record(samples: Comparison, reference: Reference) -> dict[str, Any]:
    """Return the scores of samples with what is needed to quote them, as in scores.jsonl."""
    rows = [asdict(each) for each in (samples, reference.real_baseline, reference.noise_baseline)]
    counts, *_ = [row.pop("class_counts") for row in rows]
    scores, real, noise = rows
    return {
        **scores,
        "class_fractions": [count / reference.num_samples for count in counts],
        "fid_ratio": fid_ratio(samples, reference.real_baseline),
        "warning": collapse_warning(samples, reference.real_baseline),
        "real_baseline": real,
        "noise_baseline": noise,
        "num_samples": reference.num_samples,
        "k": K_NEAREST,
        "data": reference.data,
        "extractor": reference.extractor.name,
        "extractor_sha256": reference.extractor.sha256,
    }


def find_collapse(records: Sequence[ScoreRecord]) -> str | None:
    """Return a message with a remedy if a run has collapsed at the last of its records, else None.

    It has if coverage is below MIN_COVERAGE_FRACTION of the best in a record without a warning, or if it is stuck.
    """
    if not records:
        return None
    *earlier, last = records
    best = max((record["coverage"] for record in earlier if record["warning"] is None), default=0.0)
    if last["coverage"] >= MIN_COVERAGE_FRACTION * best and not is_stuck(records):
        return None
    if best == 0:
        return str(last["warning"])
    return (
        f"mode collapse: the samples have lost diversity, coverage fell from {best:.2f} to {last['coverage']:.2f}; try a "
        "smaller --learning-rate, another --seed, or fewer epochs, and see where the grids in samples/ lose diversity"
    )


def is_stuck(records: Sequence[ScoreRecord]) -> bool:
    """Return whether a run of at least MIN_EPOCHS has low diversity and does not gain any.

    In its last two records, with warnings, samples repeat few images, or coverage is no better than in any record before.
    """
    earlier, latest = records[:-2], records[-2:]
    if len(latest) < 2 or latest[-1]["epoch"] < MIN_EPOCHS or any(record["warning"] is None for record in latest):
        return False
    if all(record["spacing"] < MIN_SPACING_RATIO * record["real_baseline"]["spacing"] for record in latest):
        return True
    best = max((record["coverage"] for record in earlier), default=0.0)
    return all(record["coverage"] <= best for record in latest)


def find_collapses(records: Sequence[ScoreRecord]) -> list[str | None]:
    """Return the result of `find_collapse` at each record, from that record and those before it."""
    return [find_collapse(records[: end + 1]) for end in range(len(records))]


def progress_line(records: Sequence[ScoreRecord]) -> str:
    """Return the last record in a few words, for the progress line; empty if there is none."""
    if not records:
        return ""
    last = records[-1]
    if find_collapse(records) is not None:
        return f"collapsed (coverage {last['coverage']:.2f}), see samples/"
    return f"FID {last['fid']:.1f}, coverage {last['coverage']:.2f}"


def describe_record(record: ScoreRecord) -> str:
    """Return one line with a record, its real-data baseline and what is needed to quote it."""
    baseline = record["real_baseline"]
    return (
        f"FID {record['fid']:.2f} (real images {baseline['fid']:.2f}), coverage {record['coverage']:.3f} "
        f"({baseline['coverage']:.3f}) of {record['num_samples']} samples by the {record['extractor']}"
    )
