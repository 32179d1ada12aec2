"""Systems that lack parts of POSIX, as Windows and macOS do, and installations without an extra.

What is lacking is hidden in a new process before anything is imported.
"""

import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import reviver
from reviver.cli import main

ROOT = Path(__file__).parents[1]

MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "readline", "syslog")
"""Modules of the standard library that Windows lacks."""

ATTRIBUTES = {
    "os": (
        *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "O_TMPFILE", "chown", "fchmod", "fchown"),
        *("fork", "geteuid", "getpgid", "getuid", "killpg", "mkfifo", "process_cpu_count", "sched_getaffinity"),
        *("sched_setaffinity", "setpgrp", "setsid", "statvfs", "sysconf"),
    ),
    "signal": ("SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "alarm", "pthread_sigmask", "setitimer", "sigwait"),
    "time": ("tzset",),
}
"""Attributes of modules that Windows or macOS lacks; `os.process_cpu_count` is newer than Python 3.12."""

HIDE = """
import asyncio  # from Python 3.13 on its file for POSIX asks for sysconf
import importlib, json, sys
modules, attributes = json.loads(sys.argv[1])
sys.modules.update(dict.fromkeys(modules))
for module, names in attributes.items():
    for name in names:
        vars(importlib.import_module(module)).pop(name, None)
"""

TRAIN = """
import warnings
warnings.filterwarnings("ignore", "only soft file lock is available")
for name in json.loads(sys.argv[3]):
    importlib.import_module(name)
sys.stderr.write("imported\\n")
from dataclasses import replace
from pathlib import Path
import numpy as np
import torch
from reviver import load
from reviver.errors import RunFolderError
from reviver.settings.gan import GANConfig
from reviver.train.gan.training import train as train_gan
from reviver.settings.lstm import LSTMConfig
from reviver.train.lstm.training import train as train_lstm

torch.set_num_threads(1)
out = Path(sys.argv[2])
config = LSTMConfig(length=2, hidden_size=2, epochs=1)
train_lstm(config, out / "lstm", device="cpu")
folder = train_lstm(replace(config, epochs=2), out / "lstm", device="cpu", resume=True)
with folder.locked():
    try:
        train_lstm(replace(config, epochs=3), out / "lstm", device="cpu", resume=True)
    except RunFolderError as error:
        print(error)
np.save(out / "images.npy", np.zeros((4, 8, 8), dtype=np.uint8))
train_gan(GANConfig(data=str(out / "images.npy"), image_size=8, epochs=1, precision="bf16"), out / "gan", device="cpu")
print(load(out / "lstm").folder.status, load(out / "gan").folder.status)
"""

BARE = """
import importlib, json, pydoc, sys
sys.modules.update(dict.fromkeys(json.loads(sys.argv[1])))
from pathlib import Path
import reviver
from reviver import *
from reviver.errors import ConfigError
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig

for network in (LSTM(3, 4), LSTMClassifier(3, 4, 2), Generator(3), Discriminator()):
    network.save_pretrained("network")
    assert str(type(network).from_pretrained("network")) == str(network)
runs = [load(kind) for kind in ("gan", "lstm")]
assert [type(run) for run in runs if run.metrics] == [GANRun, LSTMRun]
explore(runs).save("explorer.html")
assert PretrainedClassifier.from_pretrained("hub").predict([[1, 2, 3]])[0] in ("up", "down")
for kind, config in (("lstm", LSTMConfig()), ("gan", GANConfig())):
    try:
        importlib.import_module(f"reviver.train.{kind}.training").train(config, "new")
    except ConfigError as error:
        print(error)
assert not Path("new").exists()
print(pydoc.plain(pydoc.render_doc(reviver)))
"""

NOT_IMPORTED = re.compile(r"reviver\.__main__")
"""The module that ends the process."""


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `script` in a new process on a system that lacks all these parts."""
    hidden = json.dumps([MODULES, ATTRIBUTES])
    environment = {**os.environ, "PYTHONWARNINGS": "ignore:only soft file lock is available"}
    command = [sys.executable, "-c", HIDE + script, hidden, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=250, env=environment)


def test_every_module_imports_both_networks_train_and_a_second_process_is_refused(tmp_path: Path) -> None:
    found = [module.name for module in pkgutil.walk_packages(reviver.__path__, "reviver.")]
    names = [name for name in found if not NOT_IMPORTED.match(name)]
    assert len(names) > 80
    result = run(TRAIN, str(tmp_path), json.dumps(names))
    assert result.stderr.startswith("imported\n"), result.stderr
    assert result.returncode == 0, result.stderr
    refusal, statuses = result.stdout.splitlines()
    assert refusal.startswith(f"{tmp_path / 'lstm'}: another process is training in this folder")
    assert statuses == "finished finished"


def bare_distributions() -> set[str]:
    """Return the names of the distributions that `pip install .` installs."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    pending, found = project["dependencies"], {project["name"]}
    while pending:
        requirement = Requirement(pending.pop())
        name = canonicalize_name(requirement.name)
        if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found.add(name)
            pending += requires(name) or []
    return found


def test_all_names_work_without_the_extras(here: Path) -> None:
    bare = bare_distributions()
    modules = packages_distributions().items()
    hidden = [module for module, names in modules if not bare.intersection(map(canonicalize_name, names))]
    assert {"rich", "tensorboardX", "PIL", "cyclopts"} <= {*hidden}
    rows = [f"{label},1 2 3" for label in ("up", "down")] * 4
    (here / "mine.csv").write_text("\n".join(["label,sequence", *rows]))
    np.save(here / "images.npy", np.arange(256, dtype=np.uint8).reshape(4, 8, 8))
    for words in (
        "lstm train --data mine.csv --epochs 1 --out lstm",
        "gan train --data images.npy --image-size 8 --epochs 1 --out gan",
        "export lstm --format hub --out hub",
    ):
        assert main([*words.split(), "--quiet"]) == 0
    command = [sys.executable, "-W", "error", "-c", BARE, json.dumps(hidden)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert result.returncode == 0, result.stderr
    *errors, help_page = result.stdout.split("\n", 2)
    for error in errors:
        assert re.fullmatch(r"training needs \w+; install the extra train: in a clone, pip install '.\[train\]'", error)
    assert len(help_page) < 2500
    assert "from reviver import LSTM" in help_page


def test_nothing_is_told_to_install_the_package_of_that_name_on_the_index() -> None:
    """The package named reviver is another project; the distribution is reviver-nn."""
    wrong = r"pip install[^`]*\breviver(?!-nn|_nn)\b(?!/)|\breviver\[(?!=)"
    command = ["git", "grep", "-nP", wrong, "--", ":!tests/test_portability.py"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (1, "", "")
