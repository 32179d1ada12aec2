"""Tiny trainings for the tests of the command line."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TINY_LSTM = "--length 3 --epochs 2 --hidden-size 8"
TINY_GAN = (
    "--data tiny.npz --image-size 8 --epochs 2 --batch-size 16 --latent-size 8 --log-every 3 --batch-norm-samples 9"
)


class Result(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[[str], Result]


def process(arguments: str, folder: Path, **settings: Any) -> subprocess.Popen[str]:
    """Start the command line as a child process in `folder`."""
    command = [sys.executable, "-m", "reviver", *shlex.split(arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": ENVIRONMENT, **settings}
    return subprocess.Popen(command, cwd=folder, text=True, **streams)
