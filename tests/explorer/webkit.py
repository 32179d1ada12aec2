"""WebKit for tests of the explorer: Debian's MiniBrowser, driven by its WebDriver (W3C) on a screen that nobody sees."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 300
"""Time that a script may take on a busy machine."""


def find_webkit() -> str | None:
    """Return the path of the driver, or None if it, or the screen that nobody sees, is missing."""
    return shutil.which("WebKitWebDriver") if shutil.which("Xvfb") else None


class WebKit:
    """A WebKit with one page."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}/session"
        self._address += "/" + self._call("", capabilities={})["sessionId"]
        self._call("/timeouts", script=1000 * SECONDS)

    def open(self, address: str) -> None:
        """Open a page."""
        self._call("/url", url=address)

    def evaluate(self, script: str, *arguments: Any) -> Any:
        """Return what the promise of a script gives, a function of the arguments."""
        body = f"const done = arguments[arguments.length - 1]; ({script})(...arguments).then(done, (e) => done(String(e)));"
        return self._call("/execute/async", script=body, args=list(arguments))

    def _call(self, path: str, **arguments: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._address + path, json.dumps(arguments).encode(), headers)
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return json.load(answer)["value"]


def connect(port: int) -> WebKit:
    """Return a new page, once the driver answers."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            return WebKit(port)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        except urllib.error.URLError:
            assert time.monotonic() < end, "WebKit does not answer"
            time.sleep(0.2)


@contextmanager
def open_webkit(executable: str, home: Path, port: int) -> Iterator[WebKit]:
    """Start WebKit with an empty profile."""
    screen = subprocess.Popen(["Xvfb", "-displayfd", "1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert screen.stdout is not None
    with screen:
        environment = os.environ | {"DISPLAY": f":{screen.stdout.readline().strip()}", "HOME": str(home)}
        driver = subprocess.Popen([executable, f"--port={port}"], env=environment, stderr=subprocess.DEVNULL)
        try:
            yield connect(port)
        finally:
            driver.terminate()
            driver.wait(30)
            screen.terminate()
