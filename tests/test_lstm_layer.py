"""The LSTM against torch.nn.LSTM, against itself step by step, and against its equations by hand."""

import itertools
import math
import re
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple, get_type_hints

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from reviver import LSTM, LSTMClassifier, LSTMState, lstm_step
from reviver.errors import ConfigError, DataError
from reviver.lstm import kernel
from reviver.lstm.equations import unroll
from reviver.lstm.initialization import chrono
from reviver.settings.lstm_network import LSTMKeywords, LSTMOptions
from reviver.show.trace import trace

GATES = "ifco"
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


class Case(NamedTuple):
    """A drawn shape of network and input."""

    input_size: int
    hidden_size: int
    num_layers: int
    bidirectional: bool
    batch_first: bool
    steps: int
    batch: int | None
    with_state: bool
    seed: int

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    def reference(self) -> nn.LSTM:
        """A torch.nn.LSTM whose parameters, the biases among them, are all random."""
        lstm = nn.LSTM(
            self.input_size,
            self.hidden_size,
            self.num_layers,
            batch_first=self.batch_first,
            bidirectional=self.bidirectional,
            dtype=torch.float64,
        )
        generator = self.generator()
        with torch.no_grad():
            for parameter in lstm.parameters():
                parameter.normal_(0.0, 0.7, generator=generator)
        return lstm

    def inputs(self) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        generator = self.generator()
        shape = [self.steps, self.input_size]
        if self.batch is not None:
            shape = [self.batch, *shape] if self.batch_first else [self.steps, self.batch, self.input_size]
        depth = self.num_layers * (2 if self.bidirectional else 1)
        state_shape = [depth, self.hidden_size] if self.batch is None else [depth, self.batch, self.hidden_size]

        def draw(size: list[int]) -> Tensor:
            return torch.randn(size, dtype=torch.float64, generator=generator).requires_grad_()

        return draw(shape), (draw(state_shape), draw(state_shape)) if self.with_state else None


cases = st.builds(
    Case,
    input_size=st.integers(1, 5),
    hidden_size=st.integers(1, 6),
    num_layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    batch_first=st.booleans(),
    steps=st.integers(1, 7),
    batch=st.none() | st.integers(1, 4),
    with_state=st.booleans(),
    seed=st.integers(0, 2**31),
)


def weighted_sum(*tensors: Tensor) -> Tensor:
    """A scalar on which every entry of every tensor has another influence."""
    generator = torch.Generator().manual_seed(1)
    return sum((torch.randn(t.shape, dtype=t.dtype, generator=generator) * t).sum() for t in tensors)


@given(case=cases)
def test_outputs_states_and_all_gradients_equal_torchs(case: Case) -> None:
    theirs = case.reference()
    ours = LSTM.from_torch(theirs)
    results = []
    for lstm in (theirs, ours):
        x, state = case.inputs()
        output, (h, c) = lstm(x, state)
        weighted_sum(output, h, c).backward()
        inputs = [x] if state is None else [x, *state]
        results.append((output, h, c, *(tensor.grad for tensor in inputs)))
    names = ("output", "h", "c", "gradient of x", "gradient of h0", "gradient of c0")
    for name, their_value, our_value in zip(names, *results, strict=False):
        assert our_value.shape == their_value.shape, name
        torch.testing.assert_close(our_value, their_value, **CLOSE, msg=lambda text, name=name: f"{name}: {text}")
    for (name, our_parameter), their_parameter in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(
            our_parameter.grad, their_parameter.grad, **CLOSE, msg=lambda text, name=name: f"{name}: {text}"
        )


@given(case=cases, training=st.booleans())
def test_weights_go_to_torch_and_back(case: Case, training: bool) -> None:
    ours = LSTM.from_torch(case.reference()).train(training)
    theirs = ours.to_torch()
    assert theirs.training == training
    x, state = case.inputs()
    expected, last = ours(x, state)
    output, (h, c) = theirs(x, state)
    torch.testing.assert_close(output, expected, **CLOSE)
    torch.testing.assert_close((h, c), last, **CLOSE)
    back = LSTM.from_torch(theirs)
    assert back.training == training
    for name, value in ours.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name


