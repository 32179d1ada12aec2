"""In long runs, neither memory nor the number of checkpoints grows, and records are only appended."""

import json
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from tests.runs import long_run
from tests.runs.children import run_children
from tests.runs.long_run import NUM_SAMPLES

UPDATES = [pytest.param(10_000, marks=pytest.mark.long), 400]


@pytest.mark.parametrize("kind", ["gan", "lstm"])
@pytest.mark.parametrize("updates", UPDATES)
def test_a_long_run_needs_no_more_than_a_short_one(
    kind: str, updates: int, server: ForkServerContext, tmp_path: Path
) -> None:
    assert run_children(server, long_run.run, (kind, updates, tmp_path)) == [0]
    observed = json.loads((tmp_path / "observed.json").read_text())
    assert observed["steps"] == updates
    assert len(observed["resident"]) == NUM_SAMPLES
    warm, rest = observed["resident"][: NUM_SAMPLES // 4], observed["resident"][NUM_SAMPLES // 4 :]
    assert max(rest) <= 1.01 * max(warm), [round(size / 2**20, 1) for size in observed["resident"]]
    assert "metrics.jsonl" in observed["grew"]
    assert any(name.startswith("events.") for name in observed["grew"])
    assert observed["rewritten"] == [], "records are only appended to"
    assert observed["full"] >= 2
    assert observed["left"] <= 3, "the last two and the best checkpoint"
    assert observed["checkpoints"] <= 4, "while one is written, there is one more"
