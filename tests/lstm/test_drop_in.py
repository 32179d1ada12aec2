"""Code written for torch.nn.LSTM works on LSTM: patterns of well-known libraries, with nn.LSTM as the reference.

The patterns are those of d2l.ai, AllenNLP, stanza, AWD-LSTM, skorch and torch's own tools, written out in few lines.

Shapes: B batch, T time, I input size, H hidden size.
"""

import copy
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from reviver import LSTM
from reviver.errors import ConfigError

CLOSE = {"rtol": 1e-4, "atol": 1e-6}
Network = LSTM | nn.LSTM
every_dropout = pytest.mark.parametrize("p", [0.0, 0.5])
every_shape = pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=["plain", "deep"])


def twins(*args: Any, hidden_dropout: float = 0.0, **options: Any) -> tuple[LSTM, nn.LSTM]:
    """An LSTM and a torch.nn.LSTM with equal weights, the biases random as the others."""
    theirs = nn.LSTM(*args, **options)
    ours = LSTM(*args, hidden_dropout=hidden_dropout, **options)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def assert_equal(ours: Any, theirs: Any, **tolerance: float) -> None:
    """Two results are close: tensors, packed sequences, and tuples of them."""
    torch.testing.assert_close(ours, theirs, **(CLOSE | tolerance))


def assert_uses(lstm: LSTM, weights: dict[str, Tensor], x: Tensor, p: float) -> None:
    """The layer computes with these weights by torch's names, in training with the same dropout masks.

    Without dropout the reference is nn.LSTM; with it, a new layer into which the weights are loaded.
    """
    options = {name: getattr(lstm, name) for name in ("hidden_size", "num_layers", "batch_first", "bidirectional")}
    for training in (True, False):
        plain: Network = nn.LSTM(lstm.input_size, **options)
        if training and p > 0.0:
            plain = LSTM(lstm.input_size, hidden_dropout=p, **options)
        plain.load_state_dict({name: value.detach() for name, value in weights.items()})
        torch.manual_seed(3)
        expected = plain.train(training)(x)
        torch.manual_seed(3)
        assert_equal(lstm.train(training)(x), expected)
    lstm.train()


