"""Fixtures of the tests of runs."""

import multiprocessing
import os
import sys
from dataclasses import asdict
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from reviver.runs.folder import RunFolder
from reviver.settings.lstm import LSTMConfig
from reviver.train.lstm.training import train
from tests.contents import contents
from tests.lstm_runs import TINY
from tests.runs.small import narrow_gans, write_images


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Return a new run folder."""
    return RunFolder.create(tmp_path / "run", "lstm", asdict(LSTMConfig()))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the contents of an undisturbed run of TINY."""
    return contents(train(TINY, tmp_path_factory.mktemp("undisturbed") / "run").path)


@pytest.fixture
def images(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with images.npy, and make networks of GANs narrow."""
    write_images()
    narrow_gans(monkeypatch.setattr)


@pytest.fixture(scope="session")
def server() -> ForkServerContext:
    """Return a server that forks children with one thread, which has completed a run of each kind already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.runs.warm"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # else it silently imports nothing from another folder
        forkserver.ensure_running()
    return context
