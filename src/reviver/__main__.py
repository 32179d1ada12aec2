"""Entry point of `reviver` and `python -m reviver`."""

import os
import sys

from reviver.cli import main as run

SPIN_COUNT = "10000"
"""OpenMP spin count before a waiting thread sleeps, where neither `GOMP_SPINCOUNT` nor `OMP_WAIT_POLICY` is set.

Less costs an idle machine time, as threads must be woken; more costs a machine that other programs use, as spinning
threads keep a core from the thread they wait for. docs/benchmarks.md has the measurement (benchmarks/spin_count.py).
"""


def main() -> None:
    """Run the command line and exit with its code."""
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT  # before torch is imported
    sys.exit(run())


if __name__ == "__main__":
    main()
