"""Long fuzzing run: N damaged files for each reader. It continues where the previous run ended.

    python -m tests.fuzz [--inputs N] [--workers N] [--restart] [READER ...]

Several readers run at the same time, one per core. Counts are saved in docs/measurements/fuzz.json, inputs that cause a
problem in runs/fuzz.
"""

import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import PIL
import pyarrow as pa
import safetensors
import torch

from benchmarks.measure import machine
from reviver.files.atomic import write_text
from tests.fuzz.readers import READERS
from tests.fuzz.supervisor import ROOT, Tally, supervise

RESULTS = ROOT / "docs" / "measurements" / "fuzz.json"
KEPT = ROOT / "runs" / "fuzz"
ROUND = 5000
"""Inputs of a reader per round."""
HANG_SECONDS = 20.0
"""Seconds without output after which a worker hangs: more than an input may take, since the machine may be busy."""
MAX_INPUTS = {"parquet": 1000}
"""Most inputs of readers that start a process for each, which takes half a second of processor time."""
COUNTS = ("inputs", "values", "errors", "crashes", "hangs", "slow", "large", "wrong")
VERSIONS = {
    "torch": torch.__version__,
    "safetensors": safetensors.__version__,
    "pillow": PIL.__version__,
    "pyarrow": pa.__version__,
}


def main() -> int:
    """Run until each reader has read the requested number of inputs; return 1 if there was any problem."""
    parser = ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"one of {', '.join(READERS)}; default: all")
    parser.add_argument("--inputs", type=int, default=100_000, metavar="N", help="inputs of each reader")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), metavar="N", help="default: cores")
    parser.add_argument("--restart", action="store_true", help="restart these readers from input 0")
    options = parser.parse_args()
    if unknown := set(options.readers) - set(READERS):
        parser.error(f"{', '.join(sorted(unknown))}: unknown; choose from {', '.join(READERS)}")
    names = options.readers or list(READERS)
    results = json.loads(RESULTS.read_text(encoding="utf-8"))["readers"] if RESULTS.exists() else {}
    for name in names:
        if options.restart or name not in results:
            results[name] = Tally().to_json()
    for name, tally in _rounds({name: results[name]["inputs"] for name in names}, options.inputs, options.workers):
        results[name] = _added(results[name], tally)
        _save(results)
        print(_row(name, results[name]), *tally.problems[:10], sep="\n  ", file=sys.stderr, flush=True)
    print(_row("reader", dict(zip(COUNTS, COUNTS, strict=True)) | {"slowest": "s", "growth": "MB"}))
    for name, result in results.items():
        print(_row(name, result))
    return int(any(result[count] for result in results.values() for count in COUNTS[3:]))


def _rounds(counts: dict[str, int], total: int, workers: int) -> Iterator[tuple[str, Tally]]:
    """Run rounds of each reader, starting at its count of inputs, and yield the tally of each round as it ends."""
    counts = dict(counts)
    running: dict[Future[Tally], str] = {}
    pool = ThreadPoolExecutor(workers)

    def submit(name: str) -> None:
        """Queue the next round of a reader."""
        span = range(counts[name], min(counts[name] + ROUND, total, MAX_INPUTS.get(name, total)))
        if span:
            running[pool.submit(lambda: supervise({name: span}, KEPT, hang_seconds=HANG_SECONDS)[name])] = name

    try:
        for name in counts:
            submit(name)
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name, tally = running.pop(future), future.result()
                counts[name] += tally.inputs
                yield name, tally
                submit(name)
    finally:  # Ctrl-C also ends the workers
        pool.shutdown(cancel_futures=True)


def _added(before: dict[str, Any], tally: Tally) -> dict[str, Any]:
    after = tally.to_json()
    return {
        **{count: before[count] + after[count] for count in COUNTS},
        "slowest": max(before["slowest"], after["slowest"]),
        "growth": max(before["growth"], after["growth"]),
        "problems": [*before["problems"], *after["problems"]][:20],
    }


def _save(results: dict[str, Any]) -> None:
    content = {
        "title": "Damaged files for every reader: right answers, our own errors, and anything else",
        "machine": machine() | VERSIONS,
        "readers": {name: results[name] for name in READERS if name in results},
    }
    write_text(RESULTS, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _row(name: str, result: dict[str, Any]) -> str:
    numbers = "".join(f"{result[count]:>9}" for count in (*COUNTS, "slowest", "growth"))
    return f"{name:<15}{numbers}"


if __name__ == "__main__":
    raise SystemExit(main())
