"""Lock of the dependencies: writes requirements.lock, requirements-report.lock and requirements-torch.lock.

pip resolves the newest releases within the ranges of pyproject.toml, and reports the file of each with its SHA-256.
`pip install --require-hashes` accepts only these files. So the lock is valid only for the Python version and platform
that created it.

torch is pinned by version without a hash. The same version exists in builds for the CPU and for CUDA, on different
indexes and with different dependencies, and the right one depends on the machine.
"""

import json
import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
TORCH_LOCK = ROOT / "requirements-torch.lock"
REPORT_LOCK = ROOT / "requirements-report.lock"
EXTRAS = ("train", "dev", "docs")

ENVIRONMENT = ("3.11", "Linux", "x86_64")
"""Python version, system and processor of the lock; the Makefile checks the same."""

UNHASHED = re.compile(r"torch|(nvidia|cuda)-.*")
"""Packages without a hash: torch, and the dependencies of its CUDA builds."""

HEADER = """\
# What `make {}` installs on Python {}, {} {}: one file of each package, by its SHA-256.
# Made by `make lock`; torch is in requirements-torch.lock.
"""
TORCH_HEADER = """\
# torch by its version alone: which build of it is right, for the CPU or for CUDA, depends on the machine.
# Made by `make lock`; see tools/lock.py.
"""


def main() -> None:
    """Resolve the dependencies and write the three files."""
    found = (".".join(platform.python_version_tuple()[:2]), platform.system(), platform.machine())
    if found != ENVIRONMENT:
        sys.exit(f"Python version and platform must be {' '.join(ENVIRONMENT)}, got {' '.join(found)}")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = resolve(requirements(project))
    LOCK.write_text(HEADER.format("setup", *ENVIRONMENT) + "".join(map(pinned, packages)), encoding="utf-8")
    needed = set(map(name_of, resolve(requirements(project, ["train"]))))
    report = [package for package in packages if name_of(package) in needed]
    REPORT_LOCK.write_text(HEADER.format("report", *ENVIRONMENT) + "".join(map(pinned, report)), encoding="utf-8")
    torch = next(package for package in packages if name_of(package) == "torch")
    TORCH_LOCK.write_text(f"{TORCH_HEADER}torch=={public_version(torch)}\n", encoding="utf-8")


def requirements(project: Mapping[str, Any], extras: Sequence[str] = EXTRAS) -> list[str]:
    """Return the requirements in pyproject.toml: to run with some extras, and to build."""
    optional = project["project"]["optional-dependencies"]
    return [
        *project["project"]["dependencies"],
        *(requirement for extra in extras for requirement in optional[extra]),
        *project["build-system"]["requires"],
    ]


def resolve(requirements: Iterable[str]) -> list[dict[str, Any]]:
    """Return what pip would install for these requirements into an empty environment, sorted by name."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    result = subprocess.run([*command, *requirements], check=True, stdout=subprocess.PIPE, text=True)
    return sorted(json.loads(result.stdout)["install"], key=name_of)


def pinned(package: Mapping[str, Any]) -> str:
    """Return the line of a package in the lock, or an empty string if it has none."""
    name, source = name_of(package), package["download_info"]
    if UNHASHED.fullmatch(name):
        return ""
    if not source["url"].startswith("https://"):
        sys.exit(
            f"{name}: {source['url']} is not from a package index, so others could not install it; remove it from there"
        )
    return f"{name}=={package['metadata']['version']} --hash=sha256:{source['archive_info']['hashes']['sha256']}\n"


def name_of(package: Mapping[str, Any]) -> str:
    """Return the normalized name of a package (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package["metadata"]["name"]).lower()


def public_version(package: Mapping[str, Any]) -> str:
    """Return the version without its build, such as +cpu."""
    return str(package["metadata"]["version"]).split("+")[0]


if __name__ == "__main__":
    main()
