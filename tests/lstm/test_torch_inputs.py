"""reviver.LSTM on the inputs that torch's own tests hold for torch.nn.LSTM, and in torch's generic checks of a module.

torch keeps the inputs in `torch.testing._internal.common_modules`: 32 for each dtype, each `requires_grad` and each mode.
"""

import ast
import copy
import inspect
import pickle
import re
import warnings
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reviver import LSTM

# torch.nn.LSTM says so of itself.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

CLOSE = {torch.float32: {"rtol": 1e-5, "atol": 1e-6}, torch.float64: {"rtol": 1e-10, "atol": 1e-12}}
every_shape = pytest.mark.parametrize("index", range(32))
"""The inputs of one dtype, which differ in the arguments of the constructor and in whether there is a state."""


@cache
def read_function() -> Any:
    """Return torch's function that makes the inputs, from its source: to import it takes seconds and sets flags of torch."""
    path = Path(torch.__file__).with_name("testing") / "_internal" / "common_modules.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if getattr(node, "name", None) == "module_inputs_torch_nn_LSTM"]
    names: dict[str, Any] = {"partial": partial, "product": product, "make_tensor": torch.testing.make_tensor}
    names["FunctionInput"] = lambda *args, **kwargs: (args, kwargs)
    names["ModuleInput"] = lambda constructor_input, forward_input, **_: (*constructor_input, *forward_input)
    names["no_batch_dim_reference_lstm"] = nn.LSTM  # which nobody calls here
    exec(compile(tree, path, "exec"), names)
    return names["module_inputs_torch_nn_LSTM"]


def one_input(dtype: torch.dtype, requires_grad: bool, training: bool, index: int) -> list[Any]:
    """Return constructor args and kwargs, forward args and kwargs of one input."""
    inputs = read_function()(nn.LSTM, device="cpu", dtype=dtype, requires_grad=requires_grad, training=training)
    assert len(inputs) == 32
    return inputs[index]


def leaves(value: Any) -> list[Tensor]:
    """Return the tensors in nested tuples, in order."""
    return [value] if isinstance(value, Tensor) else [tensor for part in value for tensor in leaves(part)]


def apply(function: Any, value: Any) -> Any:
    """Apply a function to the tensors in nested tuples."""
    return function(value) if isinstance(value, Tensor) else tuple(apply(function, part) for part in value)


def spread_out(tensor: Tensor) -> Tensor:
    """Return the same numbers as every second column of a wider tensor."""
    return tensor.repeat_interleave(2, -1)[..., ::2]


def run(
    lstm: nn.Module, arguments: Any, options: dict[str, Any], requires_grad: bool, prepare: Any = lambda tensor: tensor
) -> dict[str, Tensor]:
    """Return output, state and all gradients of a call by torch's names, and the norm of the parameters'."""
    lstm.zero_grad()
    arguments = apply(lambda tensor: tensor.detach().clone().requires_grad_(requires_grad), arguments)
    output, (h, c) = lstm(*apply(prepare, arguments), **options)
    sum((torch.linspace(-1, 1, t.numel(), dtype=t.dtype).view(t.shape) * t).sum() for t in (output, h, c)).backward()
    found = {"output": output.detach(), "h": h.detach(), "c": c.detach()}
    found |= {f"argument {index}": tensor.grad for index, tensor in enumerate(leaves(arguments)) if requires_grad}
    weights = {name: parameter.grad.clone() for name, parameter in lstm.named_parameters()}
    return found | weights | {"norm": torch.stack([gradient.norm() for gradient in weights.values()]).norm()}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], dtype: torch.dtype) -> None:
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        torch.testing.assert_close(ours[name], expected, **CLOSE[dtype], msg=lambda m, name=name: f"{name}: {m}")


