"""Firefox for tests of the explorer, driven by Marionette, its own protocol: messages of JSON over a socket."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

NAMES = ("firefox-esr", "firefox")
SECONDS = 300
"""Time that a script may take on a busy machine."""


def find_firefox() -> str | None:
    """Return the path of Firefox, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Firefox:
    """A Firefox with one page."""

    def __init__(self, connection: socket.socket, stream: BinaryIO) -> None:
        self._connection, self._stream, self._count = connection, stream, 0
        self._read()  # its greeting
        self.call("WebDriver:NewSession")
        self.call("WebDriver:SetTimeouts", script=1000 * SECONDS)

    def call(self, command: str, **arguments: Any) -> Any:
        """Send a command and return its result."""
        self._count += 1
        message = json.dumps([0, self._count, command, arguments])
        self._connection.sendall(f"{len(message.encode())}:{message}".encode())
        _, _, error, result = self._read()
        assert error is None, error
        return result

    def open(self, address: str) -> None:
        """Open a page."""
        self.call("WebDriver:Navigate", url=address)

    def evaluate(self, script: str, *arguments: Any) -> Any:
        """Return what the promise of a script gives, a function of the arguments."""
        body = f"const done = arguments[arguments.length - 1]; ({script})(...arguments).then(done, (e) => done(String(e)));"
        return self.call("WebDriver:ExecuteAsyncScript", script=body, args=list(arguments), sandbox=None)["value"]

    def _read(self) -> Any:
        length = b""
        while not length.endswith(b":"):
            length += self._stream.read(1)
        return json.loads(self._stream.read(int(length[:-1])))


@contextmanager
def open_firefox(executable: str, profile: Path, port: int) -> Iterator[Firefox]:
    """Start Firefox without a window, with an empty profile."""
    (profile / "user.js").write_text(f'user_pref("marionette.port", {port});\n', encoding="utf-8")
    command = [executable, "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + SECONDS
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < end, "Firefox does not answer"
                time.sleep(0.2)
        with connection, connection.makefile("rb") as stream:
            yield Firefox(connection, stream)
    finally:
        process.terminate()
        process.wait(30)
