"""The entry point: it exits with the command's code and leaves OpenMP as the user has it."""

import os

import pytest

from reviver import __main__ as entry


@pytest.mark.parametrize("value", [None, "7"])
def test_how_threads_wait_is_left_to_libgomp_and_the_user(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, value or "")
        if value is None:
            monkeypatch.delenv(name)
    monkeypatch.setattr(entry, "run", lambda: 3)
    with pytest.raises(SystemExit) as end:
        entry.main()
    assert end.value.code == 3
    assert {os.environ.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")} == {value}
