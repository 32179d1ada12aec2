"""Damaged files for every reader: a right answer or our own error, no crash, no hang, no memory. `make fuzz` does more."""

from pathlib import Path

import pytest

from tests.fuzz.readers import FAULTY, READERS
from tests.fuzz.supervisor import Tally, supervise

pytestmark = pytest.mark.timeout(900)  # a busy machine makes a whole table of readers slow

INPUTS = {"parquet": 1200, "sequences-npz": 800, "images-npz": 600}
"""Of readers that read several kinds of file; 500 of the others."""


@pytest.fixture(scope="module")
def tallies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tally]:
    spans = {name: range(INPUTS.get(name, 500)) for name in READERS}
    return supervise(spans, tmp_path_factory.mktemp("kept"), hang_seconds=60)


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_give_a_right_answer_or_our_error(name: str, tallies: dict[str, Tally]) -> None:
    tally = tallies[name]
    assert not any((tally.crashes, tally.hangs, tally.large, tally.wrong)), tally.problems
    assert tally.inputs == INPUTS.get(name, 500) == tally.values + tally.errors
    assert tally.values > 0, "some damage does no harm"
    assert tally.errors > tally.inputs / 10


def test_a_crash_a_hang_growth_and_a_foreign_error_are_noticed_and_kept(tmp_path: Path) -> None:
    spans = {"grows": range(2), "fails": range(2), "crashes": range(1), "hangs": range(1), "spins": range(1)}
    tallies = supervise(spans, tmp_path, hang_seconds=5)
    found = {name: (tally.inputs, tally.crashes, tally.hangs, tally.wrong) for name, tally in tallies.items()}
    assert found == {
        "grows": (2, 0, 0, 0),
        "fails": (2, 0, 0, 2),
        "crashes": (1, 1, 0, 0),
        "hangs": (1, 0, 1, 0),
        "spins": (1, 0, 1, 0),
    }
    assert spans.keys() == FAULTY.keys()
    assert tallies["grows"].large == 2, "each takes so much, not the first alone"
    assert "KeyError: 'name' (readers.py:" in tallies["fails"].problems[0]
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert kept.keys() == {f"{name}-{number}-numbers" for name, span in spans.items() for number in span}
    assert bytes(range(10)) not in kept.values()
