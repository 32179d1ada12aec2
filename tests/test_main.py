"""The entry point: it exits with the code of the command, and keeps the user's OpenMP settings."""

import os

import pytest

from reviver import __main__ as entry


@pytest.mark.parametrize("value", [None, "7"])
def test_the_spin_count_of_openmp_is_unchanged(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, value or "")
        if value is None:
            monkeypatch.delenv(name)
    monkeypatch.setattr(entry, "run", lambda: 3)
    with pytest.raises(SystemExit) as end:
        entry.main()
    assert end.value.code == 3
    assert {os.environ.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")} == {value}
