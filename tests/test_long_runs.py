"""Long runs do not curriculum: neither their memory nor their checkpoints, and what they have written stays as it is.

Here 1000 updates of each network; `make soak` makes 10 000.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.long_run import POINTS

ROOT = Path(__file__).parents[1]
STEPS = int(os.environ.get("SOAK_STEPS", "1000"))
LONGEST = 3600
"""Seconds that a run may take on a machine that is busy with other things."""


@pytest.fixture(scope="module", params=["gan", "lstm"])
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was seen while a run was trained, see tests/long_run.py."""
    folder = tmp_path_factory.mktemp("long")
    command = [sys.executable, "-m", "tests.long_run", request.param, str(STEPS), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, timeout=LONGEST)
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["steps"] == STEPS
    return found


@pytest.mark.timeout(2 * LONGEST)
def test_memory_stays_flat_within_one_percent(seen: dict[str, Any]) -> None:
    assert len(seen["resident"]) == POINTS
    warm, rest = seen["resident"][: POINTS // 4], seen["resident"][POINTS // 4 :]
    assert max(rest) <= 1.01 * max(warm), [round(one / 2**20, 1) for one in seen["resident"]]


@pytest.mark.timeout(2 * LONGEST)
def test_files_of_points_are_only_appended_to(seen: dict[str, Any]) -> None:
    assert "metrics.jsonl" in seen["grew"]
    assert any(name.startswith("events.") for name in seen["grew"])
    assert seen["rewritten"] == []


@pytest.mark.timeout(2 * LONGEST)
def test_old_checkpoints_are_removed(seen: dict[str, Any]) -> None:
    """Of 10 that were saved, or 100, the last two and the best are left; while one is written there is one more."""
    assert seen["full"] >= 2
    assert seen["left"] <= 3
    assert seen["checkpoints"] <= 4
