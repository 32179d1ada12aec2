"""Scores of a run on a labeled file: against scikit-learn, and from the commands."""

import csv
import json
import math
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics

from reviver import load
from reviver.cli import main
from reviver.data.sequences.reader import read_sequences
from reviver.runs.folder import RunFolder
from reviver.settings.lstm import LSTMConfig
from reviver.train.lstm.classification import classification_report, confusions
from reviver.train.lstm.summary import trained_length
from reviver.train.lstm.training import build_network, train
from tests.lstm_runs import write_ramps

CONFIG = LSTMConfig(
    task="custom",
    data="x",
    hidden_size=6,
    bidirectional=True,
    pooling="max",
    patch_size="auto",
    epochs=3,
    patience=3,
    batch_size=16,
    learning_rate=1e-3,
)
"""It learns a part of the task only, so that precision and recall differ."""


@pytest.mark.parametrize(("num_classes", "size", "absent"), [(2, 9, ()), (5, 40, (1, 4)), (40, 30, ())])
def test_scores_are_those_of_scikit_learn(num_classes: int, size: int, absent: tuple[int, ...]) -> None:
    """No sequence is of the `absent` classes."""
    rng = torch.Generator().manual_seed(num_classes)
    present = torch.tensor([c for c in range(num_classes) if c not in absent])
    targets = present[torch.randint(len(present), (size,), generator=rng)]
    logits = torch.randn(size, num_classes, generator=rng)
    logits[torch.arange(size), targets] += 1
    frequencies = np.arange(1, num_classes + 1) / sum(range(num_classes + 1))
    report = classification_report(logits, targets, tuple(map(str, range(num_classes))), tuple(frequencies))
    true, predicted, labels = targets.numpy(), logits.argmax(1).numpy(), range(num_classes)
    assert (report["sequences"], report["correct"]) == (size, (true == predicted).sum())
    assert np.array_equal(report["confusion"], metrics.confusion_matrix(true, predicted, labels=labels))
    assert report["accuracy"] == pytest.approx(metrics.accuracy_score(true, predicted))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # predictions of a class that does not occur
        assert report["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(true, predicted))
    probabilities = logits.double().softmax(1).numpy()
    assert report["log_loss"] == pytest.approx(metrics.log_loss(true, probabilities, labels=labels))
    columns = metrics.precision_recall_fscore_support(true, predicted, labels=labels, zero_division=math.nan)
    for score, precision, recall, f1, support in zip(report["classes"], *columns, strict=True):
        values = [math.nan if score[name] is None else score[name] for name in ("precision", "recall", "f1")]
        assert values == pytest.approx([precision, recall, f1], nan_ok=True)
        assert score["support"] == support
    wrong = Counter(zip(true.tolist(), predicted.tolist(), strict=True))
    assert set(confusions(report)) == {(i, j, count) for (i, j), count in wrong.items() if i != j}
    sizes = [count for *_, count in confusions(report)]
    assert sizes == sorted(sizes, reverse=True)
    counts = targets.bincount(minlength=num_classes)
    assert report["chance"] == counts.max().item() / size
    assert report["balanced_chance"] == pytest.approx(1 / counts.count_nonzero().item())
    baseline = metrics.log_loss(true, np.tile(frequencies, (size, 1)), labels=labels)
    assert report["baseline"] == pytest.approx(baseline)


def test_a_loss_is_finite_and_undefined_scores_are_null() -> None:
    certain = classification_report(torch.tensor([[200.0, 0.0]]), torch.tensor([1]), ("a", "b"), (0.5, 0.5))
    assert certain["log_loss"] == pytest.approx(200), "finite with a probability of 0"
    assert json.loads(json.dumps(certain, allow_nan=False))["classes"][0]["recall"] is None


# Commands


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classification")
    write_ramps(folder / "train.csv", 120, 0)
    write_ramps(folder / "test.csv", 41, 1)
    for name, label in (("unknown", "level"), ("unlabeled", "")):
        write_ramps(folder / f"{name}.csv", 4, 1, f"1.0 2.0,{label}")
    text = (folder / "test.csv").read_text()
    (folder / "renamed.csv").write_text(text.replace("sequence,label", "series,kind"))
    (folder / "new.csv").write_text("".join(f"{line.split(',')[0]}\n" for line in text.splitlines()))
    for name, labels in (("bare", {}), ("numbers", {"y": [0.5]})):
        np.savez(folder / f"{name}.npz", x=[[1, 2]], **labels)
    np.savez(folder / "channels.npz", x=np.zeros((2, 3, 2)), y=["rising", "falling"])
    return folder


@pytest.fixture(scope="module")
def run(files: Path) -> RunFolder:
    return train(replace(CONFIG, data=str(files / "train.csv")), files / "run")


def command(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    status = main(["lstm", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_evaluate_scores_a_labeled_file(
    run: RunFolder, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = tmp_path / "confusion.png"
    status, out, _ = command(capsys, "evaluate", run.path, "--data", files / "test.csv", "--out", figure, "--json")
    assert status == 0
    assert figure.stat().st_size > 1000
    result = json.loads(out)
    loaded, table = load(run.path), read_sequences(files / "test.csv", labeled=False)
    inputs = loaded.task.data.standardization.apply(table.x, table.lengths)
    with torch.no_grad():  # one by one
        outputs = [loaded.network(x[None, :length]) for x, length in zip(inputs, table.lengths.tolist(), strict=True)]
    logits = torch.cat(outputs)
    true = np.arange(41) % 2
    predicted = logits.argmax(1).numpy()
    assert 0.55 < result["accuracy"] < 1, "or the test would say little"
    assert result["accuracy"] == pytest.approx(metrics.accuracy_score(true, predicted))
    assert result["confusion"] == metrics.confusion_matrix(true, predicted).tolist()
    assert result["log_loss"] == pytest.approx(metrics.log_loss(true, logits.softmax(1).numpy()), rel=1e-4)
    assert [score["name"] for score in result["classes"]] == ["falling", "rising"]
    assert (result["sequences"], result["checkpoint"]) == (41, "best")
    columns = ("--sequence-column", "series", "--label-column", "kind", "--json")
    words = ("evaluate", run.path, "--data", files / "renamed.csv", *columns)
    assert json.loads(command(capsys, *words)[1])["confusion"] == result["confusion"]
    words = ("predict", run.path, files / "renamed.csv", *columns, "--out", tmp_path / "p.csv")
    assert json.loads(command(capsys, *words)[1])["accuracy"] == result["accuracy"]
    assert trained_length(loaded) == 12, "the longest sequence, not the default length"


def test_predict_counts_the_correct_predictions_and_says_why_it_does_not(
    run: RunFolder, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def predict(name: str, *options: str) -> str:
        out = tmp_path / f"{Path(name).stem}.csv"
        return command(capsys, "predict", run.path, files / name, "--out", out, *options)[1]

    text = predict("test.csv")
    classes = [row["class"] for row in csv.DictReader((tmp_path / "test.csv").read_text().splitlines())]
    correct = sum(name == label for name, label in zip(classes, ["falling", "rising"] * 21, strict=False))
    assert f"{correct} of 41 are correct ({correct / 41:.2%}, chance 51.22%)" in text
    assert "correct" not in predict("new.csv") + predict("bare.npz")
    assert (tmp_path / "new.csv").read_bytes() == (tmp_path / "test.csv").read_bytes(), "labels do not change them"
    for name, problem in (
        ("unknown.csv", "not there in training (row 6: 'level')"),
        ("unlabeled.csv", "the label is missing"),
        ("numbers.npz", "y is 'float64' of the shape [1]"),
    ):
        result = json.loads(predict(name, "--json"))
        assert result["correct"] is None
        assert problem in result["label_problem"]


WRONG_USE = {
    "evaluate run --data unknown.csv": "labels that were not there in training (row 6: 'level'); known are",
    "evaluate run --data unlabeled.csv": "unlabeled.csv: row 6: the label is missing",
    "evaluate run --data new.csv": "there is no column 'label' among 'sequence'",
    "evaluate run --data channels.npz": "--data has 2 channels a step and the training data had 1",
    "evaluate run --data test.csv --size 5": "--size must be left out, since --data has sequences of its own",
    "evaluate run --label-column kind": "--label-column must be left out, since there is no --data with columns",
    "evaluate digits --data test.csv": "was not trained on custom data, so it reads no files",
    "evaluate run --length 5": "--length is that of the data for a run on custom data; leave it out",
    "predict run 123": "DIGITS must be a .csv, .parquet, .npz file, or a folder with x.npy for a run on custom data, got",
    "predict run gone.csv": "gone.csv: does not exist; give a .csv, .parquet, .npz file, or a folder",
    "predict run train.csv --out p.txt": "--out must end in .csv for predictions, got",
    "predict run 123 --label-column kind": "--label-column must be left out, since DIGITS is not a file",
    "train --preset series": "--data must be a file for the preset series; give one with --data",
}


def test_wrong_use_is_refused(
    run: RunFolder, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files)
    train(LSTMConfig(length=3, epochs=1, hidden_size=2), "digits")
    for words, message in WRONG_USE.items():
        status, _, error = command(capsys, *words.split())
        assert (status, error.count("\n")) == (2, 1)
        assert message in error


def test_the_preset_series_classifies_long_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The class is the frequency of a sine of 400 steps with a random phase; the report's settings do not learn it."""
    rng, y, time = np.random.default_rng(0), np.arange(110) % 2, np.arange(400) / 400
    x = np.sin(2 * np.pi * (np.where(y, 5.0, 3.0)[:, None] * time + rng.uniform(size=(110, 1))))
    x += rng.normal(0, 0.1, x.shape)
    for name, part in (("train", slice(60)), ("test", slice(60, 110))):
        np.savez(tmp_path / f"{name}.npz", x=x[part], y=np.where(y, "fast", "slow")[part])
    words = ["--data", tmp_path / "train.npz", "--out", tmp_path / "run", "--epochs", "60", "--quiet"]
    assert command(capsys, "train", "--preset", "series", *words)[0] == 0
    loaded = load(tmp_path / "run")
    assert loaded.network.patch_size == 13
    chrono = build_network(replace(loaded.config, init="chrono"), loaded.task)
    assert 20 < chrono.lstm.b_f.exp().max() < 31  # units forget over up to all 31 patches
    result = json.loads(command(capsys, "evaluate", tmp_path / "run", "--data", tmp_path / "test.npz", "--json")[1])
    assert result["accuracy"] >= 0.9
