"""Recipes for GAN training: every option trains, does something, and resumes bit for bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reviver.errors import ConfigError
from reviver.runs.folder import RunFolder
from reviver.settings.fields import override
from reviver.settings.gan import LOSSES, GANConfig
from reviver.train.gan.training import train

RECIPES: dict[str, dict[str, Any]] = {
    LOSSES[1]: {"beta1": 0.0},
    LOSSES[2]: {"lr_schedule": "linear"},
    LOSSES[3]: {"r1": 1.0, "penalty_interval": 2},
    "wasserstein": {"gradient_penalty": 10.0, "discriminator_dropout": 0.3, "ema": 0.9},
    "packing": {"packing": 2, "input_centering": "auto", "r1": 0.3, "label_smoothing": 0.1},
    "bf16": {
        "precision": "bf16",
        "input_centering": "auto",
        "r1": 0.3,
        "lr_schedule": "cosine",
        "batch_norm_samples": 50,
    },
    "steps": {"discriminator_steps": 2, "r1": 0.3, "penalty_interval": 2, "ema": 0.99, "ema_rampup": 0.3},
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_and_resumes_to_the_same_bits(
    name: str,
    tiny: GANConfig,
    uninterrupted: RunFolder,
    fingerprint: Callable[[RunFolder], dict[str, Any]],
    resumed: Callable[[GANConfig, int], dict[str, Any]],
    tmp_path: Path,
) -> None:
    config = override(tiny, {**({"loss": name} if name in LOSSES else {}), **RECIPES[name]})
    whole = fingerprint(train(config, tmp_path / "whole"))
    assert resumed(config, 4) == whole
    assert all(torch.tensor(list((record | {"seconds": 0}).values())).isfinite().all() for record in whole["metrics"])
    assert whole["files"] != fingerprint(uninterrupted)["files"], "the settings do something"


WRONG: dict[str, dict[str, Any]] = {
    "^packing must divide the batch_size 64, got 3": {"packing": 3},
    "^ema_rampup must be 0 without an average, got 0.1; give ema as well": {"ema_rampup": 0.1},
    "^label_smoothing must be 0 for the loss hinge, .* got 0.1": {"loss": "hinge", "label_smoothing": 0.1},
}


@pytest.mark.parametrize("problem", WRONG)
def test_settings_that_do_not_go_together_are_refused(problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        GANConfig(**WRONG[problem])
