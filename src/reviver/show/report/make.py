"""Build the report: train missing runs, read the run folders, and write figures, report.json, explorer, page and PDF.

Values reach report.typ, which Typst compiles, as JSON. Typst shows them literally and never reads them as markup.
"""

import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, NamedTuple

import typst
from matplotlib.figure import Figure

from reviver.errors import ReviverError, RunFolderError
from reviver.explorer.page import build_page
from reviver.figures import FORMATS, figure_style, save_figure
from reviver.files.atomic import atomic_write, write_json, write_text
from reviver.files.file_errors import explain_write_errors
from reviver.runs.folder import RunFolder, is_unused
from reviver.settings.presets import GAN_PRESETS, LSTM_PRESETS
from reviver.show.gan_figures import interpolation_figure, loss_curves, score_curves
from reviver.show.lstm_figures import learning_curves
from reviver.show.report.diagrams import gan_networks, lstm_cell, lstm_unrolled
from reviver.show.report.results import GANResults, LSTMResults, collect
from reviver.train.gan.grids import save_grid
from reviver.train.opened import OpenedRun

NUM_SEEDS = 5
"""LSTM runs with dropout, with consecutive seeds; as many are without."""
EXPLORER = "explorer.html"
CHARTS = ("figure-1-learning-curves", "gan-losses", "gan-scores")
"""Figures with panels side by side, which have a narrow version for small screens, with one above the other."""
NARROW_WIDTH = 3.4
"""Its width, in inches."""
SOURCES = ("report.typ", "layout.typ", "numbers.typ", "report.css")

logger = logging.getLogger("reviver")


class ReportFiles(NamedTuple):
    """Paths of the report, of the results that it shows, and of the explorer that it links, None if there is none."""

    html: Path
    pdf: Path
    json: Path
    explorer: Path | None


def train_runs(
    out: str | Path, *, full: bool = False, seed: int = 0, device: str = "auto", progress: bool = False
) -> tuple[list[Path], list[Path], Path]:
    """Train both networks into `out`/runs, or reuse or resume what is there; return the folders of the LSTM and the GAN.

    The LSTM is trained with each seed with the dropout of the original, and without. `full` trains the GAN with the preset
    `original` instead of `best`. `seed` is that of the GAN, and the first of the LSTM.
    """
    from reviver.train.gan.training import train as train_gan
    from reviver.train.lstm.training import train as train_lstm

    runs = Path(out) / "runs"
    preset, name = ("original", f"gan-full-seed{seed}") if full else ("best", f"gan-seed{seed}")
    original = LSTM_PRESETS["original"]
    plan: list[tuple[str, Path, Any]] = [
        ("lstm", runs / f"{prefix}-seed{number}", replace(config, seed=number))
        for prefix, config in (("lstm", original), ("no-dropout", replace(original, hidden_dropout=0.0)))
        for number in range(seed, seed + NUM_SEEDS)
    ]
    plan.append(("gan", runs / name, replace(GAN_PRESETS[preset], seed=seed)))
    statuses = [check_run(path, kind, config) for kind, path, config in plan]  # before training
    for status, (kind, path, config) in zip(statuses, plan, strict=True):
        if status == "finished":
            logger.info("%s: finished, reused", path)
            continue
        logger.info("%s: %s, %d epochs", path, "resuming" if status else "training", config.epochs)
        train: Any = train_lstm if kind == "lstm" else train_gan
        train(config, path, device=device, resume=status is not None, progress=progress)
    *lstm_runs, gan_run = (path for _, path, _ in plan)
    logger.info("reading %d runs of the LSTM and one of the GAN", len(lstm_runs))
    return lstm_runs[:NUM_SEEDS], lstm_runs[NUM_SEEDS:], gan_run


def check_run(path: Path, kind: str, config: Any) -> str | None:
    """Return the status of the run of `kind` in a folder, or None if there is none."""
    if is_unused(path):
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


def build_report(out: Path, lstm: LSTMResults, gan: GANResults) -> ReportFiles:
    """Write `out`/figures and `out`/report.html, .pdf and .json from finished runs; raise RunFolderError if that fails."""
    results = collect(lstm, gan)
    explorer = try_explorer(out / EXPLORER, [lstm.runs[0], gan.run])
    paths = ReportFiles(out / "report.html", out / "report.pdf", out / "report.json", explorer)
    figures = out / "figures"
    logger.info("plotting the figures into %s", figures)
    save_figures(figures, lstm, gan)
    logger.info("writing %s, report.html and report.pdf", paths.json)
    write_json(paths.json, results)
    compile_report(paths.json, figures, {"html": paths.html, "pdf": paths.pdf}, has_explorer=explorer is not None)
    return paths


def try_explorer(path: Path, runs: Sequence[OpenedRun]) -> Path | None:
    """Write the explorer of some runs to `path`, and return it; or warn and return None if they have no data for one."""
    logger.info("writing %s", path)
    try:
        page = build_page(runs, trains_gan=True)
    except ReviverError as error:
        logger.warning("the report has no explorer: %s", error)
        with explain_write_errors(path):
            path.unlink(missing_ok=True)  # it would be of other runs
        return None
    write_text(path, page.html)
    return path


def plot_figures(lstm: LSTMResults, gan: GANResults) -> dict[str, Figure]:
    """Return the diagrams and plots of the report by their file names."""
    figures = {
        "structure-lstm-cell": lstm_cell(lstm.network),
        "structure-lstm-unrolled": lstm_unrolled(lstm.network, lstm.example),
        "structure-gan": gan_networks(gan.run.generator, gan.run.discriminator),
        "figure-1-learning-curves": learning_curves(lstm.metrics),
        "gan-losses": loss_curves(gan.run.metrics, gan.run.config.loss, gan.run.config.label_smoothing),
        "interpolation": interpolation_figure(gan.interpolation, annotate=gan.interpolation.classes is not None),
    }
    if gan.scores:
        figures["gan-scores"] = score_curves(gan.scores)
    return figures


def save_figures(folder: Path, lstm: LSTMResults, gan: GANResults) -> None:
    """Save all figures in `folder`: plots as PDF, SVG and PNG, charts also narrow, sample grids as PDF and PNG."""
    figures = plot_figures(lstm, gan)
    for suffix in FORMATS:
        for name, figure in figures.items():
            save_figure(figure, folder / f"{name}.{suffix}")
    with figure_style(width=NARROW_WIDTH):
        for name, figure in plot_figures(lstm, gan).items():
            if name in CHARTS:
                save_figure(figure, folder / f"{name}-narrow.svg")
    for number, (name, (_, images)) in enumerate(gan.grids.items(), start=2):
        for suffix in ("pdf", "png"):
            save_grid(images, folder / f"figure-{number}-{name}.{suffix}")
    with atomic_write(folder / "training.gif") as temporary:
        shutil.copyfile(gan.run.folder.samples / "training.gif", temporary)


def compile_report(
    results: Path, figures: Path, targets: Mapping[Literal["html", "pdf"], Path], *, has_explorer: bool = False
) -> None:
    """Compile report.typ with `results`, a report.json, into all targets or none, with a link to an explorer if there is one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source in SOURCES:
            (folder / source).write_bytes((files("reviver.show.report") / source).read_bytes())
        shutil.copyfile(results, folder / "report.json")
        shutil.copytree(figures, folder / "figures")
        inputs = {"explorer": EXPLORER} if has_explorer else {}
        contents = {
            path: typst.compile(
                folder / "report.typ", format=target, sys_inputs={**inputs, "target": target}, ignore_system_fonts=True
            )
            for target, path in targets.items()
        }
    for path, content in contents.items():
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
