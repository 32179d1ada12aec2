"""Where a native library comes from: prebuilt, compiled, or not at all; the cache, and the OpenMP runtime that it uses.

Most tests compile a library of a few lines instead of the LSTM's.
"""

import ctypes
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reviver.recurrent.kernel import prebuilt
from reviver.recurrent.kernel.library import KERNEL
from reviver.recurrent.kernel.native import NativeLibrary

needs_compiler = pytest.mark.skipif(
    KERNEL.library is None or sys.platform != "linux", reason="no native kernel on this machine"
)
SOURCE = """
#include <cstdint>
#define EXPORTED extern "C" __attribute__((visibility("default")))
struct Call { int64_t number; };
EXPORTED int64_t reviver_tiny_call_size() { return sizeof(Call); }
EXPORTED void reviver_tiny_double(Call* call) {
    #pragma omp parallel num_threads(1)
    call->number *= 2;
}
"""


class Call(ctypes.Structure):
    """The argument of the function of `SOURCE`."""

    _fields_ = [("number", ctypes.c_int64)]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NativeLibrary:
    """Return the library of `SOURCE` in an environment without wishes, with an empty cache."""
    for name in ("CXX", "REVIVER_CXXFLAGS", "REVIVER_NATIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REVIVER_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "sources" / "tiny.cpp"
    source.parent.mkdir()
    source.write_text(SOURCE)
    return NativeLibrary("tiny", source, Call, ("double",), fallback="counting by hand")


@pytest.fixture
def package(tiny: NativeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of prebuilt libraries for a processor with AVX2: files of all variants, but no code in them."""
    monkeypatch.setattr(prebuilt, "FOLDER", tmp_path)
    monkeypatch.setattr(prebuilt.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(prebuilt, "cpu_features", lambda: 0b001)
    for variant in prebuilt.VARIANTS:
        (tmp_path / prebuilt.library_name("tiny", variant, tiny.source)).write_bytes(b"not a library")
    return tmp_path


def double(library: ctypes.CDLL | None, number: int) -> int:
    assert library is not None
    call = Call(number)
    library.reviver_tiny_double(call)
    return call.number


def warning_of_find(library: NativeLibrary, caplog: pytest.LogCaptureFixture) -> str:
    """Return the one warning of a search for a library that finds none."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert library.find() is None
    (record,) = caplog.records
    assert record.getMessage().startswith("counting by hand: ")
    return record.getMessage().removeprefix("counting by hand: ")


# Prebuilt, compiled, none


VARIANTS = [(0b111, "x86-64-v4+bf16"), (0b011, "x86-64-v4"), (0b001, "x86-64-v3"), (0, "x86-64")]


@pytest.mark.parametrize(("features", "best"), VARIANTS)
def test_best_variant_that_the_processor_supports(features, best, tiny, package, monkeypatch):
    monkeypatch.setattr(prebuilt, "cpu_features", lambda: features)
    name = prebuilt.library_name("tiny", best, tiny.source)
    assert prebuilt.find_library("tiny", tiny.source) == (package / name, best)


@needs_compiler
@pytest.mark.parametrize(
    "wish", [{}, {"CXX": "c++", "REVIVER_CXXFLAGS": "-DNOTHING"}, {"REVIVER_NATIVE": "compile"}], ids=str
)
def test_a_library_is_compiled_for_who_asks_for_it_or_has_a_damaged_one(wish, tiny, package, monkeypatch, caplog):
    if wish:
        monkeypatch.setattr(tiny, "load_prebuilt", None)
    for name, value in wish.items():
        monkeypatch.setenv(name, value)
    assert double(tiny.library, 21) == 42
    assert not caplog.records
    assert (" -DNOTHING " in tiny.variant) == ("REVIVER_CXXFLAGS" in wish)
    assert re.search(r"^compiled -m(arch|cpu)=native .*by c\+\+ \d", tiny.variant)


NO_COMPILER = r"no C\+\+ compiler found \(c\+\+\); install one, or set CXX to its name"
MESSAGES = [
    ({"PATH": ""}, rf"\S+: .+; {NO_COMPILER}"),
    ({"REVIVER_NATIVE": "prebuilt"}, r"\S+: (?!.*compiler).+"),
    ({"REVIVER_NATIVE": "x86-64-v4"}, "no prebuilt library x86-64-v4 for these sources, this processor and .*"),
    ({"REVIVER_NATIVE": "aarch64"}, "no prebuilt library aarch64 for these sources, .*"),
    ({"REVIVER_NATIVE": "yes"}, r"REVIVER_NATIVE must be one of 0, 1, prebuilt, compile, x86-64-v4\+bf16, .* 'yes'"),
    ({"CXX": "gone"}, r"no C\+\+ compiler found \(gone\); install one, or set CXX to its name"),
    pytest.param({"CXX": "false"}, r"\S*false failed: no message", marks=needs_compiler),
    pytest.param({"REVIVER_CXXFLAGS": "-fnonsense"}, r"\S*c\+\+ failed: .*-fnonsense.*", marks=needs_compiler),
    pytest.param({"CXX": "c++", "REVIVER_CACHE": f"{__file__}/cache"}, ".*test_native.*", marks=needs_compiler),
]


@pytest.mark.parametrize(("environment", "message"), MESSAGES)
def test_messages_where_there_is_no_library(environment, message, tiny, package, monkeypatch, caplog):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert re.fullmatch(message, warning_of_find(tiny, caplog))


def test_no_library_is_looked_for_where_nobody_wants_one(tiny, package, monkeypatch, caplog):
    monkeypatch.setenv("REVIVER_NATIVE", "0")
    assert tiny.library is None
    assert not caplog.records, "it is no lack"


SCRIPT = """
import ctypes, re, sys, torch
from pathlib import Path
from reviver.recurrent.kernel.native import NativeLibrary

Call = type("Call", (ctypes.Structure,), {"_fields_": [("number", ctypes.c_int64)]})
tiny = NativeLibrary("tiny", Path(sys.argv[1]), Call, ("double",), fallback="")
tiny.library.reviver_tiny_double(call := Call(21))
maps = Path("/proc/self/maps").read_text().splitlines()
print(call.number, *{line.split()[-1] for line in maps if re.search(r"/lib(gomp|iomp5|omp)[-.]", line)})
"""


@needs_compiler
def test_processes_that_start_at_once_compile_once_with_torchs_runtime(tiny, tmp_path):
    command = [sys.executable, "-c", SCRIPT, tiny.source]  # in the fixture's environment, with its cache
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(2)]
    runtime = prebuilt.find_runtime(prebuilt.GNU)
    assert [process.communicate() for process in processes] == [(f"42 {runtime}\n", "")] * 2
    assert len(list((tmp_path / "cache").glob("*.so"))) == 1
    assert not list((tmp_path / "cache").glob("build-*"))
    torch_libraries = Path(torch.__file__).with_name("lib")
    assert Path(runtime).parent == torch_libraries or not list(torch_libraries.glob("libgomp*"))


@needs_compiler
def test_what_others_may_write_is_compiled_again(tiny, tmp_path, monkeypatch):
    cache, folder = tmp_path / "cache", tmp_path / os.fsdecode(b"\xff")  # a path that is not UTF-8
    folder.symlink_to(Path(shutil.which("c++")).parent)
    monkeypatch.setenv("CXX", f"{folder}/c++")
    tiny.build(cache)
    (compiled,) = cache.glob("*.so")
    first = compiled.stat().st_ino
    tiny.build(cache)
    assert compiled.stat().st_ino == first, "an intact library is kept"
    compiled.chmod(0o777)
    assert double(tiny.build(cache), 4) == 8
    assert compiled.stat().st_ino != first
    assert compiled.stat().st_mode & 0o777 == 0o700


@needs_compiler
def test_a_cache_that_others_may_write_to_is_refused(tiny, tmp_path, monkeypatch, caplog):
    cache, message = tmp_path / "cache", "belongs to another user, or others can write to it"
    cache.mkdir()
    for mode in (0o770, 0o702, 0o1777):
        cache.chmod(mode)
        assert warning_of_find(tiny, caplog).startswith(f"{cache} {message}")
    cache.chmod(0o700)
    if cache.stat().st_uid == 0:  # what belongs to root is trusted
        os.chown(cache, 12345, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert warning_of_find(tiny, caplog).startswith(f"{cache} {message}")
    assert not list(cache.iterdir())


@needs_compiler
def test_libraries_name_no_runtime_and_use_threads_of_c_without_openmp(tiny, tmp_path, monkeypatch):
    def symbols(command: str, library: ctypes.CDLL) -> str:
        return subprocess.run([*command.split(), library._name], capture_output=True, text=True, check=True).stdout

    assert not re.search(r"NEEDED.*omp", symbols("readelf --dynamic", KERNEL.library))
    assert "GOMP_parallel" in symbols("nm -D", tiny.build(tmp_path / "cache"))
    monkeypatch.setattr(prebuilt, "share_runtime", lambda _: False)
    assert not re.search(r"GOMP_|omp_", symbols("nm -D", tiny.build(tmp_path / "other")))
