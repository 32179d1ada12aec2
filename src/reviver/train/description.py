"""Summary of a run in words: its source, settings, machine and data; model card, explorer and exports show it.

`train.lstm.summary` adds the scores of an LSTM. Folders may be private, so of a path only the
name is shown.
"""

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from reviver.files.pretrained import Source
from reviver.gan.scores.scores import SCORE_LABELS
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.settings.validation import show_value
from reviver.text import count, duration
from reviver.train.opened import OpenedRun

PATHS = ("data", "extractor")
STATUS = {"running": "killed while it trained", "interrupted": "interrupted; reviver ... --resume continues it"}
"""Status of a run in words, by the status in run.json, where it says more."""


@dataclass(frozen=True)
class Item:
    """A fact about a run."""

    label: str
    value: str
    note: str | None = None


class ScoreItem(NamedTuple):
    """A score beside its baselines."""

    name: str
    number: float
    value: str
    real: str | None
    """That of real images."""
    noise: str | None
    """That of a model that has learned nothing."""


class ScoreTable(NamedTuple):
    """Scores of a trained network; empty if it was not measured."""

    items: list[ScoreItem]
    note: str
    """How they were measured, or why not."""


class License(NamedTuple):
    """License of a data set."""

    name: str
    hub_id: str
    """Identifier of the license on the hub."""
    url: str
    authors: str
    dataset: str | None = None


_CC = "https://creativecommons.org/licenses/by-sa"
_FASHION = "https://github.com/zalandoresearch/fashion-mnist/blob/master/LICENSE"
_MNIST = License("CC BY-SA 3.0", "cc-by-sa-3.0", f"{_CC}/3.0/", "Yann LeCun and Corinna Cortes", "ylecun/mnist")
LICENSES: Mapping[str, License] = {
    "mnist": _MNIST,
    "mnist-30k": _MNIST,
    "fashion-mnist": License("MIT", "mit", _FASHION, "Zalando Research", "zalando-datasets/fashion_mnist"),
    "kmnist": License(
        "CC BY-SA 4.0", "cc-by-sa-4.0", f"{_CC}/4.0/", "the ROIS-DS Center for Open Data in the Humanities"
    ),
}


def source_of(run: OpenedRun) -> Source:
    """Return the source of an exported network: the run, in a form that fits into its files."""
    record = run.folder.record
    return Source(
        name=run_name(run),
        seed=run.config.seed,
        step=run.step,
        started=record.get("started"),
        versions=record.get("versions", {}),
        settings=changed_settings(run.config),
    )


def run_name(run: OpenedRun) -> str:
    """Return the name of the run folder."""
    return run.folder.path.resolve().name[:200] or "run"


def shown_settings(config: LSTMConfig | GANConfig) -> dict[str, Any]:
    """Return all settings."""
    values = dataclasses.asdict(config)
    return {name: name_of_path(value) if name in PATHS and value else value for name, value in values.items()}


def changed_settings(config: LSTMConfig | GANConfig) -> dict[str, Any]:
    """Return the settings that differ from the defaults."""
    defaults = dataclasses.asdict(type(config)())
    return {name: value for name, value in shown_settings(config).items() if getattr(config, name) != defaults[name]}


def setting_items(config: LSTMConfig | GANConfig) -> list[Item]:
    """Return every setting, with the note "changed" where it is not the default."""
    changed = changed_settings(config)
    return [
        Item(name, show_value(value), "changed" if name in changed else None)
        for name, value in shown_settings(config).items()
    ]


def run_items(run: OpenedRun, epochs: float | None = None) -> list[Item]:
    """Return what the record of a run has, and its epochs so far, with a fraction, if they are known."""
    record = run.folder.record
    machine: Mapping[str, Any] = record.get("hardware", {})
    versions: Mapping[str, str] = record.get("versions", {})
    seconds, num_changes, status = record.get("seconds"), len(record.get("changes", ())), run.folder.status
    of_all = "" if epochs == run.config.epochs else f" of {run.config.epochs:,}"
    items = [
        Item("seed", str(run.config.seed)),
        Item("epochs", "" if epochs is None else f"{round(epochs, 3):,.12g}{of_all}"),
        Item("updates", f"{run.step:,}"),
        Item("training time", "" if seconds is None else duration(seconds), "without evaluation"),
        Item("started", str(record.get("started", ""))[:10]),
        Item(
            "hardware",
            f"{machine['processor']}, {count(machine['threads'], 'threads')}, {machine['device']}, {machine['system']}"
            if machine
            else "",
        ),
        Item(
            "versions",
            ", ".join(f"{name} {versions[name]}" for name in ("reviver", "python", "torch") if name in versions),
        ),
        Item("status", STATUS.get(status, status), record.get("error")),
        Item("resumed in another environment", count(num_changes, "times") if num_changes else ""),
    ]
    return [item for item in items if item.value]


def gan_scores(run: OpenedRun) -> ScoreTable:
    """Return the last scores before the checkpoint beside those of real images and, if they were recorded, of noise."""
    scores = next((record for record in reversed(run.scores) if record["step"] <= run.step), None)
    if scores is None:
        return ScoreTable([], "The run was not evaluated while it trained. `reviver gan evaluate` does it afterward.")
    real, noise = scores["real_baseline"], scores.get("noise_baseline")
    items = [
        ScoreItem(label, scores[key], f"{scores[key]:.4g}", f"{real[key]:.4g}", f"{noise[key]:.4g}" if noise else None)
        for key, label in SCORE_LABELS.items()
    ]
    later = "" if scores["step"] == run.step else f" The networks shown here are of update {run.step:,}."
    warning = f" Warning: {scores['warning']}." if scores["warning"] else ""
    return ScoreTable(
        items,
        f"{scores['num_samples']:,} samples against the test images, after epoch {scores['epoch']} (update "
        f"{scores['step']:,}).{later} Features of the {scores['extractor']}, k = {scores['k']}. Real images are as many "
        "training images, noise is as many images of random pixels. Compare such scores only with the same extractor and "
        f"number of samples; they are not the Inception FID.{warning}",
    )


def command_of(run: OpenedRun) -> str:
    """Return the command line that trained a run, on one line."""
    command = " ".join(str(run.folder.record.get("command", "not recorded")).split())
    try:
        words = shlex.split(command)
    except ValueError:  # cut off within a quote
        words = command.split(" ")
    return shlex.join(map(_without_folders, words))


def name_of_path(path: str) -> str:
    """Return the last part of a path of any system."""
    return PureWindowsPath(path).name or Path(path).name or path


def _without_folders(word: str) -> str:
    """Return a word of a command with the name only of a path; also of an option's, as in --out=runs/a."""
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    return option + equals + name_of_path(value)
