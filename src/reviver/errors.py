"""The exceptions of Reviver, as a tree.

Every error that a user can cause or cure is a `ReviverError`: its message is one line that names the
thing, its value and the remedy, and `exit_code` is what the command line returns for it.
"""


class ReviverError(Exception):
    """Base of all errors that Reviver raises on purpose."""

    exit_code = 1


class ConfigError(ReviverError, ValueError):
    """A setting is unknown, of the wrong type, or out of range.

    Attributes:
        field: the setting that the message begins with, which the command line shows as an option; empty if none.
    """

    exit_code = 2

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class DataError(ReviverError, ValueError):
    """Input data (images, digits, tensors) is missing, malformed or of the wrong shape."""

    exit_code = 2


class DeviceError(ReviverError, ValueError):
    """The device asked for is unknown or absent on this machine."""

    exit_code = 2


class RunFolderError(ReviverError):
    """A run folder exists, is missing, is of another kind or version, is damaged, or cannot be written."""

    exit_code = 2


class DivergenceError(ReviverError):
    """A loss or a weight became NaN or infinite; the last good checkpoint is kept.

    Attributes:
        step: the update at which it did.
        quantity: what it was, such as `train loss`.
    """

    def __init__(self, message: str, step: int = 0, quantity: str = "") -> None:
        super().__init__(message)
        self.step = step
        self.quantity = quantity


class OutOfMemory(ReviverError, MemoryError):
    """Memory ran out while training; the last good checkpoint is kept."""


class Interrupted(ReviverError):
    """Training was stopped by a signal after its state had been saved.

    `exit_code` is 128 + the signal's number: 130 for Ctrl-C (SIGINT), 143 for SIGTERM.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
