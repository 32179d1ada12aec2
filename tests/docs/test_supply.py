"""The lock satisfies pyproject.toml and pins every file by its hash, and the audit reports vulnerabilities."""

import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import lock
from tools.audit import KNOWN, problems_of

LINE = re.compile(r"([a-z0-9-]+)==([^ +]+) --hash=sha256:[0-9a-f]{64}")
PROJECT = tomllib.loads((lock.ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def versions() -> dict[str, str]:
    found = [LINE.fullmatch(line) for line in lines(lock.LOCK)]
    torch = [line.split("==") for line in lines(lock.TORCH_LOCK)]
    return {match[1]: match[2] for match in found if match is not None} | dict(torch)


def test_every_line_of_the_lock_pins_one_file_by_hash() -> None:
    names = [line.split("==")[0] for line in lines(lock.LOCK) if LINE.fullmatch(line)]
    assert names == sorted(set(names))
    assert len(names) == len(lines(lock.LOCK))
    assert lines(lock.TORCH_LOCK) == [f"torch=={versions()['torch']}"]
    assert "+" not in versions()["torch"], "torch must be pinned without its build"


def test_lock_satisfies_the_version_ranges() -> None:
    for requirement in map(Requirement, lock.requirements(PROJECT)):
        version = versions().get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not locked; run make lock"
        assert version in requirement.specifier, f"{requirement.name} {version} is locked; run make lock"


def test_the_report_installs_only_what_it_needs() -> None:
    """Each line is one of the whole lock; it satisfies the ranges of the extra train, and nothing is for tests or docs."""
    found = lines(lock.REPORT_LOCK)
    assert set(found) < set(lines(lock.LOCK))
    names = {line.split("==")[0] for line in found}
    needed = {canonicalize_name(Requirement(text).name) for text in lock.requirements(PROJECT, ["train"])}
    assert needed - {"torch"} <= names
    assert len(names) < 45
    assert not names & {"pytest", "ray", "playwright", "sphinx", "onnx", "onnxruntime", "scikit-learn", "pyarrow"}


def test_makefile_uses_the_lock_only_in_its_environment() -> None:
    version, system, processor = lock.ENVIRONMENT
    condition = re.search(r"^IS_LOCKED := (.*)$", (lock.ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert condition is not None
    program = (
        "import sys, platform\n"
        f"sys.version_info = ({version.replace('.', ', ')}, 0)\n"
        f"platform.system, platform.machine = lambda: {system!r}, lambda: {processor!r}\n"
    )
    for change, is_locked in {
        "": True,
        "sys.version_info = (3, 12, 0)": False,
        "platform.system = lambda: 'Darwin'": False,
        "platform.machine = lambda: 'aarch64'": False,
    }.items():
        result = subprocess.run([sys.executable, "-c", f"{program}{change}\n{condition[1]}"], check=False)
        assert (result.returncode == 0) == is_locked, change


def package(name: str, version: str, url: str) -> dict[str, Any]:
    source = {"url": url, "archive_info": {"hashes": {"sha256": "0" * 64}}}
    return {"metadata": {"name": name, "version": version}, "download_info": source}


def test_packages_are_pinned_by_version_and_hash_except_torch_and_local_files() -> None:
    line = lock.pinned(package("Py_Yaml", "6.0", "https://files.example/py_yaml-6.0.whl"))
    assert line == f"py-yaml==6.0 --hash=sha256:{'0' * 64}\n"
    for name in ("torch", "nvidia-cudnn-cu13", "cuda-toolkit"):
        assert lock.pinned(package(name, "2.13.0+cpu", "file:///wheels/one.whl")) == ""
    assert lock.public_version(package("torch", "2.13.0+cpu", "")) == "2.13.0"
    for name in ("torchmetrics", "numpy"):
        with pytest.raises(SystemExit, match=f"{name}: file:///wheels/one.whl is not from a package index"):
            lock.pinned(package(name, "1.0", "file:///wheels/one.whl"))


# The audit


@contextmanager
def service(vulnerable: set[tuple[str, str]]) -> Iterator[str]:
    """Yield the URL of a service that answers as OSV does, and lists a vulnerability of these releases."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            events = [{"introduced": "0"}, {"fixed": "99.1"}]
            affected = {"package": query["package"], "ranges": [{"type": "ECOSYSTEM", "events": events}]}
            known = {"vulns": [{"id": "PYSEC-2026-1", "summary": "It breaks.", "affected": [affected]}]}
            answer = json.dumps(known if (query["package"]["name"], query["version"]) in vulnerable else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def audit(url: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home), "NO_PROXY": "*", "no_proxy": "*"}
    command = [sys.executable, "-m", "tools.audit", "--url", url]
    return subprocess.run(command, cwd=lock.ROOT, env=environment, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("name", [None, "torch", "jinja2"])
def test_audit_fails_with_a_known_vulnerability(name: str | None, tmp_path: Path) -> None:
    with service({KNOWN, *([(name, versions()[name])] if name else [])}) as url:
        result = audit(url, tmp_path)
    fine = f"requirements.lock: {len(versions())} packages audited, no vulnerability is known\n"
    problem = (
        f"{name}: {versions()[name]} has the vulnerability PYSEC-2026-1, fixed in 99.1; "
        "raise its range in pyproject.toml and run make lock\n"
        if name
        else ""
    )
    assert (result.returncode, result.stdout, result.stderr) == (bool(name), "" if name else fine, problem)


def test_audit_passes_if_the_service_does_not_answer_or_cannot_be_trusted(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # does not listen
        result = audit(f"http://127.0.0.1:{unused.getsockname()[1]}", tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(r"requirements\.lock: not audited, http://\S+ does not answer \(.*refused.*\)\n", result.stdout)
    with service(set()) as url:
        result = audit(url, tmp_path)
    assert result.returncode == 0
    assert result.stdout.endswith("does not answer (it does not know a known vulnerability)\n")
    skipped = {"name": "numpy", "skip_reason": "its line cannot be read"}
    assert problems_of(skipped) == ["numpy: was not audited (its line cannot be read); run make lock"]
