"""Training steps that are timed: those of a preset by several processes, and those of any size by one process.

Shapes: B batch, T time, H hidden units.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from reviver.distributed.batch_norm import parallelize_batch_norm
from reviver.distributed.gradients import GradientBucket
from reviver.distributed.world import ALONE, World
from reviver.gan.config import GANConfig
from reviver.gan.data.image_set import from_pixels, load_mnist
from reviver.gan.parallel import Buckets, ParallelStep
from reviver.gan.presets import PRESETS as GAN_PRESETS
from reviver.gan.step import gan_step as training_step
from reviver.gan.step_options import StepOptions
from reviver.gan.training import build_networks, build_optimizers
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.parallel import NUM_SUMS, ParallelUpdate
from reviver.lstm.presets import PRESETS as LSTM_PRESETS
from reviver.lstm.tasks.build import build_task
from reviver.lstm.training import build_network, build_optimizer, train_step
from reviver.runs.rng import make_rng

Step = Callable[[int], object]
"""A training step, by its number from 0."""


def lstm_preset(name: str, world: World) -> Step:
    """Return the training step of an LSTM preset at its last length, on the rows of this process."""
    config = LSTM_PRESETS[name]
    length = config.lengths[-1]
    batch_size = config.batch_size_at(length)
    task = build_task(config)
    network = build_network(config, task)
    optimizer = build_optimizer(config, network)
    bucket = GradientBucket(network.parameters(), NUM_SUMS, world) if world.size > 1 else None
    data, rng = task.training(0, length), make_rng(0, "dropout")
    num_batches = len(data) // batch_size

    def step(number: int) -> None:
        start = number % num_batches * batch_size
        batch, parallel = data[start : start + batch_size], None
        if bucket is not None:
            rows = world.rows(batch_size)
            batch, parallel = batch.take_rows(rows), ParallelUpdate(rows, bucket, 0.0)
        train_step(
            network,
            optimizer,
            batch.encode(),
            batch.targets,
            batch.lengths,
            target=task.target,
            max_norm=config.max_norm,
            rng=rng,
            parallel=parallel,
        )

    return step


def gan_preset(name: str, world: World) -> Step:
    """Return the training step of a GAN preset on MNIST, on the rows of this process."""
    return gan_step(GAN_PRESETS[name], from_pixels(load_mnist("train").images[:4096]), world)


def gan_step(config: GANConfig, images: Tensor, world: World = ALONE) -> Step:
    """Return a training step on `images`, [N, C, H, W], on the rows of this process."""
    generator, discriminator = build_networks(config, (images.shape[1], images.shape[2], images.shape[3]))
    if world.size > 1:
        parallelize_batch_norm(generator, world, is_synced=config.sync_batch_norm)
    optimizers = build_optimizers(config, generator, discriminator)
    buckets = Buckets(generator, discriminator, *optimizers, world) if world.size > 1 else None
    rng = make_rng(0, "noise")
    num_batches = max(1, len(images) // config.batch_size)

    def step(number: int) -> None:
        start = number % num_batches * config.batch_size
        real, parallel = images[start : start + config.batch_size], None
        z = generator.sample_latents(len(real), rng)
        if buckets is not None:
            rows = world.rows(len(real) // config.packing)
            real, z = (rows.scaled(config.packing).take(tensor) for tensor in (real, z))
            parallel = ParallelStep(buckets, rows)
        options = StepOptions.from_config(config, number)
        training_step(generator, discriminator, *optimizers, real, z, options=options, rng=rng, parallel=parallel)

    return step


PRESETS: dict[str, tuple[Callable[[World], Step], int]] = {
    "LSTM report": (lambda world: lstm_preset("report", world), 16),
    "LSTM recall": (lambda world: lstm_preset("recall", world), 1),
    "GAN best": (lambda world: gan_preset("best", world), 8),
    "GAN report": (lambda world: gan_preset("report", world), 8),
}
"""Training steps of presets, and the number in a timed block. Penalties come every 8 steps; short blocks have a chance to
run between those of other programs."""


def lstm_of_size(B: int, T: int, H: int, checkpoint_steps: int | None = None) -> Step:
    """Return the training step of the preset `recall` with other sizes, on random input of full length."""
    network = LSTMClassifier(10, H, 10, hidden_dropout=0.5, activation_checkpoint_steps=checkpoint_steps)
    optimizer = build_optimizer(LSTM_PRESETS["recall"], network)
    x = torch.eye(10)[torch.randint(10, (B, T))]
    targets = torch.randint(10, (B,))
    return lambda _: train_step(network, optimizer, x, targets, max_norm=1.0)


def gan_of_size(preset: str, B: int, image_size: int) -> Step:
    """Return the training step of a GAN preset with other sizes, on random images."""
    config = replace(GAN_PRESETS[preset], batch_size=B, image_size=image_size)
    return gan_step(config, 2 * torch.rand(4 * B, 1, image_size, image_size) - 1)
