"""Shifts of the discriminator's images: against numpy's padding, and the gradient against autograd's."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from reviver.distributed.rows import BatchRows, all_rows
from reviver.gan import shifts
from reviver.gan.shifts import Shifts, source_table


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shift images of a few pixels."""
    monkeypatch.setattr(shifts, "SIDE", 3)


def images(*shape: int) -> torch.Tensor:
    """Return random images of a shape."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def make_shifts(batch: torch.Tensor, probability: float = 1.0, seed: int = 0) -> Shifts:
    """Return the shifts of a batch."""
    return Shifts(batch, probability, torch.Generator().manual_seed(seed), all_rows(len(batch)))


@pytest.mark.parametrize("reach", [0, 1, 2])
def test_the_shifts_are_those_of_an_image_padded_with_its_edge(reach: int) -> None:
    image = images(4, 5).numpy()
    padded = np.pad(image, reach, mode="edge")
    steps = range(-reach, reach + 1)
    expected = [padded[reach - dy :, reach - dx :][:4, :5] for dy in steps for dx in steps]
    found = image.reshape(-1)[source_table(4, 5, reach).numpy()].reshape(-1, 4, 5)
    np.testing.assert_array_equal(found, np.stack(expected))
    np.testing.assert_array_equal(found[len(found) // 2], image)


@pytest.mark.parametrize(("side", "shifts_seen"), [(27, 1), (28, 9), (55, 9), (56, 25)])
def test_the_reach_grows_with_the_image(side: int, shifts_seen: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    batch = images(1, 1, 20, side).expand(1000, 1, 20, side)
    assert len(make_shifts(batch).apply(batch).unique(dim=0)) == shifts_seen


def test_the_channels_of_an_image_are_shifted_together_and_images_apart() -> None:
    batch = images(1, 1, 4, 5).expand(60, 3, 4, 5)
    shifted = make_shifts(batch).apply(batch)
    assert torch.equal(shifted[:, 0], shifted[:, 1])
    assert torch.equal(shifted[:, 0], shifted[:, 2])
    assert len(shifted.unique(dim=0)) == 9


@pytest.mark.parametrize("probability", [0.3, 1.0])
def test_each_shift_is_as_frequent_as_the_probability_says(probability: float) -> None:
    batch = torch.arange(9.0).view(1, 1, 3, 3).expand(20_000, 1, 3, 3)
    center = make_shifts(batch, probability).apply(batch)[:, 0, 1, 1].long()  # the pixel that came to the center
    expected = np.full(9, probability / 9)
    expected[4] += 1 - probability
    assert chisquare(center.bincount(minlength=9).numpy(), 20_000 * expected).pvalue > 1e-3


def test_the_gradient_goes_back_as_by_autograd() -> None:
    batch = images(20, 2, 5, 4).requires_grad_()
    shifts, gradients = make_shifts(batch, 0.7), images(20, 2, 5, 4)
    (expected,) = torch.autograd.grad(shifts.apply(batch), batch, gradients)
    torch.testing.assert_close(shifts.pull_back(gradients), expected, rtol=1e-15, atol=1e-15)


def test_processes_shift_their_rows_as_one_process_does() -> None:
    batch = images(10, 1, 4, 4)
    whole = make_shifts(batch, 0.8).apply(batch)
    parts = [
        Shifts(batch[a:b], 0.8, torch.Generator().manual_seed(0), BatchRows(a, b, 10)).apply(batch[a:b])
        for a, b in ((0, 3), (3, 10))
    ]
    assert torch.equal(torch.cat(parts), whole)
