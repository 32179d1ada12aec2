"""Where a native library comes from: prebuilt, compiled, or not at all; the cache, and the OpenMP runtime that it uses."""

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

from reviver.lstm.kernel import library
from reviver.lstm.kernel.library import KERNEL
from reviver.lstm.native import NativeError, compiler, openmp, prebuilt

needs_compiler = pytest.mark.skipif(
    KERNEL.library() is None or sys.platform != "linux", reason="no native kernel on this machine"
)
WITHOUT = "the native LSTM kernel is not available, using the slower equations: "


@pytest.fixture(autouse=True)
def _defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CXX", "REVIVER_CXXFLAGS", "REVIVER_NATIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(KERNEL, "_variant", KERNEL._variant)  # later tests record it in their runs


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of prebuilt libraries that has files of all variants, but no code in them."""
    monkeypatch.setattr(prebuilt, "FOLDER", tmp_path)
    monkeypatch.setattr(prebuilt.platform, "machine", lambda: "x86_64")
    for variant in prebuilt.VARIANTS:
        (tmp_path / prebuilt.library_name("lstm", variant, KERNEL.source)).write_bytes(b"not a library")
    return tmp_path


@pytest.fixture(scope="module")
def compiled_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache with the kernel, compiled once, without optimization, for the tests that copy it."""
    folder = tmp_path_factory.mktemp("compiled") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REVIVER_CXXFLAGS", "-O0")
        patch.setattr(KERNEL, "_variant", KERNEL._variant)
        KERNEL.build(folder)
    return folder


