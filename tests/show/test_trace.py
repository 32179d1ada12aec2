"""Trace of an LSTM: values of the forward pass, gradients against finite differences, and the figure."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from reviver.errors import ConfigError
from reviver.recurrent import kernel
from reviver.recurrent.classifier import LSTMClassifier
from reviver.recurrent.lstm_step import LSTMState, lstm_step
from reviver.settings.lstm import LSTMConfig
from reviver.show.trace import PREFIX_CHUNK, find_layer, trace_digits, trace_lstm
from reviver.show.trace_figures import MAX_LABELED_STEPS, PANELS, trace_figure

KINDS = pytest.mark.parametrize(
    ("num_layers", "bidirectional"), [(1, False), (2, False), (1, True), (2, True)], ids=["one", "two", "bi", "two-bi"]
)


def make_network(num_layers: int = 1, bidirectional: bool = False, **settings: Any) -> LSTMClassifier:
    settings = {"hidden_dropout": 0.5, "dropout": 0.3, **settings}
    network = LSTMClassifier(3, 4, 5, num_layers, bidirectional=bidirectional, **settings)
    network.reset_parameters(torch.Generator().manual_seed(0))
    return network.eval()


def make_batch(steps: int = 6, dtype: torch.dtype = torch.float64) -> tuple[Tensor, int]:
    return torch.randn(1, steps, 3, generator=torch.Generator().manual_seed(1), dtype=dtype), 1


@KINDS
@pytest.mark.parametrize("kind", ["step", "zoneout"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_trace_is_the_forward_pass(num_layers: int, bidirectional: bool, kind: Any, dtype: torch.dtype) -> None:
    network = make_network(num_layers, bidirectional, hidden_dropout_kind=kind, dtype=dtype)
    network.requires_grad_(requires_grad=kind == "step")  # a trace needs no gradients of the weights, and leaves none
    x, target = make_batch(dtype=dtype)
    with torch.no_grad(), kernel.reference():
        traced = trace_lstm(network, x, target)
        output, state = network.lstm(x)
        logits = network(x)
    assert all(parameter.grad is None for parameter in network.parameters())
    top = torch.cat([layer["h"] for layer in traced.layers[-network.lstm.num_directions :]], dim=-1)
    torch.testing.assert_close(top[None], output, rtol=0, atol=0)
    for index, layer in enumerate(traced.layers):
        last = 0 if traced.rows[index]["direction"] == "backward" else -1
        torch.testing.assert_close(layer["h"][last], state[0][index, 0], rtol=0, atol=0)
        torch.testing.assert_close(layer["c"][last], state[1][index, 0], rtol=0, atol=0)
    torch.testing.assert_close(traced.probabilities[-1], logits.softmax(1)[0])
    assert traced.loss == pytest.approx(functional.cross_entropy(logits, torch.tensor([target])).item(), rel=1e-6)


@KINDS
@torch.no_grad()
def test_probabilities_after_a_step_are_those_of_the_prefix(num_layers: int, bidirectional: bool) -> None:
    network = make_network(num_layers, bidirectional)
    x, target = make_batch(steps=PREFIX_CHUNK + 2, dtype=torch.float32)
    probabilities = trace_lstm(network, x, target).probabilities
    for t in (0, 1, PREFIX_CHUNK - 1, PREFIX_CHUNK, PREFIX_CHUNK + 1):
        torch.testing.assert_close(probabilities[t], network(x[:, : t + 1]).softmax(1)[0])


def loss_after(network: LSTMClassifier, x: Tensor, target: int, at: tuple[int, int], dh: Tensor, dc: Tensor) -> float:
    """Return the loss of a sequence x [T, I] with dh and dc added to h and c of cell at[0] after step at[1]."""
    lstm = network.lstm
    directions = lstm.num_directions
    final_h: list[Tensor] = []
    for level in range(lstm.num_layers):
        outputs = []
        for direction in range(directions):
            index = level * directions + direction
            w = lstm.all_stacked_weights()[index].by_gate()
            h = c = x.new_zeros(1, lstm.hidden_size)
            states: dict[int, Tensor] = {}
            for t in reversed(range(len(x))) if direction else range(len(x)):
                h_old, c_old = h, c
                (h, c), (i, f, g, o) = lstm_step(x[t : t + 1], LSTMState(h_old, c_old), w)
                if (index, t) == at:
                    c = f * c_old + i * g + dc
                    h = o * c.tanh() + dh
                states[t] = h
            outputs.append(torch.cat([states[t] for t in range(len(x))]))
            final_h.append(h)
        x = torch.cat(outputs, dim=-1)
    logits = torch.cat(final_h[-directions:], dim=-1) @ network.W_out.T + network.b_out
    return float(functional.cross_entropy(logits, torch.tensor([target])))


@KINDS
@torch.no_grad()
def test_gradients_are_the_finite_differences(num_layers: int, bidirectional: bool) -> None:
    network = make_network(num_layers, bidirectional, dtype=torch.float64)
    x, target = make_batch(steps=3)
    traced = trace_lstm(network, x, target)
    assert traced.gradients is not None
    zero, epsilon = torch.zeros(1, 4, dtype=torch.float64), 1e-5
    for index in range(len(traced.layers)):
        for t in range(3):
            for name, norms in traced.gradients[index].items():
                differences = []
                for unit in range(4):
                    bump = zero.clone()
                    bump[0, unit] = epsilon
                    steps = [(step, zero) if name == "h" else (zero, step) for step in (bump, -bump)]
                    up, down = (loss_after(network, x[0], target, (index, t), *step) for step in steps)
                    differences.append((up - down) / (2 * epsilon))
                assert float(norms[t]) == pytest.approx(np.linalg.norm(differences), rel=1e-6, abs=1e-10)


def test_what_has_no_trace_is_refused() -> None:
    batch = make_batch(dtype=torch.float32)
    config = LSTMConfig(num_layers=2, bidirectional=True)
    assert [find_layer(config, n, way) for n in (1, 2) for way in ("forward", "backward")] == [0, 1, 2, 3]
    assert find_layer(config, None, "forward") == 2
    for call, problem in (
        (lambda: trace_lstm(make_network(pooling="mean"), *batch), "must have pooling last and .* got mean and 1"),
        (lambda: trace_lstm(make_network(patch_size=2), *batch), "must have pooling last and .* got last and 2"),
        (
            lambda: find_layer(LSTMConfig(num_layers=2), 1, "backward"),
            "must be forward for a run that reads forward only",
        ),
    ):
        with pytest.raises(ConfigError, match=problem):
            call()


@pytest.mark.parametrize(("steps", "index"), [(1, 2), (MAX_LABELED_STEPS + 1, 3)])
def test_the_figure_shows_the_trace(steps: int, index: int) -> None:
    network = LSTMClassifier(10, 6, 10, 2, bidirectional=True).eval()
    network.reset_parameters(torch.Generator().manual_seed(0))
    digits = [(3 * t + 1) % 10 for t in range(steps)]
    traced = trace_digits(network, LSTMConfig(encoding="onehot"), digits)
    *maps, probabilities, gradients = (
        axes for axes in trace_figure(traced, digits, index).axes if axes.get_title(loc="left")
    )
    order = traced.layers[index]["f"].mean(0).argsort(descending=True)
    for axes, (name, _) in zip(maps, PANELS, strict=True):
        values = traced.layers[index][name][:, order].T.numpy()
        pixels = np.asarray(axes.images[0].get_array())
        rows, columns = (size // count for size, count in zip(pixels.shape, values.shape, strict=True))
        np.testing.assert_array_equal(pixels, np.kron(values.astype(float), np.ones((rows, columns))))
    prediction = int(traced.probabilities[-1].argmax())
    assert probabilities.get_title(loc="left") == f"Next digit: prediction {prediction}, target 1"
    np.testing.assert_array_equal(probabilities.lines[0].get_xydata(), [[steps, prediction]])
    distances = range(steps) if index == 3 else range(steps)[::-1]
    assert traced.gradients is not None
    for line, norms in zip(gradients.lines, traced.gradients[index].values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), distances)
        np.testing.assert_allclose(np.asarray(line.get_ydata()), norms)