def test_conversion_copies_and_does_not_share() -> None:
    theirs = nn.LSTM(2, 3)
    ours = LSTM.from_torch(theirs)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(1.0)
    for name, value in ours.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in ours.parameters())
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in ours.to_torch().parameters())


def test_from_torch_keeps_every_argument() -> None:
    theirs = nn.LSTM(2, 3, 2, batch_first=True, dropout=0.25, bidirectional=True, dtype=torch.float64).eval()
    ours = LSTM.from_torch(theirs, hidden_dropout=0.5)
    for lstm in (ours, ours.to_torch()):
        assert (lstm.input_size, lstm.hidden_size, lstm.num_layers) == (2, 3, 2)
        assert (lstm.batch_first, lstm.dropout, lstm.bidirectional, lstm.training) == (True, 0.25, True, False)
        assert {parameter.dtype for parameter in lstm.parameters()} == {torch.float64}
    assert ours.options.hidden_dropout == 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_from_torch_without_biases_has_none(dtype: torch.dtype) -> None:
    theirs = nn.LSTM(3, 4, 2, bias=False, dtype=dtype)
    ours = LSTM.from_torch(theirs)
    x = torch.randn(5, 2, 3, dtype=dtype)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0])
    assert not any("bias" in name for name in ours.state_dict())
    assert [ours.b_i, ours.b_f, ours.b_c, ours.b_o] == [None] * 4
    assert not hasattr(ours.to_torch(), "bias_ih_l0")


def test_from_torch_takes_weights_that_are_computed() -> None:
    """Weight normalization, for example, keeps other parameters than torch.nn.LSTM has."""
    theirs = nn.utils.parametrizations.weight_norm(nn.LSTM(3, 4), "weight_hh_l0")
    x = torch.randn(5, 2, 3)
    torch.testing.assert_close(LSTM.from_torch(theirs)(x)[0], theirs(x)[0])


@pytest.mark.parametrize("training", [False, True])
def test_to_torch_refuses_zoneout(training: bool) -> None:
    lstm = LSTM(3, 4, hidden_dropout=0.1, hidden_dropout_kind="zoneout").train(training)
    message = r"^hidden_dropout_kind must be step or variational .* got 'zoneout' .*; keep .* or train without zoneout$"
    with pytest.raises(ConfigError, match=message):
        lstm.to_torch()
    LSTM(3, 4, hidden_dropout_kind="zoneout").to_torch()  # with probability 0 the equations are torch's


@pytest.mark.parametrize("kind", ["step", "variational"])
def test_to_torch_with_hidden_dropout_is_equal_in_eval_mode(kind: str) -> None:
    lstm = LSTM(3, 4, hidden_dropout=0.5, hidden_dropout_kind=kind, dtype=torch.float64).eval()
    x = torch.randn(6, 5, 3, dtype=torch.float64)
    torch.testing.assert_close(lstm.to_torch()(x)[0], lstm(x)[0], **CLOSE)
    assert not torch.allclose(lstm.to_torch()(x)[0], lstm.train()(x)[0]), "torch's has no hidden dropout in training"


def test_to_torch_with_bf16_is_equal_but_for_rounding() -> None:
    lstm = LSTM(3, 4, precision="bf16")
    x = torch.randn(6, 5, 3)
    torch.testing.assert_close(lstm.to_torch()(x)[0], lstm(x)[0], rtol=0, atol=2e-2)


@given(case=cases.filter(lambda case: not case.bidirectional and case.batch is not None))
def test_one_pass_equals_step_by_step(case: Case) -> None:
    lstm = LSTM.from_torch(case.reference())
    x, state = case.inputs()
    output, last = lstm(x, state)
    time = 1 if case.batch_first else 0
    parts = []
    for x_t in x.split(1, dim=time):
        part, state = lstm(x_t, state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=time), output, **CLOSE)
    assert type(last) is tuple
    torch.testing.assert_close(state, last, **CLOSE)


