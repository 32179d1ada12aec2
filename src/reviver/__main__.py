"""Entry point of `reviver` and `python -m reviver`."""

import os
import sys
import time
from pathlib import Path

from reviver.cli import main as run

SPINS = "1000"
"""How long a thread of torch's OpenMP pool turns round while it waits for the others, on a busy machine.

By default it turns for milliseconds. On an idle machine that is best: with 1000 turns a GAN update takes half as long
again, since threads fall asleep and must be woken. But where another program wants one of the cores, a thread that turns
takes it from the thread that is waited for: there an update takes four times as long as with 1000 turns.
"""

LOAD = Path("/proc/loadavg")
LOOKS = 5


def main() -> None:
    """Run the command line and exit with its code."""
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys() and is_busy():  # whoever sets one knows better
        os.environ["GOMP_SPINCOUNT"] = SPINS  # before torch is imported
    sys.exit(run())


def is_busy() -> bool:
    """Whether other programs use this machine now: most looks find a thread that runs, besides this one.

    Where the system does not say it, it may be.
    """
    looks = []
    for _ in range(LOOKS):
        try:
            running, _ = LOAD.read_text(encoding="ascii").split()[3].split("/")
        except (OSError, ValueError, IndexError):
            return True
        looks.append(int(running) > 1)
        time.sleep(0.001)
    return sum(looks) > LOOKS / 2


if __name__ == "__main__":
    main()
