"""The long job: at least so many damaged files a reader. It goes on where an earlier one ended.

    python -m tests.fuzz [--inputs N] [--anew] [READER ...]

Counts are kept in docs/measurements/fuzz.json, inputs that something is wrong with in runs/fuzz.
"""

import json
import sys
from argparse import ArgumentParser
from typing import Any

import PIL
import pyarrow as pa
import safetensors
import torch
import yaml

from benchmarks.measure import machine
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
    "pyyaml": yaml.__version__,
}


def main() -> int:
    """Read damaged files until each reader has read as many as are wanted; returns 1 if something was wrong with one."""
    parser = ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)}; default: all")
    parser.add_argument("--inputs", type=int, default=100_000, metavar="N", help="inputs of each reader")
    parser.add_argument("--anew", action="store_true", help="count from 0")
    options = parser.parse_args()
    if unknown := set(options.readers) - set(READERS):
        parser.error(f"{', '.join(sorted(unknown))}: unknown; choose from {', '.join(READERS)}")
    names = options.readers or list(READERS)
    results = {} if options.anew or not RESULTS.exists() else json.loads(RESULTS.read_text())["readers"]
    for end in range(ROUND, options.inputs + ROUND, ROUND):
        for name in names:
            before = results.get(name, Tally().to_json())
            span = range(before["inputs"], min(end, options.inputs))
            if not span:
                continue
            tally = supervise({name: span}, KEPT, hang_seconds=HANG_SECONDS)[name]
            results[name] = _added(before, tally)
            _save(results)
            print(_row(name, results[name]), *tally.problems[:10], sep="\n  ", file=sys.stderr, flush=True)
    print(_row("reader", dict(zip(COUNTS, COUNTS, strict=True)) | {"slowest": "s", "growth": "MB"}))
    for name, result in results.items():
        print(_row(name, result))
    return int(any(result[count] for result in results.values() for count in COUNTS[3:]))


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
    RESULTS.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _row(name: str, result: dict[str, Any]) -> str:
    numbers = "".join(f"{result[count]:>9}" for count in (*COUNTS, "slowest", "growth"))
    return f"{name:<15}{numbers}"


if __name__ == "__main__":
    raise SystemExit(main())
