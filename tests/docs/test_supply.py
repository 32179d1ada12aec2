"""The lock satisfies pyproject.toml and pins every file by its hash."""

import re
import subprocess
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import lock

PROJECT = tomllib.loads((lock.ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


LOCKED, (TORCH,) = lines(lock.LOCK), lines(lock.TORCH_LOCK)
VERSIONS = dict(line.split(" ")[0].split("==") for line in (*LOCKED, TORCH))


def test_every_line_of_the_locks_pins_one_file_by_hash_within_the_ranges() -> None:
    assert all(re.fullmatch(r"[a-z0-9-]+==[^ +]+ --hash=sha256:[0-9a-f]{64}", line) for line in LOCKED)
    assert list(VERSIONS) == [*sorted({line.split("==")[0] for line in LOCKED}), "torch"]
    assert re.fullmatch(r"torch==[\d.]+", TORCH), "torch must be pinned without its build"
    for requirement in map(Requirement, lock.requirements(PROJECT)):
        version = VERSIONS.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not locked; run make lock"
        assert version in requirement.specifier, f"{requirement.name} {version} is locked; run make lock"


def test_the_report_installs_only_what_it_needs() -> None:
    assert set(lines(lock.REPORT_LOCK)) < set(LOCKED)
    names = {line.split("==")[0] for line in lines(lock.REPORT_LOCK)}
    needed = {canonicalize_name(Requirement(text).name) for text in lock.requirements(PROJECT, ["train"])}
    assert needed <= {*names, "torch"}
    assert not names & {"pytest", "ray", "playwright", "sphinx", "onnx", "onnxruntime", "scikit-learn", "pyarrow"}


def test_wheels_have_every_file_of_the_package() -> None:
    package = lock.ROOT / "src" / "reviver"
    command = ["git", "ls-files", "src/reviver"]
    tracked = subprocess.run(command, cwd=lock.ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["reviver"]
    included = {path for pattern in patterns for path in package.glob(pattern)}
    assert {lock.ROOT / name for name in tracked if not name.endswith(".py")} <= included
