"""Devices: choosing one, and describing the machine and what has changed since a run began.

A resumed run is bit-for-bit reproducible only in the same environment: floating-point sums depend on the order of their
terms, which the processor, the number of threads and of processes, the version of torch and the native code determine.
"""

import os
import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from reviver.errors import DeviceError
from reviver.runs.distributed.launch import launched_size, local_rank
from reviver.runs.distributed.world import ALONE, World
from reviver.runs.schema import Change
from reviver.system import memory_gb


def choose_device(name: str) -> torch.device:
    """Return the device called `name`. Of several processes on a machine, each has the GPU of its local rank.

    Args:
        name: `auto` (the first GPU, or the CPU if there is none), `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        DeviceError: if the name is unknown or this machine has no such device, or not one for each process.
    """
    cuda_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    counts = {"cuda": cuda_devices, "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    if name == "auto":
        name = next(kind for kind, count in counts.items() if count)
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in counts or (device.type != "cuda" and device.index not in (None, 0)):
        raise DeviceError(f"device must be one of auto, cpu, cuda, cuda:0, mps, got {name!r}")
    if not 0 <= (device.index or 0) < counts[device.type]:  # torch reads cuda:128 as -128
        raise DeviceError(f"device {name!r} is not available on this machine; use --device auto or --device cpu")
    return _device_of_process(device, counts[device.type]) if launched_size() > 1 else device


def _device_of_process(device: torch.device, count: int) -> torch.device:
    """Return the device of this process, one of several; `count` is the number of devices of its type."""
    if device.type == "mps":
        raise DeviceError("device must be cpu or cuda for several processes, got 'mps'; use --device cpu")
    if device.type == "cpu":
        return device
    if device.index is not None:
        raise DeviceError(f"device must be cuda for several processes, each has a GPU of its own, got {str(device)!r}")
    if local_rank() >= count:
        raise DeviceError(
            f"device 'cuda' needs a GPU for each process, got {count} GPUs and local rank {local_rank()}; start fewer "
            "processes with --nproc-per-node, or use --device cpu"
        )
    return torch.device("cuda", local_rank())


def describe_machine(device: torch.device, native: str | None = None, world: World = ALONE) -> dict[str, Any]:
    """Return the hardware and system, as `reviver.runs.schema.Machine` defines them; arguments as of `RunFolder`."""
    machine = {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": memory_gb(),
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
    for name in Change.model_fields:
        pair = [before.get(name), after.get(name)]
        is_unknown = name in ("native", "backend") and None in pair  # not every run records them
        if pair[0] != pair[1] and not is_unknown:
            changes[name] = pair
    return changes


def describe_changes(changes: Mapping[str, Any]) -> str:
    """Describe changes in words, such as "threads was 2 and is 1"."""
    return ", ".join(f"{name} was {pair[0]} and is {pair[1]}" for name, pair in changes.items() if name != "at")


def _processor_name() -> str:
    with suppress(OSError):
        if found := re.search(r"^model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return found[1].strip()
    return platform.processor() or platform.machine()
