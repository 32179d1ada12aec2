"""Node.js for the tests of the explorer: what the modules of the page compute."""

import atexit
import base64
import io
import json
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

WEB = Path(__file__).parents[2] / "web"
needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (WEB / "node_modules" / "assemblyscript").exists(),
    reason="no Node.js with the packages of web/: what the page computes is not compared with Python",
)


@cache
def bundle(name: str) -> Path:
    """Return where the modules of web/tests/NAME.ts are one file, which the first call of a process builds."""
    path = Path(tempfile.gettempdir()) / f"reviver-{name}-{os.getpid()}.mjs"
    atexit.register(path.unlink, missing_ok=True)
    return path


def compute(name: str, request: Any) -> Any:
    """Return the results of web/tests/NAME.ts for a request."""
    command = ["node", str(WEB / "tests" / "run.mjs"), name, str(bundle(name)), "/dev/stdin"]
    node = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=False)
    assert node.returncode == 0, node.stderr
    return json.loads(node.stdout)


def pack(folder: Path, change: Callable[[str, bytes], bytes] = lambda _, content: content) -> str:
    """Return the zip of a folder in base64, compressed; `change` may alter the content of each file, given its name."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.writestr(str(path.relative_to(folder.parent)), change(path.name, path.read_bytes()))
    return base64.b64encode(file.getvalue()).decode("ascii")


def extract(archive: str, folder: Path) -> None:
    """Extract a zip in base64."""
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(archive))) as found:
        assert found.testzip() is None
        found.extractall(folder)
