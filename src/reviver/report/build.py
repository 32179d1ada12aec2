"""Making the report: train what is missing, then read the run folders and write."""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from reviver.errors import RunFolderError
from reviver.gan.presets import PRESETS as GAN_PRESETS
from reviver.lstm.presets import PRESETS as LSTM_PRESETS
from reviver.report.collect import collect, printable
from reviver.report.compile import compile_report
from reviver.report.figures import save_figures
from reviver.report.results import GANResults, LSTMResults, read_gan, read_lstm
from reviver.runs.files import write_json
from reviver.runs.folder import RunFolder

logger = logging.getLogger("reviver")

NUM_SEEDS = 5
"""Runs of the LSTM, with seeds that follow each other."""

Train = Callable[..., RunFolder]


class ReportFiles(NamedTuple):
    """Where the report is: the page, the document, and the results that both are made from."""

    html: Path
    pdf: Path
    json: Path


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
    lstm_configs = {
        out / "runs" / f"lstm-seed{seed + index}": dataclasses.replace(LSTM_PRESETS["report"], seed=seed + index)
        for index in range(NUM_SEEDS)
    }
    gan_config = dataclasses.replace(GAN_PRESETS["report" if full else "best"], seed=seed)
    gan_path = out / "runs" / (f"gan-full-seed{seed}" if full else f"gan-seed{seed}")
    plan: Mapping[Path, tuple[str, Any, Train]] = {
        **{path: ("lstm", config, train_lstm) for path, config in lstm_configs.items()},
        gan_path: ("gan", gan_config, train_gan),
    }
    states = {path: check_run(path, kind, config) for path, (kind, config, _) in plan.items()}
    for path, (_, config, train) in plan.items():
        if states[path] == "finished":
            logger.info("%s: finished, reused", path)
            continue
        logger.info("%s: %s, %d epochs", path, "resuming" if states[path] else "training", config.epochs)
        train(config, path, device=device, resume=states[path] is not None, progress=progress)
    return build_report(out, list(lstm_configs), gan_path)


def check_run(path: Path, kind: str, config: Any) -> str | None:
    """Return the status of the run at `path`, or None if there is nothing yet.

    Raises:
        RunFolderError: if it is damaged, of another kind, or has other settings than `config`.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    folder = RunFolder.open(path, kind)
    stored, wanted = folder.record["config"], dataclasses.asdict(config)
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
    return write_files(Path(out), lstm, gan)


def write_files(out: Path, lstm: LSTMResults, gan: GANResults) -> ReportFiles:
    """Write the figures and all files of the report into `out`."""
    files = ReportFiles(out / "report.html", out / "report.pdf", out / "report.json")
    figures = out / "figures"
    logger.info("drawing the figures into %s", figures)
    save_figures(figures, lstm, gan)
    logger.info("writing %s, report.html and report.pdf", files.json)
    write_json(files.json, printable(collect(lstm, gan).model_dump(mode="json")))
    compile_report(files.json, figures, files.html, files.pdf)
    return files
