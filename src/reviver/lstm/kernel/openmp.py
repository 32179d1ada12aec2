"""The OpenMP runtime of torch: native libraries use its threads, since a second pool would compete for the cores.

The file of the runtime has another name in each build of torch, such as `libgomp-24e2ab19.so.1`. So native libraries are
linked without a runtime. The dynamic linker resolves their undefined symbols from the runtime that torch has loaded.
"""

import ctypes
import os
from functools import cache

import torch

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
