"""Training on custom data: from a file to a run to predictions, and the errors on the way."""

import csv
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reviver import load
from reviver.cli import main
from reviver.data.sequences.reader import read_sequences
from reviver.data.sequences.task import CustomTask, DataRecord
from reviver.errors import ConfigError, DataError, RunFolderError
from reviver.runs.folder import RunFolder
from reviver.settings.lstm import LSTMConfig
from reviver.train.lstm.evaluation import predict_table
from reviver.train.lstm.training import train
from tests.lstm_runs import override

CLASSES = ("falling", "rising")
CONFIG = LSTMConfig(task="custom", data="x", hidden_size=16, epochs=12, batch_size=16, learning_rate=1e-2)


def ramps(count: int, seed: int) -> list[tuple[list[float], str]]:
    """Return noisy ramps of 3 to 12 steps around 1000, rising or falling."""
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        steps = int(rng.integers(3, 13))
        trend = 1.0 if index % 2 else -1.0
        values = 1000 + trend * (np.arange(steps) - steps / 2) + rng.normal(0, 0.2, steps)
        rows.append(([round(float(value), 3) for value in values], CLASSES[index % 2]))
    return rows


def save(path: Path, rows: list[tuple[list[float], str]], *, labeled: bool = True) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sequence", "label"][: 1 + labeled])
        writer.writerows([" ".join(map(str, values)), label][: 1 + labeled] for values, label in rows)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("custom")
    save(folder / "train.csv", ramps(200, 0))
    save(folder / "new.csv", ramps(20, 1), labeled=False)
    return folder


@pytest.fixture(scope="module")
def run(files: Path) -> RunFolder:
    return train(override(CONFIG, {"data": str(files / "train.csv")}), files / "run")


def test_it_learns_and_records_the_data(run: RunFolder) -> None:
    assert run.read_metrics()[-1]["validation_accuracy"] == 1.0
    record = RunFolder.open(run.path).record["data"]
    assert record["classes"] == list(CLASSES)
    assert record["class_fractions"] == [0.5, 0.5]
    assert record["num_sequences"] == 200
    assert 3 <= record["max_length"] <= 12
    assert record["standardization"]["mean"][0] == pytest.approx(1000, abs=0.5)


def test_standardization_uses_the_training_set_alone(files: Path) -> None:
    config = override(CONFIG, {"data": str(files / "train.csv")})
    task = CustomTask(config)
    train_part, validation = task.training(0, 0), task.validation(0)
    assert (len(train_part), len(validation)) == (160, 40)
    inside = torch.arange(train_part.steps) < train_part.lengths[:, None]
    values = train_part.encode().squeeze(-1)[inside].double()
    assert values.mean().item() == pytest.approx(0, abs=1e-5)
    assert values.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    table = read_sequences(files / "train.csv")
    raw = {tuple(row[:length].tolist()) for row, length in zip(table.x[:, :, 0], table.lengths, strict=True)}
    assert len(raw) == 200, "so values identify a sequence below"
    parts = [
        {tuple(row[:length].tolist()) for row, length in zip(part.x[:, :, 0], part.lengths, strict=True)}
        for part in (train_part, validation)
    ]
    assert not parts[0] & parts[1]
    assert sum(map(len, parts)) == 200


def test_a_run_predicts_without_its_file(run: RunFolder, files: Path, tmp_path: Path) -> None:
    moved, out = shutil.copytree(run.path, tmp_path / "run"), tmp_path / "predictions.csv"
    record = json.loads((moved / "run.json").read_text())
    record["config"]["data"] = "gone.csv"
    (moved / "run.json").write_text(json.dumps(record))
    assert main(["lstm", "predict", str(moved), str(files / "new.csv"), "--out", str(out)]) == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == [label for _, label in ramps(20, 1)]
    assert [row["row"] for row in rows] == [str(number) for number in range(2, 22)]
    for row in rows:
        assert float(row["p(falling)"]) + float(row["p(rising)"]) == pytest.approx(1)
        assert float(row["probability"]) == float(row[f"p({row['class']})"])
    assert main(["lstm", "evaluate", str(moved)]) == 2, "evaluation needs the file"


def test_predictions_do_not_depend_on_the_other_rows(run: RunFolder, files: Path) -> None:
    loaded = load(run.path)
    table = read_sequences(files / "new.csv", labeled=False)
    together = predict_table(loaded.network, loaded.task, table)
    alone = torch.cat([predict_table(loaded.network, loaded.task, table[torch.tensor([k])]) for k in range(len(table))])
    torch.testing.assert_close(together, alone)


