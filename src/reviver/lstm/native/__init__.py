"""Native libraries: C++ files of the package, prebuilt in a platform wheel or compiled at first use."""


class NativeError(RuntimeError):
    """A native library cannot be compiled or loaded on this machine."""
