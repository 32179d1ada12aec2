"""Build the distributions of Reviver: `python -m tools.wheel` writes them to dist/.

    reviver_nn-VERSION.tar.gz                                 sources; compiles at first use
    reviver_nn-VERSION-py3-none-any.whl                       the same for systems without a platform wheel
    reviver_nn-VERSION-py3-none-manylinux_2_17_x86_64.whl     with prebuilt native libraries
    reviver_nn-VERSION-py3-none-manylinux_2_17_aarch64.whl    the same, where a cross compiler is installed

A platform wheel is the wheel for any system plus the libraries, in the variants of `reviver.recurrent.kernel.prebuilt`. Nothing is
downloaded. The same sources and compiler give the same bytes.
"""

import base64
import gzip
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from reviver.recurrent.kernel.library import KERNEL
from reviver.recurrent.kernel.native import FLAGS as LIBRARY_FLAGS
from reviver.recurrent.kernel.native import FUSED
from reviver.recurrent.kernel.prebuilt import CPU_SOURCE, VARIANTS, library_name
from reviver.system import usable_cores

ROOT = Path(__file__).parents[1]
STAGED = ("pyproject.toml", "README.md", "LICENSE", "src")
"""Files that the distributions are made from."""
MACHINES = tuple(dict.fromkeys(variant.machine for variant in VARIANTS.values()))
"""Architectures that have prebuilt libraries."""
PORTABILITY = Path(__file__).with_name("prebuilt")
SYMBOL_LIMITS = {"GLIBC": (2, 17), "GLIBCXX": (3, 4, 19), "CXXABI": (1, 3, 7), "GCC": (4, 8, 0)}
"""Newest versions of symbols that a system of manylinux_2_17 has (PEP 600, auditwheel's policy)."""
SYSTEM_LIBRARIES = {"libstdc++.so.6", "libgcc_s.so.1", "libc.so.6", "libm.so.6"}
"""Libraries that a prebuilt one may need; not an OpenMP runtime, see `reviver.recurrent.kernel.prebuilt`."""
FLAGS = (FUSED, "-fopenmp", "-fno-sized-deallocation", "-include", str(PORTABILITY / "portable.h"))
"""Flags besides those of each library and variant."""
LINKER_FLAGS = ("-shared", "-s", "-Wl,--as-needed", "-Wl,--build-id=none", "-Wl,-z,relro,-z,now")
EXPORTS = f"-Wl,--version-script={PORTABILITY / 'exports.map'}"


def main() -> None:
    """Build everything that this machine can build, and print the paths."""
    out = ROOT / "dist"
    out.mkdir(exist_ok=True)
    for path in build(out):
        print(path)


def build(out: Path, machines: Collection[str] = MACHINES) -> Iterator[Path]:
    """Write the distributions to the folder `out`, with platform wheels for `machines`, and yield their paths."""
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        stage(temporary / "sources")
        yield rewrite_sdist(build_with_setuptools("sdist", temporary), out)
        pure = build_with_setuptools("wheel", temporary)
        yield write_wheel(read_wheel(pure), out / pure.name)
        for machine in machines:
            compiler = find_compiler(machine)
            if compiler is None:
                print(f"{machine}: no wheel, {machine}-linux-gnu-g++ is not installed", file=sys.stderr)
                continue
            libraries = compile_all(machine, compiler, temporary / machine)
            tag = f"py3-none-manylinux_2_{SYMBOL_LIMITS['GLIBC'][1]}_{machine}"
            yield write_wheel(
                add_libraries(read_wheel(pure), libraries, tag), out / pure.name.replace("py3-none-any", tag)
            )


def stage(folder: Path) -> None:
    """Copy the sources without what builds and runs have left in them."""
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "prebuilt")
    folder.mkdir()
    for name in STAGED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy2(source, folder / name)


def build_with_setuptools(kind: str, temporary: Path) -> Path:
    """Build the `sdist` or the pure `wheel` from the staged sources; return its path in the folder `temporary`."""
    program = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
    folder = temporary / kind
    folder.mkdir()
    run([sys.executable, "-c", program, str(folder)], cwd=temporary / "sources")
    (path,) = folder.iterdir()
    return path


# Libraries


def find_compiler(machine: str) -> str | None:
    """Return the compiler for an architecture: `$CXX` or c++ for this one, else GCC's cross compiler."""
    own = os.environ.get("CXX") or "c++"
    return shutil.which(own if machine == platform.machine() else f"{machine}-linux-gnu-g++")


