"""Damaged files for every reader: a correct result or a ReviverError, and no crash, hang or growth; see `make fuzz`."""

from pathlib import Path

import pytest

from tests.fuzz.readers import FAULTY, READERS
from tests.fuzz.supervisor import supervise

pytestmark = pytest.mark.timeout(900)  # all readers are slow on a busy machine


@pytest.mark.parametrize("inputs", [50, pytest.param(500, marks=pytest.mark.long)])
def test_damaged_files_give_a_correct_result_or_a_reviver_error(inputs: int, tmp_path: Path) -> None:
    counts = {name: inputs // 5 if name == "parquet" else inputs for name in READERS}  # it starts a process for each
    tallies = supervise({name: range(count) for name, count in counts.items()}, tmp_path, hang_seconds=60)
    problems = [
        tally.problems for tally in tallies.values() if tally.crashes or tally.hangs or tally.large or tally.wrong
    ]
    assert not problems
    assert {name: tally.inputs for name, tally in tallies.items()} == counts
    for name, tally in tallies.items():
        assert tally.inputs == tally.values + tally.errors
        assert tally.errors > tally.inputs / 10, name
        assert tally.values > 0 or inputs < 500, f"{name}: some damage must be harmless"


@pytest.mark.long
def test_the_supervisor_detects_and_saves_crashes_hangs_growth_and_other_errors(tmp_path: Path) -> None:
    spans = {"grows": range(2), "fails": range(2), "crashes": range(1), "hangs": range(1), "spins": range(1)}
    tallies = supervise(spans, tmp_path, hang_seconds=2)
    found = {name: (tally.inputs, tally.crashes, tally.hangs, tally.wrong) for name, tally in tallies.items()}
    assert found == {
        "grows": (2, 0, 0, 0),
        "fails": (2, 0, 0, 2),
        "crashes": (1, 1, 0, 0),
        "hangs": (1, 0, 1, 0),
        "spins": (1, 0, 1, 0),
    }
    assert spans.keys() == FAULTY.keys()
    assert tallies["grows"].large == 2, "each input must be detected, not only the first"
    assert "KeyError: 'name' (readers.py:" in tallies["fails"].problems[0]
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert kept.keys() == {f"{name}-{number}-numbers" for name, span in spans.items() for number in span}
    assert bytes(range(10)) not in kept.values()
