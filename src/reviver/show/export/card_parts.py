"""Sections that the model cards of all runs share: training, and how to use."""

from collections.abc import Mapping
from typing import Any

import tomli_w

from reviver.files.model_card import INSTALL, code_block, escape, join_sections, table
from reviver.train.source import Run, changed_settings

HARDWARE = {"processor": "processor", "threads": "threads", "device": "device", "system": "system"}
"""Rows of the table of training, by key of the hardware in run.json."""
UNKNOWN = "not recorded"


def usage_section(code: str, *notes: str) -> str:
    """Return the section that shows how to use a model."""
    return join_sections("## How to use", code_block(code, "python"), INSTALL, *notes).strip()


def training_section(run: Run) -> str:
    """Return the section with command, settings, hardware and versions of a run."""
    record = run.folder.record
    hardware: Mapping[str, Any] = record.get("hardware", {})
    rows = [(label, escape(str(hardware.get(key, UNKNOWN)))) for key, label in HARDWARE.items()]
    seconds = record.get("seconds")
    rows += [
        ("training time", UNKNOWN if seconds is None else f"{seconds:.1f} s"),
        ("status of the run", escape(run.folder.status)),
        ("updates", str(run.step)),
        ("seed", str(run.config.seed)),
        ("versions", escape(", ".join(f"{name} {version}" for name, version in record.get("versions", {}).items()))),
    ]
    rows += [("resumed in another environment", f"{len(record['changes'])} times")] if record.get("changes") else []
    settings = {name: value for name, value in changed_settings(run.config).items() if value is not None}
    toml = tomli_w.dumps(settings).strip()
    return join_sections(
        "## Training",
        code_block(command_of(run), "sh"),
        table(("property", "value"), rows),
        f"Settings that differ from the defaults:\n\n{code_block(toml, 'toml')}"
        if settings
        else "All settings are the defaults.",
    ).strip()


def command_of(run: Run) -> str:
    """Return the command line that trained a run, on one line."""
    return " ".join(str(run.folder.record.get("command", UNKNOWN)).split())
