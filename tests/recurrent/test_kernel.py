"""The native kernel against the equations in float64, in torch's machinery, and when it cannot be had."""

import gc
import re
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch._subclasses import FakeTensorMode

from reviver.errors import DataError
from reviver.recurrent import kernel, native_pass
from reviver.recurrent.grammar import load_cell
from reviver.recurrent.kernel import buffers
from reviver.recurrent.lstm import HELD, LSTM
from reviver.settings.lstm_network import DropoutKind

pytestmark = pytest.mark.skipif(not kernel.available(), reason="no native kernel on this machine")


def worst(ours, exact):
    """The largest relative error of several tensors; where a sum cancels to nearly nothing, relative to 1 % of the largest."""
    floor = max(tensor.abs().max().item() for tensor in exact) / 100
    return max(
        ((a.double() - b.double()).abs().max() / b.double().abs().max().clamp_min(floor)).item()
        for a, b in zip(ours, exact, strict=True)
    )


def run(lstm, x, h, c, lengths=None, seed=3):
    """Outputs, and gradients of x, h, c and all parameters, for a loss in which everything takes part."""
    dtype = next(lstm.parameters()).dtype
    inputs = [tensor.detach().to(dtype).requires_grad_() for tensor in (x, h, c)]
    lstm.zero_grad()
    output, state = lstm(inputs[0], (inputs[1], inputs[2]), lengths, rng=torch.Generator().manual_seed(seed))
    weights = torch.linspace(-1.0, 1.0, output.numel(), dtype=dtype).view(output.shape)
    ((weights * output).sum() + 2 * state[0].sum() + state[1].square().sum()).backward()
    gradients = [tensor.grad for tensor in (*inputs, *lstm.parameters())]
    return [output.detach(), state[0].detach(), state[1].detach()], gradients


def pair(*arguments, **options):
    """An LSTM in float32 and the same in float64, which the kernel does not compute; the same weights in any test order."""
    torch.manual_seed(1)
    ours = LSTM(*arguments, **options)
    for bias in [parameter for name, parameter in ours.named_parameters() if "bias" in name]:
        torch.nn.init.normal_(bias)  # new ones are mostly 0
    exact = LSTM(*arguments, **options, dtype=torch.float64)
    exact.load_state_dict(ours.state_dict())
    return ours, exact


def data(lstm, T, B, seed=0):
    torch.manual_seed(seed)
    shape = (lstm.num_layers * lstm.num_directions, B, lstm.hidden_size)
    return torch.randn(T, B, lstm.input_size), torch.randn(shape), torch.randn(shape)


any_network = given(
    T=st.integers(1, 12),
    B=st.integers(1, 20),
    I=st.integers(1, 20),
    H=st.integers(1, 70),
    layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    training=st.booleans(),
    lengths=st.booleans(),
    options=st.fixed_dictionaries(
        {
            "hidden_dropout": st.sampled_from([0.0, 0.3, 0.5]),
            "hidden_dropout_kind": st.sampled_from(["step", "variational", "zoneout"]),
            "bias": st.booleans(),
            "activation_checkpoint_steps": st.sampled_from([None, None, 1, 4]),
        }
    ),
)


LONG = {"B": 33, "I": 3, "H": 40, "layers": 1, "training": True}  # several chunks of the backward pass


@settings(max_examples=60)
@any_network
@example(T=200, **LONG, bidirectional=True, lengths=True, options={"hidden_dropout": 0.5})
@example(T=700, **LONG, bidirectional=False, lengths=False, options={"bias": False})
def test_equals_the_equations_in_float64(T, B, I, H, layers, bidirectional, training, lengths, options):  # noqa: E741
    ours, exact = pair(I, H, layers, bidirectional=bidirectional, **options)
    x, h, c = data(ours, T, B)
    lengths = torch.randint(1, T + 1, (B,)) if lengths else None
    results, gradients = run(ours.train(training), x, h, c, lengths)
    exact_results, exact_gradients = run(exact.train(training), x, h, c, lengths)
    assert worst(results, exact_results) < 1e-5
    assert worst(gradients, exact_gradients) < 1e-4
    dropped = options.get("hidden_dropout") and training and options.get("hidden_dropout_kind", "step") != "zoneout"
    if dropped:
        assert torch.equal(results[0] == 0, exact_results[0] == 0), "the masks are the same bits"


