"""Code written for torch.nn.LSTM works on LSTM, with nn.LSTM as the reference: its calls, errors, files and tools.

The patterns are those of d2l.ai, AllenNLP, stanza, AWD-LSTM, skorch and torch's own tests and tools, in few lines.

Shapes: B batch, T time, I input size, H hidden size.
"""

import copy
import inspect
import io
import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from reviver import LSTM
from reviver.errors import ConfigError
from reviver.settings.lstm_network import LSTMOptions

# torch.nn.LSTM says so of itself.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
Network = LSTM | nn.LSTM
DEEP: dict[str, Any] = {"num_layers": 2, "bidirectional": True}


def twins(*args: Any, hidden_dropout: float = 0.0, **options: Any) -> tuple[LSTM, nn.LSTM]:
    """An LSTM and a torch.nn.LSTM with equal weights, the biases random as the others."""
    theirs = nn.LSTM(*args, **options)
    ours = LSTM(*args, hidden_dropout=hidden_dropout, **options)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def assert_equal(ours: Any, theirs: Any, **tolerance: float) -> None:
    """Two results are close: tensors, packed sequences, and tuples of them."""
    torch.testing.assert_close(ours, theirs, **({"rtol": 1e-4, "atol": 1e-6} | tolerance))


# The class ------------------------------------------------------------------------------------------------------------


