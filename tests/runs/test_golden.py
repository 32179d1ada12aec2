"""Golden run folders load, and resume with the same metrics as on the machine that began them."""

import json
import shutil
from pathlib import Path

import pytest

from reviver.errors import RunFolderError
from reviver.runs.checkpoint import find_checkpoint
from reviver.train.loading import load
from tests.golden.make import FOLDER, GAN, LSTM
from tests.runs.small import narrow_gans, train

CONFIGS = {"lstm": LSTM, "gan": GAN}
REMEDY = "if a run folder differs on purpose, make the golden ones again with `python -m tests.golden.make`"


@pytest.mark.parametrize("kind", CONFIGS)
def test_golden_folder_loads_and_resumes(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metrics are equal up to the rounding of another processor."""
    run = shutil.copytree(FOLDER / kind, tmp_path / kind)
    shutil.copyfile(FOLDER / "images.npy", tmp_path / "images.npy")
    monkeypatch.chdir(tmp_path)
    narrow_gans(monkeypatch.setattr)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    try:
        loaded = [load(run, checkpoint=which) for which in ("last", "best")[: 2 if kind == "lstm" else 1]]
    except RunFolderError as error:
        pytest.fail(f"{error}; {REMEDY}")
    assert loaded[0].config == CONFIGS[kind], REMEDY
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before, "loading changes nothing"
    folder = train(CONFIGS[kind], run)
    assert folder.status == "finished"
    assert find_checkpoint(folder.checkpoints, "last").name == "step-000012"
    expected = [json.loads(line) for line in (FOLDER / f"{kind}-metrics.jsonl").read_text().splitlines()]
    for record, expected_record in zip(folder.read_metrics(), expected, strict=True):
        assert {**record, "seconds": 0} == pytest.approx({**expected_record, "seconds": 0}, rel=1e-4), REMEDY
