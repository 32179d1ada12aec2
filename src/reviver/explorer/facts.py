"""Facts about a run that all kinds of runs share: in words, and its records as columns.

Folders may be private, so of a path only the name is a fact.
"""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from reviver.data.images.named import DATA_SETS
from reviver.explorer.manifest import Fact
from reviver.settings.validation import show_value
from reviver.train.source import PATHS, Run

CODE_LICENSE = Fact(label="code of this page", value="MIT", note="Reviver")
CHARTS_LICENSE = Fact(
    label="charts",
    value="ISC",
    note="d3-scale, d3-shape, d3-axis, d3-selection and their dependencies, by Mike Bostock",
)
"""Licenses of every page."""
DATA_LICENSES = {
    "mnist": (
        "CC BY-SA 3.0",
        "the MNIST database by Yann LeCun and Corinna Cortes; creativecommons.org/licenses/by-sa/3.0",
    ),
    "fashion-mnist": ("MIT", "by Zalando Research"),
    "kmnist": ("CC BY-SA 4.0", "by the ROIS-DS Center for Open Data in the Humanities"),
}
"""License and authors of data sets, by name."""
MAX_ROWS = 1000
"""Maximum rows of a chart; of more, every k-th and the last are kept."""
SIGNIFICANT = 6
"""Digits of a number in a chart."""
VERSIONS = ("reviver", "python", "torch")
"""Versions that are facts, by name in run.json."""
STATUS = {
    "running": "killed while it trained",
    "finished": "finished",
    "interrupted": "interrupted; reviver ... --resume continues it",
    "failed": "failed",
}
"""Status of a run in words, by the status in run.json."""


def run_facts(run: Run, epochs: float | None = None) -> list[Fact]:
    """Return what the record of any run has: seed, updates, duration, date, hardware, versions and status.

    Args:
        run: the run.
        epochs: of the training so far, with a fraction; None if unknown.
    """
    record = run.folder.record
    facts = [Fact(label="seed", value=str(run.config.seed))]
    if epochs is not None:
        of_all = "" if epochs == run.config.epochs else f" of {run.config.epochs:,}"
        facts.append(Fact(label="epochs", value=f"{epochs:.4g}{of_all}"))
    facts.append(Fact(label="updates", value=f"{run.step:,}"))
    if "seconds" in record:
        facts.append(Fact(label="training time", value=format_seconds(record["seconds"]), note="without evaluation"))
    if "started" in record:
        facts.append(Fact(label="started", value=str(record["started"])[:10]))
    hardware: Mapping[str, Any] = record.get("hardware", {})
    if hardware:
        machine = [hardware["processor"], f"{hardware['threads']} threads", hardware["device"], hardware["system"]]
        facts.append(Fact(label="hardware", value=", ".join(machine)))
    versions: Mapping[str, str] = record.get("versions", {})
    named = [f"{name} {versions[name]}" for name in VERSIONS if name in versions]
    if named:
        facts.append(Fact(label="versions", value=", ".join(named)))
    facts.append(Fact(label="status", value=STATUS[run.folder.status], note=record.get("error")))
    return facts


def config_facts(run: Run) -> list[Fact]:
    """Return every setting of a run, with the note "changed" where it is not the default."""
    defaults = dataclasses.asdict(type(run.config)())
    return [
        Fact(
            label=name,
            value=show_value(name_of_path(value) if name in PATHS and value else value),
            note="changed" if value != defaults[name] else None,
        )
        for name, value in dataclasses.asdict(run.config).items()
    ]


def command_of(run: Run) -> str:
    """Return the command line that trained a run, on one line, with the names of folders and files only."""
    command = " ".join(str(run.folder.record.get("command", "not recorded")).split())
    try:
        words = shlex.split(command)
    except ValueError:  # cut off within a quote
        words = command.split(" ")
    return shlex.join(_without_folders(word) for word in words)


def data_license(label: str, source: str, name: str) -> Fact:
    """Return the license of the data of a run.

    Args:
        label: what the data is, such as "images".
        source: setting `data` of the run.
        name: of the data.
    """
    if source in DATA_LICENSES:
        name_of_license, note = DATA_LICENSES[source]
        return Fact(label=f"{label}: {name}", value=name_of_license, note=note)
    if source in DATA_SETS:
        return Fact(label=f"{label}: {name}", value="see its page", note=DATA_SETS[source].source)
    return Fact(label=f"{label}: {name}", value="your own data", note="before you share this page, check that you may")


def licenses(*data: Fact) -> Sequence[Fact]:
    """Return the licenses of the page and of the data in it."""
    return [CODE_LICENSE, CHARTS_LICENSE, *data]


def format_seconds(seconds: float) -> str:
    """Return a duration in the two largest units that it has."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def name_of_path(path: str) -> str:
    """Return the last part of a path of any system."""
    return PureWindowsPath(path).name or Path(path).name or path


def _without_folders(word: str) -> str:
    """Return a word of a command with the name only of a path; also of an option's, as in --out=runs/a."""
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    return option + equals + name_of_path(value)


def to_columns(records: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Return the numbers of records by name, thinned to at most about MAX_ROWS rows; other values are left out."""
    stride = -(-len(records) // MAX_ROWS) or 1
    kept = [record for index, record in enumerate(records) if index % stride == 0 or index == len(records) - 1]
    names = dict.fromkeys(name for record in kept for name, value in record.items() if isinstance(value, int | float))
    return {name: [_number(record.get(name)) for record in kept] for name in names}


def _number(value: object) -> float | None:
    if not isinstance(value, int | float):
        return None
    return float(f"{value:.{SIGNIFICANT}g}") if isinstance(value, float) else value
