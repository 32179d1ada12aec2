"""Native libraries, C++ files prebuilt in a platform wheel or compiled at first use: where they come from, and how they are loaded.

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
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from reviver.files.cache import cache_folder
from reviver.lstm.kernel import prebuilt
from reviver.lstm.kernel.compiler import compile_library
from reviver.lstm.kernel.prebuilt import NativeError
from reviver.text import one_line

FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-Wno-psabi")
"""Flags of the compiler for all libraries."""

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class NativeLibrary:
    """A C++ library whose functions take a pointer to one structure, and return nothing.

    The C++ file defines `reviver_NAME_FUNCTION` for each function, and `reviver_NAME_call_size`, which returns the size
    of the structure. It uses neither Python nor torch, so one binary serves all their versions.
    """

    name: str
    source: Path  # the C++ file
    call: type[ctypes.Structure]  # the structure, with the same fields in the same order as in the C++ file
    functions: Sequence[str]  # names of the functions
    fallback: str  # warning if the library is not available: what is missing, and what is used instead
    _variant: str = field(default="none", init=False)

    @cached_property
    def library(self) -> ctypes.CDLL | None:
        """The library, or None if it is not available. The first use loads it, or logs a warning."""
        return self.find()

    @property
    def variant(self) -> str:
        """Build of the library, such as `prebuilt x86-64-v4+bf16` or `compiled -march=native`; `none` without a library."""
        _ = self.library
        return self._variant

    def find(self) -> ctypes.CDLL | None:
        """Load the library, compiled first if needed, or log a warning and return None."""
        choice, problems = os.environ.get("REVIVER_NATIVE") or "1", []
        asks_for_compiler = os.environ.get("CXX") or os.environ.get("REVIVER_CXXFLAGS")
        is_prebuilt = not asks_for_compiler and prebuilt.libraries(self.name, self.source)
        sources = {"0": [], "1": ["", "compile"] if is_prebuilt else ["compile"], "prebuilt": [""]}
        sources |= {name: [name] for name in ("compile", *prebuilt.VARIANTS)}
        if choice not in sources:
            problems = [f"REVIVER_NATIVE must be one of {', '.join(sources)}, got {choice!r}"]
        for source in sources.get(choice, []):
            try:
                return self.build(cache_folder()) if source == "compile" else self.load_prebuilt(source or None)
            except (NativeError, OSError) as error:
                problems.append(one_line(error))
        if problems:
            _log.warning("%s: %s", self.fallback, "; ".join(problems))
        return None

    def build(self, folder: Path) -> ctypes.CDLL:
        """Return the library from the cache `folder`, see `compile_library`; raise OSError if it cannot be loaded."""
        return self._open(*compile_library(self.name, self.source, FLAGS, folder))

    def load_prebuilt(self, variant: str | None = None) -> ctypes.CDLL:
        """Return a prebuilt library, see `prebuilt.find_library`; raise OSError if it cannot be loaded."""
        path, found = prebuilt.find_library(self.name, self.source, variant)
        return self._open(path, f"prebuilt {found}")

    def _open(self, path: Path, variant: str) -> ctypes.CDLL:
        library = ctypes.CDLL(str(path))
        size = getattr(library, f"reviver_{self.name}_call_size")
        size.restype = ctypes.c_int64
        assert size() == ctypes.sizeof(self.call), (
            f"{self.source.name} and {self.call.__module__} define different structures"
        )
        for name in self.functions:
            function = getattr(library, f"reviver_{self.name}_{name}")
            function.argtypes, function.restype = [ctypes.POINTER(self.call)], None
        self._variant = variant
        return library
