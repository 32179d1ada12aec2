"""The layer: called as nn.GRU, equal to nn.GRU, nn.RNN and LSTM where the text is theirs, states and quantities by name."""

import pickle

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from reviver import LSTM, RNN
from reviver.errors import ConfigError, DataError

LENGTHS = [6, 2, 4]


def from_torch(layer: nn.GRU | nn.RNN, ours: RNN) -> None:
    """Copy the weights of a layer of torch."""
    names = "rzn" if isinstance(layer, nn.GRU) else [""]
    suffixes = [f"l{at}{way}" for at in range(layer.num_layers) for way in ("", "_reverse")[: 1 + layer.bidirectional]]
    with torch.no_grad():
        for at, suffix in enumerate(suffixes):
            weights = ours.weights(at)
            parts = [
                getattr(layer, f"{kind}_{suffix}").chunk(len(names))
                for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            ]
            for name, W, U, b_ih, b_hh in zip(names, *parts, strict=True):
                if name == "":
                    weights["W"].copy_(W), weights["U"].copy_(U), weights["b_h"].copy_(b_ih + b_hh)
                    continue
                weights[f"W_{name}"].copy_(W), weights[f"U_{name}"].copy_(U)
                weights[f"b_{name}"].copy_(b_ih if name == "n" else b_ih + b_hh)
                if name == "n":
                    weights["a_n"].copy_(b_hh)


