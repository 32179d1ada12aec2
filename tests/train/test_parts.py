"""Tasks and losses of a user: one file each, which trains, is evaluated, plotted, exported and explored as ours."""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reviver import load
from reviver.cli import main
from reviver.errors import ConfigError
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.settings.parts import Parts
from reviver.train.gan.training import train as train_gan
from reviver.train.lstm.training import train as train_lstm
from tests.runs.small import OWN

TASK = """
import torch
from reviver.settings.tasks import TaskDefinition


class Majority(TaskDefinition):
    goal = "tell which symbol is more frequent"
    symbols, classes = ("-", "+"), ("minus", "plus")

    def generate(self, lengths, rng):
        x = torch.randint(2, (len(lengths), int(lengths.max())), generator=rng)
        inside = torch.arange(x.shape[1]) < lengths[:, None]
        return x, (2 * (x * inside).sum(1) > lengths).long()
"""
LOSS = """
class Exponential:
    def generator(self, real_logits, fake_logits):
        return (-fake_logits).exp().mean()

    def discriminator(self, real_logits, fake_logits):
        return (-real_logits).exp().mean() + fake_logits.exp().mean()
"""


@pytest.fixture(autouse=True)
def folder(here: Path) -> None:
    """Work in a folder with a task, a loss and images."""
    Path("my_task.py").write_text(TASK)
    Path("my_loss.py").write_text(LOSS)
    np.savez("images.npz", images=np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8))


def test_a_custom_task_learns_and_is_shown() -> None:
    own = "--task my_task.py:Majority"
    for command in (
        f"lstm train {own} --length 5 --epochs 12 --hidden-size 8 --data-size 400 --learning-rate 0.01 --out run",
        f"lstm train {own} --epochs 13 --resume --out run",
        f"lstm evaluate run {own} --length 7",
        f"plot run {own}",
        f"export run {own} --format hub --out model",
        f"explore run {own}",
    ):
        assert main([*command.split(), "--quiet"]) == 0, command
    assert "trained to tell which symbol is more frequent." in Path("model/README.md").read_text()
    assert load("run", task="my_task.py:Majority").metrics[-1]["validation_accuracy"] > 0.9


def test_symbols_may_have_a_number_as_target() -> None:
    counted = TASK.replace(
        'symbols, classes = ("-", "+"), ("minus", "plus")', 'symbols, target, chance = "-+", "number", 0.3'
    )
    counted = counted.replace("(2 * (x * inside).sum(1) > lengths).long()", "(x * inside).sum(1) / 2")
    Path("my_task.py").write_text(counted + "\n    def baseline(self, length):\n        return length / 16\n")
    name = "my_task.py:Majority"
    settings = {"epochs": 4, "data_size": 400, "hidden_size": 8, "batch_size": 8, "learning_rate": 1e-2, "length": 5}
    config = LSTMConfig(task=name, hidden_dropout=0.0, **settings)  # type: ignore[arg-type]
    run = train_lstm(config, "run", parts=Parts.load(task=name))
    assert run.read_metrics()[-1]["validation_loss"] < 5 / 16 / 3, "a half is not cut off"
    with pytest.raises(ConfigError, match="start_length must be at least 2, got 1"):
        train_lstm(replace(config, curriculum=True, start_length=1), "w", parts=Parts.load(task=name))


def test_a_custom_loss_trains_as_a_built_in_one() -> None:
    Path("same.py").write_text("from reviver.gan.losses import cross_entropy_discriminator, non_saturating_generator\n"
        "class Same:\n    generator = staticmethod(non_saturating_generator)\n"
        "    discriminator = staticmethod(cross_entropy_discriminator)\n")  # fmt: skip
    runs = []
    for name in ("non-saturating", "same.py:Same", "my_loss.py:Exponential"):
        config = GANConfig(data="images.npz", image_size=8, epochs=2, batch_size=8, loss=name, log_every=1)
        runs.append(train_gan(config, f"run{len(runs)}", parts=Parts.resolve({"loss": name})[1]))
    ours, same, other = ([row["discriminator_loss"] for row in run.read_metrics()] for run in runs)
    assert ours == same != other
    assert load("run2").plot()
    assert Path("run2/parts/my_loss.py").read_text() == LOSS
    assert set(json.loads(Path("run2/run.json").read_text())["parts"]) == {"loss"}


