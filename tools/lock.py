"""Writes requirements.lock and requirements-torch.lock: the dependencies that continuous integration installs.

pip finds the newest releases that fit the ranges of pyproject.toml and says which file of each it would take, with
the file's SHA-256; that file and no other is what `pip install --require-hashes` then accepts. So the lock holds for
the Python and the platform that made it.

torch is pinned by its version alone. The same version exists in builds for the CPU and for CUDA, each on another
index and with other companions, and which one is right depends on the machine that installs it.
"""

import json
import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
TORCH_LOCK = ROOT / "requirements-torch.lock"
EXTRAS = ("dev",)

ENVIRONMENT = ("3.11", "Linux", "x86_64")
"""Python's version, system and processor that the lock is for; the Makefile says the same."""

UNHASHED = re.compile(r"torch|triton|(nvidia|cuda)-.*")
"""torch and what only its builds for CUDA bring along."""

HEADER = """\
# What `make setup` installs on Python {}, {} {}: one file of each package, by its SHA-256.
# Made by `make lock`; torch is in requirements-torch.lock.
"""
TORCH_HEADER = """\
# torch by its version alone: which build of it is right, for the CPU or for CUDA, depends on the machine.
# Made by `make lock`; see tools/lock.py.
"""


def main() -> None:
    """Resolve, and write both files."""
    found = (".".join(platform.python_version_tuple()[:2]), platform.system(), platform.machine())
    if found != ENVIRONMENT:
        sys.exit(f"Python and platform: {' '.join(found)} is not what the lock is for; use {' '.join(ENVIRONMENT)}")
    packages = resolve(requirements(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))))
    LOCK.write_text(HEADER.format(*ENVIRONMENT) + "".join(map(pinned, packages)), encoding="utf-8")
    torch = next(package for package in packages if name_of(package) == "torch")
    TORCH_LOCK.write_text(f"{TORCH_HEADER}torch=={public_version(torch)}\n", encoding="utf-8")


def requirements(project: Mapping[str, Any]) -> list[str]:
    """What pyproject.toml asks for: to run, to develop and to build."""
    extras = project["project"]["optional-dependencies"]
    return [
        *project["project"]["dependencies"],
        *(requirement for extra in EXTRAS for requirement in extras[extra]),
        *project["build-system"]["requires"],
    ]


def resolve(wanted: Iterable[str]) -> list[dict[str, Any]]:
    """What pip would install for these requirements into an empty environment, by name."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    result = subprocess.run([*command, *wanted], check=True, stdout=subprocess.PIPE, text=True)
    return sorted(json.loads(result.stdout)["install"], key=name_of)


def pinned(package: Mapping[str, Any]) -> str:
    """The line of a package in the lock; empty for those that have none."""
    name, source = name_of(package), package["download_info"]
    if UNHASHED.fullmatch(name):
        return ""
    if not source["url"].startswith("https://"):
        sys.exit(f"{name}: {source['url']} is not from an index, so others could not install it; take it out of there")
    return f"{name}=={package['metadata']['version']} --hash=sha256:{source['archive_info']['hashes']['sha256']}\n"


def name_of(package: Mapping[str, Any]) -> str:
    """The name of a package as indexes write it."""
    return re.sub(r"[-_.]+", "-", package["metadata"]["name"]).lower()


def public_version(package: Mapping[str, Any]) -> str:
    """The version without the name of a build, such as +cpu."""
    return str(package["metadata"]["version"]).split("+")[0]


if __name__ == "__main__":
    main()
