"""Where a training starts: from which settings, and in which run folder."""

import dataclasses
import hashlib
import itertools
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reviver.launch import is_launched
from reviver.recurrent.grammar import load_cell
from reviver.settings.lstm import WITHOUT_CLASSES
from reviver.settings.lstm_network import cell_label
from reviver.settings.parts import Parts, is_reference
from reviver.settings.presets import choose_preset
from reviver.settings.validation import show_value

_log = logging.getLogger("reviver")
NOT_IN_NAMES = ("seed", "epochs", "on_nan", "max_rollbacks", "keep_checkpoints")
"""Settings that the name of a run lacks: the seed, which ends it, and what may change when the run is resumed."""
MAX_NAME = 60
"""Maximum length of the settings in the name of a run."""


def find_start(
    kind: str, preset: str, changes: Mapping[str, Any], out: str | None, *, resume: bool
) -> tuple[Any, str, Parts]:
    """Return the settings of a training, the run folder, and the user-defined classes; raise ConfigError.

    The settings are those of the preset, or to `resume` those of the run, with `changes`, which may be classes and instances,
    too; with `data`, the task of an LSTM is `custom` by default. Without `out` it is a new folder in runs/, or to resume the
    last one, named after preset, settings and seed.
    """
    if kind == "lstm" and "data" in changes:
        changes = {"task": "custom", **changes}
    changes, parts = Parts.resolve(changes)
    base = choose_preset(kind, preset)
    name = "-".join(
        [kind, preset, *_differences(changes, base), f"seed{changes.get('seed', getattr(base, 'seed', 0))}"]
    )
    out = out or choose_folder(f"runs/{name}", resume=resume)
    if resume:
        from reviver.runs.folder import RunFolder

        base = RunFolder.open(out, kind).read_config(type(base))
    elif kind == "lstm":  # what of the preset the cell cannot have
        cell, names = str(changes.get("cell", "lstm")), tuple[str, ...]()
        if is_reference(cell):
            names = WITHOUT_CLASSES
        elif base.init == "chrono" and "init" not in changes and "b_f" not in load_cell(cell).vectors:
            names = ("init",)
            _log.info(f"init chrono of the preset {preset} does not apply: {cell_label(cell)} has no vector b_f")
        changes = {**{name: getattr(type(base), name) for name in names}, **changes}
    return dataclasses.replace(base, **changes), out, parts


def _differences(changes: Mapping[str, Any], base: Any) -> list[str]:
    """Return the `changes` settings that differ from `base` for the name of a run, such as `length300` and `curriculum`.

    What may change when the run is resumed is left out. Of many settings, the last ones become a hash.
    """
    found = []
    for name, usual in dataclasses.asdict(base).items():
        value = changes.get(name, usual)
        value = cell_label(value) if name == "cell" and isinstance(value, str) else value
        if value != usual and name not in NOT_IN_NAMES and not (name == "task" and "data" in changes):
            text = Path(str(value)).stem if name in ("data", "networks") else show_value(value)
            text = {"true": "", "false": "-false"}.get(text, text if text[:1].isdigit() else f"-{text}")
            found.append(re.sub(r"[^\w.]+", "-", f"{name}{text}").replace("_", "-"))
    if len("-".join(found)) > MAX_NAME:
        count = sum(end <= MAX_NAME for end in itertools.accumulate(len(part) + 1 for part in found))
        found[count:] = [hashlib.sha256("-".join(found[count:]).encode()).hexdigest()[:6]]
    return found


def choose_folder(name: str, *, resume: bool) -> str:
    """Return the first of `name`, `name`-2, ... that does not exist, or to resume the last that does.

    Processes that torchrun has started all take `name`, since one of them may have created it already.
    """
    names = [name]
    while not is_launched() and Path(names[-1]).exists():
        names.append(f"{name}-{len(names) + 1}")
    return names[-2] if resume and len(names) > 1 else names[-1]
