"""Damaged files for every reader: a correct result or a ReviverError, and no crash, hang or growth; see `make fuzz`."""

from pathlib import Path

import pytest

from tests.fuzz.readers import READERS
from tests.fuzz.supervisor import new_tally, supervise

pytestmark = pytest.mark.timeout(900)  # all readers are slow on a busy machine


@pytest.mark.parametrize("inputs", [50, pytest.param(500, marks=pytest.mark.long)])
def test_damaged_files_give_a_correct_result_or_a_reviver_error(inputs: int, tmp_path: Path) -> None:
    ends = {name: inputs // 10 if name == "parquet" else inputs for name in READERS}  # it starts a process for each
    tallies = {name: new_tally() for name in READERS}
    supervise(tallies, ends, tmp_path, hang_seconds=60)
    for name, tally in tallies.items():
        assert not any(tally[problem] for problem in ("crashes", "hangs", "large", "wrong")), tally["problems"]
        assert tally["inputs"] == tally["values"] + tally["errors"] == ends[name]
        assert tally["errors"] > ends[name] / 10, name
        assert tally["values"] > 0 or inputs < 500, f"{name}: some damage must be harmless"
