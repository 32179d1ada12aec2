"""The native kernel against the text stepped in float64 with autograd, which knows no plan and no derivative of ours; in
torch's machinery; and when it cannot be had."""

import gc
import re
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses import FakeTensorMode

from reviver import LSTM, RNN
from reviver.errors import DataError
from reviver.recurrent import kernel, native_pass, reference
from reviver.recurrent.grammar import load_cell, parse
from reviver.recurrent.kernel import library
from reviver.recurrent.lstm import HELD
from reviver.settings.lstm_network import CELLS, DropoutKind, LSTMOptions

pytestmark = pytest.mark.skipif(not kernel.available(), reason="no native kernel on this machine")


# Texts ------------------------------------------------------------------------------------------------------------------


def relative(ours, exact, floor=1.0):
    return ((ours.double() - exact).abs().max() / exact.abs().max().clamp_min(floor)).item()


def compare(
    cell,
    batch=5,
    steps=7,
    input_size=3,
    hidden_size=20,
    lengths=None,
    kind="step",
    p=0.5,
    seed=3,
    reverse=False,
    save=None,
    precision="fp32",
):
    """Assert that outputs, last states and gradients of everything are those of the text in float64, or in bf16."""
    rng = torch.Generator().manual_seed(seed or 0)

    def randn(*shape):
        return torch.randn(shape, generator=rng, dtype=torch.float64)

    weights = {name: randn(*shape) / shape[-1] ** 0.5 for name, shape in cell.shapes(input_size, hidden_size).items()}
    weights |= {name: randn(hidden_size) / 2 + start for name, start in cell.vectors.items()}
    x, start = randn(steps, batch, input_size), {name: randn(batch, hidden_size).abs() + 0.3 for name in cell.states}
    grad_output, grad_states = (
        randn(steps, batch, hidden_size),
        {name: randn(batch, hidden_size) for name in cell.states},
    )
    options = LSTMOptions(
        hidden_dropout=p, hidden_dropout_kind=kind, activation_checkpoint_steps=save, precision=precision
    )
    found = []
    for run, dtype in (
        (reference.unroll, torch.float64 if precision == "fp32" else torch.float32),
        (native_pass.run, torch.float32),
    ):

        def leaf(tensor, dtype=dtype):
            return tensor.to(dtype).requires_grad_()

        inputs = {"x": leaf(x), **{f"start {name}": leaf(value) for name, value in start.items()}}
        inputs |= {name: leaf(weight) for name, weight in weights.items()}
        states = [inputs[f"start {name}"] for name in cell.states]
        of_seed = None if seed is None else torch.tensor(seed)
        arguments = inputs["x"], states, lengths, options, of_seed, reverse
        output, after = run(cell, cell.weights, [inputs[name] for name in cell.weights], *arguments)
        last = dict(zip(cell.states, after, strict=True))
        loss = (output * grad_output.to(dtype)).sum()
        loss = loss + sum((last[name] * grad_states[name].to(dtype)).sum() for name in cell.states)
        gradients = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True)
        found.append(({"output": output, **last}, dict(zip(inputs, gradients, strict=True))))
    (exact, exact_gradients), (ours, our_gradients) = found
    tolerance, of_gradients = (1e-5, 1e-4) if precision == "fp32" else (2e-3, 1e-2)
    for name, value in exact.items():
        assert relative(ours[name], value) < tolerance, name
    floor = max(gradient.abs().max().item() for gradient in exact_gradients.values() if gradient is not None)
    for name, gradient in exact_gradients.items():
        ours_or_zero = torch.zeros(()) if our_gradients[name] is None else our_gradients[name]
        exact_or_zero = torch.zeros((), dtype=torch.float64) if gradient is None else gradient
        assert relative(ours_or_zero, exact_or_zero, max(floor / 100, 0.1)) < of_gradients, name


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(
    "case",
    [
        {},
        {"seed": None},
        {"kind": "zoneout"},
        {"kind": "zoneout", "seed": None},
        {"kind": "variational", "hidden_size": 32},
        {"lengths": torch.tensor([7, 3, 1, 5, 7]), "hidden_size": 37},
        {"lengths": torch.tensor([7, 3, 1, 5, 7]), "reverse": True},
        {"batch": 1, "hidden_size": 3},
        {"lengths": torch.tensor([7, 3, 1, 5, 7]), "save": 3, "kind": "zoneout"},
        {"batch": 33, "steps": 40, "hidden_size": 70, "input_size": 17, "reverse": True, "save": 9, "p": 0.2},
        {"batch": 33, "steps": 40, "hidden_size": 70, "input_size": 17, "p": 0.2},  # several threads and chunks
        {"precision": "bf16", "lengths": torch.tensor([7, 3, 1, 5, 7]), "hidden_size": 37},
        {"precision": "bf16", "batch": 33, "hidden_size": 70, "kind": "zoneout", "reverse": True, "save": 3},
    ],
    ids=str,
)
def test_built_in_texts(name, case):
    compare(load_cell(name), **case)


