"""A run in words, for cards and pages: its settings, machine, command and scores, without private folders."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from reviver.data.build import SequenceData, build_task
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.description import changed_settings, command_of, setting_items
from reviver.train.lstm.summary import scores_of, trained_length

CONFIG = LSTMConfig(seed=7, epochs=1200, length=9)


def run_of(config: LSTMConfig = CONFIG, step: int = 12_345, metrics: Any = (), **record: Any) -> Any:
    """Return a run with these values in its run.json and its metrics."""
    folder = SimpleNamespace(path=Path("private/lstm-1"), record=record)
    return SimpleNamespace(folder=folder, config=config, step=step, metrics=list(metrics), task=build_task(config))


def test_settings_and_the_command_name_files_without_their_folders() -> None:
    config = GANConfig(data="/home/me/cats.npz", extractor=r"C:\me\e.safetensors", eval_every=2)
    changed = {"data": "cats.npz", "extractor": "e.safetensors", "eval_every": 2}
    assert changed_settings(config) == changed
    items = {item.label: item for item in setting_items(config)}
    assert items.keys() == vars(config).keys()
    assert {name for name, item in items.items() if item.note == "changed"} == changed.keys()
    assert (items["data"].value, items["epochs"].value, items["epochs"].note) == ("cats.npz", str(config.epochs), None)
    for command, shown in (
        ("reviver  gan\ntrain --data=/home/me/a=b.npz --out runs/x", "reviver gan train --data=a=b.npz --out x"),
        ("reviver '/home/my cats/a b.csv' --quiet", "reviver 'a b.csv' --quiet"),
        ("reviver '/home/cut off", "reviver cut off"),
    ):
        assert command_of(run_of(command=command)) == shown
    assert command_of(run_of()) == "not recorded"


def record(epoch: int, loss: float | None, accuracy: float, **more: Any) -> dict[str, Any]:
    """Return the metrics of an epoch of ten updates."""
    train = {"train_loss": loss, "train_accuracy": None if loss is None else accuracy / 2}
    return {
        "epoch": epoch,
        "step": 10 * epoch,
        **train,
        "validation_loss": 2.5,
        "validation_accuracy": accuracy,
        **more,
    }


def test_scores_stand_beside_chance_and_baseline() -> None:
    config = LSTMConfig(length=12, curriculum=True)
    rows = [record(1, 1.25, 0.5, length=4), record(2, 1.0, 0.75, length=7), record(2, None, 0.25, length=12)]
    data = SequenceData.of_task(config, build_task(config))
    items, note = scores_of(run_of(config, 20, rows[:2]), data)
    assert [items[0].value, *(item.noise for item in items)] == ["75.00 %", "10 %", "2.303", "10 %", "2.303"]
    assert "without dropout, on the training set with dropout. The accuracy" in note
    assert note.endswith(" The sequences have length 7.")
    items, note = scores_of(run_of(config, 20, rows), data)
    assert [item.name for item in items] == ["validation accuracy", "validation cross-entropy"]
    assert "without dropout. The accuracy" in note
    assert note.endswith(" The sequences have length 12, at which the network was validated, but not trained.")
    assert scores_of(run_of(config, 5, rows), data).items == []
    plain = LSTMConfig(length=12, curriculum=True, hidden_dropout=0.0)
    assert "dropout" not in scores_of(run_of(plain, 20, rows[:2]), data).note
    adding = LSTMConfig(task="adding", length=9)
    items, note = scores_of(run_of(adding, 10, [record(1, 1.0, 0.5)]), SequenceData.of_task(adding, build_task(adding)))
    assert note.endswith(" A number counts as correct within 0.04.")
    assert "length" not in note
    assert [item.noise for item in items[:2]] == [f"{100 * build_task(adding).chance:.4g} %", "0.1667"]
    for metrics, length in ((rows, 7), (rows[2:], 12)):
        assert trained_length(run_of(config, 20, metrics)) == length
    assert trained_length(run_of(CONFIG, 20, rows)) == 9