@pytest.fixture
def cache(compiled_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a private cache with the kernel."""
    monkeypatch.setenv("REVIVER_CXXFLAGS", "-O0")
    return shutil.copytree(compiled_cache, tmp_path / "cache")


def warning_of_find(caplog: pytest.LogCaptureFixture) -> str:
    """Return the one warning of a search for the library that finds none."""
    with caplog.at_level(logging.WARNING):
        assert KERNEL.find() is None
    (record,) = caplog.records
    assert record.getMessage().startswith(WITHOUT)
    return record.getMessage().removeprefix(WITHOUT)


# Choice of the variant


@pytest.mark.parametrize(
    ("machine", "features", "best"),
    [
        ("x86_64", 0b111, "x86-64-v4+bf16"),
        ("x86_64", 0b011, "x86-64-v4"),
        ("x86_64", 0b001, "x86-64-v3"),
        ("x86_64", 0, "x86-64"),
        ("aarch64", None, "aarch64"),
    ],
)
def test_best_variant_that_the_processor_supports(
    machine: str, features: int | None, best: str, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prebuilt.platform, "machine", lambda: machine)
    monkeypatch.setattr(
        prebuilt, "cpu_features", (lambda: features) if features is not None else prebuilt.cpu_features.__wrapped__
    )
    name = prebuilt.library_name("lstm", best, KERNEL.source)
    assert prebuilt.find_library("lstm", KERNEL.source) == (package / name, best)


def test_variant_that_the_processor_does_not_support_is_refused(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prebuilt, "cpu_features", lambda: 0b001)
    assert prebuilt.find_library("lstm", KERNEL.source, "x86-64-v3")[1] == "x86-64-v3"
    with pytest.raises(NativeError, match=r"the processor supports none of the prebuilt variants x86-64-v4$"):
        prebuilt.find_library("lstm", KERNEL.source, "x86-64-v4")
    with pytest.raises(NativeError, match="no prebuilt library of the variant aarch64 for this machine"):
        prebuilt.find_library("lstm", KERNEL.source, "aarch64")


def test_changed_sources_are_never_run_from_a_prebuilt_library(package: Path, tmp_path: Path) -> None:
    assert prebuilt.libraries("lstm", KERNEL.source)
    changed = tmp_path / "sources" / "lstm.cpp"
    changed.parent.mkdir()
    changed.write_bytes(KERNEL.source.read_bytes() + b"\n")
    assert not prebuilt.libraries("lstm", changed)
    digest = prebuilt.source_digest(changed)
    (changed.parent / "header.h").write_text("")
    assert prebuilt.source_digest(changed) != digest


@needs_compiler
def test_every_flag_of_a_variant_is_known_to_the_compiler() -> None:
    for name, variant in prebuilt.VARIANTS.items():
        if variant.machine == prebuilt.platform.machine():
            command = ["c++", *variant.flags, "-E", "-x", "c++", "/dev/null"]
            assert subprocess.run(command, capture_output=True, check=False).returncode == 0, name


# Order: prebuilt, compiled, none


@needs_compiler
def test_damaged_prebuilt_library_is_compiled_instead(package: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert KERNEL.find() is not None
    assert KERNEL._variant.startswith("compiled ")
    assert not caplog.records


@needs_compiler
@pytest.mark.parametrize(
    ("name", "value"), [("CXX", "c++"), ("REVIVER_CXXFLAGS", "-DNOTHING"), ("REVIVER_NATIVE", "compile")]
)
def test_user_may_ask_for_a_compiled_library(
    name: str, value: str, package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KERNEL, "load_prebuilt", None)
    monkeypatch.setenv(name, f"-O0 {value}" if name == "REVIVER_CXXFLAGS" else value)
    monkeypatch.setenv("REVIVER_CACHE", str(cache))
    assert KERNEL.find() is not None
    assert (" -DNOTHING " in KERNEL._variant) == (name == "REVIVER_CXXFLAGS")
    assert re.search(r"^compiled -m(arch|cpu)=native .*by c\+\+ \d", KERNEL._variant)


def test_messages_where_there_is_no_library(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    no_compiler = r"no C\+\+ compiler found \(c\+\+\); install one, or set CXX to its name"
    (tmp_path / "file").write_text("in the way")
    cases = [  # environment, message
        ({"PATH": ""}, rf"\S+: .+; {no_compiler}"),
        ({"REVIVER_NATIVE": "compile", "PATH": ""}, no_compiler),
        ({"REVIVER_NATIVE": "prebuilt"}, r"\S+: (?!.*compiler).+"),
        ({"REVIVER_NATIVE": "x86-64"}, r"\S+: (?!.*compiler).+"),
        (
            {"REVIVER_NATIVE": "yes"},
            r"REVIVER_NATIVE must be one of 0, 1, prebuilt, compile, x86-64-v4\+bf16, .* 'yes'",
        ),
    ]
    if shutil.which("c++"):
        blocked = str(tmp_path / "file" / "cache")
        cases += [
            ({"CXX": "false"}, "false failed: no message"),
            ({"CXX": "c++", "REVIVER_CACHE": blocked}, ".*file.*"),
        ]
    for environment, message in cases:
        caplog.clear()
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            found = warning_of_find(caplog)
        assert re.fullmatch(message, found.replace(f"{shutil.which('false')} failed", "false failed")), found


def test_without_a_kernel_the_results_are_the_same(tmp_path: Path) -> None:
    script = (
        "import torch; from reviver.lstm import kernel; from reviver.lstm.layer import LSTM;"
        "torch.manual_seed(0); lstm = LSTM(2, 5, hidden_dropout=0.5); output, _ = lstm(torch.randn(3, 2, 2));"
        "print(kernel.available(), round(output.sum().item(), 4))"
    )
    outputs = []
    for environment in ({"REVIVER_NATIVE": "0"}, {}):
        command, settings = [sys.executable, "-c", script], {**os.environ, **environment}
        result = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
        assert result.stderr == ""
        outputs.append(result.stdout.split())
    assert outputs[0][0] == "False"
    assert outputs[1] == [str(KERNEL.library() is not None), outputs[0][1]]


# The cache


@needs_compiler
def test_cache_is_made_once_by_processes_that_start_at_once(tmp_path: Path) -> None:
    script = "from reviver.lstm.kernel.library import KERNEL; print(KERNEL.find() is not None)"
    environment = {**os.environ, "REVIVER_CACHE": str(tmp_path / "cache"), "REVIVER_CXXFLAGS": "-O0"}
    command, pipes = [sys.executable, "-c", script], {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, env=environment, text=True, **pipes) for _ in range(2)]
    assert [process.communicate() for process in processes] == [("True\n", "")] * 2
    assert len(list((tmp_path / "cache").glob("*.so"))) == 1
    assert not list((tmp_path / "cache").glob("build-*"))


@needs_compiler
def test_what_is_damaged_or_may_be_written_by_others_is_compiled_again(cache: Path) -> None:
    (compiled,) = cache.glob("*.so")
    first, whole = compiled.stat().st_ino, compiled.read_bytes()
    KERNEL.build(cache)
    assert compiled.stat().st_ino == first, "an intact library is kept"
    compiled.chmod(0o777)
    KERNEL.build(cache)
    second = compiled.stat().st_ino
    assert second != first
    compiled.write_bytes(whole[: len(whole) // 2])  # as a killed copy would leave it
    KERNEL.build(cache)
    assert compiled.stat().st_mode & 0o777 == 0o700
    assert ctypes.CDLL(str(compiled)).reviver_lstm_call_size() == ctypes.sizeof(library.Call)


@needs_compiler
@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_cache_that_others_may_write_to_is_refused(
    mode: int, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache.chmod(mode)
    monkeypatch.setenv("REVIVER_CACHE", str(cache))
    monkeypatch.setattr(KERNEL, "_open", None)
    assert warning_of_find(caplog).startswith(f"{cache} belongs to another user, or others can write to it")


@needs_compiler
def test_a_cache_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiler.is_private(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    is_roots = tmp_path.stat().st_uid == 0
    assert compiler.is_private(tmp_path) == is_roots
    if is_roots:  # then it can be given to another
        os.chown(tmp_path, 12345, -1)
    with pytest.raises(NativeError, match="belongs to another user"):
        KERNEL.build(tmp_path)


# OpenMP


@needs_compiler
def test_compiled_library_uses_the_one_runtime_of_torch() -> None:
    script = (
        "import re, torch; from reviver import LSTM; from reviver.lstm import kernel; torch.set_num_threads(2);"
        "lstm = LSTM(10, 128); output, _ = lstm(torch.randn(50, 128, 10)); output.sum().backward();"
        "assert kernel.available(); maps = open('/proc/self/maps');"
        "print(*{line.split()[-1] for line in maps if re.search(r'/lib(gomp|iomp5|omp)[-.]', line)})"
    )
    command = [sys.executable, "-c", script]
    paths = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert paths == [openmp.find_runtime(openmp.GNU)]
    torch_libraries = Path(torch.__file__).with_name("lib")
    assert Path(paths[0]).parent == torch_libraries or not list(torch_libraries.glob("libgomp*"))
    assert not openmp.share_runtime("GOMP_of_the_future")


@needs_compiler
def test_libraries_name_no_runtime_and_use_threads_of_c_without_openmp(
    package: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def output_of(*command: object) -> str:
        return subprocess.run([*map(str, command)], capture_output=True, text=True, check=True).stdout

    (compiled,) = cache.glob("*.so")
    needed = output_of("readelf", "--dynamic", compiled)
    assert "NEEDED" in needed
    assert "omp" not in needed
    assert "GOMP_parallel" in output_of("nm", "-D", compiled)
    monkeypatch.setattr(openmp, "share_runtime", lambda _: False)
    monkeypatch.setattr(prebuilt, "cpu_features", lambda: 0)
    assert not re.search(r"GOMP_|omp_", output_of("nm", "-D", KERNEL.build(tmp_path / "other")._name))
    with pytest.raises(NativeError, match="torch has loaded no OpenMP runtime that prebuilt libraries can use"):
        KERNEL.load_prebuilt()