def spread(ours, exact):
    """The largest relative error of several tensors, each by its root mean square."""
    return max(
        ((a.double() - b.double()).square().mean().sqrt() / b.double().square().mean().sqrt().clamp_min(1e-30)).item()
        for a, b in zip(ours, exact, strict=True)
    )


# Both round the same operands to bfloat16, and their sums differ in the last digits. Rarely an operand of a later matmul
# is so near the middle between two bfloat16 numbers that one rounds it up and the other down.
@settings(max_examples=60)
@any_network
def test_bf16_equals_the_equations_in_bf16(T, B, I, H, layers, bidirectional, training, lengths, options):  # noqa: E741
    lstm, exact = pair(I, H, layers, bidirectional=bidirectional, **options)
    x, h, c = data(lstm, T, B)
    lengths = torch.randint(1, T + 1, (B,)) if lengths else None
    bf16 = LSTM(I, H, layers, bidirectional=bidirectional, **options, precision="bf16").train(training)
    bf16.load_state_dict(lstm.state_dict())
    results, gradients = run(bf16, x, h, c, lengths)
    with kernel.reference():
        equations_results, equations_gradients = run(bf16, x, h, c, lengths)
    assert worst(results, equations_results) < (2e-3 if T * layers > 1 else 2e-6)
    assert worst(gradients, equations_gradients) < 1e-2
    assert spread(results, equations_results) < 5e-4
    assert spread(gradients, equations_gradients) < 5e-3

    exact_results, exact_gradients = run(exact.train(training), x, h, c, lengths)
    if H >= 8:  # in fewer units a sum often cancels to nearly 0, and no bound holds
        assert spread(results, exact_results) < 1e-2
        assert spread(gradients, exact_gradients) < 5e-2


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 3.4e38, 1e-40])
def test_bf16_of_numbers_at_the_edges(number):
    lstm = LSTM(3, 18, precision="bf16")
    x, h, c = data(lstm, 2, 3)
    x[0, 1, 2] = number
    output, _ = lstm(x, (h, c))
    with kernel.reference():
        expected, _ = lstm(x, (h, c))
    torch.testing.assert_close(output, expected, rtol=1e-3, atol=1e-3, equal_nan=True)


@pytest.fixture
def threads():
    """Restore the number of threads of torch."""
    count = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(count)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_thread_count_changes_no_mask_and_repetition_no_bit(precision, threads):
    lstm = LSTM(10, 64, hidden_dropout=0.5, precision=precision)
    x, h, c = data(lstm, 30, 24)
    runs = []
    for count in (1, 2, 3):
        threads(count)
        first, again = run(lstm, x, h, c), run(lstm, x, h, c)
        assert all(map(torch.equal, first[0] + first[1], again[0] + again[1]))
        runs.append(first)
    for results, gradients in runs[1:]:
        assert all(map(torch.equal, results, runs[0][0]))
        assert worst(gradients, runs[0][1]) < 1e-5


