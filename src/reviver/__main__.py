"""Entry point of `reviver` and `python -m reviver`.

OpenMP threads wait as libgomp has it: they spin 300 000 times before they sleep, or 1000 times if there are more threads
than cores. Set `GOMP_SPINCOUNT` for another count; docs/explanation/benchmarks.md measures which is best where.
"""

import sys

from reviver.cli import main as run


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run())


if __name__ == "__main__":
    main()
