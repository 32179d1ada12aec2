"""Driver of a sweep: submits trials to an engine while it has room, until all have an outcome."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from reviver.errors import Interrupted, RunFolderError
from reviver.files.atomic import make_folder
from reviver.files.file_errors import explain_write_errors
from reviver.progress import ProgressBar
from reviver.sweep.engines import Engine
from reviver.sweep.trials import Ended, Outcome, Trial, execute, read_outcome, record_outcome, trial_folder
from reviver.system import handling_signals

MAX_DEATHS = 5
"""Number of workers that died after which a trial fails."""
BUSY_POLLS = 40
"""Looks at the running trials after which a trial that was stopped, or that another machine runs, is submitted again."""


def open_sweep(folder: Path, kind: str = "sweep", parts: Sequence[str] = ("trials",)) -> None:
    """Create the folder of a sweep, or check that it is one: that it has the folders `parts`. `kind` is its name in errors."""
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not is_empty and not all((folder / part).is_dir() for part in parts):
        raise RunFolderError(f"{folder}: exists and is not the folder of a {kind}; choose another --out")
    with explain_write_errors(folder):
        for part in parts:
            make_folder(folder / part)


def run_trials(
    folder: Path,
    trials: Sequence[Trial],
    engine: Engine,
    *,
    select: Callable[[Mapping[str, Outcome]], Sequence[Trial]] | None = None,
    retry_failed: bool = False,
    title: str = "sweep",
    progress: bool = False,
) -> dict[str, Outcome]:
    """Run the trials of a sweep that have no outcome, and return the outcomes by the keys of the trials.

    With `retry_failed`, trials that failed before run again. `select` is given the outcomes so far and returns the trials
    that may start; by default all may. The engine is closed at the end. After a signal, Interrupted is raised.
    """
    signals: list[int] = []
    driver = _Driver(folder.absolute(), engine)
    outcomes, running = driver.outcomes, driver.running
    with (
        handling_signals(lambda number, _: signals.append(number)),
        ProgressBar(title, len(trials), "trials", visible=progress) as bar,
    ):
        try:
            for trial in trials if retry_failed else ():
                driver.forget_failure(trial)
            while not signals and driver.submit(trials if select is None else select(outcomes)):
                time.sleep(engine.poll)
                for trial, future in [pair for pair in running.values() if pair[1].done()]:
                    del running[trial.key]
                    driver.settle(trial, future)
                failed = sum(outcome.status == "failed" for outcome in outcomes.values())
                bar.update(len(outcomes), f"{len(running)} running" + (f", {failed} failed" if failed else ""))
        finally:
            engine.close([future for _, future in running.values()])
    if signals:
        raise Interrupted(f"{folder}: stopped, the runs are saved; go on with the same command", signals[0])
    return outcomes


@dataclass
class _Driver:
    """State of a sweep, by the keys of the trials."""

    folder: Path
    engine: Engine
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    running: dict[str, tuple[Trial, Future[Ended]]] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)
    waits_until: dict[str, float] = field(default_factory=dict)  # when a trial without an outcome is submitted again

    def is_done(self, trial: Trial) -> bool:
        """Return whether a trial has an outcome, which may be that of another machine."""
        if outcome := self.outcomes.get(trial.key) or read_outcome(trial_folder(self.folder, trial)):
            self.outcomes[trial.key] = outcome
        return outcome is not None

    def forget_failure(self, trial: Trial) -> None:
        """Remove the outcome of a trial if it has failed."""
        if self.is_done(trial) and self.outcomes[trial.key].status == "failed":
            del self.outcomes[trial.key]
            folder = trial_folder(self.folder, trial)
            with explain_write_errors(folder):
                for name in ("outcome.json", "traceback.txt"):
                    (folder / name).unlink(missing_ok=True)  # another machine may do the same

    def submit(self, trials: Sequence[Trial]) -> bool:
        """Submit trials while the engine has room, last those that wait; return whether to go on."""
        known, waits = len(self.outcomes), False
        for trial in sorted(trials, key=lambda trial: self.waits_until.get(trial.key, 0.0)):
            if len(self.running) == self.engine.slots:
                break
            if trial.key in self.running or self.is_done(trial):
                continue
            if time.monotonic() < self.waits_until.get(trial.key, 0.0):
                waits = True
                continue
            call = partial(execute, self.folder, trial, self.engine.threads, 1 + self.deaths[trial.key])
            self.running[trial.key] = trial, self.engine.submit(call)
        return waits or bool(self.running) or len(self.outcomes) > known  # an outcome may let other trials start

    def settle(self, trial: Trial, future: Future[Ended]) -> None:
        """Keep the outcome of a trial. A trial without one runs again, but not forever if its workers die."""
        try:
            ended = future.result()
        except self.engine.died:
            self.deaths[trial.key] += 1
            if self.deaths[trial.key] == MAX_DEATHS:
                problem = f"its worker died {MAX_DEATHS} times (killed, or out of memory)"
                error = f"{problem}; use fewer --jobs or more memory, and use --retry-failed"
                outcome = Outcome(key=trial.key, status="failed", error=error, attempts=MAX_DEATHS)
                self.outcomes[trial.key] = record_outcome(trial_folder(self.folder, trial), outcome)
            return
        if isinstance(ended, Exception):
            raise ended
        if ended is None:
            self.waits_until[trial.key] = time.monotonic() + BUSY_POLLS * self.engine.poll
        else:
            self.outcomes[trial.key] = ended
