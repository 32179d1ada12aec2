"""Runs of each kind, each trained once."""

import functools
from collections.abc import Callable

import pytest

from reviver.runs.folder import RunFolder
from reviver.train.lstm.training import train
from tests.lstm_runs import CONFIGS


@pytest.fixture(scope="package")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], RunFolder]:
    """Return a function that returns the finished run with the settings of this name, see `CONFIGS`."""
    return functools.cache(lambda name: train(CONFIGS[name], tmp_path_factory.mktemp(name) / "run"))