@pytest.mark.parametrize(("kind", "hidden_size"), [("step", 130), ("zoneout", 200)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_threads_that_share_the_units_of_one_sequence_change_no_bit(kind, hidden_size, precision, threads):
    lstm = LSTM(10, hidden_size, bidirectional=True, hidden_dropout=0.3, hidden_dropout_kind=kind, precision=precision)
    x, h, c = data(lstm, 40, 1)
    results = []
    for count in (1, 2, 3):
        threads(count)
        with torch.no_grad():
            calls = [lstm(x, (h, c), lengths, rng=torch.Generator().manual_seed(0)) for lengths in (None, [33])]
        results.append([tensor for output, state in calls for tensor in (output, *state)] + run(lstm, x, h, c)[0])
    for other in results[1:]:
        assert all(map(torch.equal, other, results[0]))


def test_two_python_threads_at_once():
    lstms = [LSTM(5, 48, hidden_dropout=0.5), LSTM(5, 32, bidirectional=True)]
    inputs = [data(lstm, 40, 16) for lstm in lstms]
    expected = [run(lstm, *tensors) for lstm, tensors in zip(lstms, inputs, strict=True)]

    def worst_of_ten(index):
        found = [run(lstms[index], *inputs[index]) for _ in range(10)]
        return max(worst(ours, theirs) for each in found for ours, theirs in zip(each, expected[index], strict=True))

    with ThreadPoolExecutor(2) as pool:
        assert max(pool.map(worst_of_ten, (0, 1))) < 1e-5


def test_no_denormal_numbers_come_out_and_the_mode_is_restored(threads):
    lstm = LSTM(2, 16)
    x, h, c = data(lstm, 20, 3)

    def count_denormals(scale):
        start = h.clone().requires_grad_()
        (lstm(x, (start, c))[0][-1].sum() * scale).backward()
        size = start.grad.abs()
        return int(((size > 0) & (size < torch.finfo(torch.float32).tiny)).sum())

    scales = [10.0**-n for n in range(28, 38)]
    with kernel.reference():
        assert any(map(count_denormals, scales))
    threads(2)
    assert not any(map(count_denormals, scales))
    lstm(torch.randn(50, 64, 2))  # enough for both threads
    assert (torch.full((1 << 20,), 1e-39) * 1.0).min() > 0


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck itself looks at it
@pytest.mark.parametrize("name", ["stacked", "gru", "layer-norm"])
def test_the_operators_keep_torchs_rules_and_have_no_second_derivatives(name):
    cell = load_cell("lstm" if name == "stacked" else name)
    names, weights = cell.weights, [torch.randn(shape) / 4 for shape in cell.shapes(3, 20).values()]
    if name == "stacked":
        names, weights = HELD, LSTM(3, 20).stacked_weights()[:4]
    x, *start = torch.randn(5, 4, 3), *(torch.randn(4, 20) for _ in cell.states)
    for leaf in (x, start[0], *weights):
        leaf.requires_grad_()
    rest = torch.tensor([5, 3, 1, 2]), torch.tensor(5), 0.5, "step", False
    for save, precision in ((native_pass.SAVE_ALL, "bf16"), (2, "fp32")):
        arguments = (cell.text, names, x, start, [*weights], *rest, save, precision)
        torch.library.opcheck(native_pass.cell_forward, arguments)
    output, *_ = native_pass.cell_forward(*arguments[:-2], native_pass.SAVE_ALL, "fp32")
    (gradient,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula was registered"):
        gradient.sum().backward()
    for lengths in ([5, 3, 0, 2], [5, 3, 6, 2]):
        expected = rf"^lengths must be 4 integers from 1 to T = 5, got {re.escape(str(lengths))}$"
        with pytest.raises(DataError, match=expected):
            native_pass.cell_forward(*arguments[:5], torch.tensor(lengths), *arguments[6:])


@pytest.mark.parametrize("pick", [lambda output, state: output[2].sum(), lambda output, state: state[1].sum()])
def test_backward_of_one_output_twice_and_of_wanted_inputs_only(pick):
    ours, exact = pair(3, 20, hidden_dropout=0.5)
    gradients = []
    for lstm in (ours, exact):
        x = data(ours, 5, 4)[0].to(lstm.weight_ih_l0.dtype).requires_grad_()
        loss = pick(*lstm(x, rng=torch.Generator().manual_seed(1)))
        loss.backward(retain_graph=True)
        gradients.append([x.grad, *(parameter.grad for parameter in lstm.parameters())])
        assert torch.equal(torch.autograd.grad(loss, x)[0], x.grad)
        lstm.requires_grad_(requires_grad=False)
        loss = pick(*lstm(x, rng=torch.Generator().manual_seed(1)))
        torch.testing.assert_close(torch.autograd.grad(loss, x)[0], x.grad)
    assert worst(*gradients) < 1e-4


@pytest.mark.parametrize(
    ("has_amx", "hidden_size", "grad", "autocast", "expected"),
    [
        (False, 600, False, None, False),
        (False, 600, True, torch.bfloat16, False),
        (True, 600, True, None, False),
        (True, 511, False, None, False),
        (True, 512, False, None, True),
        (True, 8, True, torch.bfloat16, True),
        (True, 600, False, torch.float16, False),
    ],
)
def test_torch_runs_what_it_computes_faster(has_amx, hidden_size, grad, autocast, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    lstm, x = LSTM(2, hidden_size), torch.zeros(3, 2, 2)
    with torch.set_grad_enabled(grad), torch.autocast("cpu", autocast, enabled=autocast is not None):
        assert kernel.torch_runs(lstm, lstm.options, x) == expected
        assert kernel.applies(x) == (autocast is not torch.float16)
        monkeypatch.setattr(kernel, "available", lambda: False)
        assert kernel.torch_runs(lstm, lstm.options, x) == (expected if grad or autocast else True)


def test_on_cuda_torch_runs_a_layer_without_hidden_dropout_and_the_equations_one_with():
    """The tensors have no memory, so this needs no GPU."""
    with FakeTensorMode():
        x = torch.empty(2, 5, 3, device="cuda")
        for p in (0.0, 0.5):
            lstm = LSTM(3, 4, hidden_dropout=p)
            assert kernel.torch_runs(lstm, lstm.options, x) == (p == 0.0)
            assert not kernel.applies(x)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("kind", get_args(DropoutKind))
def test_a_layer_on_a_gpu_is_the_one_on_the_cpu(kind):
    layer = LSTM(5, 20, 2, bidirectional=True, hidden_dropout=0.4, hidden_dropout_kind=kind)
    x, results = torch.randn(9, 6, 5), []
    for device in ("cpu", "cuda"):
        layer = layer.to(device)
        layer.zero_grad()
        output, (h, c) = layer(x.to(device), None, [9, 1, 4, 8, 2, 9], rng=torch.Generator().manual_seed(3))
        (output.square().sum() + h.sum() + c.sum()).backward()
        results.append([tensor.detach().cpu() for tensor in (output, h, c, *(p.grad for p in layer.parameters()))])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


# Large buffers that are reused -----------------------------------------------------------------------------------------

LARGE = buffers.MIN_BYTES // 4
"""Floats of the smallest buffer that is kept."""


def test_memory_is_reused_only_when_its_tensor_and_all_views_are_gone(monkeypatch):
    gc.collect()
    monkeypatch.setattr(buffers, "_free", [])
    first = buffers.empty(2, LARGE)
    view, address = first[1], first.data_ptr()
    assert (first.shape, first.dtype) == ((2, LARGE), torch.float32)
    view.fill_(3.0)
    del first
    second = buffers.empty(2, LARGE)
    assert second.data_ptr() != address
    second.zero_()
    assert view.eq(3.0).all()
    del view
    assert buffers.empty(LARGE).data_ptr() == address  # half of the buffer would do
    monkeypatch.setattr(buffers, "MAX_BYTES", 3 * buffers.MIN_BYTES)
    five = [buffers.empty(LARGE) for _ in range(5)]
    assert len({buffer.data_ptr() for buffer in five}) == 5
    del five
    assert len(buffers._free) == 3, "kept memory is bounded"
