"""Native libraries: C++ files of the package, prebuilt in a platform wheel or compiled at first use."""

from reviver.lstm.native.compiler import is_private
from reviver.lstm.native.errors import NativeError
from reviver.lstm.native.library import FLAGS, NativeLibrary

__all__ = ["FLAGS", "NativeError", "NativeLibrary", "is_private"]
