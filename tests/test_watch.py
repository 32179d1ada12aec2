"""Scores while training: right, taken when they should be, the same after a resume, undisturbing; collapse is noticed."""

import dataclasses
import json
import logging
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reviver.cli import main
from reviver.config import override
from reviver.errors import ConfigError, Interrupted
from reviver.gan.config import GANConfig
from reviver.gan.data.image_set import ImageSet, load_images, load_mnist, load_test_images
from reviver.gan.evaluation.digit_classifier import weights_path
from reviver.gan.evaluation.monitor import (
    TrainingMonitor,
    create_monitor,
    describe_point,
    find_collapse,
    find_collapses,
    summarise,
)
from reviver.gan.evaluation.reference_stats import Comparison, Reference, load_reference
from reviver.gan.evaluation.scores import score_generator
from reviver.gan.presets import PRESETS
from reviver.gan.training import train
from reviver.loading import load
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import RunFolder
from reviver.runs.session import Session
from tests.test_gan_training import at_step, send
from tests.test_scores import write_idx

N, EPOCHS, UPDATES = 60, 3, 6
CONFIG = GANConfig(epochs=EPOCHS, batch_size=100, latent_size=16, log_every=4, eval_every=1, eval_samples=N, ema=0.5)


@pytest.fixture(autouse=True, scope="module")
def small_mnist(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """MNIST has 600 training and 300 test images, and no test reads or writes the user's cache."""
    whole = {part: load_mnist(part) for part in ("train", "test")}

    def some(part: str = "train") -> ImageSet:
        count = {"train": 600, "test": 300}[part]
        labels = whole[part].labels
        assert labels is not None
        return ImageSet(whole[part].images[:count], labels[:count], "mnist")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REVIVER_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("reviver.gan.data.image_set.load_mnist", some)
        yield


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(CONFIG, tmp_path_factory.mktemp("scored") / "run")


def bits(folder: RunFolder) -> dict[str, Any]:
    """What training found out, without its scores and the seconds that it took."""
    last = find_checkpoint(folder.checkpoints, "last")
    files = [last / "networks.safetensors", last / "training.safetensors", *sorted(folder.samples.iterdir())]
    metrics = [{**point, "seconds": None} for point in folder.read_metrics()]
    return {"metrics": metrics, **{path.name: path.read_bytes() for path in files}}


def lines(folder: RunFolder) -> bytes:
    return folder.records_path("scores").read_bytes()


# Right value


def test_the_last_point_is_what_the_finished_run_scores(scored: RunFolder) -> None:
    """By the moving average, which is what the run's samples are drawn from."""
    point = scored.read_scores()[-1]
    reference = load_reference(N, None, load_images("mnist"), load_test_images("mnist"))
    scores = score_generator(load(scored.path).generator, N, CONFIG.seed, reference=reference)
    for name in ("fid", "kid", "precision", "recall", "density", "coverage", "class_kl", "spacing"):
        assert point[name] == getattr(scores.samples, name)
        assert point["real_baseline"][name] == getattr(scores.real_baseline, name)
    assert point["class_fractions"] == [count / N for count in scores.samples.classes]
    assert sum(point["class_fractions"]) == pytest.approx(1)
    assert (point["fid_ratio"], point["warning"]) == (scores.fid_ratio, scores.warning)
    for name in ("num_samples", "k", "data", "extractor", "extractor_sha256"):
        assert point[name] == getattr(scores, name)


def test_points_know_their_place(scored: RunFolder) -> None:
    points = scored.read_scores()
    assert [(point["epoch"], point["step"]) for point in points] == [(1, 6), (2, 12), (3, 18)]
    assert len({point["fid"] for point in points}) == EPOCHS
    assert load(scored.path).scores == points
    assert scored.record["eval_seconds"] > 0


@pytest.mark.parametrize(
    ("epochs", "eval_every", "expected"),
    [
        (12, None, [5, 10, 12]),
        (3, None, [3]),
        (10, None, [5, 10]),
        (4, 1, [1, 2, 3, 4]),
        (7, 3, [3, 6, 7]),
        (2, 9, [2]),
    ],
)
def test_epochs_of_scores(epochs: int, eval_every: int | None, expected: list[int]) -> None:
    opened = create_monitor(override(CONFIG, {"epochs": epochs, "eval_every": eval_every}), load_images("mnist"))
    assert opened is not None
    assert [epoch for epoch in range(1, epochs + 1) if opened.is_due(epoch)] == expected


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_scored_on_mnist(name: str) -> None:
    assert create_monitor(override(PRESETS[name], {"eval_samples": N}), load_images("mnist")) is not None


# The same bits


def test_no_more_samples_are_scored_than_there_are_images() -> None:
    watch = create_monitor(override(CONFIG, {"eval_samples": 601}), load_images("mnist"))
    assert watch is not None
    assert watch.n == watch.reference.n == 600


@pytest.mark.parametrize("ema", [0.5, 0.0])
def test_scores_do_not_disturb_training(ema: float, scored: RunFolder, tmp_path: Path) -> None:
    torch.manual_seed(5)  # which nothing may depend on
    config = override(CONFIG, {"ema": ema})
    plain = train(override(config, {"eval_every": 0}), tmp_path / "plain")
    assert bits(plain) == bits(scored if ema else train(config, tmp_path / "scored"))
    assert not plain.records_path("scores").exists()
    assert "eval_seconds" not in plain.record


def test_scores_are_the_same_twice(scored: RunFolder, tmp_path: Path) -> None:
    assert lines(train(CONFIG, tmp_path / "run")) == lines(scored)


@pytest.mark.parametrize("step", [2, UPDATES, 2 * UPDATES + 1])
def test_an_interrupted_run_resumes_to_the_same_scores(
    step: int, scored: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(monkeypatch, step, send(signal.SIGINT))
    with pytest.raises(Interrupted, match=f"stopped at step {step} "):
        train(CONFIG, tmp_path / "run")
    monkeypatch.undo()
    resumed = train(CONFIG, tmp_path / "run", resume=True)
    assert lines(resumed) == lines(scored)
    assert bits(resumed) == bits(scored)


@pytest.mark.parametrize("checkpoint_every", [1, 2])
def test_scores_after_the_last_checkpoint_are_taken_anew(
    checkpoint_every: int, scored: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash while a checkpoint is saved finds the score of its epoch written."""
    config = override(CONFIG, {"checkpoint_every": checkpoint_every})
    save, saved = Session.save, []

    def crash(session: Session) -> None:
        saved.append(session.state.epoch)
        if len(saved) == 2:
            raise MemoryError
        save(session)

    monkeypatch.setattr(Session, "save", crash)
    with pytest.raises(MemoryError):
        train(config, tmp_path / "run")
    monkeypatch.undo()
    assert len(RunFolder.open(tmp_path / "run").read_scores()) == saved[-1]
    resumed = train(config, tmp_path / "run", resume=True)
    assert lines(resumed) == lines(scored)
    assert bits(resumed) == bits(scored)


def test_a_finished_run_goes_on_for_more_epochs(scored: RunFolder, tmp_path: Path) -> None:
    train(override(CONFIG, {"epochs": 2}), tmp_path / "run")
    assert lines(train(CONFIG, tmp_path / "run", resume=True)) == lines(scored)


# Data that has no extractor


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Image sets: labelled digits with test images and without, unlabelled ones, colour."""
    folder = tmp_path_factory.mktemp("sets")
    for name, parts in (("digits", ("train", "test")), ("untested", ("train",)), ("unlabelled", ("train", "test"))):
        (folder / name).mkdir()
        for part in parts:
            data = load_images("mnist") if part == "train" else load_test_images("mnist")
            prefix = {"train": "train", "test": "t10k"}[part]
            assert data.labels is not None
            write_idx(folder / name / f"{prefix}-images-idx3-ubyte", data.images[:100, 0].numpy())
            if name != "unlabelled":
                write_idx(folder / name / f"{prefix}-labels-idx1-ubyte", data.labels[:100].numpy())
    np.savez(folder / "colour.npz", images=np.zeros((40, 3, 28, 28), dtype=np.uint8))
    return folder


IMPOSSIBLE = {
    "colour": ({"data": "colour.npz"}, r"does not know 'colour.npz' as images of \[3, 28, 28\]"),
    "size": ({"image_size": 14}, r"does not know 'mnist' as images of \[1, 14, 14\], so there are no scores"),
    "other": ({"data": "digits"}, "the digit classifier does not know 'digits' .* give it as --extractor"),
    "unlabelled": ({"data": "unlabelled", "extractor": str(weights_path())}, "unlabelled has no labels"),
    "untested": ({"data": "untested", "extractor": str(weights_path())}, "untested has no test images to compare with"),
    "extractor": ({"data": "digits", "extractor": "colour.npz"}, "colour.npz is not the weights of an extractor"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_scores_that_are_not_possible_are_refused_before_anything_is_written(
    name: str, sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, problem = IMPOSSIBLE[name]
    monkeypatch.chdir(sets)
    with pytest.raises(ConfigError, match=f"^eval_every: scores while.*{problem}.*; put that right, or give 0"):
        train(override(CONFIG, changes), tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 5),
        ({"image_size": 14}, 0),
        ({"data": "photos"}, 0),
        ({"data": "digits", "extractor": "e"}, 5),
        ({"eval_every": 0}, 0),
        ({"eval_every": 0, "extractor": "e"}, 0),
        ({"data": "photos", "eval_every": 3}, 3),
    ],
)
def test_what_is_scored_if_nobody_asks(settings: dict[str, Any], expected: int) -> None:
    assert GANConfig(**settings).eval_interval == expected


def test_a_run_without_scores_has_no_file_of_them(sets: Path, tmp_path: Path) -> None:
    folder = train(GANConfig(data=str(sets / "colour.npz"), latent_size=8, epochs=1, batch_size=20), tmp_path / "run")
    assert not folder.records_path("scores").exists()
    assert folder.read_scores() == []


def test_other_images_are_scored_through_an_extractor_of_their_own(sets: Path, tmp_path: Path) -> None:
    changes = {"data": str(sets / "digits"), "extractor": str(weights_path()), "eval_every": None, "epochs": 1}
    (point,) = train(override(CONFIG, changes), tmp_path / "run").read_scores()
    assert (point["data"], point["extractor"]) == ("digits", "digit_classifier")
    assert main(shlex.split(f"gan evaluate {tmp_path / 'run'} --num-samples {N}")) == 0, "the run knows its extractor"


# Collapse

FLOOR = {"coverage": 0.95, "fid": 2.0, "spacing": 10.0}
BAD = "collapsed or hardly trained: ..."


def points_of(*scores: tuple[float, ...], spacing: float = 5.0) -> list[dict[str, Any]]:
    """Points of (epoch, coverage); a score warns below 0.1, or if a third number says so."""
    return [
        {"epoch": epoch, "coverage": coverage, "fid": 50.0, "spacing": spacing, "real_baseline": FLOOR}
        | {"warning": BAD if coverage < 0.1 or warns else None}
        for epoch, coverage, *warns in scores
    ]


@pytest.mark.parametrize(
    ("scores", "noticed"),
    [
        ([], []),
        ([(5, 0.4), (10, 0.5)], []),
        ([(1, 0.0), (2, 0.01), (3, 0.2)], []),  # a young run
        ([(1, 0.007), (2, 0.009), (3, 0.01), (4, 0.016), (5, 0.019)], []),  # the report's, which is slow
        ([(1, 0.01), (2, 0.03), (3, 0.02), (4, 0.04)], []),  # by ups and downs
        ([(40, 0.01)], []),
        ([(5, 0.01), (10, 0.01)], []),
        ([(5, 0.01), (10, 0.01), (15, 0.009), (20, 0.3)], [15]),  # stuck, then not
        ([(1, 0.0), (2, 0.0), (3, 0.0), (4, 0.0), (5, 0.01)], [3, 4]),
        ([(5, 0.4), (10, 0.01), (15, 0.5)], [10]),  # lost, and found again
        ([(5, 0.5), (10, 0.26), (15, 0.24), (20, 0.3)], [15]),
        ([(5, 0.0), (10, 0.3), (15, 0.2), (20, 0.14)], [20]),
        ([(5, 0.11), (10, 0.09), (15, 0.12)], []),  # at the border
        ([(5, 0.11), (10, 0.09), (15, 0.09)], [15]),
        ([(5, 0.2), (10, 0.19, 1.0), (15, 0.18, 1.0)], [15]),  # some classes took all
    ],
)
def test_collapse_is_noticed(scores: list[tuple[float, ...]], noticed: list[int]) -> None:
    points = points_of(*scores)
    found = [point["epoch"] for point, problem in zip(points, find_collapses(points), strict=True) if problem]
    assert found == noticed


def test_images_that_repeat_are_noticed_at_the_second_score_of_a_run_that_is_not_young() -> None:
    scores = [(1, 0.001), (2, 0.002), (3, 0.003), (4, 0.004)]
    assert [problem is None for problem in find_collapses(points_of(*scores, spacing=0.9))] == [
        True,
        True,
        False,
        False,
    ]
    assert find_collapses(points_of(*scores, spacing=1.1)) == [None] * 4


def test_a_collapse_is_told_with_what_to_try() -> None:
    assert find_collapse(points_of((5, 0.0), (10, 0.0))) == BAD
    lost = find_collapse(points_of((5, 0.513), (10, 0.2)))
    assert lost is not None
    assert lost.startswith(
        "collapsed: the samples have lost variety, coverage is 0.20 and was 0.51; try a smaller --lea"
    )


def test_the_last_point_in_words(scored: RunFolder) -> None:
    assert summarise([]) == ""
    assert summarise(points_of((5, 0.513))) == "FID 50.0, coverage 0.51"
    assert summarise(points_of((5, 0.5), (10, 0.012))) == "collapsed (coverage 0.01), see samples/"
    text = describe_point(scored.read_scores()[-1])
    assert f"of {N} samples by the reviver digit classifier" in text


def test_a_collapse_is_told_once_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    coverages = iter([0.5, 0.001, 0.002, 0.5, 0.001])
    real, notes = Reference.compare, []

    def pretend(*arguments: Any) -> Comparison:
        return dataclasses.replace(real(*arguments), coverage=next(coverages), class_kl=0.0)

    def noting(self: TrainingMonitor, session: Session, *arguments: Any) -> None:
        score(self, session, *arguments)
        notes.append(session.progress.note)

    score = TrainingMonitor.score
    monkeypatch.setattr(Reference, "compare", pretend)
    monkeypatch.setattr(TrainingMonitor, "score", noting)
    train(override(CONFIG, {"epochs": 5}), tmp_path / "run")
    assert [message.partition(": ")[0] for message in caplog.messages] == ["epoch 2", "epoch 5"]
    assert all(record.levelname == "WARNING" for record in caplog.records)
    assert ["collapsed" in note for note in notes] == [False, True, True, False, True]


# The command line


def test_training_prints_the_last_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = "--epochs 1 --batch-size 200 --latent-size 16 --eval-samples 60"
    assert main(shlex.split(f"gan train {settings} --out {tmp_path / 'run'}")) == 0
    captured = capsys.readouterr()
    assert "FID " in captured.out
    assert "scoring took " in captured.out
    assert main(shlex.split(f"gan train {settings} --out {tmp_path / 'other'} --json --quiet")) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["scores"] == RunFolder.open(tmp_path / "run").read_scores()[-1]
    assert captured.err == ""


def test_a_log_line_goes_above_a_progress_bar(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """A bar takes the place of sys.stderr while it is shown."""
    assert main(["gan", "train", "--eval-every", "-1"]) == 2
    capsys.readouterr()

    class Bar:
        text = ""

        def write(self, text: str) -> None:
            self.text += text

        def flush(self) -> None: ...

    bar = Bar()
    monkeypatch.setattr("sys.stderr", bar)
    logging.getLogger("reviver").warning("told")
    assert bar.text == "told\n"
