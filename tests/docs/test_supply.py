"""The lock satisfies pyproject.toml and pins every file by its hash, and the audit reports vulnerabilities."""

import json
import platform
import re
import socket
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

from tools import audit, lock

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
    assert {canonicalize_name(Requirement(text).name) for text in lock.requirements(PROJECT, ["train"])} <= {
        *names,
        "torch",
    }
    assert len(names) < 45
    assert not names & {"pytest", "ray", "playwright", "sphinx", "onnx", "onnxruntime", "scikit-learn", "pyarrow"}


@pytest.mark.parametrize(
    ("change", "is_locked"),
    [({}, True), ({"version": "3.12"}, False), ({"system": "Darwin"}, False), ({"processor": "aarch64"}, False)],
)
def test_makefile_uses_the_lock_only_in_its_environment(
    change: dict[str, str], is_locked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = dict(zip(("version", "system", "processor"), lock.ENVIRONMENT, strict=True)) | change
    monkeypatch.setattr(sys, "version_info", (*map(int, found["version"].split(".")), 0))
    monkeypatch.setattr(platform, "system", lambda: found["system"])
    monkeypatch.setattr(platform, "machine", lambda: found["processor"])
    condition = re.search(r"^IS_LOCKED := (.*)$", (lock.ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert condition is not None
    with pytest.raises(SystemExit) as caught:
        exec(condition[1])
    assert (not caught.value.code) == is_locked


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


@contextmanager
def service(*vulnerable: tuple[str, str]) -> Iterator[str]:
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


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs the audit with a service, and returns what it prints and the error that it ends with."""
    for name, value in {"HOME": tmp_path, "XDG_CACHE_HOME": tmp_path, "NO_PROXY": "*", "no_proxy": "*"}.items():
        monkeypatch.setenv(name, str(value))

    def run(url: str) -> tuple[str, object]:
        monkeypatch.setattr(sys, "argv", ["audit", "--url", url])
        try:
            error = audit.main()
        except SystemExit as caught:
            error = caught.code
        return capsys.readouterr().out, error

    return run


@pytest.mark.parametrize("names", [(), ("jinja2", "torch")])
def test_audit_fails_with_a_known_vulnerability(names: tuple[str, ...], run: Any) -> None:
    with service(audit.KNOWN, *((name, VERSIONS[name]) for name in names)) as url:
        printed, error = run(url)
    assert printed == (
        "" if names else f"requirements.lock: {len(VERSIONS)} packages audited, no vulnerability is known\n"
    )
    problems = [
        f"{name}: {VERSIONS[name]} has the vulnerability PYSEC-2026-1, fixed in 99.1; "
        "raise its range in pyproject.toml and run make lock"
        for name in names
    ]
    assert error == ("\n".join(problems) or None)


def test_audit_passes_if_the_service_does_not_answer_or_cannot_be_trusted(run: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # does not listen
        printed, error = run(f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert re.fullmatch(r"requirements\.lock: not audited, http://\S+ does not answer \(.*refused.*\)\n", printed)
    assert error is None
    with service() as url:
        printed, error = run(url)
    assert (printed.endswith("does not answer (it does not know a known vulnerability)\n"), error) == (True, None)
    skipped = {"name": "numpy", "skip_reason": "its line cannot be read"}
    assert audit.problems_of(skipped) == ["numpy: was not audited (its line cannot be read); run make lock"]
