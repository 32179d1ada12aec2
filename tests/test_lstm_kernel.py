"""The native kernel against the equations in float64, in torch's machinery, and when it cannot be had."""

import ctypes
import logging
import os
import shutil
import subprocess
import sys
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from reviver.errors import ConfigError, DataError
from reviver.files.cache import cache_folder
from reviver.lstm import kernel
from reviver.lstm.cell import LSTMState, StackedWeights
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.equations import unroll
from reviver.lstm.kernel import library, ops
from reviver.lstm.layer import LSTM
from reviver.lstm.native import NativeError, is_private
from reviver.lstm.precision import bf16_linear, round_to_bf16
from reviver.settings.lstm_network import LSTMOptions

needs_kernel = pytest.mark.skipif(not kernel.available(), reason="no native kernel on this machine")


def relative(ours, exact):
    return ((ours.double() - exact.double()).abs().max() / exact.double().abs().max().clamp_min(1e-30)).item()


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
            "activation_checkpoint_steps": st.sampled_from([None, None, 1, 4]),
        }
    ),
)


@needs_kernel
@settings(max_examples=60, deadline=None, derandomize=True)
@any_network
def test_equals_the_equations_in_float64(T, B, I, H, layers, bidirectional, training, lengths, options):  # noqa: E741
    ours, exact = pair(I, H, layers, bidirectional=bidirectional, **options)
    x, h, c = data(ours, T, B)
    lengths = torch.randint(1, T + 1, (B,)) if lengths else None
    results, gradients = run(ours.train(training), x, h, c, lengths)
    exact_results, exact_gradients = run(exact.train(training), x, h, c, lengths)
    assert worst(results, exact_results) < 1e-5
    assert worst(gradients, exact_gradients) < 1e-4


@needs_kernel
@pytest.mark.parametrize("T", [200, 700])
def test_long_sequences_in_several_chunks(T):
    ours, exact = pair(3, 40, bidirectional=True, hidden_dropout=0.5)
    x, h, c = data(ours, T, 33)
    for lengths in (None, torch.randint(1, T + 1, (33,))):
        results, gradients = run(ours, x, h, c, lengths)
        exact_results, exact_gradients = run(exact, x, h, c, lengths)
        assert worst(results, exact_results) < 1e-5
        assert worst(gradients, exact_gradients) < 1e-4


def pooled(ours, exact):
    """The relative error of several tensors together, by their root mean square."""
    return spread(*([torch.cat([tensor.flatten() for tensor in tensors])] for tensors in (ours, exact)))


def spread(ours, exact):
    """The largest relative error of several tensors, each by its root mean square."""
    return max(
        ((a.double() - b.double()).square().mean().sqrt() / b.double().square().mean().sqrt().clamp_min(1e-30)).item()
        for a, b in zip(ours, exact, strict=True)
    )


# Both round the same operands to bfloat16, and their sums differ in the last digits. Rarely an operand of a later matmul
# is so near the middle between two bfloat16 numbers that one rounds it up and the other down.
@needs_kernel
@settings(max_examples=80, deadline=None, derandomize=True)
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
    assert pooled(results, exact_results) < 1e-2
    assert pooled(gradients, exact_gradients) < 5e-2
    if H >= 8:  # in fewer units a sum often cancels to nearly 0, and no bound holds for each tensor by itself
        assert spread(results, exact_results) < 1e-2
        assert spread(gradients, exact_gradients) < 5e-2


@needs_kernel
def test_bf16_differs_from_the_equations_by_nothing_but_the_order_of_sums():
    errors = []
    for seed in range(20):
        lstm = LSTM(7, 30, hidden_dropout=0.5, precision="bf16")
        results, gradients = run(lstm, *data(lstm, 4, 5, seed))
        with kernel.reference():
            expected_results, expected_gradients = run(lstm, *data(lstm, 4, 5, seed))
        errors.append(max(worst(results, expected_results), worst(gradients, expected_gradients)))
    assert sorted(errors)[10] < 2e-6  # no operand rounded differently; in fp32 the error would be some 5e-3


