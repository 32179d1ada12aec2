"""What torch promises of every module and of torch.nn.LSTM, of reviver.LSTM."""

import copy
import inspect
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reviver import LSTM

# torch.nn.LSTM says so of itself.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

OPTIONS: list[dict[str, Any]] = [
    {},
    {"batch_first": True, "bias": False},
    {"num_layers": 2, "bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "proj_size": 2, "batch_first": True},
]
every_shape = pytest.mark.parametrize("options", OPTIONS, ids=str)


def make_inputs(lstm: LSTM) -> list[Tensor]:
    """Return x, h and c."""
    depth = lstm.num_layers * lstm.num_directions
    return [torch.randn(2, 2, 3), torch.randn(depth, 2, lstm.output_size), torch.randn(depth, 2, 4)]


def run(lstm: nn.Module, inputs: list[Tensor]) -> dict[str, Tensor]:
    """Return output, state and all gradients of a call with x, or x, h and c, by torch's names."""
    lstm.zero_grad()
    inputs = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    output, (h, c) = lstm(inputs[0], tuple(inputs[1:]) or None)
    sum((torch.linspace(-1, 1, t.numel(), dtype=t.dtype).view(t.shape) * t).sum() for t in (output, h, c)).backward()
    found = {"output": output.detach(), "h": h.detach(), "c": c.detach()}
    found |= {f"input {index}": tensor.grad for index, tensor in enumerate(inputs)}
    return found | {name: parameter.grad.clone() for name, parameter in lstm.named_parameters()}


def assert_identical(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name, tensor in expected.items() if not torch.equal(found[name], tensor)] == []


# torch's own test inputs for torch.nn.LSTM, read in a process of its own: importing torch's test utilities locks global flags
# of torch that our code sets.
READ_INPUTS = """
import itertools, sys, torch
from torch.testing._internal.common_modules import module_db
(info,) = [info for info in module_db if info.module_cls is torch.nn.LSTM]
found = []
for dtype, requires_grad, training in itertools.product(info.dtypes, (False, True), (False, True)):
    torch.manual_seed(0)
    for item in info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=requires_grad, training=training):
        made, given = item.constructor_input, item.forward_input
        found.append([training, made.args, made.kwargs | {"dtype": dtype}, [*given.args, *given.kwargs.values()]])
torch.save(found, sys.argv[1])
"""


def test_equals_torch_on_torchs_inputs(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", READ_INPUTS, str(tmp_path / "inputs.pt")], check=True)
    cases = torch.load(tmp_path / "inputs.pt")
    assert len(cases) == 2 * 2 * 2 * 32
    for training, arguments, options, given in cases:
        torch.manual_seed(0)
        theirs = nn.LSTM(*arguments, **options).train(training)
        ours = LSTM(*arguments, **options).train(training)
        ours.load_state_dict(theirs.state_dict())
        inputs = [given[0], *(given[1] if len(given) == 2 else ())]
        expected = run(theirs, inputs)
        is_single = inputs[0].dtype == torch.float32
        close = {"rtol": 1e-5, "atol": 1e-6} if is_single else {"rtol": 1e-10, "atol": 1e-12}
        for lstm in (ours, LSTM.from_torch(theirs), ours.to_torch()):
            torch.testing.assert_close(run(lstm, inputs), expected, **close)


@every_shape
def test_dtypes_devices_and_copies(options: dict[str, Any]) -> None:
    """What torch tests of every module: factory keywords, meta tensors, `to`, memory formats, pickle, deepcopy, repr."""
    lstm, theirs = LSTM(3, 4, **options), nn.LSTM(3, 4, **options)
    inputs = make_inputs(lstm)
    expected = run(lstm, inputs)
    assert repr(lstm) == repr(theirs)
    names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size")
    for other in (pickle.loads(pickle.dumps(lstm)), copy.deepcopy(lstm), LSTM.from_torch(lstm.to_torch())):
        assert repr(other) == repr(lstm)
        assert [getattr(other, name) for name in names] == [getattr(theirs, name) for name in names]
        assert_identical(run(other, inputs), expected)
        assert all(a is not b for a, b in zip(other.parameters(), lstm.parameters(), strict=True))
    for training in (True, False):
        assert LSTM.from_torch(theirs.train(training)).training == lstm.train(training).to_torch().training == training
    for memory_format in (torch.channels_last, torch.channels_last_3d, torch.contiguous_format):
        assert_identical(run(copy.deepcopy(lstm).to(memory_format=memory_format), inputs), expected)

    exact = copy.deepcopy(lstm).to(torch.float64)
    found = run(exact, [tensor.double() for tensor in inputs])
    assert {tensor.dtype for tensor in found.values()} == {torch.float64}
    for name in ("output", "h", "c"):
        torch.testing.assert_close(found[name].float(), expected[name], rtol=1e-5, atol=1e-6)
    assert_identical(run(exact.to(torch.float32), inputs), expected)

    meta = LSTM(3, 4, **options, device="meta", dtype=torch.float64)
    assert all(parameter.is_meta and parameter.dtype == torch.float64 for parameter in meta.parameters())
    with torch.device("meta"):
        assert all(parameter.is_meta for parameter in LSTM(3, 4, **options).parameters())
    x, h, c = (tensor.to("meta") for tensor in inputs)
    output, (h, c) = meta.float()(x, (h, c))
    assert [tensor.shape for tensor in (output, h, c)] == [expected[name].shape for name in ("output", "h", "c")]
    converted = LSTM.from_torch(nn.LSTM(3, 4, **options, device="meta"))
    assert all(parameter.is_meta for parameter in (*converted.parameters(), *meta.to_torch().parameters()))
    meta.to_empty(device="cpu").load_state_dict(lstm.state_dict())
    assert_identical(run(meta, inputs), expected)


@every_shape
def test_calls_leave_arguments_and_module_as_they_are(options: dict[str, Any]) -> None:
    lstm = LSTM(3, 4, **options, hidden_dropout=0.5).eval()
    inputs = make_inputs(lstm)
    names, tensors = set(lstm.__dict__), (*inputs, *lstm.parameters())
    versions, before = [tensor._version for tensor in tensors], [tensor.clone() for tensor in tensors]
    first = run(lstm, inputs)
    kept = {name: tensor.clone() for name, tensor in first.items()}
    assert not torch.equal(run(lstm.train(), inputs)["output"], first["output"])
    assert_identical(first, kept)
    assert_identical(run(lstm.eval(), inputs), kept)
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
