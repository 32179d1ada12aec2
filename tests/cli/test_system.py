"""The system around the command line: full disks, signals, pipes, terminals, and threads of OpenMP."""

import contextlib
import io
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reviver import __main__ as entry
from reviver import progress
from reviver.runs.checkpoint import checkpoint_step, find_checkpoint
from reviver.runs.folder import RunFolder
from tests.cli.tiny import ENVIRONMENT, TINY_GAN, TINY_LSTM, Run, process


def test_waiting_threads_sleep_soon_unless_the_user_chose_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    spins: list[str | None] = []
    monkeypatch.setattr(entry, "run", lambda: spins.append(os.environ.get("GOMP_SPINCOUNT")) or 3)
    for chosen in (*names, None):
        for name in names:
            monkeypatch.delenv(name, raising=False)
        if chosen:
            monkeypatch.setenv(chosen, "7")
        with pytest.raises(SystemExit) as end:
            entry.main()
        assert end.value.code == 3
    assert spins == [None, None, "7", "4000"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a mounted disk of 3 MB; skip the test where mounting is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    mounted = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("only an administrator can mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_reported_and_leaves_no_partial_files(small_disk: Path, run: Run) -> None:
    problem = r"error: .*: cannot be written \(No space left on device\); free some space"
    result = run(f"gan train {TINY_GAN} --quiet --out {small_disk / 'run'}")
    assert result.code == 2
    assert re.match(rf"{problem} .*--resume\)\n$", result.err)
    folder = RunFolder.open(small_disk / "run")
    assert (folder.status, list(folder.checkpoints.iterdir())) == ("failed", [])
    fill = small_disk / "fill"
    with contextlib.suppress(OSError):
        fill.write_bytes(bytes(3 << 20))
    before = {path.name for path in small_disk.iterdir()}
    for arguments in (
        f"gan sample g --num-samples 500 --out {small_disk / 'samples.npz'}",
        f"gan sample g --out {small_disk / 'grid.png'}",
        f"lstm trace l '1 2' --out {small_disk / 'trace.pdf'}",
        f"lstm train {TINY_LSTM} --quiet --out {small_disk / 'l'}",
    ):
        result = run(arguments)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
        assert re.match(problem, result.err)
    assert {path.name for path in small_disk.iterdir()} - {"l"} == before
    assert not (small_disk / "l").exists() or not list((small_disk / "l").iterdir())
    fill.unlink()
    assert run(f"lstm train {TINY_LSTM} --quiet --out {small_disk / 'l'}").code == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_training_after_saving(
    number: signal.Signals, code: int, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    times = 2 if number == signal.SIGTERM else 1  # a second Ctrl-C ends it at once
    monkeypatch.setattr(progress.ProgressBar, "update", lambda *_: [os.kill(os.getpid(), number) for _ in range(times)])
    result = run(f"gan train {TINY_GAN} --out {out}")
    assert (result.code, result.out) == (code, "")
    last = result.err.splitlines()[-1]
    match = re.fullmatch(rf".*run: stopped at step (\d+) by {number.name} and saved; go on with .* --resume", last)
    assert match, result.err
    assert RunFolder.open(out).status == "interrupted"
    assert checkpoint_step(find_checkpoint(out / "checkpoints", "last")) == int(match[1])
    assert run(f"gan sample {out} --out {tmp_path / 'grid.png'}").code == 0, "the saved run is usable"


def test_a_closed_pipe_is_no_error_and_a_full_output_device_is_reported(tmp_path: Path) -> None:
    child = process("lstm train --print-config", tmp_path)
    child.stdout.close()
    child.wait(timeout=60)
    assert (child.returncode, child.stderr.read()) == (0, "")
    child.stderr.close()
    child = process("lstm train --print-config", tmp_path, stdout=None, preexec_fn=lambda: os.close(1))
    assert (child.communicate(timeout=60)[1], child.returncode) == ("", 0)
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with Path("/dev/full").open("w") as full:
        child = process("lstm train --print-config", tmp_path, stdout=full)
        _, errors = child.communicate(timeout=60)
    assert (child.returncode, errors.count("\n")) == (1, 1)
    assert errors.startswith("error: output: No space left on device")


def test_a_narrow_terminal_shows_the_parts_of_the_progress_line_that_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(progress, "UPDATE_SECONDS", 0.0)
    accuracy, loss = "validation accuracy 99.5% at length 464", "train loss 0.353"
    for width, shown in (
        (120, f"━ 7/8 lengths TIME {accuracy}, {loss}"),
        (90, f"━ 7/8 lengths TIME {accuracy} "),
        (80, "━ 7/8 lengths TIME validation accuracy 99.5% at "),
        (44, "━ 7/8 lengths TIME …"),
    ):
        monkeypatch.setenv("COLUMNS", str(width))
        with progress.ProgressBar("LSTM T=1000", 8, "lengths", visible=True) as bar:
            bar.update(1, f"{accuracy}, {loss}")
            bar.update(7, f"{accuracy}, {loss}")
        last = (
            re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err).strip("\n").splitlines()[-1].split("\r")[-1]
        )
        assert len(last) <= width
        assert last.startswith("LSTM T=1000 ")
        assert shown in re.sub(r"\d\d:\d\d", "TIME", last), f"{width} columns"


def test_other_encodings_and_a_closed_stderr_keep_the_output_clean(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    monkeypatch.setattr(sys, "argv", ["reviver", "lstm", "predict", "l", "1 2"])
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        with pytest.raises(SystemExit, match="0"):
            entry.main()
    output.seek(0)
    assert "%  ???" in output.read()
    monkeypatch.setattr("sys.stderr", None)
    result = run("lstm predict gone '1 2'")
    assert (result.code, result.out) == (2, "")


def test_a_terminal_shows_progress_in_color_and_obeys_no_name(workspace: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if name not in ("NO_COLOR", "CI", "FORCE_COLOR")}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "60"}
    name, output = "a\x1b[2J\n\x07", b""
    shutil.copy(workspace / "tiny.npz", tmp_path / f"{name}.npz")
    reader, terminal = pty.openpty()
    command = f"gan train {TINY_GAN.replace('tiny', shlex.quote(name))} --out {shlex.quote(name)}"
    child = process(command, tmp_path, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    with contextlib.suppress(OSError):  # reading fails once the child has exited
        while chunk := os.read(reader, 4096):
            output += chunk
    os.close(reader)
    assert child.wait(timeout=60) == 0, output
    text = output.decode()
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", text), "in color"
    assert "\x1b[?25h" in text, "the cursor is visible again"
    assert not re.search(r"\x1b\[2J|\x07", text)
    for shown in (r"GAN a\x1b[2J\n\x07 ", r"reviver explore 'a\x1b[2J\n\x07'"):
        assert shown in text
