"""The layer: called as nn.GRU, equal to nn.GRU, nn.RNN and LSTM where the text is theirs, states and quantities by name."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from reviver import LSTM, RNN
from reviver.errors import ConfigError, DataError
from reviver.recurrent import kernel, native_pass
from reviver.recurrent.torch_layers import find_torch_cell

LENGTHS = [6, 2, 4]


@pytest.mark.parametrize(
    ("torch_class", "options"),
    [(nn.GRU, {}), (nn.RNN, {}), (nn.RNN, {"nonlinearity": "relu"}), (nn.LSTM, {"bias": False})],
)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_layer_is_called_as_that_of_torch_and_equals_it(
    torch_class, options, bidirectional, batch_first, monkeypatch
):
    options = {"num_layers": 2, "batch_first": batch_first, "bidirectional": bidirectional, **options}
    theirs = torch_class(3, 20, **options).eval()
    ours = RNN.from_torch(theirs, hidden_dropout=0.5)
    x = torch.randn(3, 6, 3) if batch_first else torch.randn(6, 3, 3)
    start = torch.randn(4 if bidirectional else 2, 3, 20)
    one = x[0] if batch_first else x[:, 0]
    for sequence, *state in ((x,), (x, start), (one, start[:, 0])):
        hx = [(entry, entry) if torch_class is nn.LSTM else entry for entry in state]
        (a, h), (b, exact_h) = ours(sequence, *hx), theirs(sequence, *hx)
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close([*h], [*exact_h], rtol=1e-5, atol=1e-6)
    hx = (start, start) if torch_class is nn.LSTM else start
    packed = pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first, enforce_sorted=False)
    (a, h), (b, exact_h) = ours(packed, hx), theirs(packed, hx)
    torch.testing.assert_close(a.data, b.data, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close([*h], [*exact_h], rtol=1e-5, atol=1e-6)
    padded, _ = pad_packed_sequence(b, batch_first)
    torch.testing.assert_close(ours(x, hx, lengths=LENGTHS)[0], padded, rtol=1e-5, atol=1e-6)
    ours(x, hx)[0].square().sum().backward(), theirs(x, hx)[0].square().sum().backward()
    gradient = theirs.weight_hh_l0.grad[:20]
    torch.testing.assert_close(
        getattr(ours, {"LSTM": "U_i", "GRU": "U_r"}.get(theirs.mode, "U")).grad, gradient, rtol=1e-4, atol=1e-5
    )
    # Where the rule lets torch run it, as on a GPU, the text finds its layer there.
    monkeypatch.setattr(kernel, "torch_runs", lambda *_: True)
    monkeypatch.setattr(native_pass, "run", None)
    torch.testing.assert_close(ours(x, hx)[0], theirs(x, hx)[0], rtol=1e-5, atol=1e-6)


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


def test_a_state_can_be_copied_pickled_and_saved(tmp_path):
    with torch.no_grad():
        _, state = RNN("lstm", 2, 4)(torch.randn(5, 3, 2))
    torch.save(state, tmp_path / "state.pt")
    for other in (copy.deepcopy(state), pickle.loads(pickle.dumps(state)), torch.load(tmp_path / "state.pt")):
        assert torch.equal(other.h, state.h)
        assert torch.equal(other.c, state.c)


@pytest.mark.parametrize("name", ["values", "forward", "__init__", "layers", "training"])
def test_a_weight_has_not_the_name_of_an_attribute(name):
    with pytest.raises(ConfigError, match=f"^cell text: {name} is an attribute of every layer, .* such as W_"):
        RNN(f"h = tanh({name} @ x + U @ h)", 2, 4)


def test_the_layer_of_torch_is_found_under_other_names_and_in_another_order():
    text = """
        q = sigmoid(b_q + R_q @ h + A_q @ x)
        c = tanh(A_z @ x + R_z @ h + b_z) * sigmoid(A_w @ x + R_w @ h + b_w) + c * q
        h = tanh(c) * sigmoid(R_v @ h + A_v @ x + b_v)
    """
    with FakeTensorMode():
        x = torch.empty(5, 3, 2, device="cuda")
        for cell, expected in ((text, True), (text.replace("* sigmoid(R_v", "+ sigmoid(R_v"), False), ("gru", False)):
            layer = RNN(cell, 2, 4)
            assert kernel.torch_runs(layer, layer.options, x)
            assert (find_torch_cell(layer.cell) is not None) == expected


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*non-leaf Tensor")
def test_a_compiled_layer_is_one_graph_and_equals_the_layer():
    torch._dynamo.reset()
    layer = RNN("gru", 2, 20, hidden_dropout=0.5)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for shape in ((5, 3, 2), (4, 2, 2)):
        found = []
        for model in (compiled, layer):
            x = torch.ones(shape, requires_grad=True)
            torch.manual_seed(0)
            output, _ = model(x)
            output.square().sum().backward()
            found.append([output, x.grad, layer.U_n.grad.clone()])
            layer.zero_grad()
        assert all(map(torch.equal, *found))


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
