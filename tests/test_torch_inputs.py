"""reviver.LSTM on the inputs that torch's own tests hold for torch.nn.LSTM, and in torch's generic checks of a module.

torch keeps the inputs in `torch.testing._internal.common_modules`: 32 for each dtype, each `requires_grad` and each mode.
"""

import copy
import inspect
import pickle
import re
import subprocess
import sys
import warnings
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reviver import LSTM
from reviver.lstm import kernel

# torch.nn.LSTM says so of itself.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

DTYPES = (torch.float32, torch.float64)
PER_SETTING = 32
CLOSE = {torch.float32: {"rtol": 1e-5, "atol": 1e-6}, torch.float64: {"rtol": 1e-10, "atol": 1e-12}}

# In a process of its own: importing torch's test utilities locks global flags of torch that our code sets.
READ_INPUTS = """
import itertools, sys, torch
from torch.testing._internal.common_modules import module_db
(info,) = [info for info in module_db if info.module_cls is torch.nn.LSTM]
found = []
for dtype, requires_grad, training in itertools.product(info.dtypes, (False, True), (False, True)):
    torch.manual_seed(0)
    inputs = info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=requires_grad, training=training)
    for item in inputs:
        made, given = item.constructor_input, item.forward_input
        found.append([dtype, requires_grad, training, made.args, made.kwargs, given.args, given.kwargs])
torch.save(found, sys.argv[1])
"""


@cache
def read_inputs() -> list[list[Any]]:
    """Return [dtype, requires_grad, training, constructor args and kwargs, forward args and kwargs] of all inputs."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "inputs.pt"
        subprocess.run([sys.executable, "-c", READ_INPUTS, str(path)], check=True)
        return torch.load(path)


def one_input(dtype: torch.dtype, requires_grad: bool, training: bool, index: int) -> list[Any]:
    """Return constructor args and kwargs, forward args and kwargs of one input."""
    return [item[3:] for item in read_inputs() if item[:3] == [dtype, requires_grad, training]][index]


def leaves(value: Any) -> list[Tensor]:
    """Return the tensors in nested tuples, in order."""
    return [value] if isinstance(value, Tensor) else [tensor for part in value for tensor in leaves(part)]


def fresh(value: Any, requires_grad: bool) -> Any:
    """Return nested tuples of tensors as new leaves."""
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(requires_grad)
    return tuple(fresh(part, requires_grad) for part in value)


def run(lstm: nn.Module, arguments: Any, options: dict[str, Any], requires_grad: bool) -> dict[str, Tensor]:
    """Return output, state and all gradients of a call by torch's names."""
    arguments = fresh(arguments, requires_grad)
    output, (h, c) = lstm(*arguments, **options)
    sum(
        (torch.linspace(-1.0, 1.0, t.numel(), dtype=t.dtype).view(t.shape) * t).sum() for t in (output, h, c)
    ).backward()
    found = {"output": output, "h": h, "c": c}
    if requires_grad:
        found |= {f"gradient of argument {index}": tensor.grad for index, tensor in enumerate(leaves(arguments))}
    return found


def gradients(lstm: nn.LSTM) -> dict[str, Tensor]:
    """Return the gradients of all parameters, and their norm."""
    found = {name: parameter.grad for name, parameter in lstm.named_parameters()}
    return found | {"norm": torch.stack([gradient.norm() for gradient in found.values()]).norm()}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], dtype: torch.dtype) -> None:
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        torch.testing.assert_close(ours[name], expected, **CLOSE[dtype], msg=lambda m, name=name: f"{name}: {m}")


every_input = pytest.mark.parametrize(
    ("dtype", "requires_grad", "training", "index"),
    list(product(DTYPES, (False, True), (False, True), range(PER_SETTING))),
)
# The inputs of one dtype, which differ in the arguments of the constructor and in whether there is a state.
every_shape = pytest.mark.parametrize("index", range(PER_SETTING))


