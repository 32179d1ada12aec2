"""What gives the same bits: in every process, with another number of threads, with other instructions of the processor."""

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

from reviver.lstm.presets import PRESETS
from reviver.lstm.training import train
from reviver.runs.folder import RunFolder

ROOT = Path(__file__).parents[1]
LONGEST = 1000
"""Seconds that a process may take on a machine that is busy with other things."""

Fingerprints = dict[str, Tensor]


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Fingerprints]:
    """What processes with these environments computed, see tests/fingerprints.py."""
    folder = tmp_path_factory.mktemp("fingerprints")
    environments = {
        "one thread": {"OMP_NUM_THREADS": "1"},
        "two threads": {"OMP_NUM_THREADS": "2"},
        "two threads again": {"OMP_NUM_THREADS": "2"},
        "no vectors": {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default"},
    }
    for name, settings in environments.items():
        command = [sys.executable, "-m", "tests.fingerprints", str(folder / name)]
        environment = {**os.environ, "OMP_DYNAMIC": "false", "GOMP_SPINCOUNT": "1000", **settings}
        subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=LONGEST)
    return {name: load_file(folder / name) for name in environments}


def names(computed: dict[str, Fingerprints], *kinds: str) -> list[str]:
    found = [name for name in computed["one thread"] if name.split(":")[0] in kinds]
    assert len({name.split(":")[0] for name in found}) == len(kinds)
    return found


def differing(first: Fingerprints, second: Fingerprints, among: list[str]) -> list[str]:
    return [name for name in among if not torch.equal(first[name], second[name])]


@pytest.mark.timeout(4 * LONGEST)
def test_two_processes_with_as_many_threads_compute_the_same_bits(computed: dict[str, Fingerprints]) -> None:
    assert computed["two threads"]["threads"] == 2
    everything = list(computed["one thread"])
    assert len(names(computed, "run")) == 5
    assert not differing(computed["two threads"], computed["two threads again"], everything)


@pytest.mark.timeout(4 * LONGEST)
def test_what_is_drawn_or_answered_does_not_depend_on_the_number_of_threads(computed: dict[str, Fingerprints]) -> None:
    assert (computed["one thread"]["threads"], computed["two threads"]["threads"]) == (1, 2)
    among = names(computed, "whole", "real", "forward", "score")
    among.remove("real: fid")
    assert not differing(computed["one thread"], computed["two threads"], among)
    torch.testing.assert_close(
        *(computed[name]["real: fid"] for name in ("one thread", "two threads")), rtol=1e-10, atol=0
    )


@pytest.mark.timeout(4 * LONGEST)
def test_whole_numbers_do_not_depend_on_the_processor(computed: dict[str, Fingerprints]) -> None:
    assert not differing(computed["one thread"], computed["no vectors"], names(computed, "whole"))
    for name in names(computed, "real"):
        pair = (computed["one thread"][name], computed["no vectors"][name])
        torch.testing.assert_close(*pair, rtol=1e-5, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.timeout(4 * LONGEST)
def test_whole_numbers_are_those_of_every_machine(
    computed: dict[str, Fingerprints], golden: Callable[..., None]
) -> None:
    whole = {name: computed["one thread"][name] for name in names(computed, "whole")}
    golden(
        "whole_numbers", {name: hashlib.sha256(value.numpy().tobytes()).hexdigest() for name, value in whole.items()}
    )


# Resumed on another machine, or with another number of threads


@pytest.fixture
def begun(tmp_path: Path) -> RunFolder:
    return train(replace(PRESETS["report"], epochs=1, hidden_size=8), tmp_path / "run", device="cpu")


def resume(folder: RunFolder) -> dict[str, Any]:
    config = replace(PRESETS["report"], epochs=2, hidden_size=8)
    record: dict[str, Any] = train(config, folder.path, device="cpu", resume=True).record
    return record


def test_a_run_that_goes_on_as_it_began_says_nothing(begun: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    assert "changes" not in resume(begun)
    assert not caplog.records


def test_a_run_that_goes_on_with_other_threads_says_so(
    begun: RunFolder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 6)
    record = resume(begun)
    [change] = record["changes"]
    assert change.pop("at") >= record["started"]
    assert change == {"threads": [threads, threads + 6]}
    assert record["hardware"]["threads"] == threads, "what it began with stays"
    [message] = [one.message for one in caplog.records if one.levelno == logging.WARNING]
    assert message == (
        f"{begun.path}: threads was {threads} and is {threads + 6}; results may no longer be bit-for-bit those of an "
        f"uninterrupted run (OMP_NUM_THREADS={threads} keeps the threads)"
    )


def test_a_run_that_goes_on_with_another_version_says_so(begun: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    begun.save_record(versions={**begun.record["versions"], "torch": "2.0.1"})
    [change] = resume(begun)["changes"]
    assert change["torch"] == ["2.0.1", torch.__version__]
    assert f"torch was 2.0.1 and is {torch.__version__}; results may no longer be bit-for-bit" in caplog.text
    assert "OMP_NUM_THREADS" not in caplog.text
