"""The generator's pass without autograd, against the generator itself and autograd."""

import copy

import pytest
import torch

from reviver.distributed.batch_norm import parallelize_batch_norm
from reviver.distributed.world import ALONE
from reviver.errors import DataError
from reviver.gan import pointwise
from reviver.gan.generator_pass import can_pass, generator_forward
from reviver.gan.networks import Generator


def build_generator(num_classes: int = 0, dtype: torch.dtype = torch.float64) -> Generator:
    torch.manual_seed(0)
    return Generator(7, (1, 5, 3), num_classes=num_classes).to(dtype)


@pytest.mark.parametrize("rows", [2, 3, 65])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_images_statistics_and_gradients_are_those_of_autograd(rows: int, dtype: torch.dtype, tolerance: float) -> None:
    generator = build_generator(4, dtype)
    other = copy.deepcopy(generator).double()
    z = generator.sample_latents(rows, torch.Generator().manual_seed(1)).to(dtype)
    forward = generator_forward(generator, z)
    images = other(z.double())
    torch.testing.assert_close(forward.pixels.double(), images.detach().flatten(1), rtol=tolerance, atol=tolerance)
    state, expected_state = generator.double().state_dict(), other.state_dict()
    torch.testing.assert_close(dict(state), dict(expected_state), rtol=1e-5, atol=1e-6)
    generator.to(dtype)

    grad = torch.randn(rows, 15, dtype=dtype, generator=torch.Generator().manual_seed(2))
    expected = torch.autograd.grad(images, list(other.parameters()), grad.double().view_as(images))
    gradients = forward.parameter_gradients(grad)
    for gradient, wanted, parameter in zip(gradients, expected, generator.parameters(), strict=True):
        assert (gradient.dtype, gradient.shape) == (parameter.dtype, parameter.shape)
        # Two rows differ by x̂ = ±1 only, so their gradients cancel: errors are relative to what is added.
        assert (gradient.double() - wanted).norm() <= tolerance * (wanted.norm() + (100 if rows < 4 else 1))


def test_native_passes_and_those_of_torch_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for loaded in (pointwise.PASSES.library(), None):
        monkeypatch.setattr(pointwise.PASSES, "_loaded", [loaded])
        generator = build_generator(dtype=torch.float32)
        forward = generator_forward(generator, torch.randn(12, 7, generator=torch.Generator().manual_seed(1)))
        grad = torch.randn(12, 15, generator=torch.Generator().manual_seed(2))
        results.append([forward.pixels, *forward.parameter_gradients(grad), *generator.state_dict().values()])
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-5)


def test_generators_that_it_does_not_compute() -> None:
    generator = build_generator()
    z = torch.randn(4, 7, dtype=torch.float64)
    assert can_pass(generator, z)
    assert not can_pass(generator, z[:1]), "BatchNorm refuses one row"
    assert not can_pass(generator.eval(), z)
    parallelize_batch_norm(generator.train(), ALONE, is_synced=True)
    assert not can_pass(generator, z)


def test_latents_of_another_size_are_refused() -> None:
    with pytest.raises(DataError, match=r"^z must have shape \[N, 7\], got \[4, 8\]; sample it with sample_latents"):
        generator_forward(build_generator(), torch.zeros(4, 8, dtype=torch.float64))
