"""Choice of the device to compute on."""

import torch

from reviver.errors import DeviceError
from reviver.launch import launched_size, local_rank


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
