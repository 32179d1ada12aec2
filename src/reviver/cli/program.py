"""The function behind `reviver`: it runs a command line, and reports its errors."""

import contextlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from reviver.cli.app import COMMANDS, Commands, build_app, run
from reviver.cli.messages import INTERRUPTED, describe_failure
from reviver.cli.sweep import sweep
from reviver.errors import ConfigError
from reviver.launch import is_launched, record_failure
from reviver.text import escape_controls

ALL_COMMANDS: Commands = {**COMMANDS, ("sweep",): sweep}
"""Functions of all commands by their words."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, by default that of `sys.argv`.

    Returns:
        Exit code: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    logging.basicConfig(format="%(message)s", handlers=[StderrHandler()], force=True)
    logging.getLogger("reviver").setLevel(logging.INFO)
    try:
        if not arguments:
            app = build_app(commands=ALL_COMMANDS)
            app.help_print(console=app.error_console)
            return ConfigError.exit_code
        run(arguments, ALL_COMMANDS)
        sys.stdout.flush()
    except SystemExit as stop:  # rich raises it if the reader of the help has closed the pipe
        return int(bool(stop.code) and "--install-completion" in arguments)
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in arguments and not isinstance(error, KeyboardInterrupt):
            traceback.print_exception(error)
        return report_failure(error, arguments)
    return 0


class StderrHandler(logging.Handler):
    """Handler that writes to the current `sys.stderr`, which a progress bar replaces to keep lines above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if sys.stderr is not None:  # None if the parent process closed it
            with contextlib.suppress(OSError, ValueError):
                text, is_ours = self.format(record), record.name.startswith("reviver")  # others may have several lines
                print(escape_controls(text) if is_ours else text, file=sys.stderr, flush=True)


def report_failure(error: BaseException, arguments: Sequence[str]) -> int:
    """Print an error in one line on stderr, of several processes by rank 0 only, and return the exit code."""
    message, exit_code = describe_failure(error, arguments)
    if isinstance(error, OSError) and error.filename is None:
        # To the null device, so that Python does not fail again when it flushes stdout at exit.
        with contextlib.suppress(OSError, ValueError):  # stdout has no file descriptor, or is closed
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if is_launched():  # torchrun sends SIGTERM to all once one has failed
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if message and os.environ.get("RANK", "0") == "0":
        kind = "" if exit_code >= INTERRUPTED else "error: "
        logging.getLogger("reviver").error("%s%s", kind, " ".join(message.split()))
    if message and is_launched():
        record_failure(error)
    return exit_code
