"""Options, fixtures and settings of all tests."""

import atexit
import contextlib
import gc
import getpass
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import Phase, settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

GOLDEN = Path(__file__).parent / "golden"

# `make test-third-party` runs these in an environment of their own.
collect_ignore = ["third_party"]

# The networks are tiny, so a second thread would only wait.
torch.set_num_threads(1)

# No deadline: single examples are slow on a busy machine. Derandomized: every run tests the same examples.
settings.register_profile("reviver", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("reviver")
# For mutants: a failure need not become small.
settings.register_profile("mutants", settings.get_profile("reviver"), phases=[Phase.explicit, Phase.generate])

MEMORY = Path("/dev/shm")
MIN_MEMORY = 4 << 30
"""Bytes that must be free in memory for the temporary folders of the tests."""


SLOW = ("explorer", "show", "test_determinism.py", "test_portability.py")
SLOW += ("runs", "checker", "docs", "sweep", "train")
"""Folders and files of the tests that take longest: they begin first, so that no process has such a one left at the end."""


def pytest_configure(config: pytest.Config) -> None:
    if can_use_memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    if not hasattr(config, "workerinput"):  # not in the processes of pytest-xdist
        remove_folders_of_killed_runs(Path(os.environ.get("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what is imported for the tests out of every search for garbage: it stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.unfreeze)  # else libraries report leaks at the end


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the slow tests, unless `make random` mixes all of them."""

    def place(item: pytest.Item) -> int:
        name = item.nodeid.removeprefix("tests/")
        return next((index for index, slow in enumerate(SLOW) if name.startswith(slow)), len(SLOW))

    if not config.pluginmanager.hasplugin("randomly"):
        items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, object, object]:
    """Let a failed expectation of Playwright show its own words, and not the accessibility tree of the page as well."""
    if call.excinfo is not None and isinstance(call.excinfo.value, AssertionError):
        words, tree, _ = str(call.excinfo.value).partition("\nAria snapshot:")
        call.excinfo.value.args = (words,) if tree else call.excinfo.value.args
    return (yield)


def remove_folders_of_killed_runs(root: Path) -> None:
    """Remove the temporary folders of test runs that were killed, gigabytes in memory; pytest does so after three days."""
    for lock in root.glob(f"pytest-of-{getpass.getuser()}/pytest-*/.lock"):  # which holds the number of the process
        with contextlib.suppress(OSError, ValueError):
            if not is_alive(int(lock.read_text())):
                shutil.rmtree(lock.parent, ignore_errors=True)


def is_alive(pid: int) -> bool:
    """Return whether there is a process with this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def pytest_xdist_auto_num_workers() -> int:
    """Return two processes more than cores, since some tests wait for browsers and other processes; at most four."""
    return min(4, (os.cpu_count() or 1) + 2)


def can_use_memory() -> bool:
    """Return whether the temporary folders of the tests can be in memory: a training run waits for the disk dozens of times.

    They hold programs and libraries, which a file system may refuse to execute.
    """
    if not MEMORY.is_dir() or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        return False
    return os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MIN_MEMORY


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write the golden files instead of comparing with them")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    """Seed torch's global generator, and forget the level that a command has set: a test sees the same in every order."""
    torch.manual_seed(0)
    logging.getLogger("reviver").setLevel(logging.NOTSET)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a new folder, in which the test works."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def inline_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sweeps run their trials in this process."""
    from tests.sweep.trials import InlineEngine

    monkeypatch.setattr("reviver.sweep.engines.Pool", InlineEngine)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Return a function that compares a value with tests/golden/NAME.json.

    It compares exactly, or, if `relative` is given, a dict of lists of numbers within that relative tolerance.
    """

    def compare(name: str, value: Any, *, relative: float = 0.0) -> None:
        path = GOLDEN / f"{name}.json"
        if request.config.getoption("--regenerate"):
            path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
        test = request.node.nodeid.split("[")[0]
        advice = f"if this is intended, run .venv/bin/python -m pytest {test} --regenerate"
        assert path.exists(), f"{path.name} does not exist; {advice}"
        expected = json.loads(path.read_text(encoding="utf-8"))
        if relative:
            expected = {key: pytest.approx(numbers, rel=relative) for key, numbers in expected.items()}
        assert value == expected, f"differs from {path.name}; {advice}"

    return compare


@pytest.fixture
def same_words(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Return a function that compares the whole text of a refusal with that of this test in tests/golden/refusals.json.

    Paths of this machine, versions and what another package says in brackets do not count. `case` is the key of the text.
    """

    def compare(text: object, case: object) -> None:
        words = re.sub(r"(cannot be (?:read|written)) \(.*?\)(?=;|,|$)", r"\1 (...)", str(text))
        words = re.sub(r"raised (\w+): .*", r"raised \1: ...", words)
        for found, name in ((str(tmp_path), "FOLDER"), (str(Path.home()), "~")):
            words = words.replace(found, name)
        words = re.sub(r"\d+\.\d+\.\d+", "VERSION", words)
        path, test = GOLDEN / "refusals.json", request.node.nodeid.split("[")[0].removeprefix("tests/")
        known = json.loads(path.read_text(encoding="utf-8"))
        if request.config.getoption("--regenerate"):
            known.setdefault(test, {})[str(case)] = words
            path.write_text(json.dumps(known, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
        advice = f"run .venv/bin/python -m pytest {request.node.nodeid.split('[')[0]} --regenerate"
        assert words == known.get(test, {}).get(str(case)), f"differs from refusals.json; if this is intended, {advice}"

    return compare


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """Yield Chromium, one for all tests of a process, or skip the test where there is none."""
    from tools.chromium import find_chromium, open_browser  # Playwright is loaded for the tests that need it

    if find_chromium() is None:
        pytest.skip("no Chromium; install it to test pages in a browser")
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the folder that all test processes share."""
    folder = tmp_path_factory.getbasetemp()
    return folder if worker_id == "master" else folder.parent  # a worker's folder is inside that of all
