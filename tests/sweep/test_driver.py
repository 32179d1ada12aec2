"""Trials of a sweep, and the driver."""

import json
import threading
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from reviver.errors import RunFolderError
from reviver.sweep import driver
from reviver.sweep import trials as trial_module
from reviver.sweep.driver import run_trials
from reviver.sweep.trials import Trial, execute, read_outcome, trial_folder
from tests.sweep import trials as functions
from tests.sweep.trials import InlineEngine, wait_until

NINE = Trial(functions.square, {"x": 3.0})


def test_each_trial_runs_once_and_failed_ones_again_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_module, "time", SimpleNamespace(perf_counter=count(0.0, 1.5).__next__))
    failing = [Trial(functions.refuse, {"value": 3}), Trial(functions.square, {"x": 1e200})]
    failing += [Trial(functions.fail, {}), Trial(functions.leave, {})]
    trials = [NINE, *failing, Trial(functions.square, {"x": 4.0})]
    engine = InlineEngine()
    outcomes = run_trials(tmp_path, trials, engine)
    assert engine.trials == trials
    assert [(outcomes[trial.key].result or {})["square"] for trial in (NINE, trials[-1])] == [9, 16]
    assert {(outcome.seconds, outcome.attempts) for outcome in outcomes.values()} == {(1.5, 1)}
    assert [str(outcomes[trial.key].error)[:32] for trial in failing] == [
        *("value must be 1, got 3", "ValueError: Out of range float v"),
        *("ZeroDivisionError: division by z", "SystemExit: there is no GPU"),
    ]
    traces = [(trial_folder(tmp_path, trial) / "traceback.txt").exists() for trial in trials]
    assert traces == [False, False, True, True, True, False], "of errors that are not the user's"
    assert json.loads((trial_folder(tmp_path, NINE) / "trial.json").read_text())["arguments"] == {"x": 3.0}
    again = InlineEngine()
    assert run_trials(tmp_path, trials, again) == outcomes
    assert again.trials == []
    run_trials(tmp_path, trials, again, retry_failed=True)
    assert again.trials == failing
    later = Trial(functions.square, {"x": 5.0})
    found = run_trials(tmp_path, [NINE, later], again, select=lambda found: [later] if NINE.key in found else [NINE])
    assert found.keys() == {NINE.key, later.key}, "an outcome from before lets others start"


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"schema": 2}, "schema must be 1, got 2"), (None, r"cannot be read .*; the file is damaged")],
)
def test_a_damaged_outcome_ends_the_sweep(change: Any, problem: str, tmp_path: Path) -> None:
    execute(tmp_path, NINE)
    path = trial_folder(tmp_path, NINE) / "outcome.json"
    path.write_text("{" if change is None else json.dumps(json.loads(path.read_text()) | change))
    assert isinstance(execute(tmp_path, NINE), RunFolderError)
    with pytest.raises(RunFolderError, match=rf"outcome\.json: {problem}"):
        run_trials(tmp_path, [NINE], InlineEngine())


def test_a_trial_of_another_machine_runs_once_its_lock_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other machine dies when this one has finished the second trial."""
    monkeypatch.setattr(driver, "BUSY_POLLS", 1)
    monkeypatch.setattr(InlineEngine, "poll", 0.01)
    trials = [Trial(functions.square, {"x": x}) for x in (1.0, 2.0)]
    first, second = (trial_folder(tmp_path, trial) for trial in trials)
    first.mkdir(parents=True)
    lock = FileLock(first / "trial.lock", thread_local=False)
    lock.acquire()

    def die() -> None:
        wait_until((second / "outcome.json").exists)
        lock.release()

    engine, other = InlineEngine(), threading.Thread(target=die)
    other.start()
    outcomes = run_trials(tmp_path, trials, engine)
    other.join()
    assert {key: outcome.status for key, outcome in outcomes.items()} == {trial.key: "done" for trial in trials}
    assert engine.trials[:2] == trials
    assert [(folder / "calls").read_text() for folder in (first, second)] == ["x", "x"]


def test_a_trial_whose_workers_die_does_not_run_forever(tmp_path: Path) -> None:
    engine, trial = InlineEngine(), Trial(functions.end, {})
    (outcome,) = run_trials(tmp_path, [trial], engine).values()
    assert (outcome.status, outcome.attempts, len(engine.trials)) == ("failed", 5, 5)
    assert str(outcome.error).startswith("its worker died 5 times")
    assert read_outcome(trial_folder(tmp_path, trial)) == outcome
