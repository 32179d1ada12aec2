"""Early stopping: when a run ends, what it says, and that it resumes bit for bit."""

import json
from pathlib import Path
from typing import Any

import pytest

from reviver import load
from reviver.cli import main
from reviver.errors import ConfigError, Interrupted, OutOfMemory
from reviver.runs.folder import RunFolder
from reviver.settings.fields import override
from reviver.settings.lstm import LSTMConfig
from reviver.train.lstm.stopping import end_reason, rank
from reviver.train.lstm.training import build_network, train
from tests.test_lstm_training import at_step, crash, fingerprint, interrupt

CONFIG = LSTMConfig(
    length=3,
    encoding="onehot",
    hidden_size=8,
    epochs=60,
    patience=3,
    batch_size=16,
    checkpoint_every=4,
    learning_rate=0.1,
)
"""5 updates an epoch; it learns, and then its validation accuracy moves up and down."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(CONFIG, tmp_path_factory.mktemp("stopped") / "run")


def improved(rows: list[dict[str, Any]]) -> int:
    """Return the epoch of the last improvement."""
    epoch: int = max(rows, key=rank)["epoch"]
    return epoch


def best_epoch(rows: list[dict[str, Any]]) -> int:
    """Return the epoch of the best checkpoint: the last one with the highest accuracy."""
    accuracy = max(row["validation_accuracy"] for row in rows)
    epochs: list[int] = [row["epoch"] for row in rows if row["validation_accuracy"] == accuracy]
    return epochs[-1]


def test_it_ends_after_the_first_epochs_without_improvement(folder: RunFolder) -> None:
    rows = folder.read_metrics()
    count = len(rows)
    assert folder.status == "finished"
    assert CONFIG.patience is not None
    assert 2 * CONFIG.patience < count < CONFIG.epochs, "the run learns, and then it stops early"
    assert count - improved(rows) == CONFIG.patience
    for end in range(1, count):
        assert end - improved(rows[:end]) < CONFIG.patience, "and no epoch before was the end"


def test_patience_changes_nothing_before_the_end(folder: RunFolder, tmp_path: Path) -> None:
    rows = folder.read_metrics()
    other = train(override(CONFIG, {"patience": None, "epochs": len(rows)}), tmp_path / "run").read_metrics()
    assert [{**row, "seconds": 0} for row in other] == [{**row, "seconds": 0} for row in rows]


@pytest.mark.parametrize("before_the_end", [0, 1, 4, 12])
@pytest.mark.parametrize("kind", ["signal", "crash"])
def test_an_interrupted_run_resumes_to_the_same_bits(
    kind: str, before_the_end: int, folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fingerprint(folder)
    step = folder.read_metrics()[-1]["step"] - before_the_end
    at_step(monkeypatch, step, interrupt if kind == "signal" else crash)
    with pytest.raises((Interrupted, OutOfMemory)):
        train(CONFIG, tmp_path / "run")
    monkeypatch.undo()
    assert fingerprint(train(CONFIG, tmp_path / "run", resume=True)) == expected


def test_a_stopped_run_stays_stopped(folder: RunFolder) -> None:
    before = fingerprint(folder)
    assert fingerprint(train(CONFIG, folder.path, resume=True)) == before


def test_a_run_with_early_stopping_is_used_with_its_best_weights(folder: RunFolder, tmp_path: Path) -> None:
    rows = folder.read_metrics()
    assert best_epoch(rows) < len(rows)
    assert load(folder.path).checkpoint == load(folder.path, checkpoint="best").checkpoint == "best"
    assert load(folder.path, checkpoint="last").checkpoint == "last"
    by_default, best, last = (
        load(folder.path, **choice).network.state_dict()
        for choice in ({}, {"checkpoint": "best"}, {"checkpoint": "last"})
    )
    assert all(by_default[name].equal(best[name]) for name in best)
    assert not all(by_default[name].equal(last[name]) for name in last)
    plain = train(override(CONFIG, {"patience": None, "epochs": 2}), tmp_path / "plain")
    assert load(plain.path).checkpoint == "last"


def test_the_command_says_why_it_ended(folder: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--length 3 --encoding onehot --hidden-size 8 --epochs 60 --patience 3 --batch-size 16 --checkpoint-every 4"
    command = ["lstm", "train", *words.split(), "--learning-rate", "0.1", "--quiet"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 0
    best = best_epoch(folder.read_metrics())
    text = capsys.readouterr().out
    assert "stopped early, after 3 epochs without improvement" in text
    assert f"epoch {best}" in text
    assert main([*command, "--out", str(tmp_path / "run"), "--resume", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["ended_by"], result["best"]["epoch"]) == ("patience", best)
    assert main(["lstm", "evaluate", str(tmp_path / "run"), "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated["checkpoint"] == "best"
    assert evaluated["results"][0]["accuracy"] == result["best"]["validation_accuracy"]


def test_the_end_of_other_runs() -> None:
    rows = [{"epoch": k, "length": 3, "validation_accuracy": 0.5, "validation_loss": abs(k - 3)} for k in range(1, 5)]
    curriculum = LSTMConfig(curriculum=True, length=3, start_length=2)
    assert end_reason(LSTMConfig(epochs=4), rows) == "epochs"
    assert end_reason(LSTMConfig(epochs=4, patience=2), rows) == "epochs"
    assert end_reason(LSTMConfig(epochs=9, patience=1), rows) == "patience"
    assert end_reason(curriculum, rows) == "epochs"
    assert end_reason(curriculum, [{**rows[0], "validation_accuracy": 1.0}]) == "threshold"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"curriculum": True, "patience": 5}, "^patience must be none with curriculum"),
        ({"cell": "rnn", "pooling": "mean"}, "^cell rnn supports only the defaults"),
        ({"cell": "rnn", "patch_size": 2}, "^cell rnn supports only the defaults"),
        ({"task": "copy", "encoding": "onehot", "pooling": "max"}, "^task copy has a class at every step"),
        ({"task": "copy", "encoding": "onehot", "patch_size": "auto"}, "^task copy has a class at every step"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LSTMConfig(**changes)


def test_auto_patches_of_a_generated_task() -> None:
    from reviver.data.tasks.build import build_task

    config = LSTMConfig(task="adding", length=100, patch_size="auto", hidden_size=4)
    network = build_network(config, build_task(config))
    assert network.patch_size == 4  # 100 steps are 25 patches