def compile_all(machine: str, compiler: str, folder: Path) -> dict[str, bytes]:
    """Compile the kernel in each variant of an architecture, and return the files by name."""
    folder.mkdir()
    jobs = [
        (library_name(KERNEL.name, name, KERNEL.source), KERNEL.source, (*LIBRARY_FLAGS, *variant.flags))
        for name, variant in VARIANTS.items()
        if variant.machine == machine
    ]
    if machine == "x86_64":
        jobs.append((library_name("cpu", "x86-64", CPU_SOURCE), CPU_SOURCE, ("-O2", "-fPIC", "-march=x86-64")))

    with ThreadPoolExecutor(usable_cores()) as pool:
        futures = {name: pool.submit(compile_library, compiler, folder / name, *job) for name, *job in jobs}
        return {name: future.result() for name, future in futures.items()}


def compile_library(compiler: str, path: Path, source: Path, flags: Sequence[str]) -> bytes:
    """Compile a library to `path`, check it, and return its content."""
    compiled = path.with_suffix(".o")
    kept = [flag for flag in flags if flag != "-shared"]
    run([compiler, *kept, *FLAGS, "-c", str(source), "-o", str(compiled)])
    run([compiler, *LINKER_FLAGS, EXPORTS, str(compiled), "-o", str(path)])
    check_library(path)
    return path.read_bytes()


def check_library(path: Path) -> None:
    """Exit with a message if a library needs more of a system than manylinux_2_17 and torch give it."""
    text = run(["readelf", "--wide", "--dynamic", "--version-info", "--dyn-syms", str(path)]).decode()
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", text))
    if extra := {name for name in needed - SYSTEM_LIBRARIES if not name.startswith("ld-linux")}:
        raise SystemExit(f"{path.name} needs {', '.join(sorted(extra))}")
    for kind, version in re.findall(r"Name: (\w+)_([\d.]+)", text):
        if tuple(map(int, version.split("."))) > SYMBOL_LIMITS[kind]:
            raise SystemExit(f"{path.name} needs {kind}_{version}, newer than manylinux_2_17")
    undefined = set(re.findall(r"GLOBAL +DEFAULT +UND (\w+)$", text, re.MULTILINE))  # without a version
    if extra := {name for name in undefined if not name.startswith(("GOMP_", "omp_"))}:
        raise SystemExit(f"{path.name} has undefined symbols: {', '.join(sorted(extra))}")


def run(command: list[str], cwd: Path | None = None) -> bytes:
    """Run a command and return its output, or exit with its messages."""
    result = subprocess.run(command, cwd=cwd, capture_output=True, check=False)
    if result.returncode != 0:
        raise SystemExit(f"{command[0]} failed:\n{result.stderr.decode(errors='replace')}")
    return result.stdout


# Archives


def read_wheel(path: Path) -> dict[str, bytes]:
    """Return the files of a wheel by name."""
    with ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def add_libraries(files: Mapping[str, bytes], libraries: Mapping[str, bytes], tag: str) -> dict[str, bytes]:
    """Return the files of a pure wheel with libraries, as a wheel with this tag."""
    (name,) = (name for name in files if name.endswith(".dist-info/WHEEL"))
    text = files[name].decode()
    for before, after in (("Root-Is-Purelib: true", "Root-Is-Purelib: false"), ("Tag: py3-none-any", f"Tag: {tag}")):
        assert before in text
        text = text.replace(before, after)
    prebuilt = {f"reviver/recurrent/kernel/prebuilt/{library}": content for library, content in libraries.items()}
    return {**files, **prebuilt, name: text.encode()}


def write_wheel(files: Mapping[str, bytes], path: Path) -> Path:
    """Write a wheel whose RECORD lists these files; its metadata is at its end, as the format recommends."""
    (record,) = (name for name in files if name.endswith(".dist-info/RECORD"))
    names = sorted((name for name in files if name != record), key=lambda name: (".dist-info/" in name, name))
    lines = []
    for name in names:
        digest = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(files[name])}\n")
    contents = {**{name: files[name] for name in names}, record: "".join([*lines, f"{record},,\n"]).encode()}
    date = time.gmtime(max(build_time(), 315_532_800))[:6]  # a ZIP archive has no dates before 1980
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            entry = ZipInfo(name, date)
            entry.external_attr = (0o100755 if name.endswith(".so") else 0o100644) << 16
            archive.writestr(entry, content, ZIP_DEFLATED)
    return path


def rewrite_sdist(source: Path, folder: Path) -> Path:
    """Copy a source distribution, with the same times and no owners."""
    target = folder / source.name
    tar = io.BytesIO()
    with tarfile.open(source) as old, tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = build_time(), 0, 0, "", ""
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    with target.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=build_time()) as archive:
        archive.write(tar.getvalue())
    return target


def build_time() -> int:
    """Return the time of all files in seconds since 1970: `$SOURCE_DATE_EPOCH`, else 1980."""
    return int(os.environ.get("SOURCE_DATE_EPOCH", "315532800"))


if __name__ == "__main__":
    main()
