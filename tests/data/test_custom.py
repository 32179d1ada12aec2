"""Training on custom data: from a file to a run to predictions without the file, and the errors on the way."""

import csv
import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from reviver import load
from reviver.cli import main
from reviver.data.sequences.custom import CustomTask
from reviver.data.sequences.reader import read_sequences
from reviver.errors import DataError
from reviver.runs.folder import RunFolder
from reviver.settings.lstm import LSTMConfig
from reviver.train.lstm.scoring import compute_logits
from reviver.train.lstm.training import train
from tests.damage import edit_json
from tests.lstm_runs import override, write_ramps

CLASSES = ("falling", "rising")
CONFIG = LSTMConfig(task="custom", data="x", hidden_size=16, epochs=12, batch_size=16, learning_rate=1e-2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    path = tmp_path_factory.mktemp("custom") / "train.csv"
    write_ramps(path, 200, 0)
    return train(override(CONFIG, {"data": str(path)}), path.parent / "run")


def test_it_learns_and_records_the_data(run: RunFolder) -> None:
    assert run.read_metrics()[-1]["validation_accuracy"] == 1.0
    record = RunFolder.open(run.path).record["data"]
    assert (record["classes"], record["class_fractions"]) == (list(CLASSES), [0.5, 0.5])
    assert (record["num_sequences"], record["max_length"]) == (200, 12)
    assert record["standardization"]["mean"][0] == pytest.approx(1000, abs=0.5)
    task = CustomTask(CONFIG, json.loads(json.dumps(record)))
    assert json.dumps(task.data.model_dump(mode="json")) == json.dumps(record), "the same keys in the same order"
    assert (task.output_size, task.chance, task.baseline(9)) == (2, 0.5, pytest.approx(math.log(2)))


def test_standardization_uses_the_training_set_alone(run: RunFolder) -> None:
    path = run.path.parent / "train.csv"
    task = CustomTask(override(CONFIG, {"data": str(path)}))
    train_part, validation = task.training(0, 0), task.validation(0)
    assert (len(train_part), len(validation)) == (160, 40)
    inside = torch.arange(train_part.steps) < train_part.lengths[:, None]
    values = train_part.encode().squeeze(-1)[inside].double()
    assert values.mean().item() == pytest.approx(0, abs=1e-5)
    assert values.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    rows = [
        {tuple(row[:length].tolist()) for row, length in zip(part.x[:, :, 0], part.lengths, strict=True)}
        for part in (read_sequences(path), train_part, validation)
    ]
    assert list(map(len, rows)) == [200, 160, 40], "so values identify a sequence"
    assert not rows[1] & rows[2]


def test_a_run_predicts_without_its_file(run: RunFolder, tmp_path: Path) -> None:
    moved, out, new = shutil.copytree(run.path, tmp_path / "run"), tmp_path / "p.csv", tmp_path / "n.csv"
    write_ramps(new, 20, 1)
    edit_json(moved / "run.json", config={"data": "gone.csv"})
    assert main(["lstm", "predict", str(moved), str(new), "--out", str(out)]) == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == [*CLASSES] * 10
    assert [row["row"] for row in rows] == [str(number) for number in range(2, 22)]
    assert main(["lstm", "evaluate", str(moved)]) == 2, "evaluation needs the file"
    loaded, table = load(moved), read_sequences(new, labeled=False)
    expected = compute_logits(loaded.network, loaded.task.examples(table)).softmax(1)
    written = [[float(row[f"p({name})"]) for name in CLASSES] for row in rows]
    torch.testing.assert_close(expected, torch.tensor(written))


def test_a_resumed_run_finds_its_data_at_a_new_path_and_refuses_other_data(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "data.csv"
    write_ramps(path, 40, 0)
    config = override(CONFIG, {"data": str(path), "epochs": 1})
    with caplog.at_level("INFO"):
        train(config, tmp_path / "run", progress=True)
    assert "LSTM: 1/1 epoch  validation accuracy" in caplog.text, "sequences of a file have their own lengths"
    moved = tmp_path / "moved" / "data.csv"
    moved.parent.mkdir()
    path.rename(moved)
    config = override(config, {"data": str(moved)})
    train(config, tmp_path / "run", resume=True)
    assert load(tmp_path / "run").task.validation(0)
    write_ramps(moved, 40, 5)
    with pytest.raises(DataError, match="is not what this run began with; put the old file back"):
        train(override(config, {"epochs": 2}), tmp_path / "run", resume=True)
    with pytest.raises(DataError, match=rf"^{moved}: is not the file that this run was trained on; put that one back"):
        load(tmp_path / "run").task.validation(0)


def test_unusable_data_is_refused_before_a_folder_is_created(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    for text, message in (
        ("1 2,a\n" * 4, r"data.csv: labels: every row has the label 'a'; a classifier needs"),
        ("1,a\n2,b\n", r"data.csv: labels: none of the 2 classes has a second row"),
    ):
        path.write_text(f"sequence,label\n{text}")
        with pytest.raises(DataError, match=message):
            train(override(CONFIG, {"data": str(path)}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
