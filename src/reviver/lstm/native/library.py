"""A native library: where it comes from, and how it is loaded.

The order is: prebuilt (`prebuilt.py`), compiled at first use (`compiler.py`), not available. `REVIVER_NATIVE` changes it:

    1           this order, the default
    0           no native library
    prebuilt    only the best prebuilt variant that the processor supports
    compile     only a compiled library
    VARIANT     only that prebuilt variant, such as x86-64-v3

`$CXX` or `$REVIVER_CXXFLAGS` ask for a compiled library as well.
"""

import ctypes
import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from reviver.files.cache import cache_folder
from reviver.lstm.native import compiler, prebuilt
from reviver.lstm.native.errors import NativeError
from reviver.text import one_line

FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-Wno-psabi")
"""Flags of the compiler for all libraries."""

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class NativeLibrary:
    """A C++ library whose functions take a pointer to one structure, and return nothing.

    The C++ file defines `reviver_NAME_FUNCTION` for each function, and `reviver_NAME_call_size`, which returns the size
    of the structure. It uses neither Python nor torch, so one binary serves all their versions.

    Args:
        name: name of the library.
        source: path of the C++ file.
        call: the structure, with the same fields in the same order as in the C++ file.
        functions: names of the functions.
        fallback: warning if the library is not available: what is missing, and what is used instead.
        flags: flags of the compiler.
    """

    name: str
    source: Path
    call: type[ctypes.Structure]
    functions: Sequence[str]
    fallback: str = field(kw_only=True)
    flags: Sequence[str] = field(default=FLAGS, kw_only=True)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _loaded: list[ctypes.CDLL | None] = field(
        default_factory=list, init=False
    )  # set by `library`: empty before its first call
    _variant: str = field(default="none", init=False)

    def library(self) -> ctypes.CDLL | None:
        """Return the library, or None if it is not available. The first call loads it, or logs a warning."""
        if not self._loaded:
            with self._lock:
                if not self._loaded:
                    self._loaded.append(self.find())
        return self._loaded[0]

    @property
    def variant(self) -> str:
        """Build of the library, such as `prebuilt x86-64-v4+bf16` or `compiled -march=native`; `none` without a library."""
        self.library()
        return self._variant

    def find(self) -> ctypes.CDLL | None:
        """Load the library, compiled first if needed, or log a warning and return None."""
        choice = os.environ.get("REVIVER_NATIVE") or "1"
        if choice == "0":
            return None
        problems = []
        for attempt in self._attempts(choice):
            try:
                return attempt()
            except (NativeError, OSError) as error:
                problems.append(one_line(error))
        _log.warning("%s: %s", self.fallback, "; ".join(problems))
        return None

    def build(self, folder: Path) -> ctypes.CDLL:
        """Return the library from the cache `folder`, compiled first if it is missing or damaged.

        Raises:
            NativeError: if there is no compiler, the compiler fails, the library does not match the structure, or the
                folder is not private.
            OSError: if the folder cannot be written or the library cannot be loaded.
        """
        path, variant = compiler.compile_library(self.name, self.source, self.flags, folder)
        return self._open(path, variant)

    def load_prebuilt(self, variant: str | None = None) -> ctypes.CDLL:
        """Return a prebuilt library of the package.

        Args:
            variant: name of the variant; None for the best that the processor supports.

        Raises:
            NativeError: if the package has no such library, the processor does not support it, or torch has not loaded
                the OpenMP runtime that it needs.
            OSError: if the library cannot be loaded.
        """
        path, found = prebuilt.find_library(self.name, self.source, variant)
        return self._open(path, f"prebuilt {found}")

    def _attempts(self, choice: str) -> list[Callable[[], ctypes.CDLL]]:
        """Return the functions that may load the library, in order, for a value of `REVIVER_NATIVE`."""

        def compiled() -> ctypes.CDLL:
            return self.build(cache_folder())

        def refuse() -> ctypes.CDLL:
            allowed = ", ".join(("0", "1", "prebuilt", "compile", *prebuilt.VARIANTS))
            raise NativeError(f"REVIVER_NATIVE must be one of {allowed}, got {choice!r}")

        if choice in prebuilt.VARIANTS:
            return [partial(self.load_prebuilt, choice)]
        if choice != "1":
            return [{"prebuilt": self.load_prebuilt, "compile": compiled}.get(choice, refuse)]
        asks_for_compiler = os.environ.get("CXX") or os.environ.get("REVIVER_CXXFLAGS")
        is_prebuilt = not asks_for_compiler and prebuilt.is_available(self.name, self.source)
        return [self.load_prebuilt, compiled] if is_prebuilt else [compiled]

    def _open(self, path: Path, variant: str) -> ctypes.CDLL:
        library = self._load(path)
        self._variant = variant
        return library

    def _load(self, path: Path) -> ctypes.CDLL:
        library = ctypes.CDLL(str(path))
        size = getattr(library, f"reviver_{self.name}_call_size")
        size.restype = ctypes.c_int64
        if size() != ctypes.sizeof(self.call):
            raise NativeError(
                f"{self.source.name} and {self.call.__module__} define different structures for the arguments"
            )
        for name in self.functions:
            function = getattr(library, f"reviver_{self.name}_{name}")
            function.argtypes, function.restype = [ctypes.POINTER(self.call)], None
        return library
