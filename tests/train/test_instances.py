"""Instances in place of classes in Python: a task, a loss, a cell and networks with arguments of their own."""

import linecache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import reviver
from reviver.errors import ConfigError
from reviver.settings.tasks import TaskDefinition

LSTM: dict[str, Any] = {"length": 5, "epochs": 1, "data_size": 60, "hidden_size": 6, "progress": False}
GAN: dict[str, Any] = {"data": "images.npz", "image_size": 6, "latent_size": 4, "batch_size": 8, "log_every": 1}
GAN |= {"preset": "original", "epochs": 1, "progress": False}


class Sum(TaskDefinition):
    def __init__(self, base: int) -> None:
        self.symbols = self.classes = tuple(map(str, range(base)))

    def generate(self, lengths: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x = torch.randint(len(self.symbols), (len(lengths), int(lengths.max())), generator=rng)
        return x, x.sum(1) % len(self.symbols)


class Scaled:
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return self.scale * (-fake_logits).exp().mean()

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return self.scale * ((-real_logits).exp().mean() + fake_logits.exp().mean())


@pytest.fixture(autouse=True)
def workspace(here: Path) -> None:
    np.savez("images.npz", images=np.random.default_rng(0).integers(0, 256, (40, 6, 6), dtype=np.uint8))


def networks(latent_size: int = 4) -> tuple[nn.Module, nn.Module]:
    generator = nn.Sequential(nn.Linear(latent_size, 36), nn.Tanh(), nn.Unflatten(1, (1, 6, 6)))
    return generator, nn.Sequential(nn.Flatten(), nn.Linear(36, 1), nn.Flatten(0))


def test_a_task_has_its_arguments_and_a_cell_its_weights_which_training_leaves_to_their_owner() -> None:
    cell, task = nn.GRUCell(1, 6), Sum(3)
    before = cell.weight_hh.detach().clone()
    run = reviver.train_lstm("run", cell=cell, task=task, learning_rate=1e-9, **LSTM)
    assert run.task.definition.classes == ("0", "1", "2")
    trained = run.network.layers.cells[0].weight_hh  # type: ignore[union-attr]
    assert torch.allclose(trained, before, atol=1e-5), "training began at the weights of the template"
    reviver.train_lstm("run", cell=cell, task=task, learning_rate=1e-9, resume=True, **{**LSTM, "epochs": 2})
    assert torch.equal(cell.weight_hh, before)
    again = reviver.load("run", cell=nn.GRUCell(1, 6), task=Sum(3))
    assert len(again.metrics) == 2
    assert torch.allclose(again.network.layers.cells[0].weight_hh, before, atol=1e-5)  # type: ignore[union-attr]


def test_networks_and_a_loss_train_and_stay_as_they_were() -> None:
    G, D = networks()
    before = G[0].weight.detach().clone()  # type: ignore[index, union-attr, operator]
    runs = [reviver.train_gan(f"run{scale}", loss=Scaled(scale), networks=(G, D), **GAN) for scale in (1, 2)]
    assert isinstance(runs[0].plot("samples"), Figure)
    assert runs[0].table("scores") == {}
    first, second = (run.table()["discriminator_loss"][0] for run in runs)
    assert second == pytest.approx(2 * first)
    assert torch.equal(G[0].weight, before)  # type: ignore[index, union-attr, arg-type]
    assert not torch.equal(runs[0].generator.network[0].weight, before)  # type: ignore[index, union-attr, operator]
    loaded = reviver.load("run1", networks=networks())
    z = torch.randn(2, 4)
    assert torch.equal(loaded.generator(z), runs[0].generator(z))  # type: ignore[union-attr]


def test_a_class_of_a_notebook_is_kept_where_its_source_is_known(caplog: pytest.LogCaptureFixture) -> None:
    source = "from torch import nn\nclass Late(nn.GRUCell):\n    def forward(self, x, state=None):\n"
    source += "        return super().forward(x, state)\n"
    for name, known in (("<cell 1>", True), ("<cell 2>", False)):
        scope: dict[str, Any] = {"__name__": "of_no_file"}  # which no other test has imported
        exec(compile(source, name, "exec"), scope)
        if known:
            linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        reviver.train_lstm(f"run{known}", cell=scope["Late"], **LSTM)
    assert Path("runTrue/parts/Late.py").read_text() == source
    assert not Path("runFalse/parts").exists()
    assert "cell: the source of the class is not known" in caplog.text


def test_what_does_not_fit_the_run_or_its_settings_is_named() -> None:
    reviver.train_lstm("run", cell=nn.GRUCell, **LSTM)
    with pytest.raises(ConfigError, match=r"^cell is not what run was trained with \(.*; give the class of this run$"):
        reviver.load("run", cell=nn.LSTMCell)
    reviver.train_lstm("ours", **LSTM)
    with pytest.raises(ConfigError, match="cell must be absent for a run with cell lstm; leave it out"):
        reviver.load("ours", cell=nn.GRUCell)
    reviver.train_gan("gan", networks=networks(), **GAN)
    other = networks()[0], nn.Sequential(nn.Flatten(), nn.Linear(36, 2), nn.Linear(2, 1), nn.Flatten(0))
    with pytest.raises(ConfigError, match=r"^networks is not what gan was trained with"):
        reviver.load("gan", networks=other)
