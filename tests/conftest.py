"""Options, fixtures and settings of all tests."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import settings

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


LONG_FILES = (
    "test_explorer_page",
    "test_help",
    "test_pages",
    "test_sklearn",
    "test_wheel",
    "test_curve",
    "test_fuzz",
    "test_lstm_kernel",
    "test_triton",
    "test_explorer_shell",
    "test_explorer_training",
    "test_explorer_latent",
    "test_explorer_draw",
    "test_explorer",
    "test_report",
    "test_transforms",
    "test_determinism",
    "test_crashes",
    "test_kills",
    "test_arm",
    "test_monitor",
)
"""Files of half a minute or more. They start first, so that no process is left with one of them at the end."""


MEMORY = Path("/dev/shm")
MIN_MEMORY = 4 << 30
"""Bytes that must be free in memory for the temporary folders of the tests."""


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # xdist would start the files of few tests last, which are the long ones
    if can_use_memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def can_use_memory() -> bool:
    """Return whether the temporary folders of the tests can be in memory: a training run waits for the disk dozens of times.

    They hold programs and libraries, which a file system may refuse to execute.
    """
    if not MEMORY.is_dir() or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        return False
    return os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MIN_MEMORY


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Move the tests of long files to the front."""
    if not config.pluginmanager.hasplugin("randomly"):
        ranks = {name: rank for rank, name in enumerate(LONG_FILES)}
        items.sort(key=lambda item: ranks.get(item.path.stem, len(LONG_FILES)))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write the golden files instead of comparing with them")


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Seed torch's global generator, so that a test samples the same numbers in every run and order."""
    torch.manual_seed(0)


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
def memory_path() -> Iterator[Path]:
    """Yield an empty folder, in memory if the system supports it, since some tests mostly wait for the disk."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the folder that all test processes share."""
    folder = tmp_path_factory.getbasetemp()
    return folder if worker_id == "master" else folder.parent  # a worker's folder is inside that of all


@pytest.fixture(scope="session")
def explorer_page(shared_folder: Path) -> Path:
    """Return the page of the explorer that most of its tests open."""
    from tests.explorer_pages import find_page

    return find_page(shared_folder)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Yield Chromium."""
    from tools.chromium import open_browser

    with open_browser() as opened:
        yield opened
