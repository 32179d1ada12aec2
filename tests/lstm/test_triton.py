"""The Triton kernels of the LSTM in Triton's interpreter, which runs them without a GPU, against the equations."""

import sys
from importlib.metadata import version
from importlib.util import find_spec
from typing import get_args

import pytest
import torch

from reviver import LSTM
from reviver.errors import DataError
from reviver.lstm.cell import LSTMState, StackedWeights
from reviver.lstm.equations import unroll
from reviver.lstm.kernel import cuda
from reviver.lstm.kernel.library import Inputs
from reviver.settings.lstm_network import DropoutKind, LSTMOptions

pytestmark = [
    pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed: pip install '.[gpu]'"),
    pytest.mark.skipif(
        find_spec("triton") is not None and tuple(map(int, version("triton").split(".")[:2])) < (3, 9),
        reason="the interpreter of older releases fails with NumPy 2.4",
    ),
]

KERNELS = "reviver.lstm.kernel.triton_kernels"
SEED = torch.tensor(8123456789012345678)
NAMES = ("x", "h", "c", "W", "U", "b_ih", "b_hh")
SHAPE = (3, 17, 3, 33)
"""T, B, I and H, one more than the 16 rows and the 32 units of a block."""


@pytest.fixture(autouse=True, scope="module")
def interpreter():
    """Triton decides when it decorates a kernel whether to interpret or to compile it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        sys.modules.pop(KERNELS, None)
        cuda.available.cache_clear()
        yield
    sys.modules.pop(KERNELS, None)
    cuda.available.cache_clear()


def ours(inputs, lengths=None, seed=None, *, dropout=0.0, kind="none", reverse=False):
    """Output, h and c of the kernels."""
    arguments = Inputs(*inputs, *[None] * (7 - len(inputs)), lengths, seed)
    return cuda.unroll(arguments, cuda.Options(kind, dropout, reverse, "tf32x3"))


def equations(inputs, lengths=None, seed=None, *, dropout=0.0, kind="none", reverse=False):
    """Output, h and c of the equations."""
    kind = {"none": "step", "zoneout_mean": "zoneout"}.get(kind, kind)
    options = LSTMOptions(hidden_dropout=dropout, hidden_dropout_kind=kind)
    x, h, c, *weights = inputs
    weights = StackedWeights(*weights, *[None] * (4 - len(weights)))
    output, state = unroll(weights, x, LSTMState(h, c), lengths, reverse=reverse, options=options, seed=seed)
    return output, *state


def make_inputs(T, B, I, H, bias=True):  # noqa: E741
    inputs = [torch.randn(T, B, I), torch.randn(B, H), torch.randn(B, H)]
    inputs += [torch.randn(4 * H, size) / size**0.5 for size in (I, H)]
    return [tensor.requires_grad_() for tensor in (*inputs, *(torch.randn(2, 4 * H) if bias else []))]


def gradients(outputs, inputs):
    """Gradients of the inputs for a loss in which each element of the outputs has another weight."""
    return torch.autograd.grad(
        sum((torch.linspace(-1.0, 1.0, output.numel()).view(output.shape) * output).sum() for output in outputs),
        inputs,
        retain_graph=True,
    )


@pytest.mark.parametrize(
    ("kind", "p", "reverse", "with_lengths", "launches", "shape", "bias"),
    [
        ("none", 0.0, False, False, "all steps", SHAPE, True),
        ("none", 0.0, True, True, "each step", (3, 2, 5, 33), True),
        ("step", 0.3, False, True, "all steps", SHAPE, True),
        ("step", 0.6, True, False, "each step", (3, 3, 2, 17), False),
        ("step", 0.9, False, False, "each step", (2, 16, 1, 16), True),  # full blocks
        ("step", 0.0, True, False, "all steps", (2, 33, 2, 64), False),  # several
        ("variational", 0.3, False, False, "each step", SHAPE, True),
        ("variational", 0.5, True, True, "all steps", (3, 2, 5, 20), True),
        ("zoneout", 0.5, True, False, "all steps", SHAPE, True),
        ("zoneout", 0.6, False, True, "each step", (3, 2, 40, 33), False),
        ("zoneout", 0.0, False, False, "all steps", (1, 1, 1, 1), True),
        ("zoneout_mean", 0.3, False, True, "all steps", SHAPE, True),
        ("zoneout_mean", 0.3, True, False, "each step", (3, 3, 2, 17), False),
    ],
)
def test_outputs_states_and_gradients_equal_the_equations(
    kind, p, reverse, with_lengths, launches, shape, bias, monkeypatch
):
    """In float64, with the masks of the CPU, in one launch for all steps or one for each."""
    if launches == "each step":
        monkeypatch.setattr(cuda, "SEQUENCE_UNITS", 0)
    inputs, strided = make_inputs(*shape, bias), torch.arange(2 * shape[1]) // 2 % shape[0] + 1
    lengths = strided[::2] if with_lengths else None
    seed, options = None if kind in ("none", "zoneout_mean") else SEED, {"dropout": p, "kind": kind, "reverse": reverse}
    outputs = ours(inputs, lengths, seed, **options)
    exact_inputs = [tensor.detach().double().requires_grad_() for tensor in inputs]
    exact = equations(exact_inputs, lengths, seed, **options)
    found = dict(zip(("output", "h_T", "c_T", *NAMES), (*outputs, *gradients(outputs, inputs)), strict=False))
    for (name, tensor), expected in zip(found.items(), (*exact, *gradients(exact, exact_inputs)), strict=True):
        error = (tensor - expected).abs().max() / expected.abs().max().clamp_min(1e-30)
        assert error <= 1e-5, f"{name} differs by {error}"
    assert torch.equal(outputs[0] == 0.0, exact[0] == 0.0), "the masks are the same bits"
    with torch.no_grad():  # saves nothing for the backward pass
        assert all(map(torch.equal, ours(inputs, lengths, seed, **options), outputs))


def test_bf16_rounds_the_operands_of_the_matmuls_outside_the_kernel():
    """The interpreter has no bfloat16 for those inside."""
    a, b, options = torch.randn(5, 6), torch.randn(6, 7), cuda.Options("none", 0.0, False, "bf16")
    expected = a.bfloat16().double() @ b.bfloat16().double()
    torch.testing.assert_close(cuda._matmul(a, b, options), expected.float(), atol=1e-6, rtol=1e-6)
    assert cuda._operand(b.T, options).dtype == torch.bfloat16


@pytest.mark.parametrize("used", range(3))
def test_gradients_of_some_inputs_for_one_output_and_twice(used):
    inputs = make_inputs(3, 2, 3, 5)
    outputs, exact = (function(inputs, None, SEED, dropout=0.3, kind="zoneout") for function in (ours, equations))
    wanted = [inputs[4], *inputs[:used]]
    found, again, expected = (gradients([o[used]], wanted) for o in (outputs, outputs, exact))
    assert all(map(torch.equal, found, again))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(RuntimeError, match="no second derivatives"):
        torch.autograd.grad(outputs[used].sum(), inputs, create_graph=True)


@pytest.mark.parametrize("reverse", [False, True])
def test_what_is_beyond_the_end_of_a_sequence_does_not_matter(reverse):
    inputs, lengths = make_inputs(3, 4, 3, 5), torch.tensor([2, 3, 1, 2])
    beyond = torch.arange(3)[:, None] >= lengths
    outputs = []
    for value in (0.0, float("nan")):
        x = torch.where(beyond[:, :, None], value, inputs[0].detach())
        result = ours([x, *inputs[1:]], lengths, SEED, dropout=0.3, kind="step", reverse=reverse)
        outputs.append((*result, *gradients(result, inputs[1:])))
    for zero, nan in zip(*outputs, strict=True):
        assert torch.equal(zero, nan)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W": torch.zeros(5, 2)}, r"^W must be \[20, 2\] of torch.float32 on cpu, got \[5, 2\] of "),
        ({"x": torch.zeros(2, 3, 2).double()}, r"^x must be \[2, 3, 2\] .*, got .* torch.float64 on cpu$"),
        ({"lengths": torch.zeros(3)}, r"^lengths must be \[3\] of torch.int64 on cpu, got .* torch.float32 "),
    ],
)
def test_arguments_that_do_not_fit(change, message):
    inputs = Inputs(*make_inputs(2, 3, 2, 5), None, SEED)._replace(**change)
    with pytest.raises(DataError, match=message):
        cuda.unroll(inputs, cuda.Options("step", 0.3, False, "ieee"))


@pytest.mark.parametrize("product", ["tf32x3", "bf16"])
def test_the_tiles_of_a_launch_are_those_that_were_chosen_on_gpus(product, golden):
    """They hold all units, and where programs share the units each has some."""
    found = {}
    for kernel in ("forward", "backward"):
        for H in (1, 16, 33, 256, 257, 1000):
            how, constants, programs = cuda.compilation(kernel, H, cuda.Options("step", 0.5, True, product))
            assert constants["PROGRAM_UNITS"] * programs >= H
            assert (programs == 1) == (H <= 256)
            found[f"{kernel} {H}"] = [how, constants, programs]
    golden(f"triton_{product}", found)


@pytest.mark.parametrize(
    ("interpreted", "has_cuda", "capability", "expected"),
    [("1", False, (0, 0), True), ("0", True, (8, 0), True), ("0", True, (7, 5), False), ("0", False, (9, 0), False)],
)
def test_kernels_need_an_interpreter_or_a_gpu(interpreted, has_cuda, capability, expected, monkeypatch, caplog):
    monkeypatch.setenv("TRITON_INTERPRET", interpreted)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert cuda.available.__wrapped__() is expected
    assert ["no Triton for this GPU" in record.getMessage() for record in caplog.records] == [True] * (not expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_a_layer_on_a_gpu_is_the_one_on_the_cpu():
    for kind in get_args(DropoutKind):
        layer = LSTM(5, 20, 2, bidirectional=True, hidden_dropout=0.4, hidden_dropout_kind=kind)
        x, results = torch.randn(9, 6, 5), []
        for device in ("cpu", "cuda"):
            layer = layer.to(device)
            layer.zero_grad()
            output, (h, c) = layer(x.to(device), None, [9, 1, 4, 8, 2, 9], rng=torch.Generator().manual_seed(3))
            (output.square().sum() + h.sum() + c.sum()).backward()
            results.append([tensor.detach().cpu() for tensor in (output, h, c, *(p.grad for p in layer.parameters()))])
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
