"""Exceptions of Reviver.

Every error that a user can cause or fix is a `ReviverError`. Its message is one line with the field, its value and the
remedy. `exit_code` is the exit code of the command line.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


class ReviverError(Exception):
    """Base of all errors that a user can cause or fix."""

    exit_code = 1


class ConfigError(ReviverError, ValueError):
    """A setting is wrong; the message begins with `field`, if it is not empty, which the command line replaces by its option."""

    exit_code = 2

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class DataError(ReviverError, ValueError):
    """Input data (images, digits, tensors) is missing, malformed or of the wrong shape."""

    exit_code = 2


class DeviceError(ReviverError, ValueError):
    """The requested device is unknown or not available on this machine."""

    exit_code = 2


class RunFolderError(ReviverError):
    """A run folder exists already, is missing, is of another kind or schema, is damaged, or cannot be written."""

    exit_code = 2


class DivergenceError(ReviverError):
    """A `quantity`, such as `train loss`, became NaN or infinite at update `step`; the last good checkpoint is kept."""

    def __init__(self, message: str, step: int = 0, quantity: str = "") -> None:
        super().__init__(message)
        self.step, self.quantity = step, quantity


class OutOfMemory(ReviverError, MemoryError):
    """Memory ran out while training; the last good checkpoint is kept."""


class ProcessLost(ReviverError):
    """Another process of the same training died or did not answer in time; the last good checkpoint is kept."""


class Interrupted(KeyboardInterrupt):
    """A signal stopped the training, after the state was saved; `except Exception` does not catch it.

    `exit_code` is 128 + the number of the signal: 130 for Ctrl-C (SIGINT), 143 for SIGTERM.
    """

    def __init__(self, message: str, signal_number: int = 2) -> None:  # the default lets it be pickled
        super().__init__(message)
        self.exit_code = 128 + signal_number


def import_library(name: str, problem: str, field: str = "") -> ModuleType:
    """Return an optional library; raise a `ConfigError`, which begins with `problem`, if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"{problem}: pip install {name}", field=field) from error


@contextmanager
def needing_train(purpose: str) -> Iterator[None]:
    """Raise a `ConfigError` if an import inside fails: the `purpose` needs a library of the extra `train`."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        advice = "install the extra train: in a clone, pip install '.[train]'"
        raise ConfigError(f"{purpose} needs {name}; {advice}") from error