def test_a_command_needs_the_task_for_its_sequences_alone(capsys: pytest.CaptureFixture[str]) -> None:
    task, loss = "my_task.py:Majority", "my_loss.py:Exponential"
    parts = Parts.load(task=task, loss=loss)
    train_lstm(LSTMConfig(task=task, epochs=1, hidden_size=2, data_size=40), "lstm", parts=parts)
    train_gan(GANConfig(data="images.npz", image_size=8, epochs=1, batch_size=8, loss=loss), "gan", parts=parts)
    commands = "lstm evaluate lstm", "plot lstm", "gan sample gan --num-samples 2 --out grid.png", "explore gan"
    assert [main(words.split()) for words in commands] == [2, 0, 0, 0]
    assert "'my_task.py:Majority' is a class of your own" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "reference", "train", "use"),
    [
        ("--cell", ".py:Cell", "lstm train --length 3 --hidden-size 4 --quiet", "lstm evaluate run"),
        ("--networks", ".py", "gan train --data images.npz --image-size 8 --batch-size 16 --quiet", "gan sample run"),
    ],
)
def test_no_command_runs_code_out_of_a_run_folder(
    option: str, reference: str, train: str, use: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(command: str, name: str = "") -> tuple[int, str]:
        capsys.readouterr()
        code = main([*command.split(), *([option, f"{name}{reference}"] if name else [])])
        return code, capsys.readouterr().err

    Path("own.py").write_text(OWN)
    assert run(f"{train} --epochs 1 --out run", "own") == (0, "")
    assert Path("run/parts/own.py").read_text() == OWN
    assert json.loads(Path("run/run.json").read_text())["parts"][option.removeprefix("--")]["file"] == "own.py"
    shutil.move("own.py", "elsewhere.py")
    for name in ("run/parts/own.py", "own.py"):
        Path(name).write_text("open('ran', 'w')")
    Path("edited.py").write_text(OWN + "\n# another one")
    for command in (use, f"{train} --epochs 2 --resume --out run"):
        code, error = run(command)
        assert (code, error.count("\n")) == (2, 1)
        assert re.search(r"'own.py.*' is a .* of your own, which is not run unless you name it in this call", error)
    assert "is in a run folder, out of which no code is run" in run(use, "run/parts/own")[1]
    assert [run(f"{command} run --quiet")[0] for command in ("plot", "compare", "explore")] == [0, 0, 0]
    for form in ("hub", "onnx"):
        code, error = run(f"export run --format {form} --out model")
        assert (code, "run: has a cell or networks of your own, which cannot be exported" in error) == (2, True)
    assert not Path("ran").exists()
    assert not Path("model").exists()
    assert run(use, "elsewhere") == (0, ""), "nothing has changed"
    assert "edited.py has changed since this run began; its results may not hold" in run(use, "edited")[1]


WRONG_TASKS = {
    "Majority must be a subclass of reviver.settings.tasks.TaskDefi": (
        "class Majority(TaskDefinition)",
        "class Majority",
    ),
    "must have at least 2 names in `classes`, got": ('("minus", "plus")', '("minus",)'),
    r"generate must return x of shape \[2, 5\], finite integers below 2, for lengths \[5, 4\]": (
        "return x,",
        "return x + 1,",
    ),
    r"generate must return targets of shape \[2\], .* got \[2\] torch.float32": (".long()", ".float()"),
    r"raised ZeroDivisionError: division by zero \(my_task.py, line 13\)": ("return x,", "return 1 / 0,"),
}
EXP = "(-fake_logits).exp().mean()"
WRONG_LOSSES = {
    r"generator\(real_logits, fake_logits\) raised AttributeError": ("def generator", "def generate"),
    "raised TypeError: ": ("(self, real_logits, fake", "(self, real_logits, other, fake"),
    r"must return a scalar for .*, got shape \[4, 1\]; take the mean": (EXP, "-fake_logits"),
    "got nan for logits from -2 to 2": (EXP, "(-fake_logits).log().mean()"),
    "got (nan|-?inf) for logits from -2 to 2": (EXP, "(-fake_logits * 1e38 * 1e3).mean()"),
    "got one without a gradient": (EXP, "fake_logits.detach().mean()"),
    "got a float": (EXP, "fake_logits.mean().item()"),
    r"Exponential\(\) raised TypeError": ("class Exponential:", "class Exponential:\n    def __init__(self, x): pass"),
}
"""What is wrong with a task or a loss, and the text that the change takes the place of."""


@pytest.mark.parametrize("problem", [*WRONG_TASKS, *WRONG_LOSSES])
def test_a_wrong_task_or_loss_is_one_line_before_anything_is_written(
    problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, text = ("my_task.py:Majority", TASK) if problem in WRONG_TASKS else ("my_loss.py:Exponential", LOSS)
    replaced, by = (WRONG_TASKS | WRONG_LOSSES)[problem]
    assert replaced in text
    Path(name.partition(":")[0]).write_text(text.replace(replaced, by, 1))
    words = f"gan train --data images.npz --loss {name}" if problem in WRONG_LOSSES else f"lstm train --task {name}"
    assert main([*words.split(), "--out", "run"]) == 2
    error = capsys.readouterr().err
    assert re.search(problem, error), error
    assert error.count("\n") == 1
    assert not Path("run").exists()


def test_a_file_may_import_its_neighbors_and_a_module_of_the_folder_may_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))])
    Path("beside").mkdir()
    Path("beside/neighbor_words.py").write_text("GOAL = 'count'\n")
    Path("beside/my_task.py").write_text(f"from neighbor_words import GOAL\n{TASK}    goal = GOAL\n")
    _, parts = Parts.resolve({"task": "beside/my_task.py:Majority"})
    assert parts.require("task", "beside/my_task.py:Majority").cls.goal == "count"
    Path("task_of_this_folder.py").write_text(TASK)
    _, parts = Parts.resolve({"task": "task_of_this_folder:Majority"})
    assert parts.require("task", "task_of_this_folder:Majority").cls.__module__ == "task_of_this_folder"
    Path("run.json").touch()
    Path("task_of_a_run.py").write_text(TASK)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path)])
    with pytest.raises(ConfigError, match="task_of_a_run cannot be imported"):
        Parts.resolve({"task": "task_of_a_run:Majority"})
