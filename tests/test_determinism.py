"""Reproducibility across processes, numbers of threads, and instruction sets of the processor."""

import hashlib
import logging
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

from reviver.lstm.kernel.library import KERNEL
from reviver.runs.devices import describe_machine
from reviver.runs.folder import RunFolder
from reviver.settings.lstm_presets import PRESETS
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


def names(computed: dict[str, Fingerprints], *kinds: str) -> list[str]:
    found = [name for name in computed["two threads"] if name.split(":")[0] in kinds]
    assert len({name.split(":")[0] for name in found}) == len(kinds)
    return found


def differing(first: Fingerprints, second: Fingerprints, among: list[str]) -> list[str]:
    return [name for name in among if not torch.equal(first[name], second[name])]


def test_processes_with_equal_threads_agree_bit_for_bit(computed: dict[str, Fingerprints]) -> None:
    assert computed["two threads"]["threads"] == 2
    everything = list(computed["two threads"])
    assert len(names(computed, "run")) == 5
    assert not differing(computed["two threads"], computed["two threads again"], everything)


def test_random_numbers_and_forward_passes_do_not_depend_on_the_number_of_threads(
    computed: dict[str, Fingerprints],
) -> None:
    assert (computed["one thread"]["threads"], computed["two threads"]["threads"]) == (1, 2)
    among = names(computed, "integers", "floats", "forward", "score")
    among.remove("floats: fid")
    assert not differing(computed["one thread"], computed["two threads"], among)
    torch.testing.assert_close(
        *(computed[name]["floats: fid"] for name in ("one thread", "two threads")), rtol=1e-10, atol=0
    )


def test_integers_do_not_depend_on_the_instruction_set(computed: dict[str, Fingerprints]) -> None:
    assert not differing(computed["one thread"], computed["no vectors"], names(computed, "integers"))
    for name in names(computed, "floats"):
        pair = (computed["one thread"][name], computed["no vectors"][name])
        torch.testing.assert_close(*pair, rtol=1e-5, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}")


def test_integers_equal_the_golden_ones_on_every_machine(
    computed: dict[str, Fingerprints], golden: Callable[..., None]
) -> None:
    integers = {name: computed["one thread"][name] for name in names(computed, "integers")}
    golden("integers", {name: hashlib.sha256(value.numpy().tobytes()).hexdigest() for name, value in integers.items()})


# Resuming in another environment


@pytest.fixture
def started_run(tmp_path: Path) -> RunFolder:
    return train(replace(PRESETS["original"], epochs=1, hidden_size=8), tmp_path / "run", device="cpu")


def resume(folder: RunFolder) -> dict[str, Any]:
    config = replace(PRESETS["original"], epochs=2, hidden_size=8)
    record: dict[str, Any] = train(config, folder.path, device="cpu", resume=True).record
    return record


def test_resume_in_the_same_environment_logs_no_warning(
    started_run: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    assert "changes" not in resume(started_run)
    assert not caplog.records


def test_resume_with_other_threads_warns(
    started_run: RunFolder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 6)
    record = resume(started_run)
    [change] = record["changes"]
    assert change.pop("at") >= record["started"]
    assert change == {"threads": [threads, threads + 6]}
    assert record["hardware"]["threads"] == threads, "the record of the first session must not change"
    [message] = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert message == (
        f"{started_run.path}: threads was {threads} and is {threads + 6}; results may no longer be bit-for-bit those of an "
        f"uninterrupted run (OMP_NUM_THREADS={threads} keeps the threads)"
    )


def test_resume_with_another_version_or_build_of_the_kernel_warns(
    started_run: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    record = started_run.record
    assert record["hardware"] == describe_machine(torch.device("cpu"), KERNEL.variant)
    versions, hardware = {**record["versions"], "torch": "2.0.1"}, {**record["hardware"], "native": "prebuilt v3"}
    started_run.save_record(versions=versions, hardware=hardware)
    [change] = resume(started_run)["changes"]
    for name, old, new in (("torch", "2.0.1", torch.__version__), ("native", "prebuilt v3", KERNEL.variant)):
        assert change[name] == [old, new]
        assert f"{name} was {old} and is {new}" in caplog.text
    assert "results may no longer be bit-for-bit" in caplog.text
    assert "OMP_NUM_THREADS" not in caplog.text
