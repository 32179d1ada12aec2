"""One epoch of the GAN at batch 64 against the public loop with the same two networks.

The public loop is rebuilt here as the widely copied script has it: a DataLoader that decodes each image
through PIL and per-sample transforms, probabilities from a sigmoid with BCELoss, unfused Adam, two calls
of the discriminator, a line printed for every batch. Both train on the same 60 000 images. Blocks of
updates of either alternate; an epoch is 938 of them.
"""

import io
import math
from collections.abc import Iterator

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.measure import alternate, machine, ratio, summary
from reviver.gan.images import from_pixels, load_mnist
from reviver.gan.networks import Discriminator, Generator
from reviver.gan.presets import GANConfig
from reviver.gan.training import build_networks, build_optimizers, train_step

BLOCK, ROUNDS, BATCH = 40, 12, 64
UPDATES = math.ceil(60_000 / BATCH)
TARGET = 0.45


class PILDigits(Dataset[tuple[Tensor, int]]):
    """MNIST as torchvision serves it: a PIL image a time, transformed one by one."""

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
    """The public loop; each `next` makes one update."""
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
            drawn = generator(torch.randn(len(real), config.latent_size))
            g_loss = cross_entropy(discriminator(drawn), valid)
            g_loss.backward()
            g_optimizer.step()
            d_optimizer.zero_grad()
            real_loss = cross_entropy(discriminator(real), valid)
            fake_loss = cross_entropy(discriminator(drawn.detach()), fake)
            d_loss = (real_loss + fake_loss) / 2
            d_loss.backward()
            d_optimizer.step()
            print(number, d_loss.item(), g_loss.item(), file=log)
            yield


def our_updates() -> Iterator[None]:
    """Our loop on the same images; each `next` makes one update."""
    config = GANConfig()
    generator, discriminator = build_networks(config, (1, 28, 28))
    optimizers = build_optimizers(config, generator, discriminator)
    pixels = load_mnist("train").images
    while True:
        for indices in torch.randperm(len(pixels)).split(BATCH):
            z = torch.randn(len(indices), config.latent_size)
            train_step(generator, discriminator, *optimizers, from_pixels(pixels[indices]), z)
            yield


def main() -> dict[str, object]:
    """Measure, and return seconds an epoch and their ratio."""
    ours, public = our_updates(), public_updates()

    def block(updates: Iterator[None]) -> None:
        for _ in range(BLOCK):
            next(updates)

    seconds = alternate({"ours": lambda: block(ours), "public": lambda: block(public)}, ROUNDS)
    epoch = {name: summary([value / BLOCK * UPDATES for value in values]) for name, values in seconds.items()}
    return {
        "title": "One GAN epoch at batch 64, against the public loop",
        "machine": machine(),
        "seconds_per_epoch": epoch,
        "ratio": ratio(seconds["ours"], seconds["public"]),
        "target_ratio": TARGET,
    }
