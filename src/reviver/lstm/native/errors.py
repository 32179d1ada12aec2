"""The error of native libraries."""


class NativeError(RuntimeError):
    """A native library cannot be compiled or loaded on this machine."""
