"""The environment of a run: the machine, and what has changed since the run began.

A resumed run is bit-for-bit reproducible only in the same environment: floating-point sums depend on the order of their
terms, which the processor, the number of threads and of processes, the version of torch and the native code determine.
"""

import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from reviver.runs.distributed.world import ALONE, World
from reviver.system import memory_gb
from reviver.version import __version__, find_commit

COMPARED = ("processor", "threads", "device", "system", "native", "processes", "backend", "reviver", "torch", "numpy")
"""What results depend on to the last bit."""
VERSIONED_PACKAGES = ("numpy", "safetensors", "pillow")
"""Packages whose versions run.json records, besides Python, Reviver and torch."""


def describe_machine(device: torch.device, native: str | None = None, world: World = ALONE) -> dict[str, Any]:
    """Return the hardware and system of a run; see `RunFolder.record_environment`."""
    machine = {
        "processor": _processor_name(),
        "cores": os.cpu_count(),  # logical ones
        "threads": torch.get_num_threads(),
        "memory_gb": memory_gb(),  # in GiB
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "system": f"{platform.system()} {platform.machine()}",
        "native": native,
        "processes": world.size if world.size > 1 else None,
        "backend": world.backend,
    }
    return {name: value for name, value in machine.items() if value is not None or name == "cores"}


def find_changes(record: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return what differs between the environments in two records like run.json: by key, the old and the new value."""
    changes: dict[str, list[Any]] = {}
    before, after = (
        {"processes": 1, **each.get("hardware", {}), **each.get("versions", {})} for each in (record, current)
    )
    for name in COMPARED:
        pair = [before.get(name), after.get(name)]
        is_unknown = name in ("native", "backend") and None in pair  # not every run records them
        if pair[0] != pair[1] and not is_unknown:
            changes[name] = pair
    return changes


def describe_changes(changes: Mapping[str, Any]) -> str:
    """Describe changes in words, such as "threads was 2 and is 1"."""
    pairs = {
        name: ["unknown" if value is None else value for value in pair]
        for name, pair in changes.items()
        if name != "at"
    }
    return ", ".join(f"{name} was {before} and is {after}" for name, (before, after) in pairs.items())


def versions() -> dict[str, str]:
    """Return the versions of Python, Reviver and the packages that a run depends on, as run.json records them."""
    commit = find_commit()
    return {
        "python": platform.python_version(),
        "reviver": __version__,
        **({} if commit is None else {"commit": commit}),
        "torch": torch.__version__,  # with the build, such as +cpu
        **{name: importlib.metadata.version(name) for name in VERSIONED_PACKAGES},
    }


def _processor_name() -> str:
    with suppress(OSError):
        if found := re.search(r"^model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return found[1].strip()
    return platform.processor() or platform.machine()
