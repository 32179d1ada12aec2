"""Entry point of `reviver` and `python -m reviver`."""

import io
import os
import signal
import sys

from reviver.errors import ConfigError, needing_train

try:
    with needing_train("the command line"):
        from reviver.cli import main as run
except ConfigError as error:
    sys.exit(str(error))
from reviver.launch import is_launched, stop_outside_training
from reviver.system import STOP_SIGNALS, limit_spinning


def main() -> None:
    """Run the command line and exit with its code."""
    limit_spinning()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the parent process closed it
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # Latin-1 has no █
    if is_launched():
        for number in STOP_SIGNALS:
            signal.signal(number, stop_outside_training)
        # Otherwise torch logs a C++ stack for every lost connection, besides the error that we print.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    sys.exit(run())


if __name__ == "__main__":
    main()