def test_batched_equals_one_by_one() -> None:
    lstm = LSTM(3, 4, 2, bidirectional=True, dtype=torch.float64)
    x = torch.randn(6, 5, 3, dtype=torch.float64)  # [T, B, I]
    output, last = lstm(x)
    for index in range(5):
        one, state = lstm(x[:, index])
        torch.testing.assert_close(one, output[:, index], **CLOSE)
        torch.testing.assert_close(state, (last[0][:, index], last[1][:, index]), **CLOSE)


def test_the_equations_by_hand() -> None:
    """One unit, numbers that a pocket calculator checks; each gate has weights of its own."""
    w = LSTM(1, 1, single_bias=True, dtype=torch.float64).gate_weights()
    weights = {"i": (0.1, 0.2, 0.3), "f": (0.4, 0.5, 0.6), "c": (0.7, 0.8, 0.9), "o": (-0.1, -0.2, -0.3)}
    with torch.no_grad():
        for gate, (W, U, b) in weights.items():
            getattr(w, f"W_{gate}").fill_(W)
            getattr(w, f"U_{gate}").fill_(U)
            getattr(w, f"b_{gate}").fill_(b)

    def sigmoid(value: float) -> float:
        return 1.0 / (1.0 + math.exp(-value))

    h, c, inputs, expected = 0.25, -0.5, [2.0, -1.0], []
    for x in inputs:
        i = sigmoid(0.1 * x + 0.2 * h + 0.3)
        f = sigmoid(0.4 * x + 0.5 * h + 0.6)
        g = math.tanh(0.7 * x + 0.8 * h + 0.9)
        o = sigmoid(-0.1 * x - 0.2 * h - 0.3)
        c = f * c + i * g
        h = o * math.tanh(c)
        expected.append(h)
    state = LSTMState(torch.full((1, 1), 0.25, dtype=torch.float64), torch.full((1, 1), -0.5, dtype=torch.float64))
    outputs = []
    for x in inputs:
        state, gates = lstm_step(torch.full((1, 1), x, dtype=torch.float64), state, w)
        outputs.append(state.h.item())
    assert outputs == pytest.approx(expected, rel=1e-12)
    assert state.h.item() == pytest.approx(h, rel=1e-12)
    assert state.c.item() == pytest.approx(c, rel=1e-12)
    assert [gate.item() for gate in gates] == pytest.approx([i, f, g, o], rel=1e-12)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradcheck(bidirectional: bool) -> None:
    lstm = LSTM(2, 3, 2, bidirectional=bidirectional, dtype=torch.float64)
    names = [name for name, _ in lstm.named_parameters()]
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    h, c = (torch.randn(2 + 2 * bidirectional, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def function(x: Tensor, h: Tensor, c: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        values = dict(zip(names, parameters, strict=True))
        output, state = torch.func.functional_call(lstm, values, (x, (h, c)))
        return output, *state

    assert torch.autograd.gradcheck(function, (x, h, c, *lstm.parameters()))


def test_gradcheck_with_both_kinds_of_dropout() -> None:
    lstm = LSTM(2, 3, 2, dropout=0.3, hidden_dropout=0.5, dtype=torch.float64)
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)

    def function(x: Tensor) -> tuple[Tensor, ...]:
        output, state = lstm(x, rng=torch.Generator().manual_seed(3))
        return output, *state

    assert torch.autograd.gradcheck(function, (x,))


# Projection and no biases


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dropout", [{}, {"hidden_dropout_kind": "step"}, {"hidden_dropout_kind": "zoneout"}])
def test_the_equations_of_a_projection_with_dropout_on_the_projected_state(bias: bool, dropout: dict[str, str]) -> None:
    """The recurrence by hand; which units of h are dropped is read off the output."""
    p, steps, batch, H, P = 0.4 if dropout else 0.0, 6, 5, 6, 4
    lstm = LSTM(2, H, bias=bias, proj_size=P, dtype=torch.float64, hidden_dropout=p, **dropout)
    zoneout = dropout.get("hidden_dropout_kind") == "zoneout"
    cell = lstm.gate_weights()
    x = torch.randn(steps, batch, 2, dtype=torch.float64)
    h, c = torch.randn(batch, P, dtype=torch.float64), torch.randn(batch, H, dtype=torch.float64)
    output, last = lstm(x, (h[None], c[None]), rng=torch.Generator().manual_seed(5))
    dropped = 0
    for t in range(steps):
        i, f, g, o = (
            x[t] @ getattr(cell, f"W_{gate}").T
            + h @ getattr(cell, f"U_{gate}").T
            + (getattr(cell, f"b_{gate}") if bias else 0)
            for gate in GATES
        )
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        new = (o.sigmoid() * c.tanh()) @ cell.W_proj.T
        drop = (output[t] == h) if zoneout else (output[t] == 0.0)  # [B, P]
        dropped += int(drop.sum())
        h = torch.where(drop, h if zoneout else 0.0, new if zoneout else new / (1 - p))
        torch.testing.assert_close(output[t], h, **CLOSE)
    torch.testing.assert_close(last, (h[None], c[None]), **CLOSE)
    assert (
        abs(dropped / (steps * batch * P) - p) < 5 * math.sqrt(p * (1 - p) / (steps * batch * P)) or dropped == p == 0
    )
    if zoneout:
        expected = LSTM(2, H, bias=bias, proj_size=P, dtype=torch.float64)
        expected.load_state_dict(lstm.state_dict())
        start = torch.randn(1, batch, P, dtype=torch.float64), torch.randn(1, batch, H, dtype=torch.float64)
        mean = p * start[0][0] + (1 - p) * expected(x[:1], start)[0][0]
        torch.testing.assert_close(lstm.eval()(x[:1], start)[0][0], mean, **CLOSE)


def test_the_projection_starts_within_xaviers_bounds() -> None:
    lstm = LSTM(3, 200, proj_size=100)
    assert lstm.W_proj.shape == (100, 200)
    assert lstm.U_c.shape == (200, 100)
    for matrix in (lstm.W_proj, lstm.U_c):
        bound = math.sqrt(6 / 300)
        assert 0.98 * bound < matrix.abs().max() <= bound
    first, second = LSTM(3, 5, proj_size=2), LSTM(3, 5, proj_size=2)
    for lstm in (first, second):
        lstm.reset_parameters(torch.Generator().manual_seed(7))
    assert torch.equal(first.W_proj, second.W_proj)


@pytest.mark.skipif(not kernel.available(), reason="no C++ compiler")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("k", [None, 2])
def test_the_kernel_without_biases_equals_the_equations(precision: str, k: int | None) -> None:
    lstm = LSTM(
        3, 20, 2, bias=False, bidirectional=True, hidden_dropout=0.5, precision=precision, activation_checkpoint_steps=k
    )
    results = []
    for switch in (nullcontext, kernel.reference):
        lstm.zero_grad()
        x = torch.ones(5, 4, 3).cumsum(0).requires_grad_()
        with switch():
            output, (h, c) = lstm(x, lengths=[5, 1, 3, 4], rng=torch.Generator().manual_seed(2))
            weighted_sum(output, h, c).backward()
        results.append([output, h, c, x.grad, *(parameter.grad for parameter in lstm.parameters())])
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if precision == "fp32" else {"rtol": 0.02, "atol": 0.02}
    assert not torch.equal(results[0][0], results[1][0]), "the kernel ran"
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, **tolerance)


# Weights by name


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"proj_size": 3}, {"single_bias": True}])
def test_the_names_of_the_equations_are_views_of_torchs_parameters(options: dict[str, object]) -> None:
    lstm = LSTM(2, 5, 2, bidirectional=True, **options)
    first = lstm.gate_weights()
    assert all(
        getattr(lstm, name) is None or torch.equal(getattr(lstm, name), value)
        for name, value in first._asdict().items()
    )
    for layer, reverse in ((0, False), (0, True), (1, False), (1, True)):
        w, suffix = lstm.gate_weights(layer, reverse), f"l{layer}" + "_reverse" * reverse
        stacked = {"W": "weight_ih", "U": "weight_hh", "b": "bias_ih"}
        for (letter, name), (index, gate) in itertools.product(stacked.items(), enumerate(GATES)):
            view = getattr(w, f"{letter}_{gate}")
            if view is None:
                assert (letter, lstm.bias) == ("b", False)
                continue
            parameter = getattr(lstm, f"{name}_{suffix}")
            torch.testing.assert_close(view, parameter[5 * index : 5 * index + 5], rtol=0, atol=0)
            if letter != "b" or lstm.options.single_bias:
                with torch.no_grad():
                    view.fill_(index)
                assert (parameter[5 * index : 5 * index + 5] == index).all()


