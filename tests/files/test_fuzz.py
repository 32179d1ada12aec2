"""Damaged files for every reader: a correct result or a ReviverError, and no crash, hang or growth; see `make fuzz`."""

from pathlib import Path

import pytest

from tests.fuzz.readers import FAULTY, READERS
from tests.fuzz.supervisor import Tally, supervise

pytestmark = pytest.mark.timeout(900)  # all readers are slow on a busy machine

NUM_INPUTS = 250
INPUTS = {"parquet": 60, "sequences-npz": 400, "images-npz": 300}
"""Inputs of readers that read several formats, and of the slow one; the others get NUM_INPUTS. `make fuzz` reads more."""


@pytest.fixture(scope="module")
def tallies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tally]:
    spans = {name: range(INPUTS.get(name, NUM_INPUTS)) for name in READERS}
    return supervise(spans, tmp_path_factory.mktemp("kept"), hang_seconds=60)


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_give_a_correct_result_or_reviver_error(name: str, tallies: dict[str, Tally]) -> None:
    tally = tallies[name]
    assert not any((tally.crashes, tally.hangs, tally.large, tally.wrong)), tally.problems
    assert tally.inputs == INPUTS.get(name, NUM_INPUTS) == tally.values + tally.errors
    assert tally.values > 0, "some damage must be harmless"
    assert tally.errors > tally.inputs / 10


def test_supervisor_detects_and_saves_crashes_hangs_growth_and_other_errors(tmp_path: Path) -> None:
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
