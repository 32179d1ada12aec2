"""OpenMP spin count: training speed by GOMP_SPINCOUNT, on an idle and on a busy machine.

A waiting thread spins before it sleeps. Waking a sleeping thread costs time at each parallel region. A spinning thread
occupies a core, which other processes may need, and also the thread that it waits for. libgomp reads the variable when
it is loaded, so each measurement is a separate process. Values alternate; busy processes are the load.
"""

import json
import os
import subprocess
import sys
import time
from statistics import median

from benchmarks.measure import machine, summary

VALUES = ("default", "1000", "10000", "300000")
"""The default of libgomp is 300 000, or 1000 if there are more threads than cores."""
LOADS = {"idle": 0, "one busy process": 1, "two busy processes": 2}
ROUNDS = 4
WORKLOADS = ("GAN report, fp32", "GAN best, bf16", "LSTM")
UPDATES = {"GAN report, fp32": 60, "GAN best, bf16": 60, "LSTM": 70}
WARMUP = 10


def main() -> dict[str, object]:
    """Run the benchmark, and return milliseconds per update by workload, load and spin count."""
    rows: dict[str, dict[str, dict[str, object]]] = {}
    for load, count in LOADS.items():
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
        try:
            found = _alternate()
        finally:
            for process in busy:
                process.kill()
                process.wait()
        for workload in WORKLOADS:
            rows.setdefault(workload, {})[load] = {value: summary(found[workload, value]) for value in VALUES}
    return {
        "title": "Milliseconds an update by GOMP_SPINCOUNT, on an idle machine and beside busy processes",
        "machine": machine(),
        "milliseconds": rows,
    }


def _alternate() -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for value in VALUES:
            environment = {name: text for name, text in os.environ.items() if name != "GOMP_SPINCOUNT"}
            if value != "default":
                environment["GOMP_SPINCOUNT"] = value
            command = [sys.executable, "-m", "benchmarks.spin_count"]
            output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
            for workload, milliseconds in json.loads(output).items():
                found.setdefault((workload, value), []).append(milliseconds)
    return found


def measure() -> dict[str, float]:
    """Return the median milliseconds per update of each workload in this process."""
    import torch

    from reviver.gan.data.image_set import from_pixels, load_mnist
    from reviver.gan.presets import PRESETS as GAN_PRESETS
    from reviver.gan.step_options import StepOptions
    from reviver.gan.training import build_networks, build_optimizers, choose_step
    from reviver.lstm.classifier import LSTMClassifier

    images = from_pixels(load_mnist("train").images[:4096])
    seconds: dict[str, list[float]] = {}
    for workload, preset in (("GAN report, fp32", "report"), ("GAN best, bf16", "best")):
        config = GAN_PRESETS[preset]
        generator, discriminator = build_networks(config, (1, 28, 28))
        optimizers = build_optimizers(config, generator, discriminator)
        for number in range(WARMUP + UPDATES[workload]):
            start = number * config.batch_size % (len(images) - config.batch_size)
            real, z = images[start : start + config.batch_size], torch.randn(config.batch_size, config.latent_size)
            started = time.perf_counter()
            options = StepOptions.from_config(config, number)
            choose_step(config)(generator, discriminator, *optimizers, real, z, options=options)
            if number >= WARMUP:
                seconds.setdefault(workload, []).append(time.perf_counter() - started)
    lstm = LSTMClassifier(1, 128, 10, hidden_dropout=0.5)
    optimizer = torch.optim.RMSprop(lstm.parameters(), 1e-3)
    x, target = torch.randint(10, (128, 4, 1)).float(), torch.randint(10, (128,))
    for number in range(WARMUP + UPDATES["LSTM"]):
        started = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(lstm(x), target).backward()
        optimizer.step()
        if number >= WARMUP:
            seconds.setdefault("LSTM", []).append(time.perf_counter() - started)
    return {workload: 1000 * median(values) for workload, values in seconds.items()}


if __name__ == "__main__":
    print(json.dumps(measure()))