@needs_kernel
@pytest.mark.parametrize("number", [float("nan"), float("inf"), 3.4e38, 1e-40])
def test_bf16_of_numbers_at_the_edges(number):
    lstm = LSTM(3, 18, precision="bf16")
    x, h, c = data(lstm, 2, 3)
    x[0, 1, 2] = number
    output, _ = lstm(x, (h, c))
    with kernel.reference():
        expected, _ = lstm(x, (h, c))
    torch.testing.assert_close(output, expected, rtol=1e-3, atol=1e-3, equal_nan=True)


def test_bf16_of_the_equations_has_derivatives_of_a_product():
    x, W = torch.randn(4, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    product, weights = bf16_linear(x, W), torch.randn(4, 5)
    assert torch.equal(product, round_to_bf16(x) @ round_to_bf16(W).T)
    grad_x, grad_W = torch.autograd.grad((product * weights).sum(), (x, W), create_graph=True)
    torch.testing.assert_close(grad_x, round_to_bf16(weights) @ round_to_bf16(W))
    torch.testing.assert_close(grad_W, round_to_bf16(weights).T @ round_to_bf16(x))
    (second,) = torch.autograd.grad(grad_x.sum(), W)
    torch.testing.assert_close(second, round_to_bf16(weights).sum(0)[:, None].expand(5, 3))


def test_gradcheck_of_the_equations():
    for kind in ("step", "variational", "zoneout"):
        lstm = LSTM(2, 3, single_bias=True, dtype=torch.float64)
        options = LSTMOptions(hidden_dropout=0.4, hidden_dropout_kind=kind)
        x, h, c = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((4, 2, 2), (2, 3), (2, 3)))

        def call(x, h, c, W, U, b, options=options):
            lengths, seed = torch.tensor([4, 2]), torch.tensor(5)
            weights = StackedWeights(W, U, b, None)
            output, state = unroll(weights, x, LSTMState(h, c), lengths, reverse=False, options=options, seed=seed)
            return output, *state

        assert torch.autograd.gradcheck(call, (x, h, c, *lstm.parameters()))


@needs_kernel
def test_masks_are_the_same_bits_as_the_equations():
    ours = LSTM(3, 50, hidden_dropout=0.5)
    x, h, c = data(ours, 6, 9)
    (output, *_), _ = run(ours, x, h, c)
    with kernel.reference():
        (reference, *_), _ = run(ours, x, h, c)
    assert torch.equal(output == 0, reference == 0)
    assert 0.4 < (output == 0).float().mean() < 0.6


@needs_kernel
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_thread_count_changes_no_mask_and_repetition_no_bit(precision):
    lstm = LSTM(10, 64, hidden_dropout=0.5, precision=precision)
    x, h, c = data(lstm, 30, 24)
    threads = torch.get_num_threads()
    try:
        runs = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            first, again = run(lstm, x, h, c), run(lstm, x, h, c)
            assert all(map(torch.equal, first[0] + first[1], again[0] + again[1]))
            runs.append(first)
        for results, gradients in runs[1:]:
            assert all(map(torch.equal, results, runs[0][0]))
            assert worst(gradients, runs[0][1]) < 1e-5
    finally:
        torch.set_num_threads(threads)


@needs_kernel
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("hidden_size", [130, 200])
@pytest.mark.parametrize("kind", ["step", "zoneout"])
def test_threads_that_share_the_units_of_one_sequence_change_no_bit(kind, hidden_size, precision):
    lstm = LSTM(10, hidden_size, bidirectional=True, hidden_dropout=0.3, hidden_dropout_kind=kind, precision=precision)
    x, h, c = data(lstm, 40, 1)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            for lengths in (None, [33]):
                with torch.no_grad():
                    rng = torch.Generator().manual_seed(0)
                    output, state = lstm(x, LSTMState(h, c), lengths, rng=rng)
                results.append([output, *state])
            results[-1] += run(lstm, x, h, c)[0]
        for other in (results[2:4], results[4:6]):
            for found, expected in zip(other, results[:2], strict=True):
                assert all(map(torch.equal, found, expected))
    finally:
        torch.set_num_threads(threads)


