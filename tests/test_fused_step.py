"""The discriminator's pass that is written out: what torch's automatic differentiation finds, for every option."""

import copy

import pytest
import torch
from torch import Tensor

from reviver.errors import DataError
from reviver.gan.judgement import judge
from reviver.gan.networks import Discriminator, one_hot

OPTIONS = {
    "report": {},
    "dropout": {"dropout": 0.4},
    "spectral norm": {"spectral_norm": True},
    "packing": {"packing": 3},
    "classes": {"num_classes": 4},
    "all": {"dropout": 0.4, "spectral_norm": True, "packing": 2, "num_classes": 4},
}


def case(options: dict[str, float], seed: int = 0) -> tuple[Discriminator, list[Tensor], list[Tensor | None]]:
    """A discriminator of small images in float64, six real and six drawn ones, and the classes of either."""
    torch.manual_seed(seed)
    discriminator = Discriminator((2, 4, 3), **options).double()  # type: ignore[arg-type]
    images = list(torch.randn(2, 6, 2, 4, 3, dtype=torch.float64))
    count = discriminator.num_classes
    labels = [one_hot(torch.randint(count, (6,)), count).double() if count else None for _ in images]
    return discriminator, images, labels


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_gradients_are_those_of_automatic_differentiation(options: dict[str, float], mode: str) -> None:
    discriminator, (real, fake), labels = case(options)
    discriminator.train(mode == "train")
    other = copy.deepcopy(discriminator)

    judgement = judge(discriminator, real, fake, *labels, generator=torch.Generator().manual_seed(1))
    images = torch.cat([real, fake]).requires_grad_()
    classes = None if labels[0] is None or labels[1] is None else torch.cat([labels[0], labels[1]])
    logits = other.logits(images, classes, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(torch.cat([judgement.real_logits, judgement.fake_logits]), logits)

    seeds = torch.randn_like(logits)
    *expected, of_images = torch.autograd.grad(logits, [*other.parameters(), images], seeds)
    torch.testing.assert_close(judgement.parameter_gradients(seeds), tuple(expected))
    torch.testing.assert_close(judgement.fake_gradient(seeds[len(seeds) // 2 :]), of_images[6:])


def test_each_look_refines_the_estimate_of_spectral_normalisation_once() -> None:
    discriminator, (real, fake), _ = case(OPTIONS["spectral norm"])
    other = copy.deepcopy(discriminator)
    judge(discriminator, real, fake)
    other.logits(real)
    torch.testing.assert_close(dict(discriminator.state_dict()), dict(other.state_dict()))


def test_in_bf16_the_gradients_are_close() -> None:
    discriminator, (real, fake), _ = case({})
    discriminator.float()
    images = real.float(), fake.float()
    seeds = torch.rand(12, 1)  # of one sign, so that sums do not cancel
    exact, rounded = judge(discriminator, *images), judge(discriminator, *images, dtype=torch.bfloat16)
    for mine, wanted in zip(
        (*rounded.parameter_gradients(seeds), rounded.fake_gradient(seeds[6:]), rounded.real_logits),
        (*exact.parameter_gradients(seeds), exact.fake_gradient(seeds[6:]), exact.real_logits),
        strict=True,
    ):
        assert (mine.float() - wanted).norm() < 0.1 * wanted.norm()


def test_images_of_another_size_are_refused() -> None:
    discriminator, (real, _), _ = case({})
    with pytest.raises(DataError, match=r"^images: shape \[6, 2, 3, 3\] does not fit; give \[N, 2, 4, 3\]"):
        judge(discriminator, real, real[..., :3, :])
