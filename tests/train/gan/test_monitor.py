"""Evaluation during training: correct, when due, the same after a resume, without side effects; mode collapse is detected."""

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reviver.cli import main
from reviver.data.images.image_set import load_images
from reviver.errors import ConfigError
from reviver.gan.scores.feature_extractor import weights_path
from reviver.gan.scores.monitor import create_monitor, find_collapse, find_collapses, progress_line
from reviver.gan.scores.reference_stats import Comparison, Reference, load_reference
from reviver.gan.scores.scores import score_generator
from reviver.run import load
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.train.gan.training import train
from tests.gan.scores.conftest import shrink_mnist
from tests.lstm_runs import fingerprint

N = 60
CONFIG = GANConfig(epochs=2, batch_size=100, latent_size=16, log_every=4, eval_every=1, eval_samples=N, ema=0.5)


@pytest.fixture(autouse=True, scope="module")
def small_mnist(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Train on few digits, and keep the tests away from the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REVIVER_CACHE", str(tmp_path_factory.mktemp("cache")))
        shrink_mnist(patch)
        yield


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(CONFIG, tmp_path_factory.mktemp("scored") / "run")


# Correct and when due


def test_the_last_record_equals_the_scores_of_the_finished_run(scored: RunFolder) -> None:
    """Both are of the EMA, which generates the samples of the run."""
    *_, record = records = scored.read_scores()
    assert [(one["epoch"], one["step"]) for one in records] == [(1, 6), (2, 12)]
    assert len({one["fid"] for one in records}) == 2
    assert load(scored.path).scores == records
    assert scored.record["eval_seconds"] > 0
    reference = load_reference(N, None, load_images("mnist"), load_images("mnist", split="test"))
    scores = score_generator(load(scored.path).generator, N, CONFIG.seed, reference=reference)
    for name in ("fid", "kid", "precision", "recall", "density", "coverage", "class_kl", "spacing"):
        assert record[name] == getattr(scores.samples, name)
        assert record["real_baseline"][name] == getattr(scores.real_baseline, name)
        assert record["noise_baseline"][name] == getattr(scores.noise_baseline, name)
    assert record["class_fractions"] == [count / N for count in scores.samples.class_counts]
    for name in ("fid_ratio", "warning", "num_samples", "k", "data", "extractor", "extractor_sha256"):
        assert record[name] == getattr(scores, name)


def test_when_evaluation_is_due_and_what_limits_it() -> None:
    """It is due at the interval and at the end, by default every 5 epochs where the classifier knows the images."""
    for epochs, eval_every, due in ((12, None, [5, 10, 12]), (7, 3, [3, 6, 7]), (2, 9, [2])):
        monitor = create_monitor(replace(CONFIG, epochs=epochs, eval_every=eval_every), load_images("mnist"))
        assert monitor is not None
        assert [epoch for epoch in range(1, epochs + 1) if monitor.is_due(epoch)] == due
    monitor = create_monitor(replace(CONFIG, eval_samples=601), load_images("mnist"))
    assert monitor is not None
    assert monitor.num_samples == monitor.reference.num_samples == 600
    known: list[dict[str, Any]] = [{}, {"data": "digits", "extractor": "e"}]
    unknown: list[dict[str, Any]] = [{"image_size": 14}, {"data": "photos"}, {"eval_every": 0, "extractor": "e"}]
    for settings, expected in ((known, 5), (unknown, 0), ([{"data": "photos", "eval_every": 3}], 3)):
        assert {GANConfig(**one).eval_interval for one in settings} == {expected}


# Bit-for-bit reproducible


def test_evaluation_does_not_change_training(tmp_path: Path) -> None:
    """The samples come from the generator itself, whose mode must be restored."""
    torch.manual_seed(5)  # must not matter
    config = replace(CONFIG, ema=0.0)
    plain = train(replace(config, eval_every=0), tmp_path / "plain")
    expected, found = fingerprint(train(config, tmp_path / "scored")), fingerprint(plain)
    for name in ("files", "metrics", "data"):
        assert found[name] == expected[name]
    assert plain.read_scores() == []
    assert "eval_seconds" not in plain.record


IMPOSSIBLE = {"digits.npz": (None, str(weights_path()), "digits.npz"), "few.npz": (str(weights_path()),)}
"""Images and extractors that cannot evaluate them."""


def test_impossible_evaluation_is_refused_before_anything_is_written(
    here: Path, same_words: Callable[..., None]
) -> None:
    digits = load_images("mnist")
    images, labels = digits.images[:100, 0].numpy(), digits.labels.numpy()[:100]  # type: ignore[union-attr]
    np.savez("digits.npz", images=images)
    np.savez("few.npz", images=images, labels=labels, test_images=images[:5], test_labels=labels[:5])
    for data, extractors in IMPOSSIBLE.items():
        for number, extractor in enumerate(extractors):
            with pytest.raises(ConfigError) as caught:
                train(replace(CONFIG, data=data, extractor=extractor), here / "run")
            same_words(caught.value, f"{data} {number}")
    assert not Path("run").exists()


# Mode collapse

WARNING = "mode collapse or too little training: ..."


def records_of(*scores: tuple[float, ...], spacing: float = 5.0) -> list[dict[str, Any]]:
    """Return records of (epoch, coverage), with a warning if coverage is below 0.1 or a third number is true."""
    baseline = {"coverage": 0.95, "fid": 2.0, "spacing": 10.0}
    return [
        {"epoch": epoch, "coverage": coverage, "fid": 50.0, "spacing": spacing, "real_baseline": baseline}
        | {"warning": WARNING if coverage < 0.1 or has_warning else None}
        for epoch, coverage, *has_warning in scores
    ]


COLLAPSES: list[tuple[list[tuple[float, ...]], list[int]]] = [
    ([(1, 0.0), (2, 0.01), (3, 0.2)], []),  # a young run
    ([(1, 0.007), (2, 0.009), (3, 0.01), (4, 0.016), (5, 0.019)], []),  # the preset original, which is slow
    ([(5, 0.01), (10, 0.01), (15, 0.009), (20, 0.3)], [15]),  # stuck, then not
    ([(1, 0.0), (2, 0.0), (3, 0.0), (4, 0.0), (5, 0.01)], [3, 4]),
    ([(5, 0.5), (10, 0.26), (15, 0.24), (20, 0.3)], [15]),
    ([(5, 0.11), (10, 0.09), (15, 0.12), (20, 0.09), (25, 0.09)], [25]),  # near the threshold
    ([(5, 0.2), (10, 0.19, 1.0), (15, 0.18, 1.0)], [15]),  # some classes are missing
]


@pytest.mark.parametrize(("scores", "collapsed_epochs"), COLLAPSES)
def test_mode_collapse_is_detected(scores: list[tuple[float, ...]], collapsed_epochs: list[int]) -> None:
    records = records_of(*scores)
    found = [record["epoch"] for record, problem in zip(records, find_collapses(records), strict=True) if problem]
    assert found == collapsed_epochs


def test_repeated_images_are_detected_at_the_second_warning_from_the_minimum_epoch() -> None:
    scores = [(1, 0.001), (2, 0.002), (3, 0.003), (4, 0.004)]
    found = find_collapses(records_of(*scores, spacing=0.9))
    assert [problem is None for problem in found] == [True, True, False, False]
    assert find_collapses(records_of(*scores, spacing=1.1)) == [None] * 4
    assert find_collapse(records_of((5, 0.0), (10, 0.0), (15, 0.0))) == WARNING
    assert "coverage fell from 0.51 to 0.20" in str(find_collapse(records_of((5, 0.513), (10, 0.2))))
    assert progress_line(records_of((5, 0.5), (10, 0.012))) == "collapsed (coverage 0.01), see samples/"


def test_each_mode_collapse_is_logged_once(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    coverages, compare = iter([0.5, 0.001, 0.002, 0.5, 0.001]), Reference.score

    def with_coverage(*arguments: Any) -> Comparison:
        return replace(compare(*arguments), coverage=next(coverages), class_kl=0.0)

    monkeypatch.setattr(Reference, "score", with_coverage)
    train(replace(CONFIG, epochs=5, batch_size=300), tmp_path / "run")
    logged = [(record.levelname, record.message.partition(": ")[0]) for record in caplog.records]
    assert logged == [("WARNING", "epoch 2"), ("WARNING", "epoch 5")]
    assert all("coverage" in record.message for record in caplog.records)


def test_a_run_with_scores_and_one_without_are_compared_by_their_losses(
    scored: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = train(replace(CONFIG, eval_every=0), tmp_path / "plain")
    assert main(["compare", str(scored.path), str(plain.path), "--out", str(tmp_path)]) == 0
    assert "last.generator_loss" in capsys.readouterr().out


def test_training_prints_the_last_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = f"--epochs 1 --batch-size 200 --latent-size 16 --eval-samples 60 --conditional --out {tmp_path / 'run'}"
    assert main(shlex.split(f"gan train --preset original {settings} --json")) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert scores == RunFolder.open(tmp_path / "run").read_scores()[-1]
    assert main(shlex.split(f"gan evaluate {tmp_path / 'run'} --num-samples 6")) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("class accuracy 0: ")]
    assert line.count("%") < 10 == line.count("%") + line.count("–"), "six samples are not of ten classes"
