"""Where a native library comes from: prebuilt, compiled, or not at all; and the OpenMP runtime that it uses."""

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reviver.lstm.kernel.library import KERNEL
from reviver.lstm.native import NativeError, openmp, prebuilt
from reviver.runs.devices import describe_machine
from reviver.runs.environment import find_changes
from reviver.runs.folder import RunFolder
from tests.test_determinism import resume, started_run

__all__ = ["started_run"]  # a fixture

needs_compiler = pytest.mark.skipif(
    KERNEL.library() is None or sys.platform != "linux", reason="no native kernel on this machine"
)


@pytest.fixture(autouse=True)
def _defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CXX", "REVIVER_CXXFLAGS", "REVIVER_NATIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of prebuilt libraries that has files of all variants, but no code in them."""
    monkeypatch.setattr(prebuilt, "FOLDER", tmp_path)
    monkeypatch.setattr(prebuilt.platform, "machine", lambda: "x86_64")
    for variant in prebuilt.VARIANTS:
        (tmp_path / prebuilt.library_name("lstm", variant, KERNEL.source)).write_bytes(b"not a library")
    return tmp_path


# Choice of the variant


@pytest.mark.parametrize(
    ("features", "best"), [(0b111, "x86-64-v4+bf16"), (0b011, "x86-64-v4"), (0b001, "x86-64-v3"), (0, "x86-64")]
)
def test_best_variant_that_the_processor_supports(
    features: int, best: str, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prebuilt, "_cpu_features", lambda: features)
    path, variant = prebuilt.find_library("lstm", KERNEL.source)
    assert variant == best
    assert path == package / prebuilt.library_name("lstm", best, KERNEL.source)


def test_variant_that_the_processor_does_not_support_is_refused(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prebuilt, "_cpu_features", lambda: 0b001)
    assert prebuilt.find_library("lstm", KERNEL.source, "x86-64-v3")[1] == "x86-64-v3"
    with pytest.raises(NativeError, match=r"the processor supports none of the prebuilt variants x86-64-v4$"):
        prebuilt.find_library("lstm", KERNEL.source, "x86-64-v4")
    with pytest.raises(NativeError, match="no prebuilt library of the variant aarch64 for this machine"):
        prebuilt.find_library("lstm", KERNEL.source, "aarch64")


def test_arm_has_its_own_variant(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prebuilt.platform, "machine", lambda: "aarch64")
    assert prebuilt.find_library("lstm", KERNEL.source)[1] == "aarch64"
    assert prebuilt._cpu_features.__wrapped__() == 0


def test_changed_sources_are_never_run_from_a_prebuilt_library(package: Path, tmp_path: Path) -> None:
    assert prebuilt.is_available("lstm", KERNEL.source)
    changed = tmp_path / "sources" / "lstm.cpp"
    changed.parent.mkdir()
    changed.write_bytes(KERNEL.source.read_bytes() + b"\n")
    assert not prebuilt.is_available("lstm", changed)
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
def test_without_openmp_of_gcc_the_library_is_compiled_with_threads_of_c(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openmp, "share_runtime", lambda _: False)
    monkeypatch.setenv("REVIVER_CXXFLAGS", "-O0")  # compiling takes a third of the time
    monkeypatch.setattr(KERNEL, "_variant", KERNEL._variant)  # later tests record it in their runs
    library = KERNEL.build(tmp_path / "cache")
    symbols = subprocess.run(["nm", "-D", library._name], capture_output=True, text=True, check=True).stdout
    assert not re.search(r"GOMP_|omp_", symbols)
    with pytest.raises(NativeError, match="torch has loaded no OpenMP runtime that prebuilt libraries can use"):
        KERNEL.load_prebuilt()


def test_no_library_and_no_compiler_is_one_warning_with_both_reasons(
    package: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", "")
    with caplog.at_level(logging.WARNING):
        assert KERNEL.find() is None
    (record,) = caplog.records
    assert re.fullmatch(
        r"the native LSTM kernel is not available, using the slower equations: \S+: .+; "
        r"no C\+\+ compiler found \(c\+\+\); install one, or set CXX to its name",
        record.getMessage(),
    )


@needs_compiler
@pytest.mark.parametrize(
    ("name", "value"), [("CXX", "c++"), ("REVIVER_CXXFLAGS", "-DNOTHING"), ("REVIVER_NATIVE", "compile")]
)
def test_user_may_ask_for_a_compiled_library(
    name: str, value: str, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KERNEL, "load_prebuilt", None)
    monkeypatch.setenv(name, value)
    assert KERNEL.find() is not None
    assert (" -DNOTHING " in KERNEL._variant) == (name == "REVIVER_CXXFLAGS")


@pytest.mark.parametrize("value", ["prebuilt", "x86-64"])
def test_user_may_ask_for_a_prebuilt_library_only(
    value: str, package: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(KERNEL, "build", None)
    monkeypatch.setenv("REVIVER_NATIVE", value)
    assert KERNEL.find() is None
    assert len(caplog.records) == 1


def test_unknown_choice_is_reported(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("REVIVER_NATIVE", "yes")
    assert KERNEL.find() is None
    assert "REVIVER_NATIVE must be one of 0, 1, prebuilt, compile, x86-64-v4+bf16, " in caplog.text
    assert caplog.text.rstrip().endswith("got 'yes'")


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
    assert paths == [openmp._find_runtime(openmp.GNU)]
    torch_libraries = Path(torch.__file__).with_name("lib")
    assert Path(paths[0]).parent == torch_libraries or not list(torch_libraries.glob("libgomp*"))


@needs_compiler
def test_compiled_library_does_not_name_a_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVIVER_CXXFLAGS", "-O0")
    monkeypatch.setattr(KERNEL, "_variant", KERNEL._variant)
    library = KERNEL.build(tmp_path / "cache")
    text = subprocess.run(["readelf", "--dynamic", library._name], capture_output=True, text=True, check=True).stdout
    assert "NEEDED" in text
    assert "omp" not in text


def test_function_that_no_runtime_has() -> None:
    assert not openmp.share_runtime("GOMP_of_the_future")


# Record of the run


def test_run_records_the_build_and_a_resume_with_another_is_reported(
    started_run: RunFolder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hardware = started_run.record["hardware"]
    assert hardware["native"] == KERNEL.variant
    assert hardware == describe_machine(torch.device("cpu"), KERNEL.variant)
    started_run.save_record(hardware={**hardware, "native": "prebuilt x86-64-v3"})
    [change] = resume(started_run)["changes"]
    assert change["native"] == ["prebuilt x86-64-v3", KERNEL.variant]
    assert f"native was prebuilt x86-64-v3 and is {KERNEL.variant}; results may no longer be" in caplog.text


def test_run_of_a_version_that_did_not_record_the_build_is_not_reported(
    started_run: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    hardware = dict(started_run.record["hardware"])
    del hardware["native"]
    started_run.save_record(hardware=hardware)
    assert "changes" not in resume(started_run)
    assert not caplog.records
    assert find_changes({"hardware": {"threads": 1}}, {"hardware": {"threads": 2, "native": "none"}}) == {
        "threads": [1, 2]
    }