def test_two_biases_count_as_their_sum() -> None:
    lstm = LSTM(2, 3, dtype=torch.float64)
    with torch.no_grad():
        lstm.bias_ih_l0.normal_()
        lstm.bias_hh_l0.normal_()
    torch.testing.assert_close(lstm.b_o, (lstm.bias_ih_l0 + lstm.bias_hh_l0)[9:])


def test_a_single_bias_trains_one_and_keeps_torchs_names() -> None:
    theirs = nn.LSTM(3, 4, 2, bidirectional=True)
    ours = LSTM.from_torch(theirs, single_bias=True)
    assert set(ours.state_dict()) == set(theirs.state_dict())
    assert not any("bias_hh" in name for name, _ in ours.named_parameters())
    assert not any(ours.get_buffer(f"bias_hh_l{layer}").any() for layer in range(2))
    x = torch.randn(5, 2, 3)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0])
    torch.testing.assert_close(ours.to_torch()(x)[0], theirs(x)[0])
    ours(x)[0].square().sum().backward()
    theirs(x)[0].square().sum().backward()
    torch.testing.assert_close(ours.bias_ih_l1.grad, theirs.bias_ih_l1.grad)
    again = LSTM(3, 4, 2, bidirectional=True, single_bias=True, device="meta").to_empty(device="cpu")
    again.load_state_dict(ours.state_dict())
    torch.testing.assert_close(again(x)[0], theirs(x)[0])


