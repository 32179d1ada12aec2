"""The first quarter of an hour: seconds from nothing to a result for three new users, and of training beside other programs.

    python -m benchmarks.first_quarter student              from git clone to their own networks in the browser
    python -m benchmarks.first_quarter engineer [WHEEL]     from a wheel to hidden dropout in a model of their own
    python -m benchmarks.first_quarter teacher [RELEASE]    from a folder of make release to the lessons in the browser
    python -m benchmarks.first_quarter busy                 training beside 0, 1 and 2 busy processes

Each runs the commands and the code of the pages in an empty folder with empty caches, prints the seconds of each step, and
writes its part of docs/measurements/first_quarter.json. Without WHEEL one is built first, which does not count.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.measure import alternate, machine, ratio, summary
from reviver.files.atomic import write_json
from tools.chromium import open_browser
from tools.tutorials import find_blocks
from tools.wheel import build

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "measurements" / "first_quarter.json"
Step = tuple[str, float]


def student(folder: Path, _: Path | None) -> Iterator[Step]:
    """Clone, install as README says, train both networks with its commands, and open the page of the explorer."""
    yield step("git", "clone", "--quiet", str(ROOT), "reviver", cwd=folder)
    text, clone = (ROOT / "README.md").read_text(encoding="utf-8"), folder / "reviver"
    lines = re.findall(r"^(python3 -m venv.*|\.venv/bin/pip install.*)$", text, re.MULTILINE)
    lines += re.findall(r"^\| `(reviver (?:lstm train --out|gan train|explore) .*?)`", text, re.MULTILINE)
    assert len(lines) == 6, "README has other commands"
    for line in lines:
        yield step("bash", "-c", f"PATH=$PWD/.venv/bin:$PATH; {line}", cwd=clone)
    yield from opened([clone / "explorer.html"])


def engineer(folder: Path, wheel: Path | None) -> Iterator[Step]:
    """Install a wheel into an empty environment, and run the first code of the page on the layer."""
    path = (wheel or [*build(folder, [platform.machine()])][-1]).resolve()
    yield step("python3", "-m", "venv", ".venv", cwd=folder)
    yield step(".venv/bin/python", "-m", "pip", "install", "--quiet", str(path), cwd=folder)
    page = (ROOT / "docs" / "how-to" / "use-the-layer.md").read_text(encoding="utf-8")
    yield step(".venv/bin/python", "-c", next(find_blocks(page)).code, cwd=folder)


def teacher(folder: Path, release: Path | None) -> Iterator[Step]:
    """Copy the teaching kit to the folder of a lesson, and open each of its pages."""
    started = time.perf_counter()
    kit = Path(shutil.copytree((release or ROOT / "build" / "release") / "teach", folder / "lesson"))
    yield "copy teach", time.perf_counter() - started
    yield from opened(sorted(kit.glob("*.html")))


def busy(folder: Path, _: Path | None) -> Iterator[Step]:
    """Train the default LSTM for 30 epochs, and the default GAN for one, beside 0, 1 and 2 processes that keep a core busy."""
    os.environ["PYTHONPATH"] = str(ROOT / "src")

    def train(command: str, others: int) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(others):
                stack.callback(stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"])).kill)
            out = tempfile.mkdtemp(dir=folder) + "/run"
            step(sys.executable, "-m", "reviver", *command.split(), "--quiet", "--out", out)

    for command in ("lstm train --epochs 30", "gan train --epochs 1"):
        seconds = alternate({str(n): partial(train, command, n) for n in range(3)}, rounds=5)
        for n, values in seconds.items():
            idle = ratio(values, seconds["0"])["median"]
            yield f"{command} beside {n} busy processes, {idle:.2f} of the idle time", summary(values)["median"]


def step(*command: str, cwd: Path | None = None) -> Step:
    """Run a command of a user; return it and its seconds."""
    started = time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    return " ".join(command).splitlines()[0], time.perf_counter() - started


def opened(pages: list[Path]) -> Iterator[Step]:
    """Open pages of the explorer, each until its networks can run."""
    with open_browser() as browser:
        for page in pages:
            started, tab = time.perf_counter(), browser.new_page()
            tab.goto(page.as_uri())
            tab.wait_for_function("() => globalThis.reviver")
            yield f"open {page.name}", time.perf_counter() - started


def main() -> None:
    """Measure one user."""
    users = {user.__name__: user for user in (student, engineer, teacher, busy)}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_quarter", description=__doc__)
    parser.add_argument("user", choices=users)
    parser.add_argument("given", nargs="?", type=Path, metavar="WHEEL or RELEASE")
    options = parser.parse_args()
    steps: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"PIP_CACHE_DIR": f"{name}/pip", "REVIVER_CACHE": f"{name}/cache"}
        for variable in ("PYTHONPATH", "GOMP_SPINCOUNT", "OMP_NUM_THREADS"):
            os.environ.pop(variable, None)
        for what, seconds in users[options.user](Path(name), options.given):
            print(f"{seconds:8.1f} s  {what}", flush=True)
            steps[what.replace(f"{name}/", "").replace(str(ROOT), "URL")] = seconds
    print(f"{sum(steps.values()):8.1f} s  in all")
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    write_json(RESULTS, before | {"machine": machine(), options.user: steps})


if __name__ == "__main__":
    main()
