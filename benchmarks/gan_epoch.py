"""One epoch of the GAN at batch 64 against a bare loop in plain PyTorch with the same two networks; sampling and scoring.

The bare loop does what a careful user would write: the 60 000 images in one tensor, logits, fused Adam, autocast for
bf16, no gradients that nobody needs, and no records. Blocks of updates of each loop alternate; an epoch has 938 updates.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn

from benchmarks.measure import alternate, machine, ratio, summary
from reviver.data.images.image_set import from_pixels, load_images
from reviver.gan.losses import choose_losses
from reviver.gan.networks import Discriminator, Generator
from reviver.gan.sampling import generate_samples
from reviver.gan.scores.reference_stats import load_reference
from reviver.gan.step import gan_step
from reviver.settings.fields import Precision
from reviver.settings.gan import GANConfig
from reviver.train.gan.training import build_networks, build_optimizers, build_options

BLOCK, ROUNDS, BATCH = 40, 12, 64
UPDATES = math.ceil(60_000 / BATCH)
CALLS = 5
SAMPLES, SCORED = 60_000, 10_000
PEERS = {"ours": "plain PyTorch", "ours, bf16": "plain PyTorch, bf16"}


def plain_updates(precision: Precision) -> Iterator[None]:
    """Run a bare loop in plain PyTorch; each `next` makes one update."""
    config = GANConfig()
    generator, discriminator = Generator(), Discriminator()
    betas = (config.beta1, 0.999)
    optimizers = [
        torch.optim.Adam(network.parameters(), lr=config.learning_rate, betas=betas, fused=True)
        for network in (generator, discriminator)
    ]
    cross_entropy = nn.BCEWithLogitsLoss()
    pixels = load_images("mnist").images

    while True:
        for indices in torch.randperm(len(pixels)).split(BATCH):
            ones, zeros = torch.ones(len(indices), 1), torch.zeros(len(indices), 1)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                fake = generator(torch.randn(len(indices), config.latent_size))
                g_logits = discriminator.logits(fake)
                d_logits = discriminator.logits(torch.cat([from_pixels(pixels[indices]), fake.detach()]))
            g_loss = cross_entropy(g_logits.float(), ones)
            d_loss = cross_entropy(d_logits.float(), torch.cat([ones, zeros]))
            for optimizer in optimizers:
                optimizer.zero_grad()
            g_loss.backward(inputs=list(generator.parameters()))
            d_loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            yield


def our_updates(precision: Precision) -> Iterator[None]:
    """Run our loop on the same images; each `next` makes one update."""
    config = GANConfig(precision=precision)
    options = build_options(config, choose_losses(config.loss, config.label_smoothing))
    generator, discriminator = build_networks(config, (1, 28, 28))
    optimizers = build_optimizers(config, generator, discriminator)
    pixels = load_images("mnist").images
    while True:
        for indices in torch.randperm(len(pixels)).split(BATCH):
            z = torch.randn(len(indices), config.latent_size)
            gan_step(generator, discriminator, *optimizers, from_pixels(pixels[indices]), z, options=options)
            yield


def sampling_and_scoring() -> dict[str, Callable[[], object]]:
    """Return the calls that are timed: sampling, and scoring with the reference in memory."""
    generator, _ = build_networks(GANConfig(), (1, 28, 28))
    reference = load_reference(SCORED)

    def score() -> None:
        images, _ = generate_samples(generator, SCORED, 0)
        reference.score(images)

    sample = partial(generate_samples, generator, SAMPLES, 0)
    return {f"sampling {SAMPLES} images": sample, f"scoring {SCORED} samples": score}


def main() -> dict[str, object]:
    """Return seconds per epoch and their ratios, and seconds of sampling and scoring."""
    loops = {
        "ours": our_updates("fp32"),
        "ours, bf16": our_updates("bf16"),
        "plain PyTorch": plain_updates("fp32"),
        "plain PyTorch, bf16": plain_updates("bf16"),
    }

    def block(updates: Iterator[None]) -> None:
        for _ in range(BLOCK):
            next(updates)

    seconds = alternate({name: partial(block, updates) for name, updates in loops.items()}, ROUNDS)
    epoch = {name: summary([value / BLOCK * UPDATES for value in values]) for name, values in seconds.items()}
    calls = alternate(sampling_and_scoring(), CALLS)
    return {
        "title": "One GAN epoch at batch 64, against a bare loop in plain PyTorch; sampling and scoring",
        "machine": machine(),
        "seconds_per_epoch": epoch,
        "ratios": {name: ratio(seconds[name], seconds[peer]) for name, peer in PEERS.items()},
        "seconds_per_call": {name: summary(values) for name, values in calls.items()},
    }
