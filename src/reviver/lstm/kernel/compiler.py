"""Compiling a native library for this machine at its first use, into the cache.

The cache is the folder of `reviver.files.cache.cache_folder`. The name of a library contains a hash of everything that it
depends on: the source and the headers beside it, the flags, the version of the compiler, and the instruction set that
the compiler detects. `$CXX` selects another compiler, and `$REVIVER_CXXFLAGS` adds flags. Anyone who can write to the
folder could run code as this user, so a folder that others can write to is an error.
"""

import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from reviver.lstm.kernel import prebuilt
from reviver.lstm.kernel.prebuilt import NativeError, source_digest
from reviver.system import locking, sync


def compile_library(name: str, source: Path, flags: Sequence[str], folder: Path) -> tuple[Path, str]:
    """Return the path of a library in the cache `folder`, compiled first if it is missing.

    Also return how it was compiled, such as "compiled -march=native by c++ 12.4.0". `flags` are those of the compiler,
    besides those for this machine and the user's. Raise NativeError if there is no compiler, it fails, or the folder is
    not private, OSError if the folder cannot be written.
    """
    chosen = os.environ.get("CXX") or "c++"
    compiler = shutil.which(chosen)
    if compiler is None:
        raise NativeError(f"no C++ compiler found ({chosen}); install one, or set CXX to its name")
    own_flags = [*_host_flags(compiler), *os.environ.get("REVIVER_CXXFLAGS", "").split()]
    command = [compiler, *flags, *own_flags]
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
