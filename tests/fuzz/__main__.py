"""The long job: at least so many damaged files a reader. It goes on where an earlier one ended.

    python -m tests.fuzz [--inputs N] [--workers N] [--anew] [READER ...]

Several readers are at work at the same time, one for each core. Counts are kept in docs/measurements/fuzz.json, inputs
that something is wrong with in runs/fuzz.
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
from reviver.io.files import write_text
from tests.fuzz.readers import READERS
from tests.fuzz.supervisor import ROOT, Tally, supervise

RESULTS = ROOT / "docs" / "measurements" / "fuzz.json"
KEPT = ROOT / "runs" / "fuzz"
ROUND = 5000
"""Inputs of a reader before it is the next one's turn."""
HANG_SECONDS = 20.0
"""A worker on a busy machine may be silent for longer than an input may take."""
COUNTS = ("inputs", "values", "errors", "crashes", "hangs", "slow", "large", "wrong")
VERSIONS = {
    "torch": torch.__version__,
    "safetensors": safetensors.__version__,
    "pillow": PIL.__version__,
    "pyarrow": pa.__version__,
}


def main() -> int:
    """Read damaged files until each reader has read as many as are wanted; returns 1 if something was wrong with one."""
    parser = ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)}; default: all")
    parser.add_argument("--inputs", type=int, default=100_000, metavar="N", help="inputs of each reader")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), metavar="N", help="default: cores")
    parser.add_argument("--anew", action="store_true", help="count the inputs of these readers from 0")
    options = parser.parse_args()
    if unknown := set(options.readers) - set(READERS):
        parser.error(f"{', '.join(sorted(unknown))}: unknown; choose from {', '.join(READERS)}")
    names = options.readers or list(READERS)
    results = json.loads(RESULTS.read_text(encoding="utf-8"))["readers"] if RESULTS.exists() else {}
    for name in names:
        if options.anew or name not in results:
            results[name] = Tally().to_json()
    for name, tally in _rounds({name: results[name]["inputs"] for name in names}, options.inputs, options.workers):
        results[name] = _added(results[name], tally)
        _save(results)
        print(_row(name, results[name]), *tally.problems[:10], sep="\n  ", file=sys.stderr, flush=True)
    print(_row("reader", dict(zip(COUNTS, COUNTS, strict=True)) | {"slowest": "s", "growth": "MB"}))
    for name, result in results.items():
        print(_row(name, result))
    return int(any(result[count] for result in results.values() for count in COUNTS[3:]))


def _rounds(counts: dict[str, int], wanted: int, workers: int) -> Iterator[tuple[str, Tally]]:
    """Read round after round with each reader, from its count of inputs on; yields what came of each as it ends."""
    counts = dict(counts)
    running: dict[Future[Tally], str] = {}
    pool = ThreadPoolExecutor(workers)

    def submit(name: str) -> None:
        """Put the next round of a reader behind those that wait."""
        span = range(counts[name], min(counts[name] + ROUND, wanted))
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
    finally:  # Ctrl-C ends the workers too
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
