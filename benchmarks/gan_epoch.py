"""One epoch of the GAN at batch 64 against the public loop with the same two networks; sampling and scoring.

The public loop is written here as in the widely copied script (gan.py of PyTorch-GAN): a DataLoader that decodes
each image through PIL and per-sample transforms, probabilities from a sigmoid with BCELoss, unfused Adam, three calls
of the discriminator, and a line printed per batch. All loops train on the same 60 000 images. Blocks of updates of each
alternate; an epoch has 938 updates.
"""

import io
import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.measure import alternate, machine, ratio, summary
from reviver.config import Precision
from reviver.gan.config import GANConfig
from reviver.gan.data.image_set import from_pixels, load_mnist
from reviver.gan.evaluation.reference_stats import load_reference
from reviver.gan.networks import Discriminator, Generator
from reviver.gan.sampling import generate_samples
from reviver.gan.step import gan_step
from reviver.gan.step_options import StepOptions
from reviver.gan.training import build_networks, build_optimizers

BLOCK, ROUNDS, BATCH = 40, 12, 64
UPDATES = math.ceil(60_000 / BATCH)
CALLS = 5
SAMPLES, SCORED = 60_000, 10_000
TARGETS = {"ours": 0.38, "ours, bf16": 0.28}
"""Maximum time as a fraction of the public loop's."""
CALL_TARGETS = {f"sampling {SAMPLES} images": 2.0, f"scoring {SCORED} samples": 10.0}
"""Maximum seconds; of scoring after the reference is cached."""


class PILDigits(Dataset[tuple[Tensor, int]]):
    """MNIST as torchvision has it: each image goes through PIL and is transformed alone."""

    def __init__(self) -> None:
        data = load_mnist("train")
        assert data.labels is not None
        self.pixels, self.labels = data.images[:, 0], data.labels
        self.transform = transforms.Compose(
            [transforms.Resize(28), transforms.ToTensor(), transforms.Normalize([0.5], [0.5])]
        )

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index].numpy(), mode=None)), int(self.labels[index])


def public_updates() -> Iterator[None]:
    """Run the public loop; each `next` makes one update."""
    config = GANConfig()
    generator, discriminator = Generator(), Discriminator()
    betas = (config.beta1, config.beta2)
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=config.learning_rate, betas=betas)
    d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=config.learning_rate, betas=betas)
    cross_entropy = nn.BCELoss()
    loader = DataLoader(PILDigits(), batch_size=BATCH, shuffle=True)
    log = io.StringIO()
    while True:
        for number, (real, _) in enumerate(loader):
            valid, fake = torch.ones(len(real), 1), torch.zeros(len(real), 1)
            g_optimizer.zero_grad()
            generated = generator(torch.randn(len(real), config.latent_size))
            g_loss = cross_entropy(discriminator(generated), valid)
            g_loss.backward()
            g_optimizer.step()
            d_optimizer.zero_grad()
            real_loss = cross_entropy(discriminator(real), valid)
            fake_loss = cross_entropy(discriminator(generated.detach()), fake)
            d_loss = (real_loss + fake_loss) / 2
            d_loss.backward()
            d_optimizer.step()
            print(number, d_loss.item(), g_loss.item(), file=log)
            yield


def our_updates(precision: Precision) -> Iterator[None]:
    """Run our loop on the same images; each `next` makes one update."""
    config = GANConfig(precision=precision)
    options = StepOptions.from_config(config, 0)
    generator, discriminator = build_networks(config, (1, 28, 28))
    optimizers = build_optimizers(config, generator, discriminator)
    pixels = load_mnist("train").images
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
        reference.compare(images)

    return dict(zip(CALL_TARGETS, (partial(generate_samples, generator, SAMPLES, 0), score), strict=True))


def main() -> dict[str, object]:
    """Return seconds per epoch and their ratios, and seconds of sampling and scoring."""
    loops = {
        "ours": our_updates("fp32"),
        "ours, bf16": our_updates("bf16"),
        "public": public_updates(),
    }

    def block(updates: Iterator[None]) -> None:
        for _ in range(BLOCK):
            next(updates)

    seconds = alternate({name: partial(block, updates) for name, updates in loops.items()}, ROUNDS)
    epoch = {name: summary([value / BLOCK * UPDATES for value in values]) for name, values in seconds.items()}
    calls = alternate(sampling_and_scoring(), CALLS)
    return {
        "title": "One GAN epoch at batch 64, against the public loop; sampling and scoring",
        "machine": machine(),
        "seconds_per_epoch": epoch,
        "ratios": {
            name: {**ratio(seconds[name], seconds["public"]), "target": target} for name, target in TARGETS.items()
        },
        "seconds_per_call": {name: {**summary(values), "target": CALL_TARGETS[name]} for name, values in calls.items()},
    }