def test_torch_holds_as_many_inputs_as_are_tested() -> None:
    settings = [item[:3] for item in read_inputs()]
    assert settings == [list(s) for s in product(DTYPES, (False, True), (False, True)) for _ in range(PER_SETTING)]
    assert len(settings) == 256


@every_input
def test_equals_torch_on_torchs_inputs(dtype: torch.dtype, requires_grad: bool, training: bool, index: int) -> None:
    arguments, options, given, call = one_input(dtype, requires_grad, training, index)
    theirs = nn.LSTM(*arguments, **options, dtype=dtype).train(training)
    ours = LSTM(*arguments, **options, dtype=dtype).train(training)
    ours.load_state_dict(theirs.state_dict())
    expected = run(theirs, given, call, requires_grad)
    assert_same(run(ours, given, call, requires_grad), expected, dtype)
    assert_same(gradients(ours), gradients(theirs), dtype)

    converted, back = LSTM.from_torch(theirs), ours.to_torch()
    for lstm in (converted, back):
        for name in ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"):
            assert getattr(lstm, name) == getattr(theirs, name), name
        assert (lstm.proj_size, lstm.training) == (theirs.proj_size, training)
        assert_same(run(lstm, given, call, requires_grad), expected, dtype)
        assert_same(gradients(lstm), gradients(theirs), dtype)


@every_shape
def test_dropout_between_layers_does_not_act_in_eval_mode(index: int) -> None:
    arguments, options, given, call = one_input(torch.float64, False, False, index)
    theirs = nn.LSTM(*arguments, **options, dropout=0.5, dtype=torch.float64).eval()
    ours = LSTM.from_torch(theirs)
    assert ours.dropout == 0.5
    assert_same(run(ours, given, call, False), run(theirs, given, call, False), torch.float64)
    assert not torch.equal(ours.train()(*given)[0], ours.eval()(*given)[0])


# torch's generic checks of a module


def test_the_signature_is_torchs() -> None:
    """torch's LSTM passes its arguments on to its base class, whose signature they have."""
    theirs = list(inspect.signature(nn.RNNBase.__init__).parameters.values())[2:]  # without self and mode
    ours = list(inspect.signature(LSTM.__init__).parameters.values())[1:]
    assert [(p.name, p.default, p.kind) for p in ours[:-1]] == [(p.name, p.default, p.kind) for p in theirs]
    assert ours[-1].kind is inspect.Parameter.VAR_KEYWORD


@every_shape
def test_factory_keywords(index: int) -> None:
    arguments, options, _, _ = one_input(torch.float32, False, False, index)
    lstm = LSTM(*arguments, **options, device="meta", dtype=torch.float64)
    assert all(parameter.is_meta and parameter.dtype == torch.float64 for parameter in lstm.parameters())
    with torch.device("meta"):
        assert all(parameter.is_meta for parameter in LSTM(*arguments, **options).parameters())
    torch.set_default_dtype(torch.float64)
    try:
        assert {parameter.dtype for parameter in LSTM(*arguments, **options).parameters()} == {torch.float64}
    finally:
        torch.set_default_dtype(torch.float32)


@every_shape
def test_meta_forward_and_to_empty(index: int) -> None:
    arguments, options, given, call = one_input(torch.float32, False, False, index)
    real = LSTM(*arguments, **options)
    lstm = LSTM(*arguments, **options, device="meta")
    moved = tuple(g.to("meta") if isinstance(g, Tensor) else tuple(part.to("meta") for part in g) for g in given)
    assert [t.shape for t in leaves(lstm(*moved, **call))] == [t.shape for t in leaves(real(*given, **call))]
    converted = LSTM.from_torch(nn.LSTM(*arguments, **options, device="meta"))
    assert all(parameter.is_meta for parameter in (*converted.parameters(), *lstm.to_torch().parameters()))
    lstm.to_empty(device="cpu")
    assert not any(parameter.is_meta for parameter in lstm.parameters())
    lstm.load_state_dict(real.state_dict())
    assert_same(run(lstm, given, call, False), run(real, given, call, False), torch.float32)


