"""Shifts of the discriminator's images: against numpy's padding."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from reviver.gan import shifts
from reviver.gan.shifts import shift
from reviver.runs.distributed.rows import BatchRows, all_rows


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shift images of a few pixels."""
    monkeypatch.setattr(shifts, "SIDE", 3)


def images(*shape: int) -> torch.Tensor:
    """Return random images of a shape."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def shifted(batch: torch.Tensor, probability: float = 1.0) -> torch.Tensor:
    """Return the batch, shifted by one process."""
    return shift(batch, probability, torch.Generator().manual_seed(0), all_rows(len(batch)))


@pytest.mark.parametrize(("side", "reach"), [(6, 0), (3, 1), (2, 2)])
def test_the_shifts_are_those_of_an_image_padded_with_its_edge(
    side: int, reach: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shifts, "SIDE", side)
    image = images(4, 5).numpy()
    padded = np.pad(image, reach, mode="edge")
    steps = range(-reach, reach + 1)
    expected = {padded[reach - dy :, reach - dx :][:4, :5].tobytes() for dy in steps for dx in steps}
    batch = torch.from_numpy(image).expand(1000, 1, 4, 5)
    assert {one.numpy().tobytes() for one in shifted(batch)} == expected
    assert shifted(batch, 0.0) is batch


def test_the_gradient_goes_back_to_the_image_in_place() -> None:
    torch.autograd.gradcheck(shifted, images(6, 1, 3, 4).requires_grad_())


def test_the_reach_grows_with_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for side, shifts_seen in ((27, 1), (28, 9), (55, 9), (56, 25)):
        batch = images(1, 1, 20, side).expand(1000, 1, 20, side)
        assert len(shifted(batch).unique(dim=0)) == shifts_seen


def test_each_shift_is_as_frequent_as_the_probability_says_and_the_same_for_all_channels() -> None:
    batch = torch.arange(9.0).view(1, 1, 3, 3).expand(20_000, 3, 3, 3)
    for probability in (0.3, 1.0):
        result = shifted(batch, probability)
        assert result.equal(result[:, :1].expand_as(result))
        center = result[:, 0, 1, 1].long()  # the pixel that came to the center
        expected = np.full(9, probability / 9)
        expected[4] += 1 - probability
        assert chisquare(center.bincount(minlength=9).numpy(), 20_000 * expected).pvalue > 1e-3


def test_processes_shift_their_rows_as_one_process_does() -> None:
    batch = images(10, 1, 4, 4)
    whole = shifted(batch, 0.8)
    parts = [
        shift(batch[a:b], 0.8, torch.Generator().manual_seed(0), BatchRows(a, b, 10)) for a, b in ((0, 3), (3, 10))
    ]
    assert torch.equal(torch.cat(parts), whole)
