"""Speed of training on packed images ten times as large as the memory, beside images in memory.

The images are the 60 000 of MNIST, resized to 64 x 64 and repeated 16 times: 3.9 GB, nearly the 4 GiB that an array in
memory may have. The memory limit is a tenth of that. A control group (version 1, as root) enforces it for the whole
memory of the process, with the pages that the system keeps of the files that it reads, so that the data is read from the
disk. The packed file is dropped from the page cache first.

Each contender is a process that runs the real training loop. After a round of updates it is stopped, with its reading
ahead, while the next contender runs. The rounds are in the first epoch, where the order `blocks` computes the checksums as well.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import machine, ratio, summary
from reviver.gan import training
from reviver.gan.config import GANConfig
from reviver.gan.data.image_set import load_mnist
from reviver.gan.data.pack import pack_images
from reviver.gan.data.resize import crop_and_resize
from reviver.system import usable_cores

SIZE, REPEATS = 64, 16
UPDATES = 256
"""Updates per round, which need as many images as a window of the order `blocks` has."""
ROUNDS, WARMUP = 5, 1
TARGET = 1.25
"""Maximum ratio of the times: 0.8 of the speed in memory."""
GROUP = Path("/sys/fs/cgroup/memory/reviver-benchmark")


class Contender:
    """A process that trains a round of updates whenever it is asked to.

    Args:
        data: source of the images.
        order: order of the images.
        out: run folder.
        limit: memory limit in bytes, or None.
    """

    def __init__(self, data: Path, order: str, out: Path, limit: int | None = None) -> None:
        self.is_limited = limit is not None
        self.group = GROUP.with_name(f"{GROUP.name}-{os.getpid()}-{out.name}")
        if self.is_limited:
            self.group.mkdir()
            (self.group / "memory.limit_in_bytes").write_text(str(limit))
        group = str(self.group / "cgroup.procs") if self.is_limited else ""
        command = [sys.executable, "-m", "benchmarks.packed", str(data), order, str(out), group]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def run(self) -> float:
        """Train for a round, and return its seconds."""
        assert self.process.stdout is not None
        os.waitpid(self.process.pid, os.WUNTRACED)  # until it has stopped
        self.process.send_signal(signal.SIGCONT)
        return float(self.process.stdout.readline())

    def peak_bytes(self) -> int:
        """Return the most memory that the limited process had, with its pages of files."""
        return int((self.group / "memory.max_usage_in_bytes").read_text())

    def read_bytes(self) -> int:
        """Return the bytes that the process has read from the disk."""
        lines = Path(f"/proc/{self.process.pid}/io").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("read_bytes")).split()[1])

    def close(self) -> None:
        """End the process, and remove its group."""
        self.process.kill()
        self.process.wait()
        for _ in range(100 * self.is_limited):
            with contextlib.suppress(OSError):
                self.group.rmdir()
                break
            time.sleep(0.1)


def train(data: str, order: str, out: str, group: str) -> None:
    """Train in this process; stop before each round, and write the seconds of the round after it."""
    if group:
        Path(group).write_text(str(os.getpid()))
    step, count, started = training.gan_step, 0, 0.0

    def timed(*arguments: Any, **keywords: Any) -> Any:
        nonlocal count, started
        if count % UPDATES == 0:
            if count:
                print(time.perf_counter() - started, flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)
            started = time.perf_counter()
        count += 1
        return step(*arguments, **keywords)

    training.gan_step = timed
    config = GANConfig(data=data, image_size=SIZE, epochs=1, order=order, eval_every=0)  # type: ignore[arg-type]
    training.train(config, out, device="cpu")


def save_images(path: Path) -> int:
    """Write the images to an .npy, and return their size in bytes."""
    images = crop_and_resize(load_mnist().images, SIZE).numpy()
    file = np.lib.format.open_memmap(path, "w+", np.uint8, (REPEATS * len(images), *images.shape[1:]))
    for part in np.split(file, REPEATS):
        part[:] = images
    file.flush()
    return int(file.nbytes)


def drop_from_cache(path: Path) -> None:
    """Let the system forget the pages of a file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def running(contenders: dict[str, Contender]) -> Iterator[dict[str, Contender]]:
    """End the contenders afterwards."""
    try:
        yield contenders
    finally:
        for contender in contenders.values():
            contender.close()


def main() -> dict[str, object]:
    """Run the benchmark, and return seconds per round and ratios."""
    if not os.access(GROUP.parent, os.W_OK):
        raise SystemExit("packed: needs a writable control group of version 1 at /sys/fs/cgroup/memory; run it as root")
    with tempfile.TemporaryDirectory(dir=os.environ.get("REVIVER_BENCHMARK_DISK")) as temporary:
        folder = Path(temporary)
        size = save_images(folder / "images.npy")
        pack_images(str(folder / "images.npy"), folder / "packed", SIZE)
        return measure(folder, size, ("blocks", "full"), ROUNDS)


def measure(folder: Path, size: int, orders: Sequence[str], rounds: int) -> dict[str, object]:
    """Return the times of training on images.npy in memory, and on the folder packed in some orders, in turn.

    Args:
        folder: folder with the images, plain and packed.
        size: their bytes.
        orders: orders to measure.
        rounds: rounds after the warm-up.
    """
    drop_from_cache(folder / "packed" / "images.npy")
    limit = size // 10
    contenders = {"in memory": Contender(folder / "images.npy", "full", folder / "memory")}
    for order in orders:
        contenders[f"packed, {order}"] = Contender(folder / "packed", order, folder / order, limit)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    with running(contenders):
        for number in range(WARMUP + rounds):
            for name, contender in contenders.items():
                elapsed = contender.run()
                print(f"round {number}, {name}: {elapsed:.1f} s", file=sys.stderr, flush=True)
                if number >= WARMUP:
                    seconds[name].append(elapsed)
        limited = {name: contender for name, contender in contenders.items() if contender.is_limited}
        peaks = {name: contender.peak_bytes() / 10**6 for name, contender in limited.items()}
        read = {name: contender.read_bytes() / 10**6 for name, contender in limited.items()}
    ratios = {name: ratio(seconds[name], seconds["in memory"]) for name in limited}
    return {
        "title": f"Training on {size / 1e9:.1f} GB of packed images with {limit / 1e6:.0f} MB of memory",
        "machine": {**machine(), "threads": int(os.environ.get("OMP_NUM_THREADS", usable_cores()))},
        "updates_per_run": UPDATES,
        "seconds_per_run": {name: summary(values) for name, values in seconds.items()},
        "ratios": {name: {**values, "target": TARGET} for name, values in ratios.items()},
        "speed": {name: 1 / values["median"] for name, values in ratios.items()},
        "data_megabytes": size / 10**6,
        "limit_megabytes": limit / 10**6,
        "peak_megabytes": peaks,
        "read_from_disk_megabytes": read,
    }


if __name__ == "__main__":
    train(*sys.argv[1:])
