"""The entry point: how torch's threads wait, which is set before torch is imported."""

import os
from pathlib import Path

import pytest

from reviver import __main__ as entry


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that what is set here is taken back
        monkeypatch.delenv(name)
    monkeypatch.setattr(entry, "run", lambda: 3)


@pytest.mark.parametrize(
    ("load", "spins"),
    [
        ("0.00 0.01 0.05 1/80 4711\n", None),
        ("0.00 0.01 0.05 2/80 4711\n", entry.SPINS),
        ("9.00 9.01 9.05 12/80 4711\n", entry.SPINS),
        ("", entry.SPINS),
        ("no numbers at all / here\n", entry.SPINS),
        (None, entry.SPINS),
    ],
)
def test_threads_wait_for_long_on_an_idle_machine_only(
    load: str | None, spins: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "loadavg"
    if load is not None:
        path.write_text(load)
    monkeypatch.setattr(entry, "LOAD", path)
    with pytest.raises(SystemExit) as end:
        entry.main()
    assert end.value.code == 3
    assert os.environ.get("GOMP_SPINCOUNT") == spins


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_what_the_user_sets_stays(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "LOAD", tmp_path / "none")
    monkeypatch.setenv(name, "7")
    with pytest.raises(SystemExit):
        entry.main()
    assert {key: os.environ.get(key) for key in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")} == {
        "OMP_WAIT_POLICY": None,
        "GOMP_SPINCOUNT": None,
        name: "7",
    }
