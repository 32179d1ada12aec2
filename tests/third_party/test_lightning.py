"""Lightning: a module that its Trainer fits, and loads from a checkpoint."""

from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from scripts import Build, Classifier, compare, make_data, with_weights_of_torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from reviver import LSTM


class Module(LightningModule):
    def __init__(self, build: Build = LSTM) -> None:
        super().__init__()
        self.model = Classifier(build)
        self.losses: list[Tensor] = []

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        x, y = batch
        loss = functional.cross_entropy(self.model(x), y)
        self.losses.append(loss.detach())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.02)


def fit(build: Build, folder: Path, count: int = 64) -> tuple[Module, Path]:
    """Train a module; return it and its checkpoint."""
    module = Module(build)
    limits: dict[str, Any] = {"max_epochs": 6, "gradient_clip_val": 0.5, "accelerator": "cpu", "devices": 1}
    trainer = Trainer(**limits, default_root_dir=folder, logger=False, enable_progress_bar=False)
    trainer.fit(module, DataLoader(TensorDataset(*make_data(count)), batch_size=16, shuffle=True))
    return module, Path(trainer.checkpoint_callback.best_model_path)


def test_fit_and_checkpoint(tmp_path: Path) -> None:
    def script(build: Build) -> dict[str, Any]:
        module, path = fit(build, tmp_path)
        loaded = Module.load_from_checkpoint(path, build=build)
        x, _ = make_data()
        return {"losses": torch.stack(module.losses), "state": module.state_dict(), "loaded": loaded.model(x)}

    compare(script)


def test_learns_with_hidden_dropout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    build = with_weights_of_torch(LSTM, hidden_dropout=0.3)
    module, _ = fit(build, tmp_path, 512)
    x, y = make_data(512)
    assert (module.model.eval()(x).argmax(1) == y).float().mean() > 0.9
