"""Presets of GAN training: the named settings that results are quoted for."""

from dataclasses import replace
from types import MappingProxyType

from reviver.gan.config import GANConfig

_BEST = GANConfig(
    epochs=34,
    batch_size=128,
    learning_rate=8e-4,
    lr_schedule="linear",
    final_lr_ratio=0.5,
    beta1=-0.3,
    r1=0.2,
    penalty_interval=8,
    ema=0.9998,
    ema_rampup=0.1,
    precision="bf16",
)

PRESETS = MappingProxyType(
    {
        "report": GANConfig(),
        "best": _BEST,
        "best-long": replace(_BEST, epochs=150, batch_size=64),
        "short": GANConfig(epochs=16, sample_every=1),
        "public-script": GANConfig(batch_norm_eps=0.8),
    }
)
"""
- `report`: the report's run, 200 epochs.
- `best`: the report's networks and losses trained so that they do not collapse, in minutes on two cores.
- `best-long`: the same for longer, by smaller batches: slower at first, and it goes further in an epoch.
- `short`: the report's run with fewer epochs, in minutes.
- `public-script`: the slip that collapses.
"""
