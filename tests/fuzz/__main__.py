"""Long fuzzing run: N damaged files for each reader. It continues with the reader at which the previous run ended.

    python -m tests.fuzz [--inputs N] [--restart] [READER ...]

Counts are saved in docs/measurements/fuzz.json, inputs that cause a problem in runs/fuzz.
"""

import json
from argparse import ArgumentParser
from pathlib import Path

import PIL
import pyarrow as pa
import safetensors
import torch

from benchmarks.measure import machine
from reviver.files.atomic import write_text
from tests.fuzz.readers import READERS
from tests.fuzz.supervisor import COUNTS, new_tally, supervise

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "measurements" / "fuzz.json"
TITLE = "Damaged files for every reader: right answers, our own errors, and anything else"
MAX_INPUTS = {"parquet": 1000}
"""Most inputs of readers that start a process for each, which takes half a second of processor time."""
VERSIONS = {module.__name__: module.__version__ for module in (torch, safetensors)}
VERSIONS |= {"pillow": PIL.__version__, "pyarrow": pa.__version__}


def main() -> int:
    """Run until each reader has read the requested number of inputs; return 1 if there was any problem."""
    parser = ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"one of {', '.join(READERS)}; default: all")
    parser.add_argument("--inputs", type=int, default=100_000, metavar="N", help="inputs of each reader")
    parser.add_argument("--restart", action="store_true", help="restart these readers from input 0")
    options = parser.parse_args()
    if unknown := set(options.readers) - set(READERS):
        parser.error(f"{', '.join(sorted(unknown))}: unknown; choose from {', '.join(READERS)}")
    results = json.loads(RESULTS.read_text(encoding="utf-8"))["readers"] if RESULTS.exists() else {}
    for name in options.readers or READERS:
        tally = new_tally() if options.restart or name not in results else results[name]
        end = min(options.inputs, MAX_INPUTS.get(name, options.inputs))
        supervise({name: tally}, {name: end}, ROOT / "runs" / "fuzz", hang_seconds=20.0)
        results[name] = tally
        counts = (f"{key} {value}" for key, value in tally.items() if key != "problems")
        print(f"{name}: {', '.join(counts)}", *tally["problems"][:10], sep="\n  ", flush=True)
        readers = {name: results[name] for name in READERS if name in results}
        content = {"title": TITLE, "machine": machine() | VERSIONS, "readers": readers}
        write_text(RESULTS, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return int(any(result[count] for result in results.values() for count in COUNTS[3:]))


if __name__ == "__main__":
    raise SystemExit(main())