@every_shape
def test_to_changes_the_dtype(index: int) -> None:
    arguments, options, given, call = one_input(torch.float32, False, False, index)
    lstm = LSTM(*arguments, **options)
    exact = copy.deepcopy(lstm).to(torch.float64)
    expected = run(lstm, given, call, False)
    given = tuple(g.double() if isinstance(g, Tensor) else tuple(part.double() for part in g) for g in given)
    found = run(exact, given, call, False)
    assert {tensor.dtype for tensor in found.values()} == {torch.float64}
    assert_same({name: tensor.float() for name, tensor in found.items()}, expected, torch.float32)
    given = tuple(g.float() if isinstance(g, Tensor) else tuple(part.float() for part in g) for g in given)
    again = run(exact.to(torch.float32), given, call, False)
    assert all(map(torch.equal, again.values(), expected.values())), "float32 to float64 and back is exact"


@every_shape
def test_pickle_deepcopy_and_repr(index: int) -> None:
    arguments, options, given, call = one_input(torch.float64, True, True, index)
    lstm = LSTM(*arguments, **options, dtype=torch.float64)
    expected = run(lstm, given, call, True)
    for other in (pickle.loads(pickle.dumps(lstm)), copy.deepcopy(lstm)):
        assert repr(other) == repr(lstm)
        other.zero_grad()
        found = run(other, given, call, True)
        assert all(map(torch.equal, found.values(), expected.values()))
        assert all(a is not b and torch.equal(a, b) for a, b in zip(other.parameters(), lstm.parameters(), strict=True))
    assert repr(lstm) == repr(nn.LSTM(*arguments, **options))


def test_repr_shows_what_is_not_the_default() -> None:
    lstm = LSTM(2, 3, hidden_dropout=0.5, precision="bf16", bias=False, proj_size=1)
    assert repr(lstm) == "LSTM(2, 3, proj_size=1, bias=False, hidden_dropout=0.5, precision=bf16)"


@every_shape
@pytest.mark.parametrize("dtype", DTYPES)
def test_non_contiguous_inputs(index: int, dtype: torch.dtype) -> None:
    """Every second column of a wider tensor, with the gradients of the same numbers in order."""
    arguments, options, given, call = one_input(dtype, True, True, index)
    lstm = LSTM(*arguments, **options, dtype=dtype)
    expected = run(lstm, given, call, True)
    expected |= gradients(lstm)
    lstm.zero_grad()
    wide = [t.detach().repeat_interleave(2, -1).requires_grad_() for t in leaves(given)]
    narrow = [t[..., ::2] for t in wide]
    assert not any(t.is_contiguous() for t in narrow)
    output, (h, c) = lstm(narrow[0], tuple(narrow[1:]) or None, **call)
    sum((torch.linspace(-1.0, 1.0, t.numel(), dtype=dtype).view(t.shape) * t).sum() for t in (output, h, c)).backward()
    found = {"output": output, "h": h, "c": c}
    found |= {f"gradient of argument {index}": t.grad[..., ::2] for index, t in enumerate(wide)}
    assert_same(found | gradients(lstm), expected, dtype)


