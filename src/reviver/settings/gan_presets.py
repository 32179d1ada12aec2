"""Presets of GAN training: the named settings that results are quoted for."""

from dataclasses import replace
from types import MappingProxyType

from reviver.settings.gan import GANConfig

_BEST = GANConfig(
    epochs=34,
    batch_size=128,
    learning_rate=1.2e-3,
    lr_schedule="linear",
    final_lr_ratio=0.1,
    beta1=-0.3,
    r1=0.2,
    penalty_interval=8,
    input_centering="auto",
    shift_probability=0.5,
    ema=0.9998,
    ema_rampup=0.05,
    batch_norm_samples=20_000,
    precision="bf16",
)

_LONG = replace(_BEST, penalty_interval=4)

PRESETS = MappingProxyType(
    {
        "best": _BEST,
        "best-long": replace(_LONG, epochs=150),
        "best-longest": replace(_LONG, epochs=400),
        "original": GANConfig(),
        "short": GANConfig(epochs=16, sample_every=1),
        "public-script": GANConfig(batch_norm_eps=0.8),
    }
)
"""
- `best`: the original's networks and losses, trained without mode collapse, in minutes.
- `best-long`, `best-longest`: `best` with more epochs and more frequent penalties.
- `original`: the run of the original report, 200 epochs. These are also the defaults of `GANConfig`, so that every other
  recipe writes out what it changes.
- `short`: the original's run with fewer epochs.
- `public-script`: the original's run with the public script's BatchNorm epsilon of 0.8, which collapses.

The first is the default of the command line.
"""

SECONDS = MappingProxyType(
    {"best": 300, "best-long": 1500, "best-longest": 4400, "original": 2800, "short": 230, "public-script": 2800}
)
"""Seconds of training on MNIST on two cores of an AMD EPYC server."""
