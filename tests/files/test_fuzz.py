"""Damaged files for every reader: a correct result or a ReviverError, and no crash, hang or growth; see `make fuzz`."""

from pathlib import Path

import pytest

from tests.fuzz.readers import FAULTY, READERS
from tests.fuzz.supervisor import new_tally, supervise

pytestmark = pytest.mark.timeout(900)  # all readers are slow on a busy machine


@pytest.mark.parametrize("inputs", [50, pytest.param(500, marks=pytest.mark.long)])
def test_damaged_files_give_a_correct_result_or_a_reviver_error(inputs: int, tmp_path: Path) -> None:
    ends = {name: inputs // 5 if name == "parquet" else inputs for name in READERS}  # it starts a process for each
    tallies = {name: new_tally() for name in READERS}
    supervise(tallies, ends, tmp_path, hang_seconds=60)
    for name, tally in tallies.items():
        assert not any(tally[problem] for problem in ("crashes", "hangs", "large", "wrong")), tally["problems"]
        assert tally["inputs"] == tally["values"] + tally["errors"] == ends[name]
        assert tally["errors"] > ends[name] / 10, name
        assert tally["values"] > 0 or inputs < 500, f"{name}: some damage must be harmless"


@pytest.mark.long
def test_the_supervisor_detects_and_saves_crashes_hangs_growth_and_other_errors(tmp_path: Path) -> None:
    problems = {"grows": "large", "fails": "wrong", "crashes": "crashes", "hangs": "hangs", "spins": "hangs"}
    tallies = {name: new_tally() for name in FAULTY}
    supervise(tallies, dict.fromkeys(FAULTY, 2), tmp_path, hang_seconds=1)
    for name, tally in tallies.items():
        assert (tally["inputs"], tally[problems[name]], len(tally["problems"])) == (2, 2, 2), "not only the first"
    assert "KeyError: 'name' (readers.py:" in tallies["fails"]["problems"][0]
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert kept.keys() == {f"{name}-{number}-numbers" for name in FAULTY for number in range(2)}
    assert bytes(range(10)) not in kept.values()
