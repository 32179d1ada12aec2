"""Small networks that several processes train, or one; `test_networks.py` compares the results."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock, patch

import torch
from torch import Tensor, nn

from reviver.data.images.image_set import ImageSet
from reviver.data.tasks.build import build_task
from reviver.gan import networks, shifts
from reviver.gan.centering import CenteredDiscriminator, center_inputs, image_moments
from reviver.gan.sampling import generate
from reviver.gan.step import gan_step
from reviver.gan.step_options import StepResult
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.scoring import score
from reviver.runs.checkpoint import TrainingState
from reviver.runs.distributed.world import World
from reviver.runs.rng import make_rng
from reviver.settings.gan import GANConfig
from reviver.settings.gan_presets import PRESETS
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan import training as gan
from reviver.train.lstm import training as lstm

NUM_BATCHES = 5
"""Batches per epoch: four whole ones and a small one, in which all processes but one have no row (GAN: with packing)."""
NUM_IMAGES, IMAGE_SIZE, NUM_CLASSES = 279, 4, 3
EPOCHS = 2
SMALL_LSTM = LSTMConfig(length=6, encoding="onehot", hidden_size=8, batch_size=8, data_size=41)
"""33 training sequences and 8 validation sequences."""
SMALL_GAN = replace(PRESETS["original"], batch_size=64, epochs=10)
BEST_GAN = replace(PRESETS["best"], batch_size=64, epochs=10)
CONFIGS: Mapping[str, LSTMConfig | GANConfig] = MappingProxyType(
    {
        "layers": replace(
            SMALL_LSTM, num_layers=2, bidirectional=True, dropout=0.3, hidden_dropout_kind="zoneout", hidden_dropout=0.2
        ),
        "lengths": replace(SMALL_LSTM, task="parity", curriculum=True, start_length=3, pooling="attention"),
        "every step": replace(SMALL_LSTM, task="copy", length=2, hidden_dropout_kind="variational", hidden_dropout=0.2),
        "number": replace(SMALL_LSTM, task="adding", encoding="scalar", optimizer="adam"),
        "rnn": replace(SMALL_LSTM, cell="rnn"),
        # Rounding grows with the learning rate: the 1.2e-3 of `best` would need a wider tolerance.
        "best": replace(BEST_GAN, learning_rate=8e-4, label_smoothing=0.1, precision="fp32"),
        "relativistic": replace(SMALL_GAN, loss="relativistic", lr_schedule="cosine"),
        "steps": replace(SMALL_GAN, loss="hinge", discriminator_steps=2),
        "together": replace(
            SMALL_GAN,
            loss="wasserstein",
            conditional=True,
            packing=16,
            discriminator_dropout=0.3,
            gradient_penalty=1.0,
            r1=0.1,
            ema=0.9,
            input_centering="auto",
            shift_probability=0.5,
            batch_norm_samples=100,
        ),
        "bf16": BEST_GAN,
    }
)
"""All but `bf16` are trained in float64."""
WIDTHS = MappingProxyType({"GENERATOR_WIDTHS": (32, 48, 64, 80), "DISCRIMINATOR_WIDTHS": (48, 24)})
"""Widths of the layers, smaller than the report's."""


def loop_session(state: TrainingState, world: World) -> Any:
    """Return what `train_epoch` needs of a session, without a run folder."""

    def check_finite(history: Tensor, *_: object) -> None:
        assert history.isfinite().all()

    def agree(stop_flags: float) -> None:
        assert stop_flags == 0.0

    session = Mock(state=state, world=world, lr_scale=1.0, stop_flag=0.0, stop_requested=False)
    session.configure_mock(**{"progress.due": False, "check_finite": check_finite, "agree": agree})
    return session


def step_in(dtype: torch.dtype) -> Callable[..., StepResult]:
    """Return the training step of a run with images and latent vectors in `dtype`."""

    def converted(*arguments: Any, **keywords: Any) -> StepResult:
        *models, real, z = arguments
        return gan_step(*models, real.to(dtype), z.to(dtype), **keywords)

    return converted


