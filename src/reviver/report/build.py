"""Making the report: train what is missing, then read the run folders and write."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from reviver.errors import RunFolderError
from reviver.gan.presets import PRESETS as GAN_PRESETS
from reviver.lstm.presets import PRESETS as LSTM_PRESETS
from reviver.report.results import read_gan, read_lstm
from reviver.report.write import ReportFiles, write_report
from reviver.runs.folder import RunFolder

logger = logging.getLogger("reviver")

NUM_SEEDS = 5
"""Runs of the LSTM, with seeds that follow each other."""

Train = Callable[..., RunFolder]


def make_report(
    out: str | Path, *, full: bool = False, seed: int = 0, device: str = "auto", progress: bool = False
) -> ReportFiles:
    """Train both networks into `out`/runs, unless finished runs are there, and write `out`/report.html, .pdf and .json.

    Args:
        out: folder of the report.
        full: train the GAN by the preset `report`, with the original's 200 epochs, instead of `best`.
        seed: the GAN's seed, and the first of the LSTM's.
        device: what to train on.
        progress: show how far training is.

    Raises:
        ConfigError, DeviceError: before anything is trained.
        RunFolderError: if a run there has other settings, is damaged, or cannot be written.
        DivergenceError, Interrupted: from training; the next call goes on where it ended.
    """
    from reviver.gan.training import train as train_gan
    from reviver.lstm.training import train as train_lstm

    out = Path(out)
    runs, lstm_preset, gan_preset = out / "runs", LSTM_PRESETS["report"], GAN_PRESETS["report" if full else "best"]
    lstm = {runs / f"lstm-seed{one}": replace(lstm_preset, seed=one) for one in range(seed, seed + NUM_SEEDS)}
    gan_path = runs / (f"gan-full-seed{seed}" if full else f"gan-seed{seed}")
    plan: list[tuple[str, Path, Any, Train]] = [("lstm", path, config, train_lstm) for path, config in lstm.items()]
    plan.append(("gan", gan_path, replace(gan_preset, seed=seed), train_gan))
    states = [check_run(path, kind, config) for kind, path, config, _ in plan]  # before anything is trained
    for state, (_, path, config, train) in zip(states, plan, strict=True):
        if state == "finished":
            logger.info("%s: finished, reused", path)
            continue
        logger.info("%s: %s, %d epochs", path, "resuming" if state else "training", config.epochs)
        train(config, path, device=device, resume=state is not None, progress=progress)
    return build_report(out, list(lstm), gan_path)


def check_run(path: Path, kind: str, config: Any) -> str | None:
    """Return the status of the run at `path`, or None if there is nothing yet.

    Raises:
        RunFolderError: if it is damaged, of another kind, or has other settings than `config`.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    folder = RunFolder.open(path, kind)
    stored, wanted = folder.record["config"], asdict(config)
    for name in sorted(stored.keys() | wanted.keys()):
        if stored.get(name) != wanted.get(name):
            raise RunFolderError(
                f"{path}: its {name} is {stored.get(name)!r} where the report needs {wanted.get(name)!r}; move this "
                "folder away, or choose another --out"
            )
    return folder.status


def build_report(out: str | Path, lstm_runs: Sequence[str | Path], gan_run: str | Path) -> ReportFiles:
    """Write `out`/figures and `out`/report.html, .pdf and .json from finished runs.

    Args:
        out: folder of the report.
        lstm_runs: folders of LSTM runs that differ in their seed only; at least one.
        gan_run: folder of a GAN run.

    Raises:
        RunFolderError: if a run is missing, unfinished or damaged, or the report cannot be written.
        DataError: if grids of the GAN's run are missing or damaged.
    """
    logger.info("reading %d runs of the LSTM and one of the GAN", len(lstm_runs))
    lstm, gan = read_lstm([Path(path) for path in lstm_runs]), read_gan(Path(gan_run))
    return write_report(Path(out), lstm, gan)
