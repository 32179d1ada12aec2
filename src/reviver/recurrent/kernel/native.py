"""Native libraries, C++ files prebuilt in a platform wheel or compiled at first use: where they come from, and how they are loaded.

The order is: prebuilt (`prebuilt.py`), compiled at first use (`compiler.py`), not available. `REVIVER_NATIVE` changes it:

    1           this order, the default
    0           no native library
    prebuilt    only the best prebuilt variant that the processor supports
    compile     only a compiled library
    VARIANT     only that prebuilt variant, such as x86-64-v3

`$CXX`, another compiler, or `$REVIVER_CXXFLAGS`, more flags, ask for a compiled library as well. It is compiled for this machine
into the cache, the folder of `reviver.files.cache.cache_folder`, under a name with a hash of everything that it depends on: the
source and the headers beside it, the flags, the version of the compiler, and the instruction set that the compiler detects.
Anyone who can write to the folder could run code as this user, so a folder that others can write to is an error.
"""

import ctypes
import hashlib
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from reviver.files.cache import cache_folder
from reviver.recurrent.kernel import prebuilt
from reviver.recurrent.kernel.prebuilt import NativeError, source_digest
from reviver.system import locking, sync
from reviver.text import one_line

FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-Wno-psabi")
FUSED = "--param=avoid-fma-max-bits=0"
"""Flag of GCC. Tuned for AMD it multiplies and adds in two steps where a sum is short: other bits than those of a long one."""

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


def compile_library(name: str, source: Path, flags: Sequence[str], folder: Path) -> tuple[Path, str]:
    """Return the path of a library in the cache `folder`, compiled if it is missing, and how: "compiled -O3 by c++ 12.4.0".

    Raise NativeError if there is no compiler, it fails, or the folder is not private, OSError if it cannot be written.
    """
    chosen = os.environ.get("CXX") or "c++"
    compiler = shutil.which(chosen)
    if compiler is None:
        raise NativeError(f"no C++ compiler found ({chosen}); install one, or set CXX to its name")
    own_flags = [*_host_flags(compiler), *os.environ.get("REVIVER_CXXFLAGS", "").split()]
    command = [compiler, *flags, *([FUSED] if _accepts(compiler, FUSED) else []), *own_flags]
    macros = _macros(*command)  # version of the compiler, instruction set
    key = hashlib.sha256(os.fsencode("\0".join([source_digest(source), *command])) + macros)
    path = folder / f"{name}-{key.hexdigest()[:32]}.so"

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_private(folder):
        raise NativeError(
            f"{folder} belongs to another user, or others can write to it and so run code as you; chmod go-w your own "
            "folder, or set REVIVER_CACHE to one"
        )
    with locking(folder / "lock", timeout=-1):  # another process may compile it now
        if not (path.exists() and is_private(path)):
            _compile(command, source, path)
    version = re.findall(rb'^#define __VERSION__ "(?:Clang )?([^ "]+)', macros, re.MULTILINE)
    shown = [flag for flag in own_flags if flag != "-fopenmp"]
    return path, " ".join(["compiled", *shown, "by", Path(compiler).name, *map(os.fsdecode, version)])[:500]


def is_private(path: Path) -> bool:
    """Return whether only this user and root can write to `path`; raise NativeError where the system does not tell."""
    if not hasattr(os, "geteuid"):  # such as Windows
        raise NativeError("this system does not tell who can write to the cache, so nothing is compiled into it")
    status = path.stat()
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _host_flags(compiler: str) -> list[str]:
    """Return the flags for this processor that the compiler accepts, and -fopenmp if torch has it, else C++ threads do."""
    native = [flag for flag in ("-march=native", "-mcpu=native") if _accepts(compiler, flag)][:1]
    runtime = prebuilt.LLVM if b"__clang__" in _macros(compiler) else prebuilt.GNU
    is_openmp = prebuilt.share_runtime(runtime) and _accepts(compiler, "-fopenmp")
    return [*native, *(["-fopenmp"] if is_openmp else [])]


def _macros(*command: str) -> bytes:
    return _run([*command, "-dM", "-E", "-x", "c++", os.devnull])


def _accepts(compiler: str, flag: str) -> bool:
    try:
        _macros(compiler, flag)
    except NativeError:
        return False
    return True


def _compile(command: Sequence[str], source: Path, path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="build-", dir=path.parent) as folder:
        compiled, library = (Path(folder) / f"library.{suffix}" for suffix in ("o", "so"))
        _run([*(flag for flag in command if flag != "-shared"), "-c", str(source), "-o", str(compiled)])
        # Linked without -fopenmp, which would load the compiler's runtime besides torch's, see prebuilt.py.
        linker = [flag for flag in command if flag != "-fopenmp"]
        undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
        _run([*linker, *undefined, str(compiled), "-o", str(library)])
        library.chmod(0o700)
        sync(library)
        library.replace(path)


def _run(command: Sequence[str]) -> bytes:
    result = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    if result.returncode != 0:
        last = result.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise NativeError(f"{command[0]} failed: {last[0]}")
    return result.stdout
