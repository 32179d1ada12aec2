"""The random numbers of the training in the page against torch's, bit for bit."""

from typing import Any

import torch
from torch import nn

from reviver.rng import make_rng
from tests.explorer.node import compute, needs_node

pytestmark = needs_node


def test_all_draws_are_those_of_torch() -> None:
    """A generator draws all kinds in turn, so that an error in one would show in those after it."""
    draws = [
        ["integer", 10],
        ["integer", 2**28 - 1],
        ["bigInteger"],
        ["permutation", 1000],
        ["uniform", 700],
        ["uniform", 40, -0.3, 0.7],
        ["normal", 16],
        ["normal", 100_001],
        ["xavier", 128, 1],
        ["linear", 100, 128],
        ["normal", 6400],
    ]
    streams = (0, "weights"), (7, "noise"), (2**31 - 1, "order/12")
    requests = [{"random": {"seed": seed, "purpose": purpose, "draws": draws}} for seed, purpose in streams]
    for stream, ours in zip(streams, compute("train", requests), strict=True):
        rng = make_rng(*stream)
        for draw, found in zip(draws, ours, strict=True):
            assert found == _draw(rng, *draw), draw


def _draw(rng: torch.Generator, kind: str, *sizes: Any) -> Any:
    if kind == "integer":
        return int(torch.randint(sizes[0], (), generator=rng))
    if kind == "bigInteger":
        return str(int(torch.randint(2**63 - 1, (), generator=rng)))
    if kind == "permutation":
        return torch.randperm(sizes[0], generator=rng).tolist()
    if kind == "uniform":
        return torch.empty(sizes[0]).uniform_(*sizes[1:], generator=rng).tolist()
    if kind == "normal":
        return torch.randn(sizes[0], generator=rng).tolist()
    if kind == "xavier":
        return nn.init.xavier_uniform_(torch.empty(sizes), generator=rng).flatten().tolist()
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(rng.get_state())
        layer = nn.Linear(*sizes)
        rng.set_state(torch.random.get_rng_state())
    return [layer.weight.flatten().tolist(), layer.bias.tolist()]