def test_the_signature_and_the_representation_are_torchs() -> None:
    """torch's LSTM passes its arguments on to its base class, whose signature they have."""
    theirs = list(inspect.signature(nn.RNNBase.__init__).parameters.values())[2:]  # without self and mode
    ours = list(inspect.signature(LSTM.__init__).parameters.values())[1:]
    positional = [parameter for parameter in ours if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert [(p.name, p.default) for p in positional] == [(p.name, p.default) for p in theirs]
    assert list(inspect.signature(LSTM.forward).parameters)[1:3] == ["input", "hx"]
    lstm = LSTM(2, 3, hidden_dropout=0.5, precision="bf16", bias=False, proj_size=1)
    assert repr(lstm) == "LSTM(2, 3, proj_size=1, bias=False, hidden_dropout=0.5, precision=bf16)"


def test_a_subclass_may_override_initialization_and_forward() -> None:
    class Own:
        def reset_parameters(self) -> None:
            self.num_directions = 2 if self.bidirectional else 1
            for weight in self.parameters():
                nn.init.constant_(weight, 0.25)

        def forward(self, input: Any, hx: Any = None) -> Any:  # noqa: A002
            output, state = super().forward(input, hx)
            return output, (state[0] + 1, state[1])

    ours, theirs = (type("Subclass", (Own, base), {})(3, 4, np.int64(2)) for base in (LSTM, nn.LSTM))
    packed = pack_padded_sequence(torch.randn(5, 17, 3), torch.full((17,), 5))
    assert_equal(ours(packed), theirs(packed))


@pytest.mark.parametrize("options", [{"batch_first": True, "bias": False}, {**DEEP, "proj_size": 2}], ids=str)
def test_copies_dtypes_and_devices_work_as_those_of_any_module(options: dict[str, Any]) -> None:
    """Factory keywords, meta tensors, `to`, pickle, deepcopy; a call leaves its arguments and the module as they are."""
    lstm, theirs = LSTM(3, 4, **options), nn.LSTM(3, 4, **options)
    depth = lstm.num_layers * lstm.num_directions
    x, state = torch.randn(2, 2, 3), (torch.randn(depth, 2, lstm.output_size), torch.randn(depth, 2, 4))
    names, tensors = set(lstm.__dict__), (x, *state, *lstm.parameters())
    before = [tensor.clone() for tensor in tensors]
    expected = lstm(x, state)
    assert set(lstm.__dict__) == names
    assert all(map(torch.equal, tensors, before))
    for other in (pickle.loads(pickle.dumps(lstm)), copy.deepcopy(lstm), LSTM.from_torch(lstm.to_torch())):
        assert repr(other) == repr(lstm) == repr(theirs)
        assert_equal(other(x, state), expected, rtol=0, atol=0)
        assert all(a is not b for a, b in zip(other.parameters(), lstm.parameters(), strict=True))
    exact, (h, c) = copy.deepcopy(lstm).double()(x.double(), tuple(tensor.double() for tensor in state))
    assert_equal((exact.float(), (h.float(), c.float())), expected, rtol=1e-5)

    meta = LSTM(3, 4, **options, device="meta", dtype=torch.float64)
    assert all(parameter.is_meta and parameter.dtype == torch.float64 for parameter in meta.parameters())
    output, _ = meta.float()(x.to("meta"))
    assert (output.shape, output.device.type) == (expected[0].shape, "meta")
    assert LSTM(3, 4, device="meta", precision="bf16")(x.to("meta"))[0].is_meta
    meta.to_empty(device="cpu").load_state_dict(lstm.state_dict())
    assert_equal(meta(x, state), expected, rtol=0, atol=0)


@pytest.mark.parametrize("options", [{"batch_first": True}, {"proj_size": 2}])
def test_an_empty_batch_gives_empty_results_as_torchs(options: dict[str, Any]) -> None:
    ours, theirs = twins(3, 4, 2, bidirectional=True, hidden_dropout=0.5, **options)
    x = torch.zeros((0, 5, 3) if ours.batch_first else (5, 0, 3), requires_grad=True)
    results = []
    for lstm in (theirs, ours):
        output, (h, c) = lstm(x, (torch.zeros(4, 0, ours.output_size), torch.zeros(4, 0, 4)))
        output.sum().backward()
        results.append([output.shape, h.shape, c.shape, x.grad.shape])
        assert not any(parameter.grad.any() for parameter in lstm.parameters())
    assert results[0] == results[1]
    assert ours(x, lengths=[])[0].shape == results[1][0]


STATES = [[2, 5, 6], [4, 1, 6], [4, 5, 7], [4, 6]]
BAD_CALLS: dict[str, tuple[Any, ...]] = {
    **{f"x {shape}": (torch.zeros(shape),) for shape in ([], [3], [2, 4, 5, 3], [4, 5, 2], [4, 2], [0, 5, 3])},
    **{f"h {shape}": (torch.zeros(2, 5, 3), (torch.zeros(shape), torch.zeros(4, 5, 6))) for shape in STATES},
    **{f"c {shape}": (torch.zeros(2, 5, 3), (torch.zeros(4, 5, 6), torch.zeros(shape))) for shape in STATES},
    "a state with a batch": (torch.zeros(5, 3), (torch.zeros(4, 1, 6), torch.zeros(4, 1, 6))),
    **{str(dtype): (torch.zeros(5, 2, 3).to(dtype),) for dtype in (torch.float64, torch.int64)},
}
BAD_ARGUMENTS = [{"proj_size": 4}, {"dropout": 1.5}, {"hidden_size": 0}, {"num_layers": -3}, {"bias": 1}]


def test_what_torch_refuses_is_refused_with_torchs_words() -> None:
    lstm = LSTM(3, 6, 2, bidirectional=True, hidden_dropout=0.5)
    calls = [(lstm.to_torch(), lstm, call, {}) for call in BAD_CALLS.values()]
    calls += [(nn.LSTM, LSTM, (), {"input_size": 3, "hidden_size": 4} | options) for options in BAD_ARGUMENTS]
    for theirs, ours, arguments, keywords in calls:
        with pytest.raises((ValueError, TypeError, RuntimeError)) as expected:
            theirs(*arguments, **keywords)
        with pytest.raises(type(expected.value), match=f"^{re.escape(str(expected.value))}$"):
            ours(*arguments, **keywords)


# Packed sequences ----------------------------------------------------------------------------------------------------


LONGEST = {"equal": 6, "ties": 2, "some": 6, "few": 40}


def packed_batch(kind: str, order: str, batch: int, batch_first: bool, rng: torch.Generator) -> PackedSequence:
    lengths = torch.randint(6 if kind == "equal" else 1, LONGEST[kind] + 1, (batch,), generator=rng)
    x = torch.randn(int(lengths.max()), batch, 3, generator=rng)
    x = x.transpose(0, 1) if batch_first else x
    if order == "unsorted":
        return pack_padded_sequence(x, lengths, batch_first, enforce_sorted=False)
    packed = pack_padded_sequence(x, lengths.sort(descending=True).values, batch_first)
    if order == "sorted":
        return packed
    # An order of its own for rows of equal length, as of a caller who sorts by itself.
    unsorted = torch.randperm(batch, generator=rng)
    return PackedSequence(packed.data, packed.batch_sizes, unsorted.argsort(), unsorted)


def packed_results(layer: nn.LSTM, packed: PackedSequence, state: tuple[Tensor, ...] | None) -> list[Tensor]:
    """Padded output, state, and the gradients of input and state."""
    data = packed.data.clone().requires_grad_()
    output, (h, c) = layer(PackedSequence(data, *packed[1:]), state)
    assert torch.equal(output.batch_sizes, packed.batch_sizes)
    assert all(ours is theirs for ours, theirs in zip(output[2:], packed[2:], strict=True))
    padded, lengths = pad_packed_sequence(output)
    weight = torch.arange(padded.numel(), dtype=torch.float32).reshape(padded.shape).cos()
    loss = (padded * weight).sum() + (h * weight[0, 0, : h.shape[-1]]).sum() + c.square().sum()
    return [padded, lengths, h, c, *torch.autograd.grad(loss, [data, *(state or [])])]


@pytest.mark.parametrize("order", ["unsorted", "sorted", "own"])
@pytest.mark.parametrize("kind", LONGEST)
@settings(max_examples=8)
@given(batch=st.integers(1, 300), layers=st.integers(1, 2), flags=st.tuples(*[st.booleans()] * 4))
@example(batch=17, layers=1, flags=(False,) * 4)
@example(batch=300, layers=2, flags=(True, True, False, True))
def test_each_row_of_a_packed_batch_gets_its_own_result(
    kind: str, order: str, batch: int, layers: int, flags: tuple[bool, ...]
) -> None:
    bidirectional, batch_first, projects, with_state = flags
    rng = torch.Generator().manual_seed(batch)
    torch.manual_seed(batch)
    options = {"batch_first": batch_first, "bidirectional": bidirectional, "proj_size": 2 * projects}
    layer = LSTM(3, 4, layers, **options)
    packed = packed_batch(kind, order, batch, batch_first, rng)
    shape, state = (layers * layer.num_directions, batch), None
    if with_state:
        state = tuple(torch.randn(*shape, n, generator=rng, requires_grad=True) for n in (layer.output_size, 4))
    found = packed_results(layer, packed, state)
    assert_equal(found, packed_results(layer.to_torch(), packed, state), atol=1e-5)


def test_masks_of_a_packed_batch_are_those_of_the_callers_rows() -> None:
    layer = LSTM(3, 8, hidden_dropout=0.5)
    lengths, x = torch.tensor([2, 5, 5, 3, 5]), torch.randn(5, 5, 3)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    output, state = layer(packed, rng=torch.Generator().manual_seed(1))
    expected, expected_state = layer(x, None, lengths, rng=torch.Generator().manual_seed(1))
    assert_equal((pad_packed_sequence(output)[0], state), (expected, expected_state))


# Weights --------------------------------------------------------------------------------------------------------------


ZONEOUT = {"hidden_dropout": 0.5, "hidden_dropout_kind": "zoneout"}
"""Options with which torch's layer does not compute in eval mode either."""
HOOKS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "weight_norm": (parametrizations.weight_norm, parametrize.remove_parametrizations),
    "orthogonal": (parametrizations.orthogonal, parametrize.remove_parametrizations),
    "old weight_norm": (nn.utils.weight_norm, nn.utils.remove_weight_norm),
    "old spectral_norm": (nn.utils.spectral_norm, nn.utils.remove_spectral_norm),
    "pruning": (lambda lstm, name: prune.l1_unstructured(lstm, name, 0.5), prune.remove),
}