@contextmanager
def quietly() -> Iterator[None]:
    """Ignore that torch advises against its older tools, and that tracing may fix numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# The class, states, subclasses -----------------------------------------------------------------------------


@every_shape
def test_inherited_methods_and_arguments_by_name(options: dict[str, Any]) -> None:
    ours, theirs = twins(4, 6, **options)
    hx = [torch.randn(4 if options else 1, 3, 6) for _ in range(2)]
    x = torch.ones(5, 3, 4)
    assert_equal(ours(input=x, hx=hx), theirs(input=x, hx=hx))
    assert isinstance(ours, nn.LSTM)
    assert ours.mode == "LSTM"
    assert type(ours(x)[1]) is tuple
    ours.check_forward_args(x, hx, None)
    ours.flatten_parameters()
    assert_equal(ours.all_weights, theirs.all_weights, rtol=0, atol=0)
    assert_equal(ours(x), theirs(x))


class Subclass:
    """A subclass, of either class, with its own initialization, which the constructor calls, and its own forward pass."""

    initializations = calls = 0

    def reset_parameters(self) -> None:
        self.initializations += 1
        for weight in self.parameters():
            nn.init.constant_(weight, 0.25)

    def forward(self, input: Any, hx: Any = None) -> Any:  # noqa: A002
        self.calls += 1
        output, state = super().forward(input, hx)
        return output, (state[0] + 1, state[1])


def test_a_subclass_may_override_initialization_and_forward() -> None:
    ours, theirs = (type("Own", (Subclass, base), {})(3, 4, np.int64(2)) for base in (LSTM, nn.LSTM))
    assert ours.initializations == theirs.initializations == 1
    assert_equal(list(ours.parameters()), list(theirs.parameters()))
    packed = pack_padded_sequence(torch.randn(5, 17, 3), torch.full((17,), 5))
    found = ours(packed)
    assert isinstance(found[0], PackedSequence)
    assert_equal(found, theirs(packed))
    assert_equal(ours(packed.data[:, None]), theirs(packed.data[:, None]))
    assert ours.calls == theirs.calls == 2


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


def packed_results(layer: nn.LSTM, packed: PackedSequence, state: tuple[Tensor, Tensor] | None) -> list[Tensor]:
    """Padded output, state, and the gradients of input and state."""
    data = packed.data.clone().requires_grad_()
    output, (h, c) = layer(PackedSequence(data, *packed[1:]), state)
    assert torch.equal(output.batch_sizes, packed.batch_sizes)
    assert all(ours is theirs for ours, theirs in zip(output[2:], packed[2:], strict=True))
    padded, lengths = pad_packed_sequence(output)
    weight = torch.arange(padded.numel(), dtype=torch.float32).reshape(padded.shape).cos()
    loss = (padded * weight).sum() + (h * weight[0, 0, : h.shape[-1]]).sum() + c.square().sum()
    return [padded, lengths, h, c, *torch.autograd.grad(loss, [data, *([] if state is None else state)])]


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("order", ["unsorted", "sorted", "own"])
@pytest.mark.parametrize("kind", LONGEST)
@settings(max_examples=10)
@given(
    batch=st.integers(1, 300),
    layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    batch_first=st.booleans(),
    proj_size=st.sampled_from([0, 2]),
    with_state=st.booleans(),
)
@example(batch=17, layers=1, bidirectional=False, batch_first=False, proj_size=0, with_state=False)
@example(batch=300, layers=2, bidirectional=True, batch_first=True, proj_size=0, with_state=True)
def test_each_row_of_a_packed_batch_gets_its_own_result(
    kind: str,
    order: str,
    batch: int,
    layers: int,
    bidirectional: bool,
    batch_first: bool,
    proj_size: int,
    with_state: bool,
) -> None:
    rng = torch.Generator().manual_seed(batch)
    torch.manual_seed(batch)
    layer = LSTM(3, 4, layers, batch_first=batch_first, bidirectional=bidirectional, proj_size=proj_size)
    packed = packed_batch(kind, order, batch, batch_first, rng)
    shape, state = (layers * layer.num_directions, batch), None
    if with_state:
        state = tuple(torch.randn(*shape, size, generator=rng, requires_grad=True) for size in (proj_size or 4, 4))
    found = packed_results(layer, packed, state)  # type: ignore[arg-type]
    assert_equal(found, packed_results(layer.to_torch(), packed, state), atol=1e-5)  # type: ignore[arg-type]


def test_masks_of_a_packed_batch_are_those_of_the_callers_rows() -> None:
    layer = LSTM(3, 8, hidden_dropout=0.5)
    lengths, x = torch.tensor([2, 5, 5, 3, 5]), torch.randn(5, 5, 3)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    output, state = layer(packed, rng=torch.Generator().manual_seed(1))
    expected, expected_state = layer(x, None, lengths, rng=torch.Generator().manual_seed(1))
    assert_equal((pad_packed_sequence(output)[0], state), (expected, expected_state))


# Weights by name -----------------------------------------------------------------------------------------------------


HOOKS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "weight_norm": (parametrizations.weight_norm, parametrize.remove_parametrizations),
    "spectral_norm": (parametrizations.spectral_norm, parametrize.remove_parametrizations),
    "orthogonal": (parametrizations.orthogonal, parametrize.remove_parametrizations),
    "old weight_norm": (nn.utils.weight_norm, nn.utils.remove_weight_norm),
    "old spectral_norm": (nn.utils.spectral_norm, nn.utils.remove_spectral_norm),
    "l1 pruning": (lambda lstm, name: prune.l1_unstructured(lstm, name, 0.5), prune.remove),
    "row pruning": (lambda lstm, name: prune.ln_structured(lstm, name, 0.5, n=2, dim=0), prune.remove),
}


@every_dropout
@pytest.mark.parametrize("name", ["weight_hh_l0", "weight_ih_l1_reverse"])
@pytest.mark.parametrize("hook", HOOKS)
def test_reparametrized_weights_take_effect_and_train(hook: str, name: str, p: float) -> None:
    apply, remove = HOOKS[hook]
    lstm = LSTM(4, 6, 2, bidirectional=True, hidden_dropout=p)
    names = [key for key, _ in lstm.named_parameters()]
    x = torch.randn(5, 3, 4)
    with quietly():
        apply(lstm, name)
    assert name not in dict(lstm.named_parameters())
    optimizer = torch.optim.SGD(lstm.parameters(), lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        lstm(x)[0].square().sum().backward()
        assert all(value.grad is not None for value in lstm.parameters())
        optimizer.step()
    lstm.eval()
    lstm(x)  # old hooks compute the weight before a call
    theirs = nn.LSTM(4, 6, 2, bidirectional=True)
    theirs.load_state_dict({key: getattr(lstm, key).detach() for key in names})
    assert_equal(lstm(x)[0], theirs(x)[0])
    assert_equal(LSTM.from_torch(lstm).eval()(x)[0], theirs(x)[0])
    with quietly():
        remove(lstm, name)
    assert sorted(key for key, _ in lstm.named_parameters()) == sorted(names)
    assert_uses(lstm, dict(lstm.named_parameters()), x, p)


@every_dropout
@every_shape
def test_assigned_and_copied_weights_take_effect(options: dict[str, Any], p: float) -> None:
    lstm, x = LSTM(4, 6, hidden_dropout=p, **options), torch.randn(5, 3, 4)
    lstm(x)
    lstm.weight_hh_l0 = nn.Parameter(torch.randn(24, 6))
    lstm.weight_ih_l0.data.copy_(torch.randn(24, 4))
    with torch.no_grad():
        lstm.bias_ih_l0[6:12] = 2.0
        lstm.bias_hh_l0 -= 0.5
    lstm.weight_ih_l0.data = lstm.weight_ih_l0.data * 2
    nn.init.eye_(lstm.all_weights[-1][1][:6])  # as initializers do, by gate
    nn.utils.vector_to_parameters(nn.utils.parameters_to_vector(lstm.parameters()) * 0.7, lstm.parameters())
    assert_uses(lstm, dict(lstm.named_parameters()), x, p)
    with pytest.raises(TypeError, match=r"cannot assign .* as parameter 'weight_hh_l0'"):
        lstm.weight_hh_l0 = torch.randn(24, 6)


# Optimization and files -----------------------------------------------------------------------------------------------


def train(lstm: Network, optimizer: torch.optim.Optimizer) -> list[float]:
    """The norms of the gradient of two updates on the same data."""
    x, target = torch.linspace(-1, 1, 60).view(5, 3, 4), torch.linspace(1, -1, 15).view(5, 3)
    norms = []
    for _ in range(2):
        optimizer.zero_grad()
        (lstm(x)[0].sum(2) - target).square().mean().backward()
        norms.append(float(nn.utils.clip_grad_norm_([p for p in lstm.parameters() if p.requires_grad], 1e9)))
        optimizer.step()
    return norms


def optimizer_of_groups(lstm: Network) -> torch.optim.Optimizer:
    """Return an optimizer that decays no biases, with a part of the weights frozen."""
    for name, parameter in lstm.named_parameters():
        parameter.requires_grad = "weight_hh" not in name and name != "bias_ih_l0"
    named = [(name, parameter) for name, parameter in lstm.named_parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for n, p in named if "bias" not in n], "weight_decay": 0.5},
        {"params": [p for n, p in named if "bias" in n], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.1)


@every_shape
def test_gradient_norms_updates_and_states_of_optimizers_equal_torchs(options: dict[str, Any]) -> None:
    ours, theirs = twins(4, 6, **options)
    optimizers = [optimizer_of_groups(lstm) for lstm in (ours, theirs)]
    train(theirs, optimizers[1])
    ours.load_state_dict(theirs.state_dict())
    optimizers[0].load_state_dict(copy.deepcopy(optimizers[1].state_dict()))
    norms = [train(lstm, optimizer) for lstm, optimizer in zip((ours, theirs), optimizers, strict=True)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert_equal(list(ours.state_dict().values()), list(theirs.state_dict().values()), atol=1e-5)


def test_frozen_weights_stay_with_hidden_dropout() -> None:
    lstm = LSTM(4, 6, hidden_dropout=0.5)
    before = copy.deepcopy(lstm.state_dict())
    train(lstm, optimizer_of_groups(lstm))
    changed = {name for name, value in lstm.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"weight_ih_l0", "bias_hh_l0"}


@every_shape
def test_saved_weights_load_both_ways(options: dict[str, Any]) -> None:
    x = torch.randn(5, 3, 4)
    for source, target in ((LSTM, nn.LSTM), (nn.LSTM, LSTM)):
        saved, loaded = source(4, 6, **options), target(4, 6, **options)
        assert list(saved.state_dict()) == list(loaded.state_dict())
        file = io.BytesIO()
        torch.save(saved.state_dict(), file)
        file.seek(0)
        loaded.load_state_dict(torch.load(file, weights_only=True))
        assert_equal(loaded(x), saved(x))
        loaded.load_state_dict(saved.state_dict(), assign=True)
        assert loaded.weight_hh_l0.data_ptr() == saved.weight_hh_l0.data_ptr()


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_to_torch_and_from_torch_copy_the_weights() -> None:
    theirs = nn.LSTM(4, 6, 2, batch_first=True, dropout=0.25, bidirectional=True, proj_size=3).eval()
    ours = LSTM.from_torch(theirs, hidden_dropout=0.3)
    again = ours.to_torch()
    assert type(again) is nn.LSTM
    assert ours.options.hidden_dropout == 0.3
    x = torch.randn(3, 5, 4)
    assert_equal(ours(x), theirs(x))
    for source in (theirs, ours):  # neither shares its weights with what is made from it
        with torch.no_grad():
            source.weight_hh_l0.zero_()
        assert ours.weight_hh_l0.any() == (source is theirs)
        assert again.weight_hh_l0.any()
    assert all(p.requires_grad and p.is_leaf for lstm in (ours, again) for p in lstm.parameters())
    LSTM(3, 4, hidden_dropout_kind="zoneout").to_torch()  # with probability 0 the equations are torch's


# Derivatives and torch's tools ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("vectorize", [False, True])  # by batches of gradients
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_jacobians_and_hessians_equal_torchs(dtype: torch.dtype, vectorize: bool) -> None:
    x, results = torch.randn(3, 2, 2, dtype=dtype), []
    for lstm in twins(2, 3, 2, hidden_dropout=0.5, bidirectional=True, dtype=dtype):
        function = partial(functional_call, lstm.eval())
        call = lambda x, U, f=function: f({"weight_hh_l0": U}, x)[0]  # noqa: E731
        results.append([torch.autograd.functional.jacobian(call, (x, lstm.weight_hh_l0.detach()), vectorize=vectorize)])
        if dtype == torch.float64:  # torch has no second derivatives in float32
            square = lambda x, f=lstm: f(x)[0].square().sum()  # noqa: E731
            results[-1].append(torch.autograd.functional.hessian(square, x, vectorize=vectorize))
        results[-1].append(lstm(x))  # its own weights are back
    assert_equal(*results, rtol=1e-4 if dtype == torch.float32 else 1e-8)


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


@every_dropout
@every_shape
@pytest.mark.parametrize("tool", [traced, in_onnx_runtime])
def test_what_a_tool_makes_of_the_layer_takes_other_numbers_of_steps(
    tool: Callable[[LSTM], Callable[[Tensor], Any]], options: dict[str, Any], p: float
) -> None:
    ours, theirs = twins(4, 6, hidden_dropout=p, **options)
    with quietly():
        made = tool(ours.eval())
    for steps in (5, 9, 2):
        x = torch.randn(steps, 3, 4)
        assert_equal(list(made(x)), list(Model(theirs)(x)), atol=1e-5)


def test_quantization_after_to_torch() -> None:
    """quantize_dynamic looks for nn.LSTM itself and leaves subclasses as they are."""
    model = Model(LSTM(16, 32, hidden_dropout=0.5)).eval()
    x = torch.randn(5, 3, 16)
    expected, *_ = model(x)
    model.lstm = model.lstm.to_torch()
    with quietly():
        quantized = torch.ao.quantization.quantize_dynamic(model, {nn.LSTM}, dtype=torch.qint8)
        output, *_ = quantized(x)
    assert "quantized" in type(quantized.lstm).__module__
    assert_equal(output, expected, atol=0.05)
    assert not torch.equal(output, expected)


def test_scripting_compiles_torchs_layer_or_names_the_way() -> None:
    lstm, dropped, x = LSTM(3, 6, 2, bidirectional=True), LSTM(3, 6, hidden_dropout=0.5).eval(), torch.randn(4, 2, 3)
    with quietly():
        assert_equal(torch.jit.script(nn.Sequential(lstm))(x), lstm(x))
        assert_equal(torch.jit.script(Model(dropped.to_torch()))(x), Model(dropped)(x))
        with pytest.raises(
            ConfigError, match=r"^hidden_dropout must be 0 for torch\.jit\.script, got 0\.5; .*to_torch"
        ):
            torch.jit.script(nn.Sequential(dropped))
