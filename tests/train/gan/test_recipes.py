"""Recipes for GAN training: every option trains, does something, and resumes bit for bit."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reviver.errors import ConfigError, Interrupted
from reviver.runs.folder import RunFolder
from reviver.settings.fields import override
from reviver.settings.gan import LOSSES, GANConfig
from reviver.train.gan.training import train

RECIPES: dict[str, dict[str, Any]] = {
    **{name: {"loss": name} for name in LOSSES[1:4]},
    "wasserstein": {"loss": "wasserstein", "gradient_penalty": 10.0},
    "smoothed": {"label_smoothing": 0.1},
    "r1": {"r1": 1.0, "penalty_interval": 2},
    "dropout and average": {"discriminator_dropout": 0.3, "ema": 0.9},
    "packing": {"packing": 2, "input_centering": "auto", "r1": 0.3},
    "no momentum": {"beta1": 0.0},
    "linear": {"lr_schedule": "linear"},
    "bf16": {"precision": "bf16", "r1": 0.3, "lr_schedule": "cosine", "ema": 0.9, "penalty_interval": 2},
    "centered bf16": {"input_centering": "auto", "precision": "bf16", "r1": 0.3, "batch_norm_samples": 50},
    "steps": {"discriminator_steps": 2, "r1": 0.3, "penalty_interval": 2, "ema": 0.99, "ema_rampup": 0.3},
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_and_resumes_to_the_same_bits(
    name: str,
    tiny: GANConfig,
    uninterrupted: RunFolder,
    fingerprint: Callable[[RunFolder], dict[str, Any]],
    before_update: Callable[..., None],
    tmp_path: Path,
) -> None:
    config = override(tiny, RECIPES[name])
    whole = fingerprint(train(config, tmp_path / "whole"))
    before_update(3, lambda _: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run")
    assert fingerprint(train(config, tmp_path / "run", resume=True)) == whole
    assert all(torch.tensor(list((record | {"seconds": 0}).values())).isfinite().all() for record in whole["metrics"])
    assert whole["files"] != fingerprint(uninterrupted)["files"], "the setting does something"


WRONG: dict[str, dict[str, Any]] = {
    "^packing must divide the batch_size 64, got 3": {"packing": 3},
    "^ema_rampup must be 0 without an average, got 0.1; give ema as well": {"ema_rampup": 0.1},
    "^label_smoothing must be 0 for the loss hinge, .* got 0.1": {"loss": "hinge", "label_smoothing": 0.1},
}


@pytest.mark.parametrize("problem", WRONG)
def test_settings_that_do_not_go_together_are_refused(problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        GANConfig(**WRONG[problem])
