"""Devices: choosing one, and describing the machine."""

import os
import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from reviver.errors import DeviceError
from reviver.system import memory_gb


def choose_device(name: str) -> torch.device:
    """Return the device called `name`.

    Args:
        name: `auto` (the first GPU, or the CPU if there is none), `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        DeviceError: if the name is unknown or this machine has no such device.
    """
    cuda_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    counts = {"cuda": cuda_devices, "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    if name == "auto":
        return torch.device(next(kind for kind, count in counts.items() if count))
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in counts or (device.type != "cuda" and device.index not in (None, 0)):
        raise DeviceError(f"device must be one of auto, cpu, cuda, cuda:0, mps, got {name!r}")
    if (device.index or 0) >= counts[device.type]:
        raise DeviceError(f"device {name!r} is not available on this machine; use --device auto or --device cpu")
    return device


def describe_machine(device: torch.device, native: str | None = None) -> dict[str, Any]:
    """Return the hardware and system, as `reviver.runs.schema.Machine` defines them.

    Args:
        device: device that is computed on.
        native: `NativeLibrary.variant` of the native code that is used; None to leave it out.
    """
    machine = {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": memory_gb(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "system": f"{platform.system()} {platform.machine()}",
        "native": native,
    }
    return {name: value for name, value in machine.items() if value is not None or name == "cores"}


def _processor_name() -> str:
    with suppress(OSError):
        if found := re.search(r"^model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return found[1].strip()
    return platform.processor() or platform.machine()
