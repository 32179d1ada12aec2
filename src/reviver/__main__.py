"""Entry point of `reviver` and `python -m reviver`.

The OpenMP spin count is the default of libgomp: a waiting thread spins 300 000 times before it sleeps, or 1000 times if
there are more threads than cores. Set `GOMP_SPINCOUNT` to change it; docs/explanation/engineering.md has measurements.
"""

import os
import signal
import sys

try:
    from reviver.cli import main as run
except ModuleNotFoundError as error:
    sys.exit(f"the command line needs {error.name}; install the extra train: in a clone, pip install '.[train]'")
from reviver.runs.distributed.failure import stop_outside_training
from reviver.runs.distributed.launch import is_launched
from reviver.system import STOP_SIGNALS


def main() -> None:
    """Run the command line and exit with its code."""
    if is_launched():
        for number in STOP_SIGNALS:
            signal.signal(number, stop_outside_training)
        # Otherwise torch logs a C++ stack for every lost connection, besides the error that we print.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    sys.exit(run())


if __name__ == "__main__":
    main()
