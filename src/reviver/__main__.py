"""Entry point of `reviver` and `python -m reviver`.

The OpenMP spin count is the default of libgomp: a waiting thread spins 300 000 times before it sleeps, or 1000 times if
there are more threads than cores. Set `GOMP_SPINCOUNT` to change it; docs/explanation/benchmarks.md has measurements.
"""

import sys

from reviver.cli import main as run


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run())


if __name__ == "__main__":
    main()