@pytest.mark.parametrize("name", ["weight_hh_l0", "weight_ih_l1_reverse"])
@pytest.mark.parametrize("hook", HOOKS)
def test_reparametrized_weights_take_effect_and_train(hook: str, name: str, tmp_path: Path) -> None:
    apply, remove = HOOKS[hook]
    lstm, x = LSTM(4, 6, 2, bidirectional=True, **ZONEOUT), torch.randn(5, 3, 4)
    names = [key for key, _ in lstm.named_parameters()]
    with warnings.catch_warnings(action="ignore"):
        apply(lstm, name)
    assert name not in dict(lstm.named_parameters())
    with pytest.raises(ConfigError, match=f"^{name} must be a plain weight, got a computed one; remove its"):
        lstm.save_pretrained(tmp_path)
    before, optimizer = getattr(lstm, name).clone(), torch.optim.SGD(lstm.parameters(), lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        lstm(x)[0].square().sum().backward()
        assert all(value.grad is not None for value in lstm.parameters())
        optimizer.step()
    found = lstm.eval()(x)  # old hooks compute the weight before a call
    assert not torch.equal(getattr(lstm, name), before)
    assert_equal(LSTM.from_torch(lstm, **ZONEOUT).eval()(x), found)
    with warnings.catch_warnings(action="ignore"):
        remove(lstm, name)
    assert sorted(key for key, _ in lstm.named_parameters()) == sorted(names)
    assert_equal(lstm(x), found)


def test_assigned_and_copied_weights_take_effect() -> None:
    lstm, x = LSTM(4, 6, 2, bidirectional=True, **ZONEOUT).eval(), torch.randn(5, 3, 4)
    before, _ = lstm(x)
    lstm.weight_hh_l0 = nn.Parameter(torch.randn(24, 6))
    lstm.weight_ih_l0.data.copy_(torch.randn(24, 4))
    with torch.no_grad():
        lstm.bias_ih_l0[6:12] = 2.0
        lstm.bias_hh_l0 -= 0.5
    lstm.weight_ih_l0.data = lstm.weight_ih_l0.data * 2
    nn.init.eye_(lstm.all_weights[-1][1][:6])  # as initializers do, by gate
    nn.utils.vector_to_parameters(nn.utils.parameters_to_vector(lstm.parameters()) * 0.7, lstm.parameters())
    assert not torch.equal(lstm(x)[0], before)
    assert_equal(lstm(x), LSTM.from_torch(lstm, **ZONEOUT).eval()(x))


def test_to_torch_and_from_torch_copy_the_weights() -> None:
    theirs = nn.LSTM(4, 6, 2, batch_first=True, dropout=0.25, bidirectional=True, proj_size=3).eval()
    ours = LSTM.from_torch(theirs, hidden_dropout=0.3)
    again = ours.to_torch()
    assert (type(again), again.training, ours.options.hidden_dropout) == (nn.LSTM, False, 0.3)
    x = torch.randn(3, 5, 4)
    assert_equal(ours(x), theirs(x))
    for source in (theirs, ours):  # neither shares its weights with what is made from it
        with torch.no_grad():
            source.weight_hh_l0.zero_()
        assert ours.weight_hh_l0.any() == (source is theirs)
        assert again.weight_hh_l0.any()
    LSTM(3, 4, hidden_dropout_kind="zoneout").to_torch()  # with probability 0 the equations are torch's


def test_from_torch_keeps_the_options_of_a_layer_of_ours() -> None:
    source = LSTM(3, 4, hidden_dropout=0.3, hidden_dropout_kind="variational", single_bias=True, precision="bf16")
    assert LSTM.from_torch(source).options == source.options
    changed = LSTM.from_torch(source, single_bias=False, precision="fp32")
    assert changed.options == LSTMOptions(hidden_dropout=0.3, hidden_dropout_kind="variational")
    assert_equal(changed.eval()(x := torch.randn(5, 2, 3)), source.to_torch().eval()(x))


# torch's tools --------------------------------------------------------------------------------------------------------


class Model(nn.Module):
    """A model around the layer, as tools take it."""

    def __init__(self, lstm: Network):
        super().__init__()
        self.lstm = lstm

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output, (h, c) = self.lstm(x)
        return output, h, c


def traced(lstm: LSTM) -> Callable[[Tensor], Any]:
    result = torch.jit.trace(Model(lstm), torch.randn(5, 3, 4))
    assert "reviver::" not in str(result.inlined_graph)
    return result


def in_onnx_runtime(lstm: LSTM) -> Callable[[Tensor], Any]:
    file, names = io.BytesIO(), {"input_names": ["x"], "output_names": ["output", "h", "c"]}
    axes = {"x": {0: "time", 1: "batch"}}
    torch.onnx.export(lstm, (torch.randn(5, 3, 4),), file, dynamo=False, dynamic_axes=axes, **names)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    return lambda x: [torch.from_numpy(part) for part in session.run(None, {"x": x.numpy()})]


@pytest.mark.parametrize("tool", [traced, in_onnx_runtime])
def test_what_a_tool_makes_of_the_layer_takes_other_numbers_of_steps(
    tool: Callable[[LSTM], Callable[[Tensor], Any]],
) -> None:
    ours, theirs = twins(4, 6, hidden_dropout=0.5, **DEEP)
    with warnings.catch_warnings(action="ignore"):
        made = tool(ours.eval())
    for steps in (9, 2):
        x = torch.randn(steps, 3, 4)
        assert_equal(list(made(x)), list(Model(theirs)(x)), atol=1e-5)


def test_scripting_compiles_torchs_layer_or_names_the_way() -> None:
    lstm, dropped, x = LSTM(3, 6, 2, bidirectional=True), LSTM(3, 6, hidden_dropout=0.5).eval(), torch.randn(4, 2, 3)
    message = r"^hidden_dropout must be 0 for torch\.jit\.script, got 0\.5; .*to_torch"
    with warnings.catch_warnings(action="ignore"):
        assert_equal(torch.jit.script(nn.Sequential(lstm))(x), lstm(x))
        assert_equal(torch.jit.script(Model(dropped.to_torch()))(x), Model(dropped)(x))
        with pytest.raises(ConfigError, match=message):
            torch.jit.script(nn.Sequential(dropped))


def test_the_layer_is_a_leaf_of_torch_fx_as_that_of_torch() -> None:
    ours, theirs = (torch.fx.symbolic_trace(Model(layer))(torch.ones(5, 3, 4)) for layer in twins(4, 6, **DEEP))
    assert_equal(list(ours), list(theirs))