def test_evaluate_uses_the_validation_set(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lstm", "evaluate", str(run.path), "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    last = run.read_metrics()[-1]
    assert (result["accuracy"], result["size"]) == (last["validation_accuracy"], 40)
    assert result["loss"] == pytest.approx(last["validation_loss"])
    assert result["chance"] == 0.5
    assert result["baseline"] == pytest.approx(np.log(2))


def test_a_resumed_run_refuses_other_data(files: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "data.csv", ramps(40, 0))
    config = override(CONFIG, {"data": str(path), "epochs": 1})
    train(config, tmp_path / "run")
    save(path, ramps(40, 5))
    with pytest.raises(DataError, match="has changed since this run began; put the old file back"):
        train(override(config, {"epochs": 2}), tmp_path / "run", resume=True)
    with pytest.raises(DataError, match="is not the file that this run was trained on"):
        load(tmp_path / "run").task.validation(0)


def test_unusable_data_are_refused_before_a_folder_is_created(tmp_path: Path) -> None:
    for rows, message in (
        ([([1.0, 2.0], "a")] * 4, r"data.csv: labels: every row has the label 'a'; a classifier needs"),
        ([([1.0], "a"), ([2.0], "b")], r"data.csv: labels: none of the 2 classes has a second row"),
    ):
        path = save(tmp_path / "data.csv", rows)
        with pytest.raises(DataError, match=message):
            train(override(CONFIG, {"data": str(path)}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_settings_that_contradict_custom_data_are_refused() -> None:
    for changes, message in (
        ({"task": "palindrome"}, "^data must be None for the task palindrome, got 'x'"),
        ({"curriculum": True}, "^curriculum must be false for the task custom, .* got True"),
        ({"encoding": "onehot"}, "^encoding must be scalar for the task custom, .* got 'onehot'"),
    ):
        with pytest.raises(ConfigError, match=message):
            override(CONFIG, changes)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("predict", "run", "1 2 3"), "DIGITS must be a .csv, .parquet or .npz file for a run on custom data, got"),
        (("predict", "run", "gone.csv"), "gone.csv: does not exist"),
        (("predict", "run", "new.csv", "--out", "p.txt"), "--out must end in .csv for predictions, got"),
        (("evaluate", "run", "--length", "5"), "--length is that of the data for a run on custom data; leave it out"),
    ],
)
def test_wrong_use_of_commands_is_refused(
    words: tuple[str, ...], message: str, run: RunFolder, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(files / word) if word in ("run", "new.csv", "gone.csv", "p.txt") else word for word in words]
    assert main(["lstm", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("classes", ["a", "a"], "data must have distinct classes, and as many class_fractions"),
        ("class_fractions", [0.5, 2.0], "data.class_fractions.1 must be less than 1, got 2.0"),
        ("max_length", 0, "data.max_length must be at least 1, got 0"),
        ("class_fraction", 1, "data.class_fraction is unknown; did you mean class_fractions?"),
        ("standardization", {"mean": [], "scale": []}, "data.standardization.mean must have at least 1 entries"),
        ("standardization", {"mean": [0.0], "scale": [0.0]}, "scale.0 must be greater than 0, got 0.0"),
        ("standardization", {"mean": [math.nan], "scale": [1.0]}, "mean.0 must be a finite number, got nan"),
        ("standardization", {"mean": [True], "scale": [1.0]}, "mean.0 must be a number, got True"),
        (
            "standardization",
            {"mean": [1.0, 2.0], "scale": [1.0]},
            "data.standardization must have as many means as scales, got 2 and 1",
        ),
    ],
)
def test_a_damaged_data_record_is_refused(name: str, value: Any, problem: str, run: RunFolder) -> None:
    record = RunFolder.open(run.path).record["data"]
    with pytest.raises(DataError, match=f"{re.escape(problem)}.*; restore run.json or train again$"):
        DataRecord.from_json({**record, name: value})


def test_a_data_record_survives_run_json_and_is_an_object(run: RunFolder, tmp_path: Path) -> None:
    record = RunFolder.open(run.path).record["data"]
    task = CustomTask(CONFIG, json.loads(json.dumps(record)))
    assert json.dumps(task.data_record) == json.dumps(record), "the same keys in the same order"
    assert (task.output_size, task.chance, task.baseline(9)) == (2, 0.5, pytest.approx(math.log(2)))
    record = {**record, "name": "d\udcffta.csv"}  # a name that is not Unicode is kept
    assert CustomTask(CONFIG, record).data_record == record
    with pytest.raises(DataError, match=r"^data must be an object, got"):
        DataRecord.from_json([])
    whole = json.loads((run.path / "run.json").read_text())
    whole["data"]["max_length"] = 0
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(whole))
    with pytest.raises(RunFolderError, match=r"run/run\.json: data\.max_length must be at least 1, got 0"):
        load(tmp_path / "run")
