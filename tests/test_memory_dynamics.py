"""Measures of how a network holds a digit, on networks whose dynamics are known."""

import math

import pytest
import torch

from benchmarks.memory_dynamics import CHUNK, RETURN_STEPS, WINDOW, displacement_left, hold, time_constants
from reviver.lstm.classifier import LSTMClassifier


def leaky_network(forget: float) -> LSTMClassifier:
    """Return a network without recurrent weights, in which each difference of cell states decays by `forget` per step."""
    network = LSTMClassifier(1, 8, 10).eval()
    (cell,) = network.lstm.cells
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        cell.W_c.normal_(0.0, 5e-3, generator=torch.Generator().manual_seed(0))
        assert cell.b_f is not None
        assert cell.b_c is not None
        cell.b_c.copy_(-4.5 * cell.W_c[:, 0])  # the mean digit adds nothing, so that tanh(c) stays linear
        cell.b_f.fill_(math.log(forget / (1 - forget)))
    return network


@pytest.mark.parametrize("forget", [0.5, 0.99, 0.9995])
def test_the_time_constant_of_a_leak(forget: float) -> None:
    values = time_constants(leaky_network(forget), "scalar", size=20, seed=0)
    assert values == pytest.approx([-1 / math.log(forget)] * 10, rel=1e-3)


def test_a_displacement_decays_by_the_forget_gate() -> None:
    values = displacement_left(leaky_network(0.999), "scalar", size=20, seed=0)
    assert values == pytest.approx([0.999 ** (RETURN_STEPS - WINDOW)] * 10, rel=0.1)


def test_a_network_that_always_answers_three_holds_only_the_three() -> None:
    network = leaky_network(0.5)
    with torch.no_grad():
        network.b_out[3] = 5.0
    result = hold(network, "scalar", size=20, steps=4 * CHUNK, seed=0)
    assert result["accuracy"] == pytest.approx([0.1] * 4)
    assert result["answers"] == [3] * 10
    assert result["lost"] == [[None] * 3 if digit == 3 else [CHUNK] * 3 for digit in range(10)]
    probabilities = network.b_out.detach().softmax(0)
    assert result["expected"][-1] == pytest.approx([float(probabilities @ torch.arange(10.0))] * 10, rel=1e-5)
