"""Asks OSV whether vulnerabilities are known of the packages that requirements.lock and requirements-torch.lock pin.

A known vulnerability fails. Without a network there is nobody to ask: that is said, and passes. What answers must
first show that it knows an old vulnerability, so that silence about our packages means something.
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
"""A release that OSV lists vulnerabilities of."""
SECONDS = 15


def main() -> None:
    """Audit both files."""
    parser = ArgumentParser(prog="python -m tools.audit", description=__doc__)
    parser.add_argument("--url", default=URL, help=f"where an OSV service answers; default: {URL}")
    url = parser.parse_args().url
    if reason := why_silent(url):
        print(f"{LOCK.name}: not audited, {url} does not answer ({reason})")
        return
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    service = ["--vulnerability-service", "osv", "--osv-url", url, "--format", "json"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        for path in (LOCK, TORCH_LOCK):  # without the hashes, which pip-audit wants of all packages or of none
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


def why_silent(url: str) -> str:
    """Why the service at `url` cannot be asked; empty if it can."""
    name, version = KNOWN
    query = {"package": {"name": name, "ecosystem": "PyPI"}, "version": version}
    request = urllib.request.Request(url, json.dumps(query).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as response:
            return "" if json.load(response).get("vulns") else "it does not know a known vulnerability"
    except (OSError, ValueError) as error:
        return " ".join(str(error).split())


def problems_of(package: Mapping[str, Any]) -> list[str]:
    """One line for each thing that is wrong with a package."""
    name = package["name"]
    if "version" not in package:
        return [f"{name}: was not audited ({package.get('skip_reason')}); run make lock"]
    return [
        f"{name}: {package['version']} has the vulnerability {one['id']}, "
        + (f"fixed in {', '.join(one['fix_versions'])}" if one["fix_versions"] else "not fixed yet")
        + "; raise its range in pyproject.toml and run make lock"
        for one in package["vulns"]
    ]


if __name__ == "__main__":
    main()
