"""A workspace with tiny runs and invalid files, and the command line in it."""

import contextlib
import json
import shlex
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from reviver.cli import main
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import SCHEMA
from reviver.settings.lstm import LSTMConfig
from tests.cli.tiny import TINY_GAN, TINY_LSTM, Result, Run

FILES = {
    "notes.txt": "precious",
    "unknown.toml": "lenght = 4\n",
    "sweep.toml": 'command = "lstm train"\nseeds = 2\n',
    "code.yaml": 'length: !!python/object/apply:os.system ["touch was-run"]\n',
}
"""Invalid files of the workspace."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny run of each kind, `l` and `g`, damaged copies of them, and invalid files."""
    folder = tmp_path_factory.mktemp("workspace")
    with contextlib.chdir(folder):
        rng = np.random.default_rng(0)
        np.savez("tiny.npz", images=rng.integers(0, 256, (40, 8, 8), dtype=np.uint8))
        assert main([*shlex.split(f"lstm train {TINY_LSTM} --out l"), "--quiet"]) == 0
        assert main([*shlex.split(f"gan train {TINY_GAN} --out g"), "--quiet"]) == 0
        for name, change in (
            ("newer", {"schema": SCHEMA + 1}),
            ("damaged", {"config": {**asdict(LSTMConfig()), "length": 1}}),
        ):
            shutil.copytree("l", name)
            path = Path(name, "run.json")
            path.write_text(json.dumps(json.loads(path.read_text()) | change))
        shutil.copytree("g", "cut")
        weights = find_checkpoint(Path("cut", "checkpoints"), "last")
        weights.write_bytes(weights.read_bytes()[:-9])
        Path("empty").mkdir()
        Path("report", "runs").mkdir(parents=True)
        for name, content in FILES.items():
            Path(name).write_text(content)
    return folder


@pytest.fixture
def run(workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in the workspace."""
    monkeypatch.chdir(workspace)

    def call(arguments: str) -> Result:
        capsys.readouterr()
        code = main(shlex.split(arguments))
        return Result(code, *capsys.readouterr())

    return call