@every_shape
def test_first_and_second_derivatives(index: int) -> None:
    """The first with respect to everything, the second to input and state, with and without a padded step."""
    arguments, options, given, call = one_input(torch.float64, True, True, index)
    lstm = LSTM(*arguments, **options, dtype=torch.float64)
    names, inputs = [name for name, _ in lstm.named_parameters()], leaves(fresh(given, True))
    lengths = [None, [len(inputs[0]) - 1]][index % 4 // 2]

    def function(*tensors: Tensor) -> tuple[Tensor, ...]:
        x, *state = tensors[: len(inputs)]
        parameters = dict(zip(names, tensors[len(inputs) :], strict=True))
        arguments = (x, tuple(state) or None, lengths)
        output, last = torch.func.functional_call(lstm, parameters, arguments, call)
        return output, *last

    tensors = (*inputs, *lstm.parameters())
    assert torch.autograd.gradcheck(function, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda *inputs: function(*inputs, *lstm.parameters()), inputs, fast_mode=True)


def test_second_derivatives_in_float32_by_the_equations() -> None:
    lstm = LSTM(2, 3, bias=False)
    exact = copy.deepcopy(lstm).double()
    x, found = torch.randn(4, 2, 2), []
    for module in (lstm, exact):
        inputs = x.detach().to(module.weight_ih_l0.dtype).requires_grad_()
        with kernel.reference():
            (gradient,) = torch.autograd.grad(module(inputs)[0].square().sum(), inputs, create_graph=True)
        gradient.square().sum().backward()
        found.append(inputs.grad.float())
    torch.testing.assert_close(*found)


@every_shape
def test_memory_format(index: int) -> None:
    """A format for images leaves an LSTM and its results as they are."""
    arguments, options, given, call = one_input(torch.float32, False, False, index)
    lstm = LSTM(*arguments, **options)
    expected = run(lstm, given, call, False)
    for memory_format in (torch.channels_last, torch.channels_last_3d, torch.contiguous_format):
        found = run(lstm.to(memory_format=memory_format), given, call, False)
        assert all(map(torch.equal, found.values(), expected.values()))


@every_shape
def test_modes_zero_grad_and_calls_that_do_not_affect_each_other(index: int) -> None:
    arguments, options, given, call = one_input(torch.float32, True, True, index)
    lstm = LSTM(*arguments, **options, hidden_dropout=0.5)
    names = set(lstm.__dict__)
    assert not lstm.eval().training
    assert not any(module.training for module in lstm.modules())
    first = run(lstm, given, call, True)
    kept = {name: tensor.clone() for name, tensor in first.items()}
    other = run(lstm.train(), given, call, True)
    assert all(module.training for module in lstm.modules())
    assert not torch.equal(other["output"], first["output"])
    again = run(lstm.eval(), given, call, True)
    assert all(torch.equal(first[name], value) and torch.equal(again[name], value) for name, value in kept.items())
    assert set(lstm.__dict__) == names, "a call leaves nothing in the module"
    assert all(parameter.grad is not None for parameter in lstm.parameters())
    lstm.zero_grad()
    assert all(parameter.grad is None for parameter in lstm.parameters())


@every_shape
def test_no_argument_is_changed_in_place(index: int) -> None:
    arguments, options, given, call = one_input(torch.float32, True, True, index)
    lstm = LSTM(*arguments, **options, hidden_dropout=0.5)
    versions = [tensor._version for tensor in (*leaves(given), *lstm.parameters())]
    before = [tensor.clone() for tensor in leaves(given)]
    lstm(*given, **call)
    assert [tensor._version for tensor in (*leaves(given), *lstm.parameters())] == versions
    assert all(map(torch.equal, leaves(given), before))


# What torch.nn.LSTM does besides


@pytest.mark.parametrize("proj_size", [0, 2])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("with_state", [False, True])
def test_empty_batch(proj_size: int, batch_first: bool, with_state: bool) -> None:
    theirs = nn.LSTM(3, 4, 2, bidirectional=True, batch_first=batch_first, proj_size=proj_size)
    ours = LSTM.from_torch(theirs, hidden_dropout=0.5)
    x = torch.zeros((0, 5, 3) if batch_first else (5, 0, 3), requires_grad=True)
    state = (torch.zeros(4, 0, proj_size or 4), torch.zeros(4, 0, 4)) if with_state else None
    results = []
    for lstm in (theirs, ours):
        lstm.zero_grad()
        output, (h, c) = lstm(x, state)
        output.sum().backward()
        results.append([output.shape, h.shape, c.shape, x.grad.shape])
        assert not any(parameter.grad.any() for parameter in lstm.parameters())
    assert results[0] == results[1]
    assert ours(x, state, lengths=[])[0].shape == results[1][0]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("proj_size", [0, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_all_weights(bias: bool, proj_size: int, bidirectional: bool) -> None:
    theirs = nn.LSTM(3, 4, 2, bias, bidirectional=bidirectional, proj_size=proj_size)
    ours = LSTM.from_torch(theirs)
    ours.flatten_parameters()
    assert len(ours.all_weights) == len(theirs.all_weights)
    for our_cell, their_cell in zip(ours.all_weights, theirs.all_weights, strict=True):
        for ours_, theirs_ in zip(our_cell, their_cell, strict=True):
            torch.testing.assert_close(ours_, theirs_, rtol=0, atol=0)
    sum(weight.square().sum() for weights in ours.all_weights for weight in weights).backward()
    for parameter in ours.parameters():
        torch.testing.assert_close(parameter.grad, 2 * parameter.detach())


@pytest.mark.parametrize("proj_size", [0, 2])
@pytest.mark.parametrize("enforce_sorted", [False, True])
def test_packed_sequences(proj_size: int, enforce_sorted: bool) -> None:
    theirs = nn.LSTM(3, 4, 2, bidirectional=True, proj_size=proj_size)
    ours = LSTM.from_torch(theirs)
    lengths = (6, 4, 1) if enforce_sorted else (1, 6, 4)
    packed = nn.utils.rnn.pack_sequence([torch.randn(n, 3) for n in lengths], enforce_sorted=enforce_sorted)
    state = (torch.randn(4, 3, proj_size or 4), torch.randn(4, 3, 4))
    for given in ((packed,), (packed, state)):
        (output, last), (expected, expected_last) = ours(*given), theirs(*given)
        torch.testing.assert_close(output.data, expected.data)
        torch.testing.assert_close(tuple(last), expected_last)


def test_hx_is_the_state() -> None:
    lstm, x, state = LSTM(3, 4), torch.randn(5, 2, 3), [torch.randn(1, 2, 4), torch.randn(1, 2, 4)]
    assert torch.equal(lstm(x, hx=state)[0], lstm(x, state)[0])
    assert not torch.equal(lstm(x, hx=state)[0], lstm(x)[0])


def test_dropout_1_drops_everything_between_layers() -> None:
    theirs = nn.LSTM(3, 4, 2, dropout=1.0)
    ours = LSTM.from_torch(theirs)
    x = torch.randn(5, 2, 3, requires_grad=True)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0])
    ours(x)[0].sum().backward()
    assert not x.grad.any()


def test_dropout_with_one_layer_warns_as_torch_does() -> None:
    for make in (nn.LSTM, LSTM):
        with pytest.warns(UserWarning, match=r"dropout.*num_layers"):
            make(2, 3, dropout=0.5)
    lstm = nn.LSTM(2, 3)
    lstm.dropout = 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert LSTM.from_torch(lstm).to_torch().dropout == 0.5


@pytest.mark.parametrize(
    "options",
    [
        {"proj_size": 4},
        {"proj_size": -1},
        {"proj_size": 2.0},
        {"proj_size": True},
        {"bias": 1},
        {"batch_first": "yes"},
        {"num_layers": 1.5},
        {"dropout": True},
        {"dropout": "0.5"},
        {"dropout": 1.5},
        {"hidden_size": float("nan")},
        {"input_size": float("nan")},
        {"num_layers": float("nan")},
        {"hidden_size": None},
    ],
)
def test_what_torch_refuses_is_refused(options: dict[str, Any]) -> None:
    arguments = {"input_size": 3, "hidden_size": 4} | options
    with pytest.raises((ValueError, TypeError)) as theirs:
        nn.LSTM(**arguments)
    with pytest.raises(type(theirs.value), match=f"^{re.escape(str(theirs.value))}$"):
        LSTM(**arguments)
