"""Command that runs benchmarks by name, by default all quick ones, and saves their results in docs/measurements."""

import argparse
import importlib
import json
import sys
from pathlib import Path

from benchmarks.tables import RENDER

QUICK = ("startup", "lstm_epochs", "gan_epoch")
SLOW = (
    "cells",
    "lstm_operator",
    "explorer",
    "explorer_training",
    "deploy",
    "experiments",
    "diagnosis",
    "cell_calibration",
    "published_rows",
)
RESULTS = Path(__file__).parents[1] / "docs" / "measurements"


def main() -> None:
    """Run the benchmarks that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(QUICK + SLOW)}; default: {', '.join(QUICK)}"
    )
    names = parser.parse_args().names or QUICK
    for name in names:
        if name not in QUICK + SLOW:
            parser.error(f"{name} is unknown; choose from {', '.join(QUICK + SLOW)}")
        print(f"measuring {name} ...", file=sys.stderr)
        result = importlib.import_module(f"benchmarks.{name}").main()
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
        print(RENDER[name](result))


if __name__ == "__main__":
    main()
