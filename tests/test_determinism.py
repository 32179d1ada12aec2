"""Reproducibility across processes, numbers of threads, and instruction sets of the processor."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from reviver.recurrent.kernel.library import KERNEL
from reviver.runs.environment import describe_machine
from reviver.runs.folder import RunFolder
from reviver.settings.presets import LSTM_PRESETS
from reviver.train.lstm.training import train

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.timeout(4000)  # seconds on a busy machine
Fingerprints = dict[str, Tensor]
ENVIRONMENTS = {
    "two threads": {"OMP_NUM_THREADS": "2"},
    "two threads again": {"OMP_NUM_THREADS": "2"},
    "no vectors": {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default"},
}


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Fingerprints]:
    """Return the results of processes with different environments, see tests/fingerprints.py."""
    folder = tmp_path_factory.mktemp("fingerprints")
    for name, settings in ENVIRONMENTS.items():
        command = [sys.executable, "-m", "tests.fingerprints", str(folder), name]
        environment = {**os.environ, "OMP_DYNAMIC": "false", "GOMP_SPINCOUNT": "1000", **settings}
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return {path.name: load_file(path) for path in folder.iterdir()}


def test_results_agree_across_processes_threads_and_instruction_sets(
    computed: dict[str, Fingerprints], golden: Callable[..., None]
) -> None:
    """One test, so that one process computes what it compares."""
    one, two, again, scalar = (computed[name] for name in ("one thread", *ENVIRONMENTS))
    assert (one["threads"], two["threads"], sum(name.startswith("run: ") for name in two)) == (1, 2, 5)

    def differing(first: Fingerprints, second: Fingerprints, *kinds: str) -> list[str]:
        return [name for name in first if name.startswith(kinds) and not torch.equal(first[name], second[name])]

    assert two.keys() == again.keys()
    assert not differing(two, again, ""), "processes with equal threads agree bit for bit"
    among = differing(one, two, "integers", "floats", "forward")
    assert not among, "random numbers and forward passes do not depend on the number of threads"
    assert not differing(one, scalar, "integers"), "integers do not depend on the instruction set"
    floats = {name: value for name, value in one.items() if name.startswith("floats")}
    torch.testing.assert_close(floats, {name: scalar[name] for name in floats}, rtol=1e-5, atol=1e-5)
    integers = {name: value for name, value in one.items() if name.startswith("integers")}
    golden("integers", {name: hashlib.sha256(value.numpy().tobytes()).hexdigest() for name, value in integers.items()})


# Resuming in another environment


@pytest.fixture
def started_run(tmp_path: Path) -> RunFolder:
    return train(replace(LSTM_PRESETS["original"], epochs=1, hidden_size=8), tmp_path / "run", device="cpu")


def resume(folder: RunFolder) -> dict[str, Any]:
    config = replace(LSTM_PRESETS["original"], epochs=2, hidden_size=8)
    record: dict[str, Any] = train(config, folder.path, device="cpu", resume=True).record
    return record


def test_resuming_in_another_environment_warns_and_in_the_same_one_does_not(
    started_run: RunFolder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, threads = started_run.record, torch.get_num_threads()
    assert record["hardware"] == describe_machine(torch.device("cpu"), KERNEL.variant)
    assert "changes" not in resume(started_run)
    assert not caplog.records
    versions, hardware = {**record["versions"], "torch": "2.0.1"}, {**record["hardware"], "native": "prebuilt v3"}
    started_run.save_record(versions=versions, hardware=hardware)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 6)
    [change] = (resumed := resume(started_run))["changes"]
    assert change.pop("at") >= record["started"]
    expected = {"torch": ["2.0.1", torch.__version__], "native": ["prebuilt v3", KERNEL.variant]}
    assert change == expected | {"threads": [threads, threads + 6]}
    assert resumed["hardware"] == hardware, "the record of the first session must not change"
    for name, (old, new) in change.items():
        assert f"{name} was {old} and is {new}" in caplog.text
    assert f"(OMP_NUM_THREADS={threads} keeps the threads)" in caplog.text
