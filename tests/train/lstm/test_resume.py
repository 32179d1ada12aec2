"""Runs of each kind resume bit for bit after signals and crashes at any update or part of a validation."""

import itertools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reviver.errors import Interrupted, OutOfMemory
from reviver.lstm import scoring
from reviver.lstm.scoring import Score, score
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import RunFolder
from reviver.settings.fields import override
from reviver.settings.lstm import LSTMConfig
from reviver.train.lstm import training
from reviver.train.lstm.training import train
from tests.lstm_runs import TINY, at_step, crash, fingerprint, interrupt, terminate


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, curriculum_configs: dict[str, LSTMConfig]) -> Any:
    """Return the configurations, and a function of their names that returns the fingerprint of an uninterrupted run."""
    configs = {"tiny": TINY, **curriculum_configs}
    found: dict[str, Any] = {}

    def get(name: str) -> tuple[LSTMConfig, dict[str, Any]]:
        if name not in found:
            found[name] = fingerprint(train(configs[name], tmp_path_factory.mktemp(name) / "run"))
        return configs[name], found[name]

    return get


@pytest.mark.parametrize(
    ("name", "step", "action"),
    [
        ("tiny", 1, crash),
        ("tiny", 10, crash),
        ("tiny", 11, crash),
        ("tiny", 20, crash),
        ("tiny", 12, terminate),
        ("tiny", 13, interrupt),
        ("curriculum", 7, interrupt),
        ("curriculum", 25, crash),
        ("curriculum", 40, interrupt),
        ("jumping", 7, interrupt),
        ("jumping", 31, crash),
        ("truncated", -7, interrupt),  # in the middle of an epoch, with carried states
        ("patient", 0, crash),  # counted from the last update
        ("patient", -1, interrupt),
        ("patient", -12, interrupt),
    ],
)
def test_a_run_resumes_to_the_same_bits(
    name: str,
    step: int,
    action: Callable[[object], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    uninterrupted: Any,
) -> None:
    config, expected = uninterrupted(name)
    step += expected["metrics"][-1]["step"] if step <= 0 else 0
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patched:
        at_step(patched, step, action, "truncated_step" if config.bptt_steps else "train_step")
        with pytest.raises((Interrupted, OutOfMemory)) as caught:
            train(config, tmp_path / "run")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    folder = RunFolder.open(tmp_path / "run")
    if action is crash:
        remedy = "what was saved is kept: free some memory and go on with --resume, or"
        assert str(caught.value).startswith(f"step {step}: memory ran out (crash); {remedy}")
        assert (folder.status, folder.record["error"]) == ("failed", str(caught.value))
    else:
        number = signal.SIGINT if action is interrupt else signal.SIGTERM
        saved = f"stopped at step {step} by {number.name} and saved; go on with the same command and --resume"
        assert saved in str(caught.value)
        assert caught.value.exit_code == 128 + number
        assert folder.status == "interrupted"
        assert find_checkpoint(folder.checkpoints, "last").name == f"step-{step:06d}"
    resumed = train(config, tmp_path / "run", resume=True)
    assert fingerprint(resumed) == expected
    assert resumed.status == "finished"
    assert "error" not in resumed.record
    assert fingerprint(train(config, tmp_path / "run", resume=True)) == expected, "a finished run does not change"


def test_a_run_stopped_after_every_step_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: Any
) -> None:
    for step in range(1, 21):
        with monkeypatch.context() as patched:
            at_step(patched, 1, interrupt)
            with pytest.raises(Interrupted, match=f"stopped at step {step} "):
                train(TINY, tmp_path / "run", resume=step > 1)
    assert fingerprint(train(TINY, tmp_path / "run", resume=True)) == uninterrupted("tiny")[1]


def test_a_second_signal_ends_the_run_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: Any
) -> None:
    with monkeypatch.context() as patched:
        at_step(patched, 13, lambda network: [interrupt(network), interrupt(network)])  # type: ignore[func-returns-value]
        with pytest.raises(KeyboardInterrupt):
            train(TINY, tmp_path / "run")
    assert find_checkpoint(tmp_path / "run" / "checkpoints", "last").name == "step-000010"
    assert fingerprint(train(TINY, tmp_path / "run", resume=True)) == uninterrupted("tiny")[1]


def test_a_finished_run_continues_for_more_epochs(tmp_path: Path, uninterrupted: Any) -> None:
    train(override(TINY, {"epochs": 2}), tmp_path / "run")
    assert fingerprint(train(TINY, tmp_path / "run", resume=True)) == uninterrupted("tiny")[1]


@pytest.mark.parametrize("chunk", [1, 2, 9])
def test_a_run_resumes_in_the_middle_of_a_validation_bit_for_bit(
    chunk: int, uninterrupted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, expected = uninterrupted("jumping")
    chunks = itertools.count(1)

    def interrupting(*arguments: Any) -> Score:
        """Press Ctrl-C before a chunk of the validations without training, counted from 1."""
        *others, report = arguments

        def counting(done: float) -> None:
            if next(chunks) == chunk:
                interrupt(None)
            report(done)

        return score(*others, counting if report else None)

    with monkeypatch.context() as patched:
        patched.setattr(scoring, "CHUNK_STEPS", 1000)  # several chunks each
        patched.setattr(training, "score", interrupting)
        with pytest.raises(Interrupted, match="SIGINT and saved"):
            train(config, tmp_path / "run")
    assert fingerprint(train(config, tmp_path / "run", resume=True)) == expected