@needs_kernel
def test_two_python_threads_at_once():
    lstms = [LSTM(5, 48, hidden_dropout=0.5), LSTM(5, 32, bidirectional=True)]
    inputs = [data(lstm, 40, 16) for lstm in lstms]
    expected = [run(lstm, *tensors) for lstm, tensors in zip(lstms, inputs, strict=True)]
    different = []

    def work(index):
        for _ in range(10):
            results, gradients = run(lstms[index], *inputs[index])
            same = zip(results + gradients, expected[index][0] + expected[index][1], strict=True)
            different.extend(1 for ours, theirs in same if relative(ours, theirs) > 1e-5)

    threads = [threading.Thread(target=work, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not different


def test_lengths_equal_each_sequence_alone():
    lstm = LSTM(3, 20, 2, bidirectional=True).eval()
    sequences = [torch.randn(n, 3) for n in (2, 7, 5, 1)]
    padded = nn.utils.rnn.pad_sequence(sequences)
    output, state = lstm(padded, lengths=[2, 7, 5, 1])
    for b, sequence in enumerate(sequences):
        alone, last = lstm(sequence)
        torch.testing.assert_close(output[: len(sequence), b], alone)
        torch.testing.assert_close(state[0][:, b], last[0])
        torch.testing.assert_close(state[1][:, b], last[1])
        assert not output[len(sequence) :, b].any()


@pytest.mark.parametrize("batch_first", [False, True])
def test_packed_sequence_as_torch_takes_it(batch_first):
    ours = LSTM(3, 20, 2, batch_first=batch_first, bidirectional=True)
    packed = pack_sequence([torch.randn(n, 3) for n in (2, 7, 5)], enforce_sorted=False)
    state = torch.randn(4, 3, 20), torch.randn(4, 3, 20)
    output, last = ours(packed, state)
    expected, (h, c) = ours.to_torch()(packed, state)
    for a, b in ((output.data, expected.data), (last[0], h), (last[1], c)):
        torch.testing.assert_close(a, b)
    assert all(torch.equal(a, b) for a, b in zip(output[1:], expected[1:], strict=True))


def test_batch_first_state_and_single_sequences():
    ours = LSTM(3, 20, batch_first=True)
    x, state = torch.randn(4, 6, 3), (torch.randn(1, 4, 20), torch.randn(1, 4, 20))
    for a, b in zip(ours(x, state)[1], ours.to_torch()(x, state)[1], strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(ours(x[0])[0], ours(x)[0][0])


@pytest.mark.parametrize(
    ("lengths", "message"),
    [([1, 0], "from 1 to T = 4"), ([5, 1], "from 1 to T = 4"), ([1], r"\[B\] = \[2\], got \[1\]")],
)
def test_wrong_lengths_are_refused(lengths, message):
    with pytest.raises(DataError, match=message):
        LSTM(3, 5)(torch.zeros(4, 2, 3), lengths=lengths)


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigError, match=r"hidden_dropout_kind must be step, variational or zoneout, got 'often'"):
        LSTM(3, 5, hidden_dropout_kind="often")
    with pytest.raises(ConfigError, match=r"precision must be fp32 or bf16, got 'fp8'"):
        LSTM(3, 5, precision="fp8")
    with pytest.raises(ConfigError, match="activation_checkpoint_steps must be at least 1, got 0"):
        LSTMClassifier(3, 5, 2, activation_checkpoint_steps=0)


@needs_kernel
def test_zero_gradients_and_unused_outputs():
    ours, exact = pair(3, 20, hidden_dropout=0.5)
    x, _, _ = data(ours, 5, 4)
    for pick in (lambda output, state: output[2].sum(), lambda output, state: state[1].sum()):
        gradients = []
        for lstm in (ours, exact):
            lstm.zero_grad()
            pick(*lstm(x.to(lstm.weight_ih_l0.dtype), rng=torch.Generator().manual_seed(1))).backward()
            gradients.append([parameter.grad for parameter in lstm.parameters()])
        assert max(relative(a, b) for a, b in zip(*gradients, strict=True) if b.any()) < 1e-4


@needs_kernel
def test_no_denormal_numbers_come_out_and_the_mode_is_restored():
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
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert not any(map(count_denormals, scales))
        lstm(torch.randn(50, 64, 2))  # enough for both threads
        assert (torch.full((1 << 20,), 1e-39) * 1.0).min() > 0
    finally:
        torch.set_num_threads(threads)


@needs_kernel
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck itself looks at it
def test_opcheck():
    weights = LSTM(3, 20).stacked_weights()[:4]
    x, h, c = torch.randn(5, 4, 3, requires_grad=True), torch.randn(4, 20, requires_grad=True), torch.zeros(4, 20)
    seed, lengths = torch.tensor(5), torch.tensor([5, 3, 1, 2])
    for save, precision in ((library.SAVE_ALL, "fp32"), (library.SAVE_ALL, "bf16"), (2, "fp32")):
        arguments = (x, h, c, *weights, lengths, seed, 0.5, "step", False, save, precision)
        torch.library.opcheck(ops.lstm_forward, arguments)
    no_grad = [weight.detach() for weight in weights]
    forward = (x.detach(), h.detach(), c, *no_grad, None, None, 0.0, "none", True, library.SAVE_ALL, "bf16")
    output, _, _, gates, cells = ops.lstm_forward(*forward)
    backward = (torch.ones_like(output), None, None, output, gates, cells, True, True, *forward)
    torch.library.opcheck(ops.lstm_backward, backward)


@needs_kernel
def test_compiles_without_a_graph_break():
    network = LSTMClassifier(3, 20, 4, hidden_dropout=0.5, bidirectional=True)
    x = torch.randn(6, 5, 3)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    results = []
    for model in (network, compiled):
        network.zero_grad()
        torch.manual_seed(0)
        with torch._dynamo.config.patch(allow_rnn=True):  # as for a model with torch's own layer
            logits = model(x)
        logits.square().sum().backward()
        results.append([logits.detach(), *(parameter.grad for parameter in network.parameters())])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


@needs_kernel
def test_second_derivatives_of_the_operator_are_refused_with_the_remedy():
    lstm = LSTM(2, 5)
    x = torch.randn(3, 2, 2, requires_grad=True)
    h, weights = torch.zeros(2, 5), lstm.stacked_weights()[:4]
    output, *_ = ops.lstm_forward(x, h, h, *weights, None, None, 0.0, "none", False, library.SAVE_ALL, "fp32")
    (gradient,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"no second derivatives .*; compute inside `with .*reference"):
        gradient.sum().backward()
    with kernel.reference():
        (gradient,) = torch.autograd.grad(lstm(x)[0].sum(), x, create_graph=True)
    gradient.sum().backward()
    assert x.grad.any()


@needs_kernel
def test_backward_twice_and_wanted_inputs_only():
    lstm = LSTM(2, 5)
    x = torch.randn(3, 2, 2, requires_grad=True)
    loss = lstm(x)[0].sum()
    first = torch.autograd.grad(loss, x, retain_graph=True)
    assert torch.equal(first[0], torch.autograd.grad(loss, x)[0])
    lstm.requires_grad_(requires_grad=False)
    lstm(x)[0].sum().backward()
    torch.testing.assert_close(x.grad, first[0])


def test_applies_only_to_float32_on_a_cpu():
    x = torch.zeros(1)
    assert kernel.applies(x) == kernel.available()
    assert not kernel.applies(x, x.double())
    assert not kernel.applies(x, x.to("meta"))
    with kernel.reference():
        assert not kernel.applies(x)
    with torch.autocast("cpu", torch.float16):
        assert not kernel.applies(x)
    with torch.autocast("cpu", torch.bfloat16):  # in which the kernel rounds the operands, too
        assert kernel.applies(x) == kernel.available()


# Compiling and the cache -------------------------------------------------------------------------------------------


def in_new_process(folder, **environment):
    """Run a small LSTM in a new process; return what it printed and its warnings."""
    script = (
        "import torch; from reviver.lstm import kernel; from reviver.lstm.layer import LSTM;"
        "torch.manual_seed(0); lstm = LSTM(2, 5, hidden_dropout=0.5); output, _ = lstm(torch.randn(3, 2, 2));"
        "print(kernel.available(), round(output.sum().item(), 4))"
    )
    environment = {**os.environ, "REVIVER_CACHE": str(folder), **environment}
    return subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def quick_compiler(monkeypatch):
    """Compile without optimization: what is cached does not matter, and compiling takes a third of the time."""
    monkeypatch.setenv("REVIVER_CXXFLAGS", "-O0")
    monkeypatch.setattr(library.KERNEL, "_variant", library.KERNEL._variant)  # later tests record it in their runs


@pytest.fixture(scope="module")
def compiled_cache(tmp_path_factory):
    """Return a cache with the kernel, compiled once for the tests that copy it."""
    folder = tmp_path_factory.mktemp("compiled") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REVIVER_CXXFLAGS", "-O0")
        patch.setattr(library.KERNEL, "_variant", library.KERNEL._variant)  # later tests record it in their runs
        library.KERNEL.build(folder)
    return folder


@pytest.fixture
def cache(compiled_cache, quick_compiler, tmp_path):
    """Return a private cache with the kernel."""
    return shutil.copytree(compiled_cache, tmp_path / "cache")


@needs_kernel
@pytest.mark.usefixtures("quick_compiler")
def test_cache_is_made_once_by_processes_that_start_at_once_and_mended_when_damaged(tmp_path):
    processes = [in_new_process(tmp_path / "cache") for _ in range(2)]
    outputs = [process.communicate() for process in processes]
    assert outputs[0] == outputs[1]
    assert outputs[0][0].startswith("True")
    assert outputs[0][1] == ""
    (compiled,) = (tmp_path / "cache").glob("*.so")
    assert not list((tmp_path / "cache").glob("build-*"))

    whole = compiled.read_bytes()
    compiled.write_bytes(whole[: len(whole) // 2])  # as a killed copy would leave it
    library.KERNEL.build(tmp_path / "cache")
    assert ctypes.CDLL(str(compiled)).reviver_lstm_call_size() == ctypes.sizeof(library.Call)
    written = compiled.stat().st_mtime_ns
    library.KERNEL.build(tmp_path / "cache")
    assert compiled.stat().st_mtime_ns == written


def test_without_a_compiler_one_line_and_the_same_results(tmp_path):
    processes = [in_new_process(tmp_path, CXX="no-such-compiler"), in_new_process(tmp_path, REVIVER_NATIVE="0")]
    (output, warnings), (expected, _) = [process.communicate() for process in processes]
    assert output.startswith("False")
    assert output == expected
    assert len(warnings.splitlines()) == 1
    assert "the native LSTM kernel is not available" in warnings
    if kernel.available():
        with_kernel, _ = in_new_process(cache_folder()).communicate()
        assert with_kernel.split() == ["True", output.split()[1]]


def test_a_compiler_that_fails_is_named(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("CXX", "false")
    monkeypatch.setenv("REVIVER_CACHE", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert library.KERNEL.find() is None
    (record,) = caplog.records
    assert "false failed: no message" in record.getMessage()


@needs_kernel
def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("REVIVER_CACHE", str(tmp_path / "file" / "cache"))
    with caplog.at_level(logging.WARNING):
        assert library.KERNEL.find() is None
    assert len(caplog.records) == 1


@needs_kernel
@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_cache_that_others_may_write_to_is_refused(mode, cache, monkeypatch, caplog):
    library.KERNEL.build(cache)
    cache.chmod(mode)
    monkeypatch.setenv("REVIVER_CACHE", str(cache))
    monkeypatch.setattr(library.KERNEL, "_load", None)
    with caplog.at_level(logging.WARNING):
        assert library.KERNEL.find() is None
    (record,) = caplog.records
    assert f"{cache} belongs to another user, or others can write to it" in record.getMessage()


@needs_kernel
def test_a_cache_of_another_user_is_refused(tmp_path, monkeypatch):
    assert is_private(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    is_roots = tmp_path.stat().st_uid == 0
    assert is_private(tmp_path) == is_roots
    if is_roots:  # then it can be given to another
        os.chown(tmp_path, 12345, -1)
    with pytest.raises(NativeError, match="belongs to another user"):
        library.KERNEL.build(tmp_path)


@needs_kernel
def test_a_library_that_others_may_have_written_is_recompiled(cache):
    (compiled,) = cache.glob("*.so")
    first = compiled.stat().st_ino
    library.KERNEL.build(cache)
    assert compiled.stat().st_ino == first, "an intact library is kept"
    assert compiled.stat().st_mode & 0o777 == 0o700
    compiled.chmod(0o777)
    library.KERNEL.build(cache)
    assert compiled.stat().st_ino != first
    assert compiled.stat().st_mode & 0o777 == 0o700
