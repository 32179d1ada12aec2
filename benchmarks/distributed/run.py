"""Cost of training by several processes: all-reduce, training steps, and a model of both.

    python -m benchmarks distributed

Starts the scripts of this package in turn, several times, and fits the model to the medians of the blocks during which
the machine was quiet, see `load`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from statistics import median
from typing import Any

from benchmarks.distributed.figure import scaling_figure
from benchmarks.distributed.load import BUSY, choose_quiet
from benchmarks.distributed.model import (
    Compute,
    Network,
    fit,
    fit_network,
    gan_terms,
    lstm_terms,
    relative_errors,
)
from benchmarks.distributed.predictions import Model, compare_presets, predict
from benchmarks.measure import machine, summary
from benchmarks.publish import PICTURES
from reviver.figures import save_figure

ROUNDS = 3
SIZE_ROUNDS = 3
PROCESSES = (2, 4)
SETTINGS = {"1 × 1": (1, 1), "2 × 1": (2, 1), "4 × 1": (4, 1), "1 × 2": (1, 2)}
"""Processes × threads of each."""
CORES = 2
KINDS = ("LSTM", "GAN report", "GAN best")
"""Networks whose computing time is fitted."""
TARGETS = {"LSTM recall": 0.85, "GAN best": 0.6}
"""Least ratio of the steps per second of 2 processes × 1 thread to those of 1 process × 2 threads."""


def torchrun(processes: int, module: str, *arguments: str, threads: int = 1) -> Any:
    """Return the JSON that rank 0 of a script prints."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", f"benchmarks.distributed.{module}", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    return json.loads(output.splitlines()[-1])


Blocks = list[dict[str, float]]
"""Measured blocks: seconds, their split, and the fraction of the cores that others took."""


def measure_all_reduce(rounds: int) -> dict[int, dict[int, Blocks]]:
    """Return the measured blocks by number of processes and bytes."""
    blocks: dict[int, dict[int, Blocks]] = {processes: {} for processes in PROCESSES}
    for _ in range(rounds):
        for processes, by_size in blocks.items():
            for size, values in torchrun(processes, "collectives").items():
                by_size.setdefault(int(size), []).extend(values)
    return blocks


def measure_steps(rounds: int) -> dict[str, dict[str, Blocks]]:
    """Return the measured blocks by preset and setting."""
    blocks: dict[str, dict[str, Blocks]] = {}
    for _ in range(rounds):
        for setting, (processes, threads) in SETTINGS.items():
            found = torchrun(processes, "steps", "--threads", str(threads), threads=threads)
            for preset, values in found.items():
                blocks.setdefault(preset, {}).setdefault(setting, []).extend(values)
    return blocks


def measure_sizes(rounds: int) -> Any:
    """Return the times and the memory of `sizes`."""
    command = [sys.executable, "-m", "benchmarks.distributed.sizes", str(rounds)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout)


def describe(blocks: Blocks) -> dict[str, Any]:
    """Return a summary of the quiet ones of some blocks, the median of each part, and the load by other programs."""
    quiet = choose_quiet(blocks)
    parts = [name for name in quiet[0] if name not in ("seconds", "others")]
    return {
        **summary([block["seconds"] for block in quiet]),
        **{part: median(block[part] for block in quiet) for part in parts},
        "others": median(block["others"] for block in quiet),
        "num_blocks": len(blocks),
    }


def compare_rates(settings: Mapping[str, Mapping[str, Any]], target: float | None) -> dict[str, Any]:
    """Return the ratio of the steps per second of 2 × 1 to those of 1 × 2: of the medians, and the range of its ends."""
    processes, threads = settings["2 × 1"], settings["1 × 2"]
    return {
        "median": threads["median"] / processes["median"],
        "min": threads["min"] / processes["max"],
        "max": threads["max"] / processes["min"],
        "others": max(processes["others"], threads["others"]),
        "target": target,
    }


def fit_compute(sizes: Mapping[str, Any]) -> tuple[dict[str, Compute], dict[str, Any]]:
    """Fit the computing times, and return them beside their errors on the fitted and on the held-out sizes."""
    compute, report = {}, {}
    for kind, points in sizes.items():
        terms = [
            lstm_terms(point["B"], point["T"], point["H"])
            if kind == "LSTM"
            else gan_terms(point["B"], point["image_size"])
            for point in points
        ]
        seconds = [summary(point["seconds"])["median"] for point in points]
        fitted = [index for index, point in enumerate(points) if not point["held_out"]]
        held_out = [index for index, point in enumerate(points) if point["held_out"]]
        compute[kind] = Compute(fit([terms[index] for index in fitted], [seconds[index] for index in fitted]))
        predicted = [compute[kind].seconds(values) for values in terms]
        report[kind] = {
            "coefficients": compute[kind].coefficients,
            "points": [
                {**point, "seconds": measured, "predicted": guess}
                for point, measured, guess in zip(points, seconds, predicted, strict=True)
            ],
            **{
                name: relative_errors([predicted[i] for i in chosen], [seconds[i] for i in chosen])
                for name, chosen in (("fit_error", fitted), ("held_out_error", held_out))
            },
        }
    return compute, report


def evaluate(
    all_reduce: Mapping[int, Mapping[int, Blocks]],
    steps: Mapping[str, Mapping[str, Blocks]],
    sizes: Mapping[str, Any],
) -> dict[str, Any]:
    """Fit the model to the measurements, and return everything that the page shows."""
    reduces = {
        processes: {size: describe(blocks) for size, blocks in by_size.items()}
        for processes, by_size in all_reduce.items()
    }
    networks = {1: Network(0.0, float("inf"))}
    fits = {}
    for processes, by_size in reduces.items():
        seconds = {size: values["median"] for size, values in by_size.items()}
        network = networks[processes] = fit_network(processes, seconds)
        predicted = [network.all_reduce(size, processes) for size in seconds]
        fits[str(processes)] = {**network._asdict(), "error": relative_errors(predicted, list(seconds.values()))}
    presets = {
        preset: {name: describe(blocks) for name, blocks in settings.items()} for preset, settings in steps.items()
    }
    compute, compute_report = fit_compute({kind: points for kind, points in sizes.items() if kind in KINDS})
    model = Model(compute, sizes["seconds_per_copied_byte"])
    measured = {
        preset: {
            SETTINGS[name][0]: settings[name]["median"]
            for name in ("1 × 1", "2 × 1", "4 × 1")
            if settings[name]["others"] <= BUSY
        }
        for preset, settings in presets.items()
    }
    comparison = compare_presets(model, networks, measured, CORES)
    return {
        "title": "Cost of training by several processes",
        "machine": {**machine(), "threads": 1},
        "all_reduce": reduces,
        "fits": fits,
        "steps": presets,
        "ratios": {preset: compare_rates(settings, TARGETS.get(preset)) for preset, settings in presets.items()},
        "compute": compute_report,
        "seconds_per_copied_byte": model.copy,
        "model_steps": comparison,
        "model_error": relative_errors(
            [row["predicted"] for row in comparison], [row["measured"] for row in comparison]
        ),
        "memory": sizes["memory"],
        "predictions": predict(model, networks[2]),
    }


def main() -> dict[str, Any]:
    """Measure, draw the figure and return the results."""
    measured = evaluate(measure_all_reduce(ROUNDS), measure_steps(ROUNDS), measure_sizes(SIZE_ROUNDS))
    result: dict[str, Any] = json.loads(json.dumps(measured))  # keys are text, as in the file
    save_figure(scaling_figure(result), PICTURES / "scaling.png")
    return result
