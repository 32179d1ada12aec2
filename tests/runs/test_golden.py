"""Golden run folders load, and resume with the same metrics as on the machine that began them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from reviver.errors import ReviverError, RunFolderError
from reviver.gan import networks
from reviver.runs.checkpoint import find_checkpoint
from reviver.train.loading import load
from tests.golden.make import FOLDER, GAN, LSTM, NARROW
from tests.runs.small import train

CONFIGS = {"lstm": LSTM, "gan": GAN}
REMEDY = "if a run folder differs on purpose, make the golden ones again with `python -m tests.golden.make`"


@pytest.fixture(params=CONFIGS)
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of a golden folder, with its data in the working folder."""
    shutil.copytree(FOLDER / request.param, tmp_path / request.param)
    shutil.copyfile(FOLDER / "images.npy", tmp_path / "images.npy")
    monkeypatch.chdir(tmp_path)
    for name, widths in NARROW.items():
        monkeypatch.setattr(networks, name, widths)
    return tmp_path / request.param


def load_golden(path: Path, checkpoint: str = "last") -> Any:
    try:
        return load(path, checkpoint=checkpoint)
    except ReviverError as error:
        pytest.fail(f"{error}; {REMEDY}")


def test_golden_folder_loads_and_stays_unchanged(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    loaded = load_golden(run)
    assert loaded.config == CONFIGS[run.name], REMEDY
    network = loaded.network if run.name == "lstm" else loaded.generator
    assert all(bool(parameter.isfinite().all()) for parameter in network.parameters())
    if run.name == "lstm":
        load_golden(run, "best")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_golden_folder_resumes_with_the_same_metrics(run: Path) -> None:
    """The metrics are equal up to the rounding of another processor."""
    config = load_golden(run).config
    folder = train(config, run)
    assert folder.status == "finished"
    assert find_checkpoint(folder.checkpoints, "last").name == "step-000012"
    expected = [json.loads(line) for line in (FOLDER / f"{run.name}-metrics.jsonl").read_text().splitlines()]
    records = folder.read_metrics()
    assert len(records) == len(expected)
    for record, expected_record in zip(records, expected, strict=True):
        assert {**record, "seconds": 0} == pytest.approx({**expected_record, "seconds": 0}, rel=1e-4), REMEDY
    load(run)


def test_unknown_setting_is_refused(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    record["config"]["warmup"] = 3
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(RunFolderError, match=r"warmup is unknown; .* the run folder was damaged"):
        load(run)
