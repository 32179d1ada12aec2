"""Build the report: train missing runs, read the run folders, write the report."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from reviver.errors import RunFolderError
from reviver.runs.folder import RunFolder
from reviver.settings.gan_presets import PRESETS as GAN_PRESETS
from reviver.settings.lstm_presets import PRESETS as LSTM_PRESETS
from reviver.show.report.results import read_gan, read_lstm
from reviver.show.report.write import ReportFiles, write_report

logger = logging.getLogger("reviver")

NUM_SEEDS = 5
"""LSTM runs, with consecutive seeds."""


class PlannedRun(NamedTuple):
    """A run that the report needs.

    Attributes:
        kind: `lstm` or `gan`.
        path: run folder.
        config: settings, an LSTMConfig or a GANConfig.
        train: function that trains them.
    """

    kind: str
    path: Path
    config: Any
    train: Callable[..., RunFolder]


def make_report(
    out: str | Path, *, full: bool = False, seed: int = 0, device: str = "auto", progress: bool = False
) -> ReportFiles:
    """Train both networks into `out`/runs, reusing finished runs, and write `out`/report.html, .pdf and .json.

    Args:
        out: folder of the report.
        full: train the GAN with the preset `original` (200 epochs, as the original) instead of `best`.
        seed: seed of the GAN, and first seed of the LSTM.
        device: device to train on.
        progress: show progress bars.

    Returns:
        Paths of the files of the report.

    Raises:
        ConfigError, DeviceError: if an argument is wrong; raised before training.
        RunFolderError: if a run exists with other settings, is damaged, or cannot be written.
        DivergenceError, Interrupted: from training; the next call resumes it.
    """
    from reviver.train.gan.training import train as train_gan
    from reviver.train.lstm.training import train as train_lstm

    out = Path(out)
    lstm_preset, gan_preset = LSTM_PRESETS["original"], GAN_PRESETS["original" if full else "best"]
    lstm_paths = [out / "runs" / f"lstm-seed{lstm_seed}" for lstm_seed in range(seed, seed + NUM_SEEDS)]
    gan_path = out / "runs" / (f"gan-full-seed{seed}" if full else f"gan-seed{seed}")
    plan = [
        PlannedRun("lstm", path, replace(lstm_preset, seed=lstm_seed), train_lstm)
        for lstm_seed, path in enumerate(lstm_paths, start=seed)
    ]
    plan.append(PlannedRun("gan", gan_path, replace(gan_preset, seed=seed), train_gan))
    statuses = [check_run(run.path, run.kind, run.config) for run in plan]  # raises before anything is trained
    for status, run in zip(statuses, plan, strict=True):
        if status == "finished":
            logger.info("%s: finished, reused", run.path)
            continue
        logger.info("%s: %s, %d epochs", run.path, "resuming" if status else "training", run.config.epochs)
        run.train(run.config, run.path, device=device, resume=status is not None, progress=progress)
    return build_report(out, lstm_paths, gan_path)


def check_run(path: Path, kind: str, config: Any) -> str | None:
    """Return the status of the run in a folder, or None if the folder is missing or empty.

    Args:
        path: run folder.
        kind: `lstm` or `gan`.
        config: settings that the run must have.

    Raises:
        RunFolderError: if the run is damaged, of another kind, or has other settings.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    folder = RunFolder.open(path, kind)
    found, expected = folder.record["config"], asdict(config)
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise RunFolderError(
                f"{path}: {name} must be {expected.get(name)!r} for this report, got {found.get(name)!r}; move this "
                "folder away, or choose another --out"
            )
    return folder.status


def build_report(out: str | Path, lstm_runs: Sequence[str | Path], gan_run: str | Path) -> ReportFiles:
    """Write `out`/figures and `out`/report.html, .pdf and .json from finished runs.

    Args:
        out: folder of the report.
        lstm_runs: folders of one or more LSTM runs that differ only in their seed.
        gan_run: folder of a GAN run.

    Returns:
        Paths of the files of the report.

    Raises:
        RunFolderError: if a run is missing, unfinished or damaged, or the report cannot be written.
        DataError: if sample grids of the GAN run are missing or damaged.
    """
    logger.info("reading %d runs of the LSTM and one of the GAN", len(lstm_runs))
    lstm, gan = read_lstm([Path(path) for path in lstm_runs]), read_gan(Path(gan_run))
    return write_report(Path(out), lstm, gan)
