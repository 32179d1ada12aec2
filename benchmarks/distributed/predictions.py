"""What the model says about more processes, other networks, and sizes that do not fit on the measured machine.

Every process has a core as fast as the measured one, and the global batch is split as evenly as possible. The networks
other than the measured loopback are assumptions.

Shapes: B batch, T time, H hidden units.
"""

from collections.abc import Mapping
from math import ceil, isqrt
from typing import Any, NamedTuple

from benchmarks.distributed.model import (
    Compute,
    Exchange,
    Network,
    activation_bytes,
    gan_bytes,
    gan_exchange,
    gan_terms,
    lstm_exchange,
    lstm_terms,
)

WORKERS = (1, 8, 32, 128, 1000)
ASSUMED_NETWORKS = {
    "10 Gb/s": Network(latency=50e-6, bandwidth=10e9 / 8),
    "100 Gb/s": Network(latency=10e-6, bandwidth=100e9 / 8),
}
"""Latency of a message and bandwidth of a link: typical of TCP, and of RDMA. Assumed, not measured."""
LARGE_BATCH = 16_384
"""Global batch that has rows for 1000 processes."""
LSTM_SIZES = ((1000, 128), (100_000, 128), (1_000_000, 128), (10_000, 1024), (100_000, 1024))
"""T and H; the first is the preset `recall`."""
IMAGE_SIZES = (28, 64, 128, 256, 512)
LARGE_WORKERS = 64
"""Processes that the sizes are predicted for."""


class Workload(NamedTuple):
    """A training step that the model predicts."""

    kind: str
    """Key of the fitted computing times."""
    batch: int
    """Global batch of the preset."""
    size: tuple[int, ...]
    """T and H of the LSTM, or height and width of the images."""
    gradient_bytes: int = 4
    """Bytes of a gradient."""

    def terms(self, B: float) -> tuple[float, ...]:
        """Return the terms of the time of a step by one process with B rows."""
        return lstm_terms(B, *self.size) if self.kind == "LSTM" else gan_terms(B, *self.size)

    @property
    def exchange(self) -> Exchange:
        """What a step exchanges."""
        return lstm_exchange(self.size[1]) if self.kind == "LSTM" else gan_exchange(self.size[0], self.gradient_bytes)


PRESETS = {
    "LSTM report": Workload("LSTM", 128, (4, 128)),
    "LSTM recall": Workload("LSTM", 128, (749, 128)),  # digits: 500 to 1000, less the last one, which is the class
    "GAN best": Workload("GAN best", 128, (28,), gradient_bytes=2),
    "GAN report": Workload("GAN report", 64, (28,)),
}


class Model(NamedTuple):
    """The fitted model."""

    compute: Mapping[str, Compute]
    copy: float
    """Seconds of a gradient bucket for each byte."""

    def seconds(
        self, workload: Workload, batch: float, processes: int, network: Network, cores: float = float("inf")
    ) -> float:
        """Return the seconds of a step with a global `batch`; on `cores` shared cores if the processes have none each."""
        computing = self.compute[workload.kind].seconds(workload.terms(ceil(batch / processes)))
        exchange = workload.exchange.seconds(network, processes, self.copy)
        return computing * max(1.0, processes / cores) + exchange


def predict(model: Model, loopback: Network) -> dict[str, Any]:
    """Return the predictions for more processes and for larger sizes."""
    networks = {"loopback": loopback, **ASSUMED_NETWORKS}
    presets = ("LSTM recall", "GAN best")
    strong = [
        scaling(model, preset, name, network, batch, is_weak=False)
        for preset in presets
        for name, network in networks.items()
        for batch in (PRESETS[preset].batch, LARGE_BATCH)
    ]
    weak = [
        scaling(model, preset, name, network, PRESETS[preset].batch, is_weak=True)
        for preset in presets
        for name, network in networks.items()
    ]
    return {
        "networks": {name: network._asdict() for name, network in networks.items()},
        "strong": strong,
        "weak": weak,
        "lstm_sizes": [lstm_size(model, T, H, networks) for T, H in LSTM_SIZES],
        "image_sizes": [image_size(model, size, networks) for size in IMAGE_SIZES],
        "workers": LARGE_WORKERS,
    }


def scaling(
    model: Model, name: str, network_name: str, network: Network, batch: int, *, is_weak: bool
) -> dict[str, Any]:
    """Return the seconds of a step by number of processes, and their efficiency beside one process.

    Args:
        model: fitted model.
        name: key of `PRESETS`.
        network_name: name of the network.
        network: what connects the processes.
        batch: the global batch, or that of each process if `is_weak`.
        is_weak: keep the rows of a process, instead of the global batch.
    """
    workload = PRESETS[name]
    alone = model.seconds(workload, batch, 1, network)
    rows = []
    for workers in WORKERS:
        if not is_weak and workers > batch:
            continue  # a process would have no row
        seconds = model.seconds(workload, batch * workers if is_weak else batch, workers, network)
        efficiency = alone / seconds / (1 if is_weak else workers)
        rows.append({"workers": workers, "seconds": seconds, "efficiency": efficiency})
    return {"workload": name, "network": network_name, "batch": batch, "rows": rows}


def lstm_size(model: Model, T: int, H: int, networks: Mapping[str, Network]) -> dict[str, Any]:
    """Return time and memory of an LSTM of a size at batch 128."""
    workload = Workload("LSTM", 128, (T, H))
    local = ceil(workload.batch / LARGE_WORKERS)
    steps = isqrt(T)  # least memory: 2 H T / k + 6 H k is least at k = √(T / 3)
    return {
        "T": T,
        "H": H,
        "batch": workload.batch,
        "seconds": _by_network(model, workload, networks),
        "bytes": activation_bytes(workload.batch, T, H),
        "bytes_checkpointed": activation_bytes(workload.batch, T, H, steps),
        "bytes_per_worker": activation_bytes(local, T, H),
        "checkpoint_steps": steps,
        "exchanged_bytes": sum(workload.exchange.gradients),
    }


def image_size(model: Model, size: int, networks: Mapping[str, Network]) -> dict[str, Any]:
    """Return time and memory of the GAN preset `best` with images of a size."""
    workload = Workload("GAN best", 128, (size,), gradient_bytes=2)
    return {
        "image_size": size,
        "batch": workload.batch,
        "seconds": _by_network(model, workload, networks),
        "bytes": gan_bytes(workload.batch, size),
        "exchanged_bytes": sum(workload.exchange.gradients),
    }


def _by_network(model: Model, workload: Workload, networks: Mapping[str, Network]) -> dict[str, float]:
    seconds = {"alone": model.seconds(workload, workload.batch, 1, networks["loopback"])}
    for name, network in networks.items():
        seconds[name] = model.seconds(workload, workload.batch, LARGE_WORKERS, network)
    return seconds


def compare_presets(
    model: Model, networks: Mapping[int, Network], measured: Mapping[str, Mapping[int, float]], cores: int
) -> list[dict[str, Any]]:
    """Return the predicted beside the measured seconds of a step, by preset and number of processes."""
    return [
        {
            "preset": name,
            "processes": processes,
            "measured": seconds,
            "predicted": model.seconds(PRESETS[name], PRESETS[name].batch, processes, networks[processes], cores),
        }
        for name, by_processes in measured.items()
        for processes, seconds in by_processes.items()
    ]
