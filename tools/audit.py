"""Audit of the packages in requirements.lock and requirements-torch.lock for known vulnerabilities, by the OSV service.

A known vulnerability fails. If the service cannot be reached, the audit reports that and passes. The service must first
report a known vulnerability of an old release, so that an empty answer can be trusted.
"""

import json
import subprocess
import sys
import tempfile
import urllib.request
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from tools.lock import LOCK, TORCH_LOCK

URL = "https://api.osv.dev/v1/query"
KNOWN = ("jinja2", "2.4.1")
"""Release with vulnerabilities that OSV lists."""
TIMEOUT = 15
"""Seconds to wait for the service."""


def main() -> None:
    """Audit both files."""
    parser = ArgumentParser(prog="python -m tools.audit", description=__doc__)
    parser.add_argument("--url", default=URL, help=f"URL of an OSV service; default: {URL}")
    url = parser.parse_args().url
    if reason := find_outage(url):
        print(f"{LOCK.name}: not audited, {url} does not answer ({reason})")
        return
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    service = ["--vulnerability-service", "osv", "--osv-url", url, "--format", "json"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        for path in (LOCK, TORCH_LOCK):  # without hashes: pip-audit requires them for all packages or none
            pins.writelines(line.split(" ")[0].strip() + "\n" for line in path.read_text().splitlines())
        pins.flush()
        arguments = [*command, *service, "--requirement", pins.name]
        result = subprocess.run(arguments, check=False, capture_output=True, text=True)
    try:
        packages = json.loads(result.stdout)["dependencies"]
    except (ValueError, KeyError):
        sys.exit(f"{LOCK.name}: pip-audit failed: {result.stderr.strip()}")
    if problems := [problem for package in packages for problem in problems_of(package)]:
        sys.exit("\n".join(problems))
    print(f"{LOCK.name}: {len(packages)} packages audited, no vulnerability is known")


def find_outage(url: str) -> str:
    """Return the reason why the service at `url` cannot be used, or an empty string if it can."""
    name, version = KNOWN
    query = {"package": {"name": name, "ecosystem": "PyPI"}, "version": version}
    request = urllib.request.Request(url, json.dumps(query).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return "" if json.load(response).get("vulns") else "it does not know a known vulnerability"
    except (OSError, ValueError) as error:
        return " ".join(str(error).split())


def problems_of(package: Mapping[str, Any]) -> list[str]:
    """Return one line for each problem of a package."""
    name = package["name"]
    if "version" not in package:
        return [f"{name}: was not audited ({package.get('skip_reason')}); run make lock"]
    return [
        f"{name}: {package['version']} has the vulnerability {vulnerability['id']}, "
        + (f"fixed in {', '.join(vulnerability['fix_versions'])}" if vulnerability["fix_versions"] else "not fixed yet")
        + "; raise its range in pyproject.toml and run make lock"
        for vulnerability in package["vulns"]
    ]


if __name__ == "__main__":
    main()