def test_activation_checkpoints_save_the_states_of_every_k_steps_only():
    sizes, gradients = [], []
    for steps in (None, 10):
        layer = RNN("slstm", 3, 32, activation_checkpoint_steps=steps)
        layer.reset_parameters(torch.Generator().manual_seed(1))
        x, saved = torch.randn(100, 4, 3, generator=torch.Generator().manual_seed(2)), {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, saved=saved: saved.update({tensor.data_ptr(): tensor.numel()}) or tensor,
            lambda tensor: tensor,
        ):
            output, _ = layer(x)
        output.square().sum().backward()
        sizes.append(sum(saved.values()))
        gradients.append([parameter.grad for parameter in layer.parameters()])
    assert sizes[1] < sizes[0] / 5
    for whole, again in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, again, rtol=1e-4, atol=1e-5)


def test_padded_units_do_not_reach_others():
    """Here they are 0 / 0."""
    compare(parse("a = W_a @ x / (c_1 * c_1)\nh = tanh(a) * sigmoid(a)\nc_1: 3"), hidden_size=50)


@st.composite
def texts(draw):
    """Texts with up to 3 states, products of products, shared products, and every function where it is finite."""
    states = draw(st.lists(st.sampled_from(["c", "m"]), unique=True, max_size=2))
    names = [f"q{at}" for at in range(draw(st.integers(1, 4)))]
    seen = []

    def atom():
        kinds = ["W_{} @ x", "W_{} @ x", "b_{}", "{}", "state", "seen", "number"]
        kind = draw(st.sampled_from(kinds))
        if kind == "number":
            return str(draw(st.sampled_from([2, 0.5, 1, 0.25])))
        if kind == "state" or (kind in ("seen", "{}") and not seen):
            return draw(st.sampled_from(["h", *states]))
        return draw(st.sampled_from(seen)) if kind in ("seen", "{}") else kind.format(draw(st.integers(0, 2)))

    def expression(depth):
        if depth == 0:
            return f"({atom()})"
        forms = [
            *("tanh({a})", "sigmoid({a})", "({a} + {b})", "({a} + {b})", "({a} * tanh({b}))", "({a} - {b})", "-{a}"),
            *(
                "U_{k} @ ({a})",
                "U_{k} @ tanh({a})",
                "V_0 @ (V_1 @ ({a}))",
                "max({a}, {b})",
                "min({a}, {b})",
                "abs({a})",
            ),
            *(
                "relu({a})",
                "softplus({a})",
                "exp(tanh({a}))",
                "log(1.5 + {s})",
                "sqrt(0.5 + {s})",
                "({a} / (0.5 + {s}))",
            ),
            "normalize({a} + W_9 @ x)",
        ]
        form = draw(st.sampled_from(forms))
        a, b = expression(depth - 1), expression(depth - 1) if "{b}" in form else ""
        s = f"sigmoid({expression(0)})" if "{s}" in form else ""
        return "(" + form.format(a=a, b=b, s=s, k=draw(st.integers(0, 1))) + ")"

    lines = []
    for name in names:
        lines.append(f"{name} = {expression(draw(st.integers(1, 3)))}")
        seen.append(name)
    for name in states:
        lines.append(f"{name} = {draw(st.sampled_from(['0.5 * ' + name + ' + ', '']))}tanh({expression(1)})")
        if draw(st.booleans()):
            seen.append(name)
    lines.append(
        f"h = tanh({' + '.join([*names, *states])} + W_0 @ x) * {draw(st.sampled_from(['0.9', 'sigmoid(b_0)']))}"
    )
    return "\n".join(lines)


