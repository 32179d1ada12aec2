"""In long runs, neither memory nor the number of checkpoints grows, and records are only appended.

Each network makes 1000 updates here, and 10 000 in `make soak`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.long_run import NUM_SAMPLES

ROOT = Path(__file__).parents[1]
STEPS = int(os.environ.get("SOAK_STEPS", "1000"))
TIMEOUT = 3600
"""Seconds that a run may take on a busy machine."""


@pytest.fixture(scope="module", params=["gan", "lstm"])
def observed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Train, and return the observations, see tests/long_run.py."""
    folder = tmp_path_factory.mktemp("long")
    command = [sys.executable, "-m", "tests.long_run", request.param, str(STEPS), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, timeout=TIMEOUT)
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["steps"] == STEPS
    return found


@pytest.mark.timeout(2 * TIMEOUT)
def test_memory_stays_constant_within_one_percent(observed: dict[str, Any]) -> None:
    assert len(observed["resident"]) == NUM_SAMPLES
    warm, rest = observed["resident"][: NUM_SAMPLES // 4], observed["resident"][NUM_SAMPLES // 4 :]
    assert max(rest) <= 1.01 * max(warm), [round(size / 2**20, 1) for size in observed["resident"]]


@pytest.mark.timeout(2 * TIMEOUT)
def test_records_files_are_only_appended_to(observed: dict[str, Any]) -> None:
    assert "metrics.jsonl" in observed["grew"]
    assert any(name.startswith("events.") for name in observed["grew"])
    assert observed["rewritten"] == []


@pytest.mark.timeout(2 * TIMEOUT)
def test_old_checkpoints_are_removed(observed: dict[str, Any]) -> None:
    """The last two and the best checkpoint of 10 or 100 are kept; while one is written, there is one more."""
    assert observed["full"] >= 2
    assert observed["left"] <= 3
    assert observed["checkpoints"] <= 4
