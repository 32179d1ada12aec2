"""Wrong use and failures: one line on stderr, an exit code, and nothing written."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from reviver.cli.app import COMMANDS
from reviver.runs.folder import RunFolder
from tests.cli.tiny import TINY_GAN, TINY_LSTM, Run
from tests.conftest import GOLDEN

TEST = "cli/test_wrong_use.py::test_wrong_use_prints_one_line_and_writes_nothing"
WRONG: list[str] = [*json.loads((GOLDEN / "refusals.json").read_text("utf-8"))[TEST]]
"""Commands, which the golden file has with their errors; for a new one write it there with any text, and regenerate."""


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and modification time of everything in a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size if path.is_file() else 0, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_use_prints_one_line_and_writes_nothing(
    arguments: str, run: Run, workspace: Path, same_words: Callable[..., None]
) -> None:
    before = snapshot(workspace)
    result = run(arguments)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.err
    assert result.err.startswith("error: ")
    same_words(result.err.strip().replace(str(workspace), "FOLDER"), arguments)
    assert snapshot(workspace) == before


def test_wrong_use_covers_every_command() -> None:
    for words in COMMANDS:
        assert words == ("report",) or any(arguments.startswith(" ".join(words)) for arguments in WRONG)


def test_debug_shows_the_traceback_before_the_line(run: Run) -> None:
    result = run("lstm train --length 1 --debug")
    assert result.code == 2
    assert result.err.startswith("Traceback (most recent call last):\n")
    assert result.err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MemoryError(), 1, "error: out of memory; use smaller sizes or batches"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "error: out of memory; use smaller"),
        (ZeroDivisionError("oh\nno"), 1, "error: ZeroDivisionError: oh no; run again with --debug, and report"),
        (OSError(28, "No space left on device"), 1, "error: output: No space left on device; fix this"),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
    ],
)
def test_unexpected_errors_print_one_line(
    error: BaseException, code: int, message: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: str, /) -> None:
        raise error

    monkeypatch.setitem(COMMANDS, ("gan", "sample"), fail)
    result = run("gan sample g")
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith(message)
    assert result.err.count("\n") == 1


def test_divergence_prints_one_line_with_its_step(run: Run, tmp_path: Path) -> None:
    for name, train in (("l", f"lstm train {TINY_LSTM}"), ("g", f"gan train {TINY_GAN}")):
        result = run(f"{train} --quiet --learning-rate 1e30 --out {tmp_path / name}")
        assert (result.code, result.out) == (1, "")
        assert re.match(r"error: step \d+: .* try a --learning-rate lower than 1e\+30 in a new --out\n$", result.err)
        assert RunFolder.open(tmp_path / name).status == "failed"
