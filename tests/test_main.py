"""The entry point: how long torch's threads spin while they wait, which is set before torch is imported."""

import os

import pytest

from reviver import __main__ as entry


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that what is set here is taken back
        monkeypatch.delenv(name)
    monkeypatch.setattr(entry, "run", lambda: 3)


def test_threads_spin_as_long_as_documented() -> None:
    with pytest.raises(SystemExit) as end:
        entry.main()
    assert end.value.code == 3
    assert os.environ.get("GOMP_SPINCOUNT") == entry.SPIN_COUNT
    assert int(entry.SPIN_COUNT) > 0


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_what_the_user_sets_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "7")
    with pytest.raises(SystemExit):
        entry.main()
    assert {key: os.environ.get(key) for key in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")} == {
        "OMP_WAIT_POLICY": None,
        "GOMP_SPINCOUNT": None,
        name: "7",
    }
