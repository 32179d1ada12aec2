"""Entry point of `reviver` and `python -m reviver`."""

import os
import sys

from reviver.cli import main as run

SPINS = "1000"
"""How long a thread of torch's OpenMP pool turns round while it waits for the others.

By default it turns for milliseconds, which costs nothing on an idle machine, but where another program wants
one of the cores, it takes that core from the thread that is waited for. With 1000 turns a GAN update takes a
tenth longer on two idle cores, and half the time or less when one of them is busy.
"""


def main() -> None:
    """Run the command line and exit with its code."""
    if "OMP_WAIT_POLICY" not in os.environ:  # whoever sets this knows better
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # before torch is imported
    sys.exit(run())


if __name__ == "__main__":
    main()
