"""Runs of each kind resume bit for bit after signals and crashes at any update or part of a validation."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reviver.errors import Interrupted, OutOfMemory
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import RunFolder
from reviver.train.lstm.training import train
from tests.lstm_runs import CONFIGS, JUMPING, TINY, at_step, crash, fingerprint, interrupt, terminate


@pytest.mark.parametrize(
    ("name", "step", "action"),
    [
        ("tiny", 11, crash),
        ("tiny", 12, terminate),
        ("tiny", 13, interrupt),
        ("curriculum", 25, crash),
        ("curriculum", 40, interrupt),
        ("jumping", 7, interrupt),
        ("jumping", 31, crash),
        ("patient", 0, crash),  # counted from the last update
        ("patient", -12, interrupt),
    ],
)
def test_a_run_resumes_to_the_same_bits(
    name: str,
    step: int,
    action: Callable[[object], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    folders: Callable[[str], RunFolder],
) -> None:
    config, expected = CONFIGS[name], fingerprint(folders(name))
    step += expected["metrics"][-1]["step"] if step <= 0 else 0
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patched:
        at_step(patched, step, action)
        with pytest.raises((Interrupted, OutOfMemory)) as caught:
            train(config, tmp_path / "run")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    folder = RunFolder.open(tmp_path / "run")
    if action is crash:
        assert str(caught.value).startswith(f"step {step}: memory ran out (crash); what was saved is kept: free some")
        assert (folder.status, folder.record["error"]) == ("failed", str(caught.value))
    else:
        number = signal.SIGINT if action is interrupt else signal.SIGTERM
        assert f"stopped at step {step} by {number.name} and saved; go on with the same command" in str(caught.value)
        assert (folder.status, caught.value.exit_code) == ("interrupted", 128 + number)
        assert find_checkpoint(folder.checkpoints, "last").stem == f"step-{step:06d}"
    resumed = train(config, tmp_path / "run", resume=True)
    assert fingerprint(resumed) == expected
    assert resumed.status == "finished"
    assert fingerprint(train(config, tmp_path / "run", resume=True)) == expected, "a finished run does not change"


def test_a_second_signal_ends_the_run_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: Callable[[str], RunFolder]
) -> None:
    """The run goes on for more epochs, too."""
    with monkeypatch.context() as patched:
        at_step(patched, 13, lambda network: [interrupt(network), interrupt(network)])  # type: ignore[func-returns-value]
        with pytest.raises(KeyboardInterrupt):
            train(replace(TINY, epochs=3), tmp_path / "run")
    assert find_checkpoint(tmp_path / "run" / "checkpoints", "last").stem == "step-000010"
    train(replace(TINY, epochs=3), tmp_path / "run", resume=True)
    assert fingerprint(train(TINY, tmp_path / "run", resume=True)) == fingerprint(folders("tiny"))


def test_a_run_resumes_in_the_middle_of_a_validation_bit_for_bit(
    folders: Callable[[str], RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        at_step(patched, 3, interrupt, "score")  # in the middle of a bisection
        with pytest.raises(Interrupted, match="SIGINT and saved"):
            train(JUMPING, tmp_path / "run")
    assert fingerprint(train(JUMPING, tmp_path / "run", resume=True)) == fingerprint(folders("jumping"))
