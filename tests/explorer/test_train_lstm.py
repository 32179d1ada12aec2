"""The training of the LSTM in the page against Python's: the same data, weights and masks, and losses within rounding."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from reviver.data.build import build_task
from reviver.data.palindromes import PalindromeTask
from reviver.settings.lstm import LSTMConfig
from reviver.train.loading import load
from reviver.train.lstm.training import build_network, train
from reviver.version import __version__
from tests.explorer.node import compute, extract, needs_node

pytestmark = needs_node

TOLERANCE = 1e-5
"""Of losses and accuracies."""
RENAMED = {
    "W": "lstm.weight_ih_l0",
    "U": "lstm.weight_hh_l0",
    "b": "lstm.bias_ih_l0",
    "W_out": "W_out",
    "b_out": "b_out",
}
CONFIGS = {
    "original": LSTMConfig(epochs=3, seed=7),
    "onehot": LSTMConfig(epochs=3, seed=1, encoding="onehot", optimizer="adam", max_norm=0.3, batch_size=100),
    "sample": LSTMConfig(epochs=2, seed=2, length=11, data_size=300, hidden_size=40, hidden_dropout=0.25),
    "random": LSTMConfig(epochs=1, seed=3, length=18, data_size=300, hidden_size=24, hidden_dropout=0.0),
}

CURRICULUM = LSTMConfig(
    curriculum=True,
    start_length=3,
    length=7,
    length_factor=1.5,
    threshold=0.2,
    epochs=8,
    seed=4,
    data_size=1200,
    hidden_size=32,
    learning_rate=3e-3,
    lr_length_exponent=0.5,
)


def settings_of(config: LSTMConfig) -> dict[str, Any]:
    """Return the settings of the page, see web/src/train/settings.ts."""
    names = "seed length encoding data_size train_fraction hidden_size hidden_dropout epochs batch_size optimizer"
    names += " start_length length_factor min_length_fraction threshold lr_length_exponent"
    camel = {
        name: "".join([first, *(part.title() for part in rest)])
        for name in (*names.split(), "learning_rate", "max_norm")
        for first, *rest in [name.split("_")]
    }
    on = {"curriculum": "on" if config.curriculum else "off"}
    return {ours: getattr(config, name) for name, ours in camel.items()} | on


@pytest.mark.parametrize("name", CONFIGS)
def test_the_page_trains_what_python_trains(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name]
    task = build_task(config)
    assert isinstance(task, PalindromeTask)
    batches = -(-len(task.split.train) // config.batch_size)
    (ours,) = compute("train", [{"lstm": settings_of(config), "updates": config.epochs * batches}])
    assert ours["train"] == task.split.train.halves.flatten().tolist()
    assert ours["validation"] == task.split.validation.halves.flatten().tolist()
    initial = build_network(config, task).state_dict()
    for short, full in RENAMED.items():
        assert ours["initial"][short] == initial[full].flatten().tolist(), short
    run = load(train(config, tmp_path / "run", device="cpu").path)
    metrics = run.folder.read_metrics()
    assert len(ours["epochs"]) == len(metrics) == config.epochs
    for epoch, line in zip(ours["epochs"], metrics, strict=True):
        assert epoch["step"], epoch["sequences"] == (line["step"], line["sequences"])
        assert epoch["trainLoss"] == pytest.approx(line["train_loss"], abs=TOLERANCE)
        assert epoch["validationLoss"] == pytest.approx(line["validation_loss"], abs=TOLERANCE)
        assert epoch["trainAccuracy"] == pytest.approx(line["train_accuracy"], abs=1e-12)
        assert epoch["validationAccuracy"] == pytest.approx(line["validation_accuracy"], abs=1e-12)


def test_a_curriculum_has_the_lengths_and_losses_of_python(tmp_path: Path) -> None:
    """Length 3 has few palindromes, so that many are drawn again."""
    (ours,) = compute("train", [{"lstm": settings_of(CURRICULUM), "updates": 64}])
    run = load(train(CURRICULUM, tmp_path / "run", device="cpu").path)
    metrics = run.folder.read_metrics()
    lengths = [line["length"] for line in metrics]
    assert [lengths[0], lengths[-1]] == [3, 7]
    assert len(ours["epochs"]) == len(metrics) == CURRICULUM.epochs
    for epoch, line in zip(ours["epochs"], metrics, strict=True):
        for camel, snake in (("length", "length"), ("validationSequences", "validation_sequences"), ("step", "step")):
            assert epoch[camel] == line[snake]
        assert epoch["trainLoss"] == pytest.approx(line["train_loss"], abs=TOLERANCE)
        assert epoch["validationLoss"] == pytest.approx(line["validation_loss"], abs=TOLERANCE)
        assert epoch["trainAccuracy"] == pytest.approx(line["train_accuracy"], abs=1e-12)
        assert epoch["validationAccuracy"] == pytest.approx(line["validation_accuracy"], abs=1e-12)


@pytest.mark.parametrize(
    "config",
    [replace(CONFIGS["original"], hidden_size=16, batch_size=96, optimizer="adam"), replace(CURRICULUM, threshold=0.1)],
    ids=["original", "curriculum"],
)
def test_a_run_that_is_saved_and_restored_goes_on_bit_for_bit(config: LSTMConfig) -> None:
    settings = settings_of(config)
    whole, parted = compute("train", [{"lstm": settings, "updates": 20, "saveAt": at} for at in (None, 11)])
    assert whole["last"] == parted["last"]
    assert whole["losses"] == parted["losses"]
    assert whole["epochs"] == parted["epochs"]


@pytest.mark.parametrize(
    "config",
    [
        LSTMConfig(epochs=4, seed=5, hidden_size=32),
        LSTMConfig(epochs=4, seed=5, hidden_size=32, optimizer="adam"),
        replace(CURRICULUM, data_size=1000, threshold=0.1, epochs=4),
    ],
    ids=["rmsprop", "adam", "curriculum"],
)
def test_python_goes_on_with_a_run_that_the_page_has_saved(config: LSTMConfig, tmp_path: Path) -> None:
    """In the middle of an epoch; it ends with the losses that the page ends with."""
    python = {"version": __version__, "lstmConfig": asdict(LSTMConfig())}
    (ours,) = compute("train", [{"lstm": settings_of(config), "updates": 28, "saveAt": 17, "python": python}])
    extract(ours["folder"], tmp_path)
    saved = load(tmp_path / "saved")
    assert (saved.step, saved.config) == (17, config)
    run = load(train(config, tmp_path / "saved", device="cpu", resume=True).path)
    metrics = run.folder.read_metrics()
    assert [line["step"] for line in metrics] == [7, 14, 21, 28]
    for epoch, line in zip(ours["epochs"], metrics, strict=True):
        assert epoch["trainLoss"] == pytest.approx(line["train_loss"], abs=TOLERANCE)
        assert epoch["validationLoss"] == pytest.approx(line["validation_loss"], abs=TOLERANCE)
        assert epoch["validationAccuracy"] == pytest.approx(line["validation_accuracy"], abs=1e-12)
