"""Prebuilt libraries: a platform wheel has each native library in several variants, for several kinds of processor.

`tools/wheel.py` builds them. The name of a file contains a hash of the sources, so a library is used only with the very
sources that it was built from.

Native libraries use the threads of torch's OpenMP runtime, since a second pool would compete for the cores. Its file has
another name in each build of torch, such as `libgomp-24e2ab19.so.1`. So they are linked without a runtime, and the dynamic
linker resolves their undefined symbols from the runtime that torch has loaded.
"""

import ctypes
import hashlib
import os
import platform
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch


class NativeError(RuntimeError):
    """A native library cannot be compiled or loaded on this machine."""


FOLDER = Path(__file__).with_name("prebuilt")
"""Folder of the prebuilt libraries; only a platform wheel has it."""
CPU_SOURCE = Path(__file__).with_name("cpu.cpp")
"""Library that asks the processor which variants it supports."""


class Variant(NamedTuple):
    """A build of all native libraries for a kind of processor."""

    machine: str  # architecture, as `platform.machine` names it
    flags: tuple[str, ...]  # of the compiler
    features: int  # bits of `reviver_cpu_features` in cpu.cpp that the processor must have


VARIANTS = {
    "x86-64-v4+bf16": Variant("x86_64", ("-march=x86-64-v4", "-mavx512bf16", "-mprefer-vector-width=512"), 0b111),
    "x86-64-v4": Variant("x86_64", ("-march=x86-64-v4", "-mprefer-vector-width=512"), 0b011),
    "x86-64-v3": Variant("x86_64", ("-march=x86-64-v3",), 0b001),
    "x86-64": Variant("x86_64", ("-march=x86-64",), 0),
    "aarch64": Variant("aarch64", ("-march=armv8-a",), 0),
}
"""Variants by name, for each architecture from the fastest to the most portable."""


def library_name(name: str, variant: str, source: Path) -> str:
    """Return the file name of a prebuilt library."""
    return f"{name}-{variant}-{source_digest(source)[:16]}.so"


def source_digest(source: Path) -> str:
    """Return the SHA-256 of a C++ file and the headers beside it, in hexadecimal."""
    sha256 = hashlib.sha256()
    for path in (source, *sorted(source.parent.glob("*.h"))):
        content = path.read_bytes()
        sha256.update(f"{path.name} {len(content)}\n".encode() + content)
    return sha256.hexdigest()


def libraries(name: str, source: Path) -> dict[str, Path]:
    """Return the prebuilt libraries for this architecture and these sources by variant, the fastest first."""
    names = [variant for variant, (machine, *_) in VARIANTS.items() if machine == platform.machine()]
    paths = {variant: FOLDER / library_name(name, variant, source) for variant in names}
    return {variant: path for variant, path in paths.items() if path.is_file()}


def find_library(name: str, source: Path, variant: str | None = None) -> tuple[Path, str]:
    """Return path and variant of a prebuilt library: the one named, or the fastest. Let it use torch's OpenMP runtime.

    Raise NativeError if there is none that this processor and torch can run, OSError if the processor cannot be asked.
    """
    paths = {found: path for found, path in libraries(name, source).items() if variant in (None, found)}
    supported = [found for found in paths if VARIANTS[found].features & ~cpu_features() == 0]
    if not supported or not share_runtime(GNU):
        raise NativeError(
            f"no prebuilt library {variant or ''} for these sources, this processor and torch's OpenMP runtime"
        )
    return paths[supported[0]], supported[0]


@cache
def cpu_features() -> int:
    """Return the bits of `reviver_cpu_features`, 0 where no variant needs one; raise OSError if cpu.cpp's library fails."""
    if platform.machine() != "x86_64":
        return 0
    function = ctypes.CDLL(str(FOLDER / library_name("cpu", "x86-64", CPU_SOURCE))).reviver_cpu_features
    function.argtypes, function.restype = [], ctypes.c_int64
    return int(function())


# Functions that code compiled by GCC and by Clang calls for a parallel region. LLVM's runtimes mostly have both.
GNU, LLVM = "GOMP_parallel", "__kmpc_fork_call"


@cache
def share_runtime(function: str) -> bool:
    """Let libraries that are loaded later use torch's runtime; return whether it has one with `function` (GNU or LLVM)."""
    path = find_runtime(function)
    if path is None:
        return False
    ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)  # already loaded: only makes its symbols visible
    return True


def find_runtime(function: str) -> str | None:
    """Return the file that defines `function` among torch and the libraries that it depends on, or None."""
    try:
        address = ctypes.cast(getattr(ctypes.CDLL(torch._C.__file__), function), ctypes.c_void_p)
        info = (ctypes.c_void_p * 4)()  # Dl_info of <dlfcn.h>, which begins with the name of the file
        if ctypes.CDLL(None).dladdr(address, info) and info[0]:
            return os.fsdecode(ctypes.string_at(info[0]))
    except (AttributeError, OSError, TypeError):  # no such function, or a system without dladdr such as Windows
        pass
    return None