@pytest.mark.parametrize(("cell", "torch_class"), [("gru-cudnn", nn.GRU), ("rnn", nn.RNN)])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_layer_is_called_as_that_of_torch_and_equals_it(cell, torch_class, bidirectional, batch_first):
    options = {"num_layers": 2, "batch_first": batch_first, "bidirectional": bidirectional}
    theirs, ours = torch_class(3, 20, **options), RNN(cell, 3, 20, **options)
    from_torch(theirs, ours)
    x = torch.randn(3, 6, 3) if batch_first else torch.randn(6, 3, 3)
    start = torch.randn(4 if bidirectional else 2, 3, 20)
    for arguments in ((x,), (x, start), (x[0] if batch_first else x[:, 0], start[:, 0])):
        for a, b in zip(ours(*arguments), theirs(*arguments), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    packed = pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first, enforce_sorted=False)
    (a, h), (b, exact_h) = ours(packed, start), theirs(packed, start)
    torch.testing.assert_close(a.data, b.data, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(h, exact_h, rtol=1e-5, atol=1e-6)
    padded, _ = pad_packed_sequence(b, batch_first)
    torch.testing.assert_close(ours(x, start, lengths=LENGTHS)[0], padded, rtol=1e-5, atol=1e-6)
    loss_a, loss_b = ours(x, start)[0].square().sum(), theirs(x, start)[0].square().sum()
    loss_a.backward(), loss_b.backward()
    torch.testing.assert_close(
        ours.weights(0)["U" if cell == "rnn" else "U_r"].grad, theirs.weight_hh_l0.grad[:20], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_the_text_of_the_lstm_has_the_weights_and_masks_of_lstm(lengths):
    options = {"num_layers": 2, "batch_first": True, "bidirectional": True, "hidden_dropout": 0.3, "dropout": 0.2}
    ours, hand = RNN("lstm", 3, 20, **options), LSTM(3, 20, **options, single_bias=True)
    ours.reset_parameters(torch.Generator().manual_seed(1))
    hand.reset_parameters(torch.Generator().manual_seed(1))
    for name in ("W_i", "U_c", "b_f"):
        assert torch.equal(getattr(ours, name), getattr(hand, name)), name
    x = torch.randn(3, 6, 3)
    output, state = ours(x, lengths=lengths, rng=torch.Generator().manual_seed(2))
    exact, (h, c) = hand(x, lengths=lengths, rng=torch.Generator().manual_seed(2))
    torch.testing.assert_close(output, exact)
    torch.testing.assert_close(state.h, h)
    torch.testing.assert_close(state.c, c)


def test_states_come_and_go_by_name():
    layer = RNN("lstm", 2, 4, batch_first=True).eval()
    x = torch.randn(3, 5, 2)
    whole, end = layer(x)
    first, state = layer(x[:, :2])
    for middle in (state, tuple(state), {"c": state.c, "h": state.h}):
        second, last = layer(x[:, 2:], middle)
        torch.testing.assert_close(torch.cat([first, second], 1), whole)
        torch.testing.assert_close(last.c, end.c)
    only_c, _ = layer(x, {"c": state.c})
    torch.testing.assert_close(only_c, layer(x, (torch.zeros(1, 3, 4), state.c))[0])


def test_a_trace_has_every_quantity_of_every_step():
    layer = RNN("gru", 2, 4, 2, batch_first=True, bidirectional=True, hidden_dropout=0.5)
    x = torch.randn(3, 5, 2)
    traces = layer.trace(x)
    assert [list(found) for found in traces] == [["r", "z", "n", "h"]] * 4
    assert all(values.shape == (3, 5, 4) for found in traces for values in found.values())
    output, _ = layer.eval()(x)
    torch.testing.assert_close(torch.cat([traces[2]["h"], traces[3]["h"]], 2), output)
    assert layer.trace(x[0])[0]["r"].shape == (5, 4)
    step = layer.trace(x[:, :1])[0]
    torch.testing.assert_close(step["h"], (1 - step["z"]) * step["n"])


def test_autocast_and_other_dtypes_are_those_of_torch():
    layer, x = RNN("gru", 2, 4), torch.randn(5, 3, 2)
    exact, _ = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = layer(x)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), exact, rtol=0.02, atol=0.02)
    torch.testing.assert_close(layer.double()(x.double())[0].float(), exact)
    with pytest.raises(DataError, match=r"x must be torch\.float64 as the weights, .* of torch\.float32"):
        layer(x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own `scan`
def test_transforms_and_exports_take_the_equations():
    layer, x = RNN("gru", 2, 4), torch.randn(5, 3, 2)
    exact = layer(x)[0]
    with FakeTensorMode():
        assert RNN("lstm", 2, 4)(torch.empty(5, 3, 2))[0].shape == exact.shape
    torch.testing.assert_close(torch.export.export(layer, (x,)).module()(x)[0], exact)
    torch.testing.assert_close(torch.func.vmap(lambda one: layer(one)[0])(torch.stack([x, x]))[1], exact)


def test_a_batch_may_be_empty():
    """As that of one of several processes."""
    layer = RNN("lstm", 2, 4, 2, bidirectional=True, hidden_dropout=0.5)
    output, state = layer(torch.empty(5, 0, 2))
    output.sum().backward()
    assert (output.shape, state.c.shape) == ((5, 0, 8), (4, 0, 4))
    assert not layer.U_f.grad.any()


def test_a_layer_can_be_saved_printed_and_changed():
    layer = RNN("coupled", 2, 4, hidden_dropout=0.5)
    assert "coupled, 2, 4" in repr(layer)
    assert "b_f = 1" in repr(layer)
    other = RNN("coupled", 2, 4)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(5, 3, 2)
    torch.testing.assert_close(other(x)[0], layer.eval()(x)[0])
    layer.hidden_dropout = 0.1
    assert layer.options.hidden_dropout == 0.1
    with pytest.raises(ConfigError, match="hidden_dropout"):
        layer.hidden_dropout = 2.0
    assert torch.equal(pickle.loads(pickle.dumps(layer)).U_f, layer.U_f)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda layer: layer(torch.zeros(5, 3, 4)), "I = 2 numbers a step, got shape"),
        (lambda layer: layer(torch.zeros(0, 3, 2)), "got shape"),
        (lambda layer: layer(torch.zeros(5, 3, 2), torch.zeros(1, 3, 4)), "hx must have the states h, c, got 1"),
        (
            lambda layer: layer(torch.zeros(5, 3, 2), {"d": torch.zeros(1, 3, 4)}),
            "hx must have the states h, c, got d",
        ),
        (
            lambda layer: layer(torch.zeros(5, 3, 2), {"c": torch.zeros(3, 4)}),
            r"state c must be \[1, 3, 4\], got \[3, 4\]",
        ),
        (lambda layer: layer(torch.zeros(5, 3, 2), lengths=[5, 9, 1]), "lengths must be from 1 to T = 5"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(DataError, match=message):
        call(RNN("lstm", 2, 4))
