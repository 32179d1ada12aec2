"""Recipes for GAN training: every option trains, does something, and resumes bit for bit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from reviver.runs.folder import RunFolder
from reviver.settings.gan import LOSSES, GANConfig
from reviver.train.gan.training import train
from tests.lstm_runs import fingerprint

RECIPES: dict[str, dict[str, Any]] = {
    LOSSES[1]: {"beta1": 0.0},
    LOSSES[2]: {"lr_schedule": "linear"},
    LOSSES[3]: {"r1": 1.0, "penalty_interval": 2},
    LOSSES[4]: {"gradient_penalty": 10.0, "discriminator_dropout": 0.3, "ema": 0.9},
    "packing": {"packing": 2, "input_centering": "auto", "r1": 0.3, "label_smoothing": 0.1},
    "bf16": {"precision": "bf16", "input_centering": "auto", "r1": 0.3, "batch_norm_samples": 50},
    "steps": {"discriminator_steps": 2, "lr_schedule": "cosine", "ema": 0.99, "ema_rampup": 0.3},
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_and_resumes_to_the_same_bits(
    name: str, tiny: GANConfig, uninterrupted: RunFolder, resumed: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    config = replace(tiny, **({"loss": name} if name in LOSSES else {}), **RECIPES[name])
    whole = fingerprint(train(config, tmp_path / "whole"))
    assert resumed(config, 4) == whole
    assert all(torch.tensor(list((record | {"seconds": 0}).values())).isfinite().all() for record in whole["metrics"])
    assert whole["files"] != fingerprint(uninterrupted)["files"], "the settings do something"