def test_a_classifier_loads_torchs_weights() -> None:
    classifier, theirs = LSTMClassifier(3, 4, 5, 2), nn.LSTM(3, 4, 2, batch_first=True)
    state = {f"lstm.{name}": value for name, value in theirs.state_dict().items()}
    values = classifier.state_dict()
    classifier.load_state_dict(state | {"W_out": values["W_out"], "b_out": values["b_out"]})
    x = torch.randn(2, 6, 3)
    torch.testing.assert_close(classifier.lstm(x)[0], theirs(x)[0])


# Initialization


@given(input_size=st.integers(1, 40), hidden_size=st.integers(1, 40), seed=st.integers(0, 1000))
def test_weights_start_within_xaviers_bounds(input_size: int, hidden_size: int, seed: int) -> None:
    layer = LSTM(input_size, hidden_size)
    layer.reset_parameters(torch.Generator().manual_seed(seed))
    for gate in GATES:
        W, U, b = (getattr(layer, f"{letter}_{gate}") for letter in "WUb")
        assert W.abs().max() <= math.sqrt(6 / (input_size + hidden_size))
        assert U.abs().max() <= math.sqrt(6 / (2 * hidden_size))
        assert torch.equal(b, torch.full_like(b, 1.0 if gate == "f" else 0.0))


def test_weights_start_uniform_over_xaviers_range() -> None:
    classifier = LSTMClassifier(200, 300, 10)
    classifier.reset_parameters(torch.Generator().manual_seed(0))
    layer = classifier.lstm
    matrices = [getattr(layer, f"{letter}_{gate}") for letter in "WU" for gate in GATES]
    for matrix in matrices:
        bound = math.sqrt(6 / sum(matrix.shape))
        scaled = matrix.detach() / bound
        counts = scaled.histc(10, -1.0, 1.0) / scaled.numel()
        assert ((counts - 0.1).abs() < 0.01).all()
    assert len({matrix[0, 0].item() for matrix in matrices}) == len(matrices), "the matrices are drawn separately"
    bound = math.sqrt(6 / (300 + 10))
    assert 0.98 * bound < classifier.W_out.abs().max() <= bound
    assert not classifier.b_out.any()