@settings(max_examples=120, deadline=None)
@given(
    text=texts(),
    kind=st.sampled_from(["step", "variational", "zoneout"]),
    seed=st.integers(0, 9) | st.none(),
    data=st.data(),
)
def test_random_texts(text, kind, seed, data):
    batch, steps = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 5))
    lengths = data.draw(st.none() | st.lists(st.integers(1, steps), min_size=batch, max_size=batch).map(torch.tensor))
    hidden_size = data.draw(st.sampled_from([1, 5, 16, 23]))
    compare(parse(text), batch, steps, 2, hidden_size, lengths, kind, 0.3, seed, data.draw(st.booleans()))


def test_without_the_library_the_text_is_stepped(monkeypatch):
    layer, x = RNN("layer-norm", 3, 5), torch.randn(4, 2, 3)
    ours, _ = layer(x)
    monkeypatch.setattr(kernel, "available", lambda: False)
    monkeypatch.setattr(native_pass, "_CellFunction", None)
    torch.testing.assert_close(layer(x)[0], ours)


# Layers -----------------------------------------------------------------------------------------------------------------


def worst(ours, exact):
    """The largest relative error of several tensors; where a sum cancels to nearly nothing, relative to 1 % of the largest."""
    floor = max(tensor.abs().max().item() for tensor in exact) / 100
    return max(relative(a, b.double(), floor) for a, b in zip(ours, exact, strict=True))


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


@pytest.mark.parametrize(
    ("T", "options"),
    [
        (12, {"num_layers": 2, "bidirectional": True, "hidden_dropout": 0.3}),
        (200, {"bidirectional": True, "hidden_dropout": 0.5}),
        (700, {"bias": False}),  # several chunks of the backward pass
    ],
)
def test_an_lstm_has_stacked_weights_two_biases_layers_directions_and_lengths(T, options):
    ours, exact = pair(3, 40, **options)
    x, h, c = data(ours, T, 33)
    lengths = torch.randint(1, T + 1, (33,)) if ours.bidirectional else None
    results, gradients = run(ours, x, h, c, lengths)
    exact_results, exact_gradients = run(exact, x, h, c, lengths)
    assert worst(results, exact_results) < 1e-5
    assert worst(gradients, exact_gradients) < 1e-4
    assert torch.equal(results[0] == 0, exact_results[0] == 0), "the masks are the same bits"


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


@pytest.mark.parametrize(("kind", "hidden_size"), [("step", 130), ("zoneout", 200), ("variational", 160)])
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
@pytest.mark.parametrize("name", ["stacked", "layer-norm"])
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
    monkeypatch.setattr(kernel, "_has_amx", lambda: has_amx)
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

LARGE = library.MIN_BYTES // 4
"""Floats of the smallest buffer that is kept."""


def test_memory_is_reused_only_when_its_tensor_and_all_views_are_gone(monkeypatch):
    gc.collect()
    monkeypatch.setattr(library, "_free", [])
    first = library.empty(2, LARGE)
    view, address = first[1], first.data_ptr()
    assert (first.shape, first.dtype) == ((2, LARGE), torch.float32)
    view.fill_(3.0)
    del first
    second = library.empty(2, LARGE)
    assert second.data_ptr() != address
    second.zero_()
    assert view.eq(3.0).all()
    del view
    assert library.empty(LARGE).data_ptr() == address  # half of the buffer would do
    monkeypatch.setattr(library, "MAX_BYTES", 3 * library.MIN_BYTES)
    five = [library.empty(LARGE) for _ in range(5)]
    assert len({buffer.data_ptr() for buffer in five}) == 5
    del five
    assert len(library._free) == 3, "kept memory is bounded"
