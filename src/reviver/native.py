"""C++ files of the package: compiled for this machine at first use, kept in a cache folder, and loaded.

The cache is `$REVIVER_CACHE`, else `$XDG_CACHE_HOME/reviver`, else `~/.cache/reviver`. A library is named by a
hash of all that it depends on: the source and the headers beside it, the flags, the compiler's version and the
instructions that the compiler finds on this CPU. `$CXX` names another compiler, `$REVIVER_CXXFLAGS` adds flags,
`REVIVER_NATIVE=0` switches all of them off. Whoever can write to the folder can run code: one that is not private is refused.
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

_log = logging.getLogger(__name__)


class NativeError(RuntimeError):
    """A native library cannot be had on this machine."""


@dataclass(eq=False)
class Native:
    """A C++ file whose functions take a pointer to one structure, and return nothing.

    It defines `reviver_NAME_call_size`, the size of that structure, and `reviver_NAME_FUNCTION` for each function.

    Args:
        name: of the library.
        source: the file.
        call: the structure, the same fields in the same order as in the file.
        functions: their names.
        otherwise: what is missing, and what is done instead where there is no compiler, for the warning.
        flags: of the compiler.
    """

    name: str
    source: Path
    call: type[ctypes.Structure]
    functions: Sequence[str]
    otherwise: str = field(kw_only=True)
    flags: Sequence[str] = field(default=FLAGS, kw_only=True)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _loaded: list[ctypes.CDLL | None] = field(default_factory=list, init=False)  # by `library`, once it has looked

    def library(self) -> ctypes.CDLL | None:
        """Return the compiled library, or None, after one line of warning, where it cannot be had."""
        if not self._loaded:
            with self._lock:
                if not self._loaded:
                    self._loaded.append(self.find())
        return self._loaded[0]

    def find(self) -> ctypes.CDLL | None:
        """Do what `library` does at its first call."""
        if os.environ.get("REVIVER_NATIVE", "1") == "0":
            return None
        try:
            return self.build(cache_folder())
        except (NativeError, OSError, ImportError) as error:
            _log.warning("%s: %s", self.otherwise, " ".join(str(error).split()))
            return None

    def build(self, folder: Path) -> ctypes.CDLL:
        """Return the library from `folder`, compiled first where it is not there or not whole.

        Raises:
            NativeError: if there is no compiler, or it fails, or what it made does not work, or the folder is not
                private.
            OSError: if the folder cannot be written or the library cannot be loaded.
        """
        compiler = shutil.which(os.environ.get("CXX") or "c++")
        if compiler is None:
            raise NativeError("no C++ compiler found (c++, or the one that CXX names)")
        command = [compiler, *FLAGS, *self.flags, *_host_flags(compiler)]
        command += os.environ.get("REVIVER_CXXFLAGS", "").split()
        key = hashlib.sha256()
        for path in (self.source, *sorted(self.source.parent.glob("*.h"))):
            key.update(path.read_bytes())
        key.update("\0".join([*command, torch.__version__]).encode())
        key.update(_run([*command, "-dM", "-E", "-x", "c++", os.devnull]))  # the compiler's version, the instructions
        path = folder / f"{self.name}-{key.hexdigest()[:32]}.so"

        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_private(folder):
            raise NativeError(
                f"{folder} belongs to another user or others may write to it, who could run code as you; chmod go-w your "
                "own folder, or point REVIVER_CACHE at one"
            )
        if not _is_whole(path):
            import fcntl  # not on every system: there, ImportError leads to slower code

            with (folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not _is_whole(path):  # another process may have made it in the meantime
                    _compile([*command, str(self.source)], path)
        return self._load(path)

    def _load(self, path: Path) -> ctypes.CDLL:
        library = ctypes.CDLL(str(path))
        size = getattr(library, f"reviver_{self.name}_call_size")
        size.restype = ctypes.c_int64
        if size() != ctypes.sizeof(self.call):
            raise NativeError(f"{self.source.name} and {self.call.__module__} disagree about the arguments of a call")
        for name in self.functions:
            function = getattr(library, f"reviver_{self.name}_{name}")
            function.argtypes, function.restype = [ctypes.POINTER(self.call)], None
        return library


def _host_flags(compiler: str) -> list[str]:
    """The flags that this compiler takes out of those that we would like: the host's instructions, OpenMP."""
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
    """Compile to `path` and write its checksum beside it, each by a rename: whole or not at all."""
    for stale in path.parent.glob("build-*"):  # of a process that was killed; we hold the lock
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=path.parent) as folder:
        made, checksum = Path(folder) / "made.so", Path(folder) / "made.sha256"
        _run([*command, "-o", str(made), *_torch_openmp(command)])
        checksum.write_text(hashlib.sha256(made.read_bytes()).hexdigest())
        made.chmod(0o700)
        made.replace(path)
        checksum.replace(path.with_suffix(".sha256"))


def _torch_openmp(command: list[str]) -> list[str]:
    """The OpenMP library that torch has loaded, to be linked: one pool of threads, not a second one that spins beside it."""
    libraries = sorted(Path(torch.__file__).with_name("lib").glob("libgomp*.so*"))
    return [str(path) for path in libraries[:1] if "-fopenmp" in command]


def is_private(path: Path) -> bool:
    """Whether only we, and root, can write to what lies at `path`."""
    from os import geteuid  # not on every system either

    status = path.stat()
    return status.st_uid in (0, geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _is_whole(path: Path) -> bool:
    """Whether a library is there as it was made, and nobody else can have made or changed it."""
    try:
        written = path.with_suffix(".sha256").read_text()
        return is_private(path) and written == hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return False


def _run(command: list[str]) -> bytes:
    try:
        result = subprocess.run(command, capture_output=True, check=False, timeout=300)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeError(f"{command[0]} does not run: {error}") from error
    if result.returncode != 0:
        last = result.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise NativeError(f"{command[0]} failed: {last[0]}")
    return result.stdout
