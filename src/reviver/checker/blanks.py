"""The files that students fill in: signatures, shapes and equations, without a solution."""

from importlib.resources import files
from pathlib import Path

from reviver.errors import ConfigError
from reviver.files.file_errors import check_writable


def write_start(network: str, path: Path) -> Path:
    """Write the file to fill in for `lstm` or `gan`, and return its path; an existing file is a `ConfigError`."""
    if path.exists():
        raise ConfigError(f"out must be a new file, got {path}, which exists; choose another --out", field="out")
    check_writable(path)
    path.write_text((files("reviver.checker") / f"my_{network}.txt").read_text(encoding="utf-8"), encoding="utf-8")
    return path
