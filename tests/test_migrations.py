"""Run folders of older schemas load, and resume with the same metrics as with the code that began them."""

import json
import re
import shutil
from pathlib import Path

import pytest

from reviver.errors import RunFolderError
from reviver.gan import networks
from reviver.gan.training import train as train_gan
from reviver.loading import load
from reviver.lstm.training import train as train_lstm
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import RunFolder
from reviver.runs.migrations import MIGRATIONS, SCHEMA, migrate, migrate_scores
from tests.conftest import GOLDEN

LSTM = {
    "length": 4,
    "hidden_size": 4,
    "num_layers": 2,
    "dropout": 0.2,
    "data_size": 60,
    "batch_size": 16,
    "epochs": 4,
    "checkpoint_every": 1,
    "seed": 3,
}
GAN = {
    "data": "images.npy",
    "image_size": 4,
    "latent_size": 4,
    "batch_size": 16,
    "epochs": 4,
    "ema": 0.9,
    "r1": 0.2,
    "sample_every": 2,
    "log_every": 2,
    "seed": 3,
}
"""Settings of the golden runs, 12 updates each; see tests/golden/make.py."""
RENAMED_LSTM = {
    "encoding": "onehot",
    "lr_schedule": "cosine",
    "curriculum": True,
    "start_length": 2,
    "min_length_fraction": 0.9,
    "length_factor": 1.5,
    "lr_length_exponent": 0.1,
    "activation_checkpoint_steps": 2,
    "max_rollbacks": 2,
    "threshold": 0.2,
}
RENAMED_GAN = {
    "lr_schedule": "linear",
    "final_lr_ratio": 0.5,
    "penalty_interval": 2,
    "ema_rampup": 0.5,
    "eval_every": 0,
    "eval_samples": 7,
    "max_rollbacks": 2,
}
"""More settings of the golden runs of schema 3, by their names in schema 4."""
NARROW = {"GENERATOR_WIDTHS": (4, 6, 5, 7), "DISCRIMINATOR_WIDTHS": (6, 5)}
"""Widths of the GAN in the golden runs: narrow, so that the files are small."""
STOPPED_AT = 7
"""The update before which the golden runs received a signal; they stopped after it."""

FOLDERS = sorted(GOLDEN.glob("schema-*/*/run.json"))
"""The run.json of each kind and older schema, written by the last version of that schema."""


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, widths in NARROW.items():
        monkeypatch.setattr(networks, name, widths)


