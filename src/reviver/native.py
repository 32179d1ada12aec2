"""Native libraries: C++ files of the package, compiled for this machine at first use, cached, and loaded.

The cache is the folder of `reviver.cache.cache_folder`. The name of a library contains a hash of everything that it
depends on: the source and the headers beside it, the flags, the version of the compiler, and the instruction set that
the compiler detects. `$CXX` selects another compiler, `$REVIVER_CXXFLAGS` adds flags, and `REVIVER_NATIVE=0` disables all
native libraries. Anyone who can write to the folder could run code as this user, so a folder that others can write to is
an error.
"""

import ctypes
import hashlib
import logging
import os
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from reviver.cache import cache_folder

FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-Wno-psabi")
"""Flags of the compiler for all libraries."""

_log = logging.getLogger(__name__)


class NativeError(RuntimeError):
    """A native library cannot be compiled or loaded on this machine."""


@dataclass(eq=False)
class NativeLibrary:
    """A C++ library whose functions take a pointer to one structure, and return nothing.

    The C++ file defines `reviver_NAME_FUNCTION` for each function, and `reviver_NAME_call_size`, which returns the size
    of the structure.

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

    def library(self) -> ctypes.CDLL | None:
        """Return the library, or None if it is not available. The first call loads it, or logs a warning."""
        if not self._loaded:
            with self._lock:
                if not self._loaded:
                    self._loaded.append(self.find())
        return self._loaded[0]

    def find(self) -> ctypes.CDLL | None:
        """Load the library, compiled first if needed, or log a warning and return None."""
        if os.environ.get("REVIVER_NATIVE", "1") == "0":
            return None
        try:
            return self.build(cache_folder())
        except (NativeError, OSError, ImportError) as error:
            _log.warning("%s: %s", self.fallback, " ".join(str(error).split()))
            return None

    def build(self, folder: Path) -> ctypes.CDLL:
        """Return the library from the cache `folder`, compiled first if it is missing or damaged.

        Raises:
            NativeError: if there is no compiler, the compiler fails, the library does not match the structure, or the
                folder is not private.
            OSError: if the folder cannot be written or the library cannot be loaded.
            ImportError: if the system has no `fcntl`.
        """
        compiler = shutil.which(os.environ.get("CXX") or "c++")
        if compiler is None:
            raise NativeError("no C++ compiler found; install c++ or set CXX")
        command = [compiler, *FLAGS, *self.flags, *_host_flags(compiler)]
        command += os.environ.get("REVIVER_CXXFLAGS", "").split()
        key = hashlib.sha256()
        for path in (self.source, *sorted(self.source.parent.glob("*.h"))):
            key.update(path.read_bytes())
        key.update("\0".join([*command, torch.__version__]).encode())
        key.update(_run([*command, "-dM", "-E", "-x", "c++", os.devnull]))  # version of the compiler, instruction set
        path = folder / f"{self.name}-{key.hexdigest()[:32]}.so"

        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_private(folder):
            raise NativeError(
                f"{folder} belongs to another user, or others can write to it and so run code as you; chmod go-w your own "
                "folder, or set REVIVER_CACHE to one"
            )
        if not _is_intact(path):
            import fcntl  # not on every system; `find` handles the ImportError

            with (folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not _is_intact(path):  # another process may have compiled it meanwhile
                    _compile([*command, str(self.source)], path)
        return self._load(path)

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


def _host_flags(compiler: str) -> list[str]:
    """Return those of the flags for the host's instruction set and OpenMP that the compiler accepts."""
    flags = [flag for flag in ("-march=native", "-fopenmp") if _accepts(compiler, flag)]
    if "-march=native" not in flags and _accepts(compiler, "-mcpu=native"):
        flags.append("-mcpu=native")
    return flags


def _accepts(compiler: str, flag: str) -> bool:
    try:
        _run([compiler, flag, "-E", "-x", "c++", os.devnull])
    except NativeError:
        return False
    return True


def _compile(command: list[str], path: Path) -> None:
    """Compile to `path` and write its checksum beside it, both atomically."""
    for stale in path.parent.glob("build-*"):  # left by a killed process: this one holds the lock
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=path.parent) as folder:
        library, checksum = Path(folder) / "library.so", Path(folder) / "library.sha256"
        _run([*command, "-o", str(library), *_torch_openmp(command)])
        checksum.write_text(hashlib.sha256(library.read_bytes()).hexdigest())
        library.chmod(0o700)
        library.replace(path)
        checksum.replace(path.with_suffix(".sha256"))


def _torch_openmp(command: list[str]) -> list[str]:
    """Return the OpenMP library of torch, to link against: with a second one, two thread pools would compete."""
    libraries = sorted(Path(torch.__file__).with_name("lib").glob("libgomp*.so*"))
    return [str(path) for path in libraries[:1] if "-fopenmp" in command]


def is_private(path: Path) -> bool:
    """Return whether only this user and root can write to `path`."""
    from os import geteuid  # not on every system

    status = path.stat()
    return status.st_uid in (0, geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _is_intact(path: Path) -> bool:
    """Return whether a library exists, matches its checksum, and only this user and root can have written it."""
    try:
        expected = path.with_suffix(".sha256").read_text()
        return is_private(path) and expected == hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return False


def _run(command: list[str]) -> bytes:
    try:
        result = subprocess.run(command, capture_output=True, check=False, timeout=300)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeError(f"{command[0]} cannot be run: {error}") from error
    if result.returncode != 0:
        last = result.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise NativeError(f"{command[0]} failed: {last[0]}")
    return result.stdout