def test_the_same_generator_seed_gives_the_same_weights() -> None:
    first, second = (LSTMClassifier(3, 4, 5, 2, bidirectional=True) for _ in range(2))
    assert not torch.equal(first.W_out, second.W_out)
    for network in (first, second):
        network.reset_parameters(torch.Generator().manual_seed(7))
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
    second.reset_parameters(torch.Generator().manual_seed(8))
    assert not torch.equal(first.W_out, second.W_out)
    assert not torch.equal(first.lstm.gate_weights(1, True).U_o, second.lstm.gate_weights(1, True).U_o)


def test_names_and_shapes_of_parameters_are_the_golden_ones(golden) -> None:
    network = LSTMClassifier(3, 4, 10, 2, bidirectional=True)
    golden("lstm_parameters", {name: list(value.shape) for name, value in network.state_dict().items()})


# Dropout


def test_hidden_dropout_is_off_in_eval_mode() -> None:
    theirs = nn.LSTM(3, 8, 2, bidirectional=True, dtype=torch.float64).eval()
    ours = LSTM.from_torch(theirs, hidden_dropout=0.9)
    x = torch.randn(5, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], **CLOSE)


def test_hidden_dropout_reaches_the_output_and_the_next_step() -> None:
    """The recurrence by hand, with the masks read off the output: a dropped unit is exactly 0 there."""
    p, steps, batch, hidden = 0.3, 7, 5, 6
    lstm = LSTM(2, hidden, hidden_dropout=p, dtype=torch.float64)
    layer = lstm.gate_weights()
    x = torch.randn(steps, batch, 2, dtype=torch.float64)
    output, last = lstm(x, rng=torch.Generator().manual_seed(5))
    kept = output != 0.0
    assert kept.any()
    assert not kept.all()
    h = c = torch.zeros(batch, hidden, dtype=torch.float64)
    for t in range(steps):
        i, f, g, o = (
            x[t] @ getattr(layer, f"W_{gate}").T + h @ getattr(layer, f"U_{gate}").T + getattr(layer, f"b_{gate}")
            for gate in GATES
        )
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = kept[t] * o.sigmoid() * c.tanh() / (1 - p)
        torch.testing.assert_close(output[t], h, **CLOSE)
    assert torch.equal(last[0][0], output[-1])
    torch.testing.assert_close(last[1][0], c, **CLOSE)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_hidden_dropout_drops_independently_with_its_probability(p: float) -> None:
    steps, batch, hidden = 10, 50, 40
    lstm = LSTM(1, hidden, bidirectional=True, hidden_dropout=p)
    output, _ = lstm(torch.randn(steps, batch, 1), rng=torch.Generator().manual_seed(2))
    kept = (output != 0.0).float()  # [T, B, 2·H]
    spread = math.sqrt(p * (1 - p))

    def bound(count: int) -> float:
        return 5 * spread / math.sqrt(count)

    assert abs(kept.mean() - (1 - p)) < bound(kept.numel())
    for axes in ((0, 1), (0, 2), (1, 2)):  # no unit, sequence or step is special
        means = kept.mean(axes)
        assert (means - (1 - p)).abs().max() < bound(kept.numel() // len(means))
    centered = kept - (1 - p)
    pairs = {
        "steps": centered[1:] * centered[:-1],
        "sequences": centered[:, 1:] * centered[:, :-1],
        "units": centered[..., 1:] * centered[..., :-1],
        "directions": centered[..., :hidden] * centered[..., hidden:],
    }
    for name, product in pairs.items():
        assert abs(product.mean()) < 5 * spread**2 / math.sqrt(product.numel()), f"masks of {name} depend on each other"


@pytest.mark.parametrize(
    "dropouts", [{"hidden_dropout": 0.5}, {"dropout": 0.5}, {"hidden_dropout": 0.2, "dropout": 0.5}]
)
def test_the_same_generator_seed_gives_the_same_masks(dropouts: dict[str, float]) -> None:
    lstm = LSTM(3, 8, 2, bidirectional=True, **dropouts)
    x = torch.randn(6, 4, 3)
    generator = torch.Generator().manual_seed(11)
    first, _ = lstm(x, rng=generator)
    second, _ = lstm(x, rng=generator)
    again, _ = lstm(x, rng=torch.Generator().manual_seed(11))
    assert torch.equal(first, again)
    assert not torch.equal(first, second), "a generator goes on, so the next call has other masks"
    before = torch.get_rng_state()
    lstm(x, rng=generator)
    assert torch.equal(torch.get_rng_state(), before), "torch's own generator is left alone"


def test_without_a_generator_torchs_own_seed_decides() -> None:
    classifier = LSTMClassifier(3, 8, 2, hidden_dropout=0.5)
    x = torch.randn(4, 6, 3)
    torch.manual_seed(1)
    first = classifier(x)
    second = classifier(x)
    torch.manual_seed(1)
    assert torch.equal(classifier(x), first)
    assert not torch.equal(first, second)


def test_dropout_between_layers() -> None:
    """The lower layer is untouched, the upper one sees its outputs dropped out, nothing follows the top.

    The upper layer only adds up what it reads: its input gates are open, its forget gates closed, its candidates small.
    """
    p, hidden = 0.4, 30
    lstm = LSTM(2, hidden, 2, dropout=p, dtype=torch.float64)
    upper = lstm.gate_weights(1)
    scale = 1e-3
    with torch.no_grad():
        for weight in upper[:8]:
            weight.zero_()
        upper.W_c.copy_(scale * torch.eye(hidden))
        lstm.bias_ih_l1.copy_(torch.tensor([50.0, -50.0, 0.0, 50.0]).repeat_interleave(hidden))
    x = torch.randn(8, 20, 2, dtype=torch.float64)
    output, _ = lstm(x, rng=torch.Generator().manual_seed(4))
    zeros = torch.zeros(20, hidden, dtype=torch.float64)
    plain = {"reverse": False, "options": lstm.options, "seed": None}
    lower, _ = unroll(lstm.stacked_weights(), x, LSTMState(zeros, zeros), None, **plain)
    seen = output.atanh().atanh() / scale  # what the upper layer read
    kept = seen.abs() > 1e-9
    assert abs(kept.double().mean() - (1 - p)) < 5 * math.sqrt(p * (1 - p) / kept.numel())
    torch.testing.assert_close(seen, kept * lower / (1 - p), rtol=1e-6, atol=1e-9)
    seen = lstm.eval()(x)[0].atanh().atanh() / scale
    torch.testing.assert_close(seen, lower, rtol=1e-6, atol=1e-9)


def test_dropout_of_a_single_layer_changes_nothing() -> None:
    with pytest.warns(UserWarning, match="non-zero dropout expects num_layers greater than 1"):
        lstm = LSTM(2, 3, dropout=0.5)
    x = torch.randn(4, 2, 2)
    assert torch.equal(lstm(x)[0], lstm.eval()(x)[0])


# Classifier


@pytest.mark.parametrize("bidirectional", [False, True])
def test_classifier_is_a_linear_map_of_the_final_hidden_state(bidirectional: bool) -> None:
    classifier = LSTMClassifier(3, 4, 5, 2, bidirectional=bidirectional, dtype=torch.float64)
    with torch.no_grad():
        classifier.b_out.normal_()
    x = torch.randn(6, 7, 3, dtype=torch.float64)
    _, (h, _) = classifier.lstm.to_torch()(x)
    h_T = torch.cat([h[-2], h[-1]], dim=1) if bidirectional else h[-1]
    expected = nn.functional.linear(h_T, classifier.W_out, classifier.b_out)
    torch.testing.assert_close(classifier(x), expected, **CLOSE)


# Bad arguments


@pytest.mark.parametrize("field", ["input_size", "hidden_size", "num_layers"])
@pytest.mark.parametrize("value", [0, -3])
def test_sizes_below_one_are_refused(field: str, value: int) -> None:
    arguments = {"input_size": 2, "hidden_size": 3, "num_layers": 1, field: value}
    with pytest.raises(ValueError, match=f"^{field} must be greater than zero"):
        LSTM(**arguments)
    with pytest.raises(ConfigError, match=f"^{field} must be at least 1, got {value}$"):
        LSTMClassifier(num_classes=2, **arguments)


@pytest.mark.parametrize("value", [-0.1, 1.0, 2.0, math.nan])
def test_probabilities_outside_0_to_1_are_refused(value: float) -> None:
    with pytest.raises(
        ConfigError, match=rf"^hidden_dropout must be (at least 0|less than 1|a finite number), got {value!r}$"
    ):
        LSTM(2, 3, hidden_dropout=value)


@pytest.mark.parametrize("make", [partial(LSTM, 2, 3), partial(LSTMClassifier, 2, 3, 4)])
def test_an_unknown_option_is_a_type_error(make: Callable[..., nn.Module]) -> None:
    with pytest.raises(TypeError, match=r"unexpected argument 'hiden_dropout'.* hidden_dropout"):
        make(hiden_dropout=0.5)
    with pytest.raises(TypeError, match=r"unexpected argument 'recurrent_dropout'.* give hidden_dropout$"):
        make(recurrent_dropout=0.5)


def test_the_typed_keywords_are_the_options() -> None:
    assert get_type_hints(LSTMKeywords) == get_type_hints(LSTMOptions)


def test_a_classifier_without_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^num_classes must be at least 1, got 0$"):
        LSTMClassifier(2, 3, 0)


BAD_STATES = [[2, 5, 6], [4, 1, 6], [4, 5, 7], [4, 6]]
BAD_CALLS: dict[str, Callable[[], tuple[Any, ...]]] = {
    **{f"x {shape}": lambda shape=shape: (torch.zeros(shape),) for shape in ([], [3], [2, 4, 5, 3], [4, 5, 2], [4, 2])},
    "no step": lambda: (torch.zeros(0, 5, 3),),
    **{
        f"{name} {shape}": lambda name=name, shape=shape: (
            torch.zeros(2, 5, 3),
            tuple(torch.zeros(shape if name == which else [4, 5, 6]) for which in "hc"),
        )
        for name in "hc"
        for shape in BAD_STATES
    },
    "a state with a batch": lambda: (torch.zeros(5, 3), (torch.zeros(4, 1, 6), torch.zeros(4, 1, 6))),
    **{f"{dtype}": lambda dtype=dtype: (torch.zeros(5, 2, 3).to(dtype),) for dtype in (torch.float64, torch.int64)},
}


@pytest.mark.parametrize("hidden_dropout", [0.0, 0.5])
@pytest.mark.parametrize("name", BAD_CALLS)
def test_what_torch_refuses_is_refused_with_torchs_words(name: str, hidden_dropout: float) -> None:
    lstm, arguments = LSTM(3, 6, 2, bidirectional=True, hidden_dropout=hidden_dropout), BAD_CALLS[name]()
    with pytest.raises((ValueError, RuntimeError)) as theirs:
        lstm.to_torch()(*arguments)
    with pytest.raises(type(theirs.value), match=f"^{re.escape(str(theirs.value))}$"):
        lstm(*arguments)


def test_chrono_needs_biases() -> None:
    with pytest.raises(ConfigError, match=r"^bias must be True for chrono initialization.*, got False$"):
        chrono(LSTM(2, 3, bias=False), 10)


def test_a_classifier_wants_a_batch() -> None:
    with pytest.raises(DataError, match=r"x must be \[B, T, I\] with I = 3, got shape \[4, 3\]"):
        LSTMClassifier(3, 4, 2)(torch.zeros(4, 3))


def test_a_trace_of_a_projection_is_the_forward_pass() -> None:
    """A classifier whose LSTM was replaced: its output layer reads the 4 numbers of the projection."""
    classifier = LSTMClassifier(3, 4, 5, dtype=torch.float64).eval()
    classifier.lstm = LSTM(3, 6, bias=False, batch_first=True, proj_size=4, dtype=torch.float64).eval()
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    found = trace(classifier, x, torch.tensor([1, 3]))
    output, (_, c) = classifier.lstm(x)
    torch.testing.assert_close(found.layers[0].h, output.transpose(0, 1), **CLOSE)
    torch.testing.assert_close(found.layers[0].c[-1], c[0], **CLOSE)
    assert found.layers[0].c.shape == (7, 2, 6)
    torch.testing.assert_close(found.probabilities[-1], classifier(x).softmax(-1), **CLOSE)
