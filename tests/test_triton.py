"""The Triton kernels of the LSTM in Triton's interpreter, which runs them without a GPU, against the equations."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from reviver.errors import DataError
from reviver.lstm.dropout import apply_dropout, dropout_masks
from reviver.lstm.kernel import cuda

pytestmark = [
    pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed: pip install '.[gpu]'"),
    pytest.mark.skipif(
        find_spec("triton") is not None and tuple(map(int, version("triton").split(".")[:2])) < (3, 9),
        reason="the interpreter of older releases fails with NumPy 2.4",
    ),
]

KERNELS = "reviver.lstm.kernel.triton_kernels"
SEED = torch.tensor(8123456789012345678)
RANDOM = ("step", "variational", "zoneout")
NAMES = ("x", "h", "c", "W", "U", "b")


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


@pytest.fixture(params=["sequence", "step"])
def launches(request, monkeypatch):
    """All steps in one launch, or each in one of its own, in chunks."""
    if request.param == "step":
        monkeypatch.setattr(cuda, "SEQUENCE_UNITS", 0)
        monkeypatch.setattr(cuda, "GRAPH_STEPS", 2)
        cuda._graph.cache_clear()


def equations(x, h, c, W, U, b=None, lengths=None, seed=None, *, dropout=0.0, kind="none", reverse=False):
    """The LSTM step by step; arguments and results are those of `cuda.unroll`."""
    outputs = [None] * len(x)
    if seed is not None:
        masks = dropout_masks(seed, *x.shape[:2], h.shape[1], dropout, kind).to(x.dtype)
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        z_i, z_f, z_g, z_o = (x[t] @ W.T + h @ U.T + (0.0 if b is None else b)).chunk(4, dim=1)
        new_c = torch.sigmoid(z_f) * c + torch.sigmoid(z_i) * torch.tanh(z_g)
        new_h = torch.sigmoid(z_o) * torch.tanh(new_c)
        if kind == "zoneout_mean":
            new_h = (1.0 - dropout) * new_h + dropout * h
        elif kind != "none":
            new_h = apply_dropout(new_h, h, masks[t], kind)
        active = torch.ones(len(h), 1, dtype=torch.bool) if lengths is None else (t < lengths)[:, None]
        h, c = torch.where(active, new_h, h), torch.where(active, new_c, c)
        outputs[t] = torch.where(active, h, 0.0)
    return torch.stack(outputs), h, c


def make_inputs(T=5, B=17, I=3, H=37, bias=True):  # noqa: E741
    torch.manual_seed(T + B + I + H)
    inputs = [torch.randn(T, B, I), torch.randn(B, H), torch.randn(B, H), torch.randn(4 * H, I), torch.randn(4 * H, H)]
    inputs = [*inputs[:3], *(weight / weight.shape[1] ** 0.5 for weight in inputs[3:])]
    return [tensor.requires_grad_() for tensor in (*inputs, *([torch.randn(4 * H)] if bias else []))]


def gradients(outputs, inputs):
    """Gradients of the inputs for a loss in which each element of the outputs has another weight."""
    return torch.autograd.grad(
        sum((torch.linspace(-1.0, 1.0, output.numel()).view(output.shape) * output).sum() for output in outputs),
        inputs,
        retain_graph=True,
    )


def check(inputs, lengths=None, seed=None, **options):
    """Outputs, states and gradients equal those of the equations in float64."""
    bias = () if len(inputs) == 6 else (None,)
    outputs = cuda.unroll(*inputs, *bias, lengths, seed, **options, precision="fp32")
    exact_inputs = [tensor.detach().double().requires_grad_() for tensor in inputs]
    exact = equations(*exact_inputs, *bias, lengths, seed, **options)
    ours = dict(zip(("output", "h_T", "c_T", *NAMES), (*outputs, *gradients(outputs, inputs)), strict=False))
    theirs = (*exact, *gradients(exact, exact_inputs))
    for (name, tensor), expected in zip(ours.items(), theirs, strict=True):
        error = (tensor - expected).abs().max() / expected.abs().max()
        assert error <= 1e-5, f"{name} differs by {error}"
    with torch.no_grad():  # saves nothing for the backward pass
        for tensor, same in zip(
            cuda.unroll(*inputs, *bias, lengths, seed, **options, precision="fp32"), outputs, strict=True
        ):
            assert torch.equal(tensor, same)


@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", cuda.KINDS)
def test_all_kinds_directions_and_lengths_equal_the_equations(kind, reverse, with_lengths, launches):
    lengths = torch.arange(17) % 5 + 1 if with_lengths else None
    seed = SEED if kind in RANDOM else None
    check(make_inputs(), lengths, seed, dropout=0.3, kind=kind, reverse=reverse)


@pytest.mark.parametrize(
    ("T", "B", "I", "H"), [(1, 1, 1, 1), (2, 16, 1, 16), (3, 2, 40, 33), (2, 33, 2, 64), (6, 1, 5, 20), (7, 3, 2, 17)]
)
def test_sizes_that_fill_tiles_and_that_do_not(T, B, I, H, launches):  # noqa: E741
    check(make_inputs(T, B, I, H), None, SEED, dropout=0.6, kind="zoneout", reverse=False)
    check(make_inputs(T, B, I, H, bias=False), None, SEED, dropout=0.6, kind="step", reverse=True)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("kind", RANDOM)
def test_masks_are_those_of_the_cpu_bit_for_bit(kind, p, launches):
    with torch.no_grad():
        x, h, c, *weights = make_inputs(T=6)
        output, *_ = cuda.unroll(x, h, c, *weights, None, SEED, dropout=p, kind=kind, reverse=False, precision="fp32")
    dropped = dropout_masks(SEED, 6, 17, 37, p, kind) == 0.0
    before = torch.cat([h.detach()[None], output[:-1]]) if kind == "zoneout" else torch.zeros_like(output)
    assert torch.equal(output == before, dropped)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_torch_computes_the_same_without_dropout(bidirectional):
    torch.manual_seed(2)
    lstm = nn.LSTM(3, 20, bidirectional=bidirectional)
    x, lengths = torch.randn(6, 5, 3), torch.tensor([6, 4, 3, 3, 1])
    packed, (h_n, c_n) = lstm(pack_padded_sequence(x, lengths))
    expected = pad_packed_sequence(packed)[0].chunk(2 if bidirectional else 1, dim=2)
    for direction, suffix in enumerate(("", "_reverse")[: len(expected)]):
        W, U, b_x, b_h = (
            getattr(lstm, f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        zeros, options = torch.zeros(5, 20), {"dropout": 0.0, "kind": "none", "precision": "fp32"}
        got = cuda.unroll(x, zeros, zeros, W, U, b_x + b_h, lengths, None, reverse=direction == 1, **options)
        theirs = (expected[direction], h_n[direction], c_n[direction])
        for tensor, same in zip(got, theirs, strict=True):
            torch.testing.assert_close(tensor, same, atol=1e-6, rtol=1e-5)
        for ours, torchs in zip(gradients(got, (W, U, b_x)), gradients(theirs, (W, U, b_x)), strict=True):
            torch.testing.assert_close(ours, torchs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("used", range(3))
def test_a_loss_of_one_output_alone(used):
    inputs = make_inputs()
    options = {"dropout": 0.3, "kind": "zoneout", "reverse": False}
    outputs = cuda.unroll(*inputs, None, SEED, precision="fp32", **options)
    exact = equations(*inputs, None, SEED, **options)
    ours, theirs = (gradients([o[used]], inputs) for o in (outputs, exact))
    for tensor, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(tensor, expected, atol=1e-5, rtol=1e-4)


def test_gradients_of_some_inputs_only_and_twice():
    x, h, c, W, U, b = (tensor.detach() for tensor in make_inputs())
    U.requires_grad_()
    options = {"dropout": 0.3, "kind": "step", "reverse": False}
    output, _, c_last = cuda.unroll(x, h, c, W, U, b, None, SEED, precision="fp32", **options)
    loss = output.sum() + c_last.sum()
    first, second = (torch.autograd.grad(loss, U, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    exact, _, exact_c = equations(x, h, c, W, U, b, None, SEED, **options)
    torch.testing.assert_close(first, torch.autograd.grad(exact.sum() + exact_c.sum(), U)[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("reverse", [False, True])
def test_what_is_beyond_the_end_of_a_sequence_does_not_matter(reverse):
    inputs, lengths = make_inputs(), torch.arange(17) % 5 + 1
    outputs = []
    for value in (0.0, float("nan")):
        beyond = torch.arange(5)[:, None] >= lengths
        x = torch.where(beyond[:, :, None], value, inputs[0].detach())
        options = {"dropout": 0.3, "kind": "step", "reverse": reverse, "precision": "fp32"}
        result = cuda.unroll(x, *inputs[1:], lengths, SEED, **options)
        outputs.append((*result, *gradients(result, inputs[1:])))
    for zero, nan in zip(*outputs, strict=True):
        assert torch.equal(zero, nan)


def test_a_state_that_is_not_finite_passes_to_the_output():
    x, h, c, *weights = (tensor.detach() for tensor in make_inputs())
    c[3, 4] = float("nan")
    output, _, _ = cuda.unroll(x, h, c, *weights, None, None, dropout=0.0, kind="none", reverse=False, precision="fp32")
    assert output[0, 3, 4].isnan()
    assert output[1:, 3].isnan().all()
    assert output[:, [0, 1, 2, *range(4, 17)]].isfinite().all()


def test_second_derivatives_are_refused():
    inputs = make_inputs(T=2)
    output, _, _ = cuda.unroll(*inputs, None, SEED, dropout=0.3, kind="step", reverse=False, precision="fp32")
    with pytest.raises(RuntimeError, match="no second derivatives"):
        torch.autograd.grad(output.sum(), inputs, create_graph=True)


def test_an_output_changed_in_place_is_noticed():
    inputs = make_inputs(T=2)
    output, _, _ = cuda.unroll(*inputs, None, SEED, dropout=0.3, kind="step", reverse=False, precision="fp32")
    with pytest.raises(RuntimeError, match="inplace"):
        output.mul_(2.0).sum().backward()


def test_bf16_rounds_the_operands_of_the_matmuls_outside_the_kernel():
    a, b, options = torch.randn(5, 6), torch.randn(6, 7), cuda.Options("none", 0.0, False, "bf16")
    expected = a.bfloat16().double() @ b.bfloat16().double()
    torch.testing.assert_close(cuda._matmul(a, b, options), expected.float(), atol=1e-6, rtol=1e-6)
    assert cuda._operand(b.T, options).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "h",
            torch.zeros(16, 37),
            r"^h must be \[17, 37\] of torch.float32 on cpu, got \[16, 37\] of torch.float32 on cpu$",
        ),
        ("W", torch.zeros(37, 3), r"^W must be \[148, 3\] of .*, got \[37, 3\] of "),
        (
            "x",
            torch.zeros(5, 17, 3).double(),
            r"^x must be \[5, 17, 3\] of torch.float32 on cpu, got .* torch.float64 on cpu$",
        ),
        ("U", torch.zeros(148, 37, device="meta"), r"^U must be .* on cpu, got .* on meta$"),
        (
            "lengths",
            torch.zeros(17),
            r"^lengths must be \[17\] of torch.int64 on cpu, got \[17\] of torch.float32 on cpu$",
        ),
        ("seed", None, r"^kind must be one of .*, with a seed only if it is random, got step$"),
        ("kind", "gal", r"^kind must be one of none, step, variational, zoneout, zoneout_mean, .*, got gal$"),
    ],
)
def test_arguments_that_do_not_fit(name, value, message):
    arguments = dict(zip(NAMES, make_inputs(), strict=True)) | {"lengths": None, "seed": SEED}
    arguments |= {"dropout": 0.3, "kind": "step", "reverse": False, "precision": "fp32"}
    with pytest.raises(DataError, match=message):
        cuda.unroll(**arguments | {name: value})


def test_available_in_the_interpreter_and_not_without_a_gpu(monkeypatch):
    assert cuda.available()
    cuda.available.cache_clear()
    monkeypatch.delenv("TRITON_INTERPRET")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not cuda.available()
    cuda.available.cache_clear()


def run_python(*arguments):
    """Run Python in a process that compiles kernels instead of interpreting them."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, check=True, capture_output=True, text=True
    ).stdout


def test_triton_is_imported_only_to_compute():
    run_python(
        "-c",
        "import sys, reviver; from reviver.lstm.kernel import cuda; cuda.available(); assert 'triton' not in sys.modules",
    )


@pytest.mark.timeout(600)  # seconds on an idle machine
def test_kernels_compile_for_an_a100_without_spills():
    """`make gpu-compile` compiles all sizes, for another GPU, too."""
    code = "import json; from benchmarks.gpu import compile_kernels; print(json.dumps(compile_kernels((32,), (80,), ('tf32x3',))))"
    rows = json.loads(run_python("-c", code))
    assert [row["kernel"] for row in rows] == ["forward", "backward"]
    assert all(row["spills"] == 0 and row["shared_kb"] <= 99 for row in rows)
