"""A new task is a class and an entry, and so is a new loss: a copy of the package with both trains, plots, exports and shows them."""

import base64
import json
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np

import reviver

PACKAGE = Path(reviver.__file__).parent

TASK = '''
class Majority(TaskDefinition):
    """Which of two symbols is more frequent among T?"""

    goal = "tell which symbol is more frequent"
    symbols, classes = ("-", "+"), ("minus", "plus")
    min_length = 3
    preset = {"length": 9, "encoding": "onehot"}

    def generate(self, lengths, rng):
        import torch

        x = torch.randint(2, (len(lengths), int(lengths.max())), generator=rng, dtype=torch.uint8)
        inside = torch.arange(x.shape[1]) < lengths[:, None]
        return x, 2 * (x * inside).sum(1) > lengths

'''
LOSS = """
def exponential_generator(real_logits, fake_logits):
    return (-fake_logits).exp().mean()


def exponential_discriminator(real_logits, fake_logits):
    return (-real_logits).exp().mean() + fake_logits.exp().mean()


LOSSES = LOSSES | {"exponential": Losses(exponential_generator, exponential_discriminator)}
"""
SCRIPT = """
import sys
from reviver.cli import main

for command in sys.argv[1].splitlines():
    assert main(command.split()) == 0, command
"""


def test_a_class_is_a_task_and_an_entry_a_loss(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "reviver")
    settings = tmp_path / "reviver" / "settings"
    for path, old, new in (
        (settings / "tasks.py", "\nDEFINITIONS", TASK + "\nDEFINITIONS"),
        (settings / "tasks.py", '"custom": CustomData(),', '"custom": CustomData(), "majority": Majority(),'),
        (settings / "gan.py", '"wasserstein")', '"wasserstein", "exponential")'),
        (tmp_path / "reviver" / "gan" / "losses.py", "", LOSS),
    ):
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1) if old else text + new, "utf-8")
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 6), np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    commands = """\
lstm train --help
gan train --help
lstm train --preset majority --curriculum --start-length 3 --threshold 0.1 --data-size 60 --hidden-size 4 --epochs 20 --out lstm
lstm evaluate lstm --length 5 --out accuracy.pdf
plot lstm
export lstm --format hub --out model
gan train --preset original --data images.npz --image-size 6 --loss exponential --epochs 1 --out gan
plot gan
explore lstm gan --out page.html"""
    # The kernel is no part of it, and would be compiled once more, for a compiler that has another path without PATH.
    environment = {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1", "REVIVER_NATIVE": "0"}
    script = [sys.executable, "-c", SCRIPT, commands]
    result = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    words = " ".join(result.stdout.split())
    assert "parity, pixel-mnist" in words
    assert "wasserstein, exponential" in words
    assert "trained to tell which symbol is more frequent." in (tmp_path / "model" / "README.md").read_text("utf-8")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["data"]["classes"] == ["minus", "plus"]
    block = re.search(r'id="manifest"[^>]*>([^<]+)<', (tmp_path / "page.html").read_text("utf-8"))
    assert block is not None
    manifest = json.loads(zlib.decompress(base64.b64decode(block[1])))
    assert (manifest["lstms"][0]["symbolNames"], len(manifest["gans"])) == (["-", "+"], 1)
    for name in ("lstm", "gan"):
        assert json.loads((tmp_path / name / "run.json").read_text())["status"] == "finished"
        assert (tmp_path / name / "curves.png").exists()
