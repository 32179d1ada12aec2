"""Wrong use and failures: one line on stderr, an exit code, and nothing written."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from reviver.cli.app import COMMANDS
from reviver.runs.folder import RunFolder
from tests.cli.tiny import TINY_GAN, TINY_LSTM, Run

WRONG = [
    # commands
    "foo",
    "repot",
    "lstm",
    # options
    "--bogus",
    "lstm train --lenght 3",
    "lstm train --lr 3",
    "lstm predict '1 2' l",
    "lstm train --epochs",
    "lstm curve --network gru --out n",
    "lstm cells gruu",
    "lstm evaluate gone --out figure.gif",
    "lstm predict l 1 2",
    # presets and fields
    "lstm train --preset foo",
    "lstm train --length 1",
    "lstm train --length 99999999999999999999",
    # export
    "export l",
    "export l --format pickle",
    "export l --format hub --opset 13",
    "export g --format onnx --checkpoint best",
    "export l --format hub --out report",
    "export l --format onnx --opset 999",
    "export l --format onnx --out g",
    # figures of a run
    "plot l --figure-width 1",
    # packed data
    "data pack tiny.npz --out empty",
    "data pack gone.csv --out empty",
    "data pack tiny.npz --image-size 2 --out p",
    "data pack tiny.npz --label-column y --out p",
    # the explorer
    "explore l missing",
    "explore l --out .",
    "explore l --out l/run.json",
    # assignments
    "check notes.txt --points p.toml",
    # sweeps
    "sweep sweep.toml --address 127.0.0.1:6379",
    "lstm curve --out report",
    "sweep sweep.toml --out l",
    # settings files; more of them in tests/files/test_hostile.py
    "lstm train --config ''",
    "lstm train --config=unknown.toml",
    "lstm train --config=~/none.toml",
    "lstm train --config code.yaml",
    "lstm train --length 3 --length 4",
    "lstm train --epochs 2.6",
    "lstm train --curriculum=perhaps",
    # data
    "gan train --data nothing --out n",
    "gan train --data notes.txt --out n",
    "gan train --data empty --out n",
    "lstm predict l '1 x 2'",
    "lstm predict l 12,34",
    "lstm predict l ' '",
    # devices
    "lstm train --device cuda --out n",
    *(
        f"{command} --device cuda"
        for command in ("lstm curve --out n", "plot g", "compare g", "explore g", "data pack tiny.npz --out n")
    ),
    "gan sample g --device toaster",
    # run folders
    "lstm train --out l",
    "lstm train --out notes.txt/run",
    "lstm train --resume --out damaged",
    "gan evaluate notes.txt",
    "lstm train --resume --out g",
    "gan train --resume --out g --epochs 1",
    "lstm predict newer '1 2'",
    "gan sample cut",
    # comparisons
    "compare l g",
    "compare l g --format jpg",
    "report --compare notes.txt",
    # assignments
    "check",
    "check --start lstm --out notes.txt",
    "check notes.txt --out grades.txt",
    "check notes.txt --points notes.txt",
    # traces
    "lstm trace gone '1 2' --out notes.txt/trace.pdf",
    "lstm trace l '1 2' --layer 2 --out new/folder/trace.pdf",
    # samples and interpolations
    "gan sample g --class 3",
    "gan train --data tiny.npz --image-size 8 --conditional --out n",
    "gan sample g --num-samples 2501",
    "gan sample g --num-samples 99999999999 --out s.npz",
    "gan sample g --out grid.jpg",
    "gan interpolate g --from-image a.png",
    "gan project g",
    "gan project g ./a.png --out a.png",
    "gan project g gone.png",
    "gan interpolate g --view AQAH --seed 1",
    "gan interpolate g --from 3 --to 8",
    "gan interpolate g --steps 49",
    # scores
    "gan evaluate g",
    "gan train-extractor --data tiny.npz --out notes.txt",
    "gan interpolate g --annotate",
]


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
