"""The source of an exported model: the run, in a form that fits into its files."""

import dataclasses
from pathlib import Path
from typing import Any

from reviver.files.pretrained import Source
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan.run import GANRun
from reviver.train.lstm.run import LSTMRun

Run = LSTMRun | GANRun
PATHS = ("data", "extractor")
"""Settings that may be paths."""


def source_of(run: Run) -> Source:
    """Return the source of a run."""
    record = run.folder.record
    return Source(
        name=run_name(run),
        seed=run.config.seed,
        step=run.step,
        started=record.get("started"),
        versions=record.get("versions", {}),
        settings=changed_settings(run.config),
    )


def run_name(run: Run) -> str:
    """Return the name of the run folder."""
    return run.folder.path.resolve().name[:200] or "run"


def changed_settings(config: LSTMConfig | GANConfig) -> dict[str, Any]:
    """Return the settings that differ from the defaults; of a path only the name, since folders may be private."""
    defaults = dataclasses.asdict(type(config)())
    changed = {name: value for name, value in dataclasses.asdict(config).items() if value != defaults[name]}
    return {name: Path(value).name if name in PATHS else value for name, value in changed.items()}