def assert_identical(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert [name for name, expected in theirs.items() if not torch.equal(ours[name], expected)] == []


@every_shape
@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("dtype", CLOSE)
def test_equals_torch_on_torchs_inputs_contiguous_or_not(dtype: torch.dtype, requires_grad: bool, index: int) -> None:
    training = index % 3 == 0
    arguments, options, given, call = one_input(dtype, requires_grad, training, index)
    theirs = nn.LSTM(*arguments, **options, dtype=dtype).train(training)
    ours = LSTM(*arguments, **options, dtype=dtype).train(training)
    ours.load_state_dict(theirs.state_dict())
    expected = run(theirs, given, call, requires_grad)
    assert_same(run(ours, given, call, requires_grad, spread_out), expected, dtype)
    for lstm in (ours, LSTM.from_torch(theirs), ours.to_torch()):
        assert_same(run(lstm, given, call, requires_grad), expected, dtype)
        names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
        for name in (*names, "proj_size", "training"):
            assert getattr(lstm, name) == getattr(theirs, name), name


@every_shape
def test_dtypes_devices_and_copies(index: int) -> None:
    """What torch tests of every module: factory keywords, meta tensors, `to`, memory formats, pickle, deepcopy, repr."""
    arguments, options, given, call = one_input(torch.float32, False, False, index)
    lstm = LSTM(*arguments, **options)
    expected = run(lstm, given, call, False)
    assert repr(lstm) == repr(nn.LSTM(*arguments, **options))
    for other in (pickle.loads(pickle.dumps(lstm)), copy.deepcopy(lstm)):
        assert repr(other) == repr(lstm)
        assert_identical(run(other, given, call, False), expected)
        assert all(a is not b for a, b in zip(other.parameters(), lstm.parameters(), strict=True))
    for memory_format in (torch.channels_last, torch.channels_last_3d, torch.contiguous_format):
        assert_identical(run(copy.deepcopy(lstm).to(memory_format=memory_format), given, call, False), expected)

    exact = copy.deepcopy(lstm).to(torch.float64)
    found = run(exact, apply(torch.Tensor.double, given), call, False)
    assert {tensor.dtype for tensor in found.values()} == {torch.float64}
    for name in ("output", "h", "c"):
        torch.testing.assert_close(found[name].float(), expected[name], **CLOSE[torch.float32])
    assert_identical(run(exact.to(torch.float32), given, call, False), expected)

    meta = LSTM(*arguments, **options, device="meta", dtype=torch.float64)
    assert all(parameter.is_meta and parameter.dtype == torch.float64 for parameter in meta.parameters())
    with torch.device("meta"):
        assert all(parameter.is_meta for parameter in LSTM(*arguments, **options).parameters())
    shapes = [t.shape for t in leaves(meta.float()(*apply(lambda tensor: tensor.to("meta"), given), **call))]
    assert shapes == [t.shape for t in leaves(lstm(*given, **call))]
    converted = LSTM.from_torch(nn.LSTM(*arguments, **options, device="meta"))
    assert all(parameter.is_meta for parameter in (*converted.parameters(), *meta.to_torch().parameters()))
    meta.to_empty(device="cpu").load_state_dict(lstm.state_dict())
    assert_same(run(meta, given, call, False), expected, torch.float32)


@every_shape
def test_calls_leave_arguments_and_module_as_they_are(index: int) -> None:
    arguments, options, given, call = one_input(torch.float32, True, True, index)
    lstm = LSTM(*arguments, **options, hidden_dropout=0.5).eval()
    names, tensors = set(lstm.__dict__), (*leaves(given), *lstm.parameters())
    versions, before = [tensor._version for tensor in tensors], [tensor.clone() for tensor in tensors]
    first = run(lstm, given, call, True)
    kept = {name: tensor.clone() for name, tensor in first.items()}
    assert not torch.equal(run(lstm.train(), given, call, True)["output"], first["output"])
    assert_identical(first, kept)
    assert_identical(run(lstm.eval(), given, call, True), kept)
    assert set(lstm.__dict__) == names, "a call leaves nothing in the module"
    assert [tensor._version for tensor in tensors] == versions
    assert all(map(torch.equal, tensors, before))


# What torch.nn.LSTM does besides


def test_the_signature_is_torchs() -> None:
    """torch's LSTM passes its arguments on to its base class, whose signature they have."""
    theirs = list(inspect.signature(nn.RNNBase.__init__).parameters.values())[2:]  # without self and mode
    ours = list(inspect.signature(LSTM.__init__).parameters.values())[1:]
    positional = [parameter for parameter in ours if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert [(p.name, p.default) for p in positional] == [(p.name, p.default) for p in theirs]


def test_repr_shows_what_is_not_the_default() -> None:
    lstm = LSTM(2, 3, hidden_dropout=0.5, precision="bf16", bias=False, proj_size=1)
    assert repr(lstm) == "LSTM(2, 3, proj_size=1, bias=False, hidden_dropout=0.5, precision=bf16)"


@pytest.mark.parametrize("options", [{"batch_first": True}, {"proj_size": 2}])
@pytest.mark.parametrize("with_state", [False, True])
def test_empty_batch(options: dict[str, Any], with_state: bool) -> None:
    theirs = nn.LSTM(3, 4, 2, bidirectional=True, **options)
    ours = LSTM.from_torch(theirs, hidden_dropout=0.5)
    x = torch.zeros((0, 5, 3) if ours.batch_first else (5, 0, 3), requires_grad=True)
    state = (torch.zeros(4, 0, ours.output_size), torch.zeros(4, 0, 4)) if with_state else None
    results = []
    for lstm in (theirs, ours):
        output, (h, c) = lstm(x, state)
        output.sum().backward()
        results.append([output.shape, h.shape, c.shape, x.grad.shape])
        assert not any(parameter.grad.any() for parameter in lstm.parameters())
    assert results[0] == results[1]
    assert ours(x, state, lengths=[])[0].shape == results[1][0]


def test_dropout_between_layers_acts_in_training_only() -> None:
    for p in (0.5, 1.0):
        theirs = nn.LSTM(3, 4, 2, dropout=p)
        ours, x = LSTM.from_torch(theirs), torch.randn(5, 2, 3, requires_grad=True)
        assert not torch.equal(ours(x)[0], ours.eval()(x)[0])
        torch.testing.assert_close(ours(x)[0], theirs.eval()(x)[0])
    torch.testing.assert_close(ours.train()(x)[0], theirs.train()(x)[0])  # with 1 the upper layer reads zeros
    ours(x)[0].sum().backward()
    assert not x.grad.any()


def test_dropout_with_one_layer_warns_as_torch_does() -> None:
    for make in (nn.LSTM, LSTM):
        with pytest.warns(UserWarning, match=r"dropout.*num_layers"):
            lstm = make(2, 3, dropout=0.5)
    assert torch.equal(lstm(torch.ones(4, 2, 2))[0], lstm.eval()(torch.ones(4, 2, 2))[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert LSTM.from_torch(lstm).to_torch().dropout == 0.5


BAD_ARGUMENTS: list[dict[str, Any]] = [
    *({"proj_size": value} for value in (4, -1, 2.0, True)),
    *({"dropout": value} for value in (True, "0.5", 1.5)),
    *({name: value} for name in ("input_size", "hidden_size", "num_layers") for value in (0, -3, 1.5, float("nan"))),
    *({"bias": 1}, {"batch_first": "yes"}, {"hidden_size": None}),
]


@pytest.mark.parametrize("options", BAD_ARGUMENTS, ids=str)
def test_arguments_that_torch_refuses_are_refused_with_torchs_words(options: dict[str, Any]) -> None:
    arguments = {"input_size": 3, "hidden_size": 4} | options
    with pytest.raises((ValueError, TypeError, RuntimeError)) as theirs:
        nn.LSTM(**arguments)
    with pytest.raises(type(theirs.value), match=f"^{re.escape(str(theirs.value))}$"):
        LSTM(**arguments)


STATES = [[2, 5, 6], [4, 1, 6], [4, 5, 7], [4, 6]]
BAD_CALLS: dict[str, tuple[Any, ...]] = {
    **{f"x {shape}": (torch.zeros(shape),) for shape in ([], [3], [2, 4, 5, 3], [4, 5, 2], [4, 2], [0, 5, 3])},
    **{f"h {shape}": (torch.zeros(2, 5, 3), (torch.zeros(shape), torch.zeros(4, 5, 6))) for shape in STATES},
    **{f"c {shape}": (torch.zeros(2, 5, 3), (torch.zeros(4, 5, 6), torch.zeros(shape))) for shape in STATES},
    "a state with a batch": (torch.zeros(5, 3), (torch.zeros(4, 1, 6), torch.zeros(4, 1, 6))),
    **{str(dtype): (torch.zeros(5, 2, 3).to(dtype),) for dtype in (torch.float64, torch.int64)},
}


@pytest.mark.parametrize("hidden_dropout", [0.0, 0.5])
@pytest.mark.parametrize("name", BAD_CALLS)
def test_calls_that_torch_refuses_are_refused_with_torchs_words(name: str, hidden_dropout: float) -> None:
    lstm = LSTM(3, 6, 2, bidirectional=True, hidden_dropout=hidden_dropout)
    with pytest.raises((ValueError, RuntimeError)) as theirs:
        lstm.to_torch()(*BAD_CALLS[name])
    with pytest.raises(type(theirs.value), match=f"^{re.escape(str(theirs.value))}$"):
        lstm(*BAD_CALLS[name])