@patch.object(shifts, "SIDE", IMAGE_SIZE)  # shift the small images, too
def run_gan(config: GANConfig, world: World) -> dict[str, Tensor]:
    """Train a GAN, and return what must not depend on the number of processes."""
    dtype = torch.float32 if config.precision == "bf16" else torch.float64
    pixels = torch.randint(256, (NUM_IMAGES, 1, IMAGE_SIZE, IMAGE_SIZE), generator=make_rng(3, "images"))
    data = ImageSet(pixels.to(torch.uint8), torch.arange(NUM_IMAGES) % NUM_CLASSES, "random")
    with patch.multiple(networks, **WIDTHS):
        models = gan.build_models(
            config, data.image_shape, NUM_CLASSES if config.conditional else 0, torch.device("cpu"), world
        )
    if isinstance(models.discriminator, CenteredDiscriminator):
        center_inputs(models.discriminator, image_moments(data))
    if dtype == torch.float32:  # Adam's small ε would move weights whose gradient is only rounding errors
        for optimizer in (models.opt_generator, models.opt_discriminator):
            optimizer.param_groups[0]["eps"] = 1e-4
    for network in {models.generator, models.discriminator, models.eval_generator}:
        network.to(dtype)
    state = gan.build_state(config, models, NUM_BATCHES)
    state.tensors["history"] = torch.zeros(NUM_BATCHES, len(StepResult._fields), dtype=dtype)
    snapshots = cast("Any", SimpleNamespace(steps=frozenset()))
    history = []
    with patch.object(gan, "gan_step", step_in(dtype)):
        for _ in range(EPOCHS):
            gan.train_epoch(loop_session(state, world), models, torch.empty(0), snapshots, data, config)
            history.append(state.tensors["history"].clone())
    z = models.generator.sample_latents(6, torch.Generator().manual_seed(1)).to(dtype)
    return {
        "history": torch.cat(history),  # [updates, quantities]
        "images": generate(models.eval_generator, z),
        "rng": state.rngs["noise"].get_state(),
        **{
            f"{name}.{key}": tensor
            for name, network in state.networks.items()
            for key, tensor in network.state_dict().items()
        },
    }


def run_lstm(config: LSTMConfig, world: World) -> dict[str, Tensor]:
    """Train a network, and return everything that must not depend on the number of processes."""
    task = build_task(config)
    network = lstm.build_network(config, task).double()
    reader = network.lstm if isinstance(network, LSTMClassifier) else network
    reader.register_forward_pre_hook(lambda _, arguments: (arguments[0].double(), *arguments[1:]))
    optimizer = lstm.build_optimizer(config, network)
    state = TrainingState(
        networks={"network": network},
        optimizers={"network": optimizer},
        rngs={"dropout": make_rng(config.seed, "dropout")},
        tensors={"history": torch.zeros(NUM_BATCHES, len(lstm.HISTORY), dtype=torch.float64)},
        extra={"stage": 0, "sequences": 0},
    )
    history, scores = [], []
    for epoch in range(EPOCHS):
        length = config.lengths[min(epoch, len(config.lengths) - 1)]
        lstm.train_epoch(loop_session(state, world), network, optimizer, task, length, config)
        history.append(state.tensors["history"].clone())
        scores.append(score(network, task.validation(length), task.target, world))
    return {
        "history": torch.cat(history),  # [updates, quantities]
        "scores": torch.tensor(scores, dtype=torch.float64),  # [epochs, 3]
        "rng": state.rngs["dropout"].get_state(),
        "weights": nn.utils.parameters_to_vector(network.parameters()).detach(),
    }


def run_config(name: str, world: World) -> dict[str, Tensor]:
    """Train a network, and return everything that must not depend on the number of processes."""
    config = CONFIGS[name]
    return run_lstm(config, world) if isinstance(config, LSTMConfig) else run_gan(config, world)