@pytest.fixture(params=FOLDERS, ids=lambda path: "-".join(path.parts[-3:-1]))
def old(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of a golden folder, with its data in the working folder."""
    golden = request.param.parent
    shutil.copytree(golden, tmp_path / golden.name)
    shutil.copyfile(golden.with_name(f"{golden.name}-metrics.jsonl"), tmp_path / "expected.jsonl")
    shutil.copyfile(golden.with_name("images.npy"), tmp_path / "images.npy")
    monkeypatch.chdir(tmp_path)
    return tmp_path / golden.name


def test_every_kind_and_older_schema_has_a_golden_folder() -> None:
    names = {path.parent.relative_to(GOLDEN).as_posix() for path in FOLDERS}
    assert names == {f"schema-{schema}/{kind}" for schema in range(1, SCHEMA) for kind in ("lstm", "gan")}
    assert list(MIGRATIONS) == list(range(1, SCHEMA))


def test_older_folder_loads(old: Path) -> None:
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    run = load(old)
    settings = {"lstm": LSTM, "gan": GAN}[old.name]
    if json.loads((old / "run.json").read_text())["schema"] == 3:  # whose folders have more settings
        settings = settings | {"lstm": RENAMED_LSTM, "gan": RENAMED_GAN}[old.name]
    assert {name: getattr(run.config, name) for name in settings} == settings
    assert (run.config.on_nan, run.config.keep_checkpoints) == ("stop", 2)
    assert run.metrics == RunFolder.open(old).read_metrics()
    network = run.network if old.name == "lstm" else run.generator
    assert all(bool(parameter.isfinite().all()) for parameter in network.parameters())
    if old.name == "lstm":
        load(old, checkpoint="best")
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before, (
        "loading must not change any file"
    )


def test_older_folder_resumes_with_the_same_metrics(old: Path) -> None:
    """The metrics are those of the older code, up to the rounding of another processor."""
    run = load(old)
    train = train_lstm if old.name == "lstm" else train_gan
    folder = train(run.config, old, device="cpu", resume=True)  # type: ignore[operator]
    assert (folder.status, folder.record["schema"]) == ("finished", SCHEMA)
    assert find_checkpoint(folder.checkpoints, "last").name == "step-000012"
    expected = [json.loads(line) for line in (old.parent / "expected.jsonl").read_text().splitlines()]
    records = folder.read_metrics()
    assert len(records) == len(expected)
    for record, expected_record in zip(records, expected, strict=True):
        known = {name: record[name] for name in expected_record}  # newer versions record more
        assert {**known, "seconds": 0} == pytest.approx({**expected_record, "seconds": 0}, rel=1e-4)
    assert (find_checkpoint(folder.checkpoints, "last") / "checksums.json").exists()
    load(old)


def test_unknown_setting_is_refused(old: Path) -> None:
    record = json.loads((old / "run.json").read_text())
    record["config"]["warmup"] = 3
    (old / "run.json").write_text(json.dumps(record))
    with pytest.raises(RunFolderError, match=r"warmup is unknown; .* the run folder was damaged"):
        load(old)


def test_missing_setting_of_schema_1_is_refused(old: Path) -> None:
    record = json.loads((old / "run.json").read_text())
    del record["config"]["epochs"]
    (old / "run.json").write_text(json.dumps(record))
    with pytest.raises(RunFolderError, match="epochs is missing; the run folder was damaged"):
        load(old)


def test_newer_folder_is_refused_with_advice(old: Path) -> None:
    record = json.loads((old / "run.json").read_text())
    (old / "run.json").write_text(json.dumps({**record, "schema": SCHEMA + 1}))
    with pytest.raises(RunFolderError, match=re.escape(f"newer Reviver (schema {SCHEMA + 1}, this one reads up to")):
        load(old)


def test_custom_data_and_scores_of_schema_3_get_current_keys() -> None:
    data = {"name": "a.csv", "sequences": 9, "longest": 3, "classes": ["a", "b"], "shares": [0.5, 0.5]}
    config = {"task": "own", "rollbacks": 3, "grow": False}
    record = migrate({"schema": 3, "kind": "lstm", "config": config, "data": data, "scoring_seconds": 1.5})
    added = {"pooling": "last", "patch_size": 1, "patience": None, "order": "full"}  # by schemas 5 and 6
    added |= {"jump_factor": None, "bptt_steps": None, "threshold_max_length": None}  # by schemas 7 and 8
    assert record == {
        "schema": SCHEMA,
        "kind": "lstm",
        "config": {"task": "custom", "max_rollbacks": 3, "curriculum": False, **added},
        "data": {
            "name": "a.csv",
            "num_sequences": 9,
            "max_length": 3,
            "classes": ["a", "b"],
            "class_fractions": [0.5, 0.5],
        },
        "eval_seconds": 1.5,
    }
    images = migrate({"schema": 3, "kind": "gan", "config": {"size": 28}, "data": {"images": 60, "classes": 10}})
    assert images["data"] == {"num_images": 60, "num_classes": 10}
    added = {"order": "full", "sync_batch_norm": True, "input_centering": "none", "batch_norm_samples": 0}
    added["shift_probability"] = 0.0
    assert images["config"] == {"image_size": 28, "fused": True, **added}
    line = {"step": 1, "fid": 2.0, "floor": {"fid": 1.0}, "n": 100, "classes": [0.5, 0.5]}
    renamed = {"step": 1, "fid": 2.0, "real_baseline": {"fid": 1.0}, "num_samples": 100, "class_fractions": [0.5, 0.5]}
    assert migrate_scores(line) == renamed == migrate_scores(renamed)


def test_record_of_the_current_schema_is_unchanged() -> None:
    record = {"schema": SCHEMA, "config": {"seed": 1}}
    assert migrate(record) == record
