"""The LSTM inside torch's transforms: right values through the kernel or the equations, chosen without the user's help."""

import copy
import io
import subprocess
import sys
from contextlib import nullcontext, suppress

import pytest
import torch
import torch._inductor.config
from torch import nn
from torch.autograd import forward_ad
from torch.func import (
    functional_call,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    stack_module_state,
    vjp,
    vmap,
)
from torch.utils.checkpoint import checkpoint

from reviver.errors import DataError
from reviver.lstm import kernel
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.kernel import ops
from reviver.lstm.layer import LSTM
from reviver.lstm.precision import bf16_linear, round_to_bf16

# torch warns of its own deprecated parts where its transforms and its compiler use them.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

needs_kernel = pytest.mark.skipif(not kernel.available(), reason="no native kernel on this machine")
kinds = pytest.mark.parametrize("kind", ["step", "variational", "zoneout"])


def rng(seed=3):
    return torch.Generator().manual_seed(seed)


def doubled(lstm):
    """The same network in float64, which only the equations compute."""
    return copy.deepcopy(lstm).double()


def parameters(module):
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def close(ours, exact, tolerance=1e-4):
    """Compare with float64, or bfloat16 with float32, relative to the largest number."""
    assert ours.shape == exact.shape
    assert (ours.double() - exact.double()).abs().max() <= tolerance * exact.double().abs().max().clamp_min(1e-6)


@pytest.fixture
def kernel_calls(monkeypatch):
    """Count the runs of the kernel."""
    calls = []
    run = ops.run
    monkeypatch.setattr(ops, "run", lambda *args, **kwargs: calls.append(1) or run(*args, **kwargs))
    return calls


# Second derivatives -------------------------------------------------------------------------------------------------


def gradient_penalty(lstm, x, h, c, lengths=None):
    """Differentiate the norm of a gradient; return the loss, the first and the second gradients."""
    dtype = next(lstm.parameters()).dtype
    x, h, c = inputs = [tensor.detach().to(dtype).requires_grad_() for tensor in (x, h, c)]
    weights = list(lstm.parameters())
    # Both states depend on x, too, which the gradient of the kernel's own x must leave out.
    output, state = lstm(x, (h + x.mean(), c * x.amax()), lengths, rng=rng())
    loss = output.square().sum() + state[0].sum() + (state[1] * output[0].mean()).sum()
    first = torch.autograd.grad(loss, [*inputs, *weights], create_graph=True)
    second = torch.autograd.grad(sum(gradient.square().sum() for gradient in first), [*inputs, *weights])
    return [loss.detach(), *(gradient.detach() for gradient in first), *second]


@needs_kernel
@kinds
@pytest.mark.parametrize("steps", [None, 2])
def test_second_derivatives_equal_those_of_the_equations_in_float64(kind, steps, kernel_calls):
    lstm = LSTM(
        3, 6, 2, bidirectional=True, hidden_dropout=0.4, hidden_dropout_kind=kind, activation_checkpoint_steps=steps
    )
    x, h, c = torch.randn(5, 4, 3), torch.randn(4, 4, 6), torch.randn(4, 4, 6)
    for lengths in (None, [5, 2, 1, 4]):
        ours = gradient_penalty(lstm, x, h, c, lengths)
        for a, b in zip(ours, gradient_penalty(doubled(lstm), x, h, c, lengths), strict=True):
            close(a, b)
    assert len(kernel_calls) == 2 * 4  # the outputs come from the kernel


@needs_kernel
def test_second_derivatives_of_bf16_round_the_same_operands():
    lstm = LSTM(3, 12, precision="bf16")
    arguments = torch.randn(4, 3, 3), torch.randn(1, 3, 12), torch.randn(1, 3, 12)
    ours = gradient_penalty(lstm, *arguments)
    with kernel.reference():
        expected = gradient_penalty(lstm, *arguments)
    for a, b in zip(ours, expected, strict=True):
        close(a, b, 1e-2)


@needs_kernel
@pytest.mark.parametrize("trains", [True, False])
def test_third_derivatives_of_a_part(trains):
    lstm = LSTM(2, 4).requires_grad_(requires_grad=trains)
    x = torch.randn(3, 2, 2)
    results = []
    for network in (lstm, doubled(lstm)):
        y = x.to(network.weight_ih_l0.dtype).requires_grad_()
        value = network(y)[1][1].sin().sum()  # of c after the last step only
        for _ in range(3):
            (gradient,) = torch.autograd.grad(value, y, create_graph=True)
            value = gradient.square().sum()
        results.append(gradient.detach())
    close(*results)


@needs_kernel
def test_a_first_gradient_without_create_graph_stays_in_the_kernel(monkeypatch):
    monkeypatch.setattr(ops, "_differentiable_gradients", None)
    LSTM(2, 4)(torch.randn(3, 2, 2))[0].sum().backward()


# torch.func ---------------------------------------------------------------------------------------------------------


def loss_of(module):
    """A loss as a function of the parameters and of a sequence x [T, I] or a batch [T, B, I]."""

    def loss(weights, x):
        return functional_call(module, weights, (x,))[0].square().sum()

    return loss


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradients_of_each_sample_equal_a_loop(precision):
    classifier = LSTMClassifier(3, 8, 4, bidirectional=True, precision=precision)
    weights, x, y = parameters(classifier), torch.randn(6, 5, 3), torch.tensor([0, 1, 2, 3, 0, 1])

    def loss(weights, x, y):
        return nn.functional.cross_entropy(functional_call(classifier, weights, (x[None],)), y[None])

    together = vmap(grad(loss), in_dims=(None, 0, 0))(weights, x, y)
    for index in range(len(x)):
        classifier.zero_grad()
        loss(dict(classifier.named_parameters()), x[index], y[index]).backward()
        for name, parameter in classifier.named_parameters():
            close(together[name][index], parameter.grad, 1e-4 if precision == "fp32" else 1e-2)


def test_jacobians_and_hessian():
    lstm = LSTM(2, 3)
    x, direction = torch.randn(3, 2, 2), torch.randn(3, 2, 2)
    exact, y = doubled(lstm), x.double()
    expected = torch.autograd.functional.jacobian(lambda x: exact(x)[0], y)
    for jacobian in (jacrev, jacfwd):
        close(jacobian(lambda x: lstm(x)[0])(x), expected)
    value, tangent = jvp(lambda x: lstm(x)[0], (x,), (direction,))
    close(value, exact(y)[0])
    close(tangent, (expected * direction.double()).sum((-3, -2, -1)))
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(lstm(forward_ad.make_dual(x, direction))[0])
    close(dual.tangent, tangent.double())
    _, pull = vjp(lambda x: lstm(x)[0], x)
    close(pull(torch.ones(3, 2, 3))[0], expected.sum((0, 1, 2)))
    second = torch.autograd.functional.hessian(lambda x: exact(x)[0].sin().sum(), y)
    close(hessian(lambda x: lstm(x)[0].sin().sum())(x), second)


@kinds
def test_vmap_draws_masks_as_its_randomness_asks(kind):
    lstm, x = LSTM(3, 20, 2, hidden_dropout=0.5, hidden_dropout_kind=kind), torch.randn(3, 2, 3).expand(8, 3, 2, 3)

    def call(x):
        return lstm(x)[0]

    same, different = vmap(call, randomness="same")(x), vmap(call, randomness="different")(x)
    assert all(torch.equal(same[0], output) for output in same)
    assert not any(torch.equal(different[0], output) for output in different[1:])
    torch.manual_seed(1)
    together = vmap(call, randomness="same")(x)
    torch.manual_seed(1)
    torch.testing.assert_close(together[3], call(x[3]))
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(call)(x)


def test_vmap_over_lengths():
    lstm, x = LSTM(3, 6, bidirectional=True), torch.randn(3, 5, 2, 3)
    lengths = torch.tensor([[1, 5], [3, 2], [4, 4]])
    output, last = vmap(lambda x, n: lstm(x, lengths=n))(x, lengths)
    for index in range(3):
        expected, state = lstm(x[index], lengths=lengths[index])
        torch.testing.assert_close(output[index], expected)
        torch.testing.assert_close(last[1][index], state[1])
    lengths[1, 1] = 6
    with pytest.raises(DataError, match="from 1 to T = 5"):
        vmap(lambda x, n: lstm(x, lengths=n))(x, lengths)


def test_an_ensemble_from_stacked_weights():
    networks = [LSTM(3, 6, 2) for _ in range(3)]
    weights, buffers = stack_module_state(networks)
    base = copy.deepcopy(networks[0]).to("meta")
    x = torch.randn(4, 2, 3)
    outputs = vmap(lambda w, b: functional_call(base, (w, b), (x,))[0], in_dims=(0, 0))(weights, buffers)
    for output, network in zip(outputs, networks, strict=True):
        torch.testing.assert_close(output, network(x)[0])


def test_bf16_linear_has_all_derivatives():
    x, W, direction, weights = torch.randn(4, 3), torch.randn(5, 3), torch.randn(4, 3), torch.randn(4, 5)
    assert torch.equal(bf16_linear(x, W), round_to_bf16(x) @ round_to_bf16(W).T)
    inputs = x.requires_grad_(), W.requires_grad_()
    grad_x, grad_W = torch.autograd.grad((bf16_linear(x, W) * weights).sum(), inputs, create_graph=True)
    torch.testing.assert_close(grad_x, round_to_bf16(weights) @ round_to_bf16(W))
    torch.testing.assert_close(grad_W, round_to_bf16(weights).T @ round_to_bf16(x))
    (second,) = torch.autograd.grad(grad_x.sum(), W)
    torch.testing.assert_close(second, round_to_bf16(weights).sum(0)[:, None].expand(5, 3))
    x, W = x.detach(), W.detach()
    _, tangent = jvp(lambda x: bf16_linear(x, W), (x,), (direction,))
    assert torch.equal(tangent, bf16_linear(direction, W))
    assert torch.equal(vmap(lambda x: bf16_linear(x[None], W)[0])(x), bf16_linear(x, W))
    with forward_ad.dual_level():
        both = bf16_linear(forward_ad.make_dual(x, direction), forward_ad.make_dual(W, W))
        torch.testing.assert_close(forward_ad.unpack_dual(both).tangent, bf16_linear(direction, W) + bf16_linear(x, W))


# Activation checkpointing and autocast ------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_sees_the_same_masks(kind, reentrant):
    lstm = LSTM(3, 20, 2, dropout=0.3, hidden_dropout=0.5, hidden_dropout_kind=kind)
    x = torch.randn(5, 4, 3, requires_grad=True)
    results = []
    for call in (lstm, lambda x: checkpoint(lstm, x, use_reentrant=reentrant)):
        lstm.zero_grad()
        torch.manual_seed(1)
        output, _ = call(x)
        torch.rand(7)  # the generator has moved on when the steps are recomputed
        gradients = torch.autograd.grad(output.square().sum(), x, retain_graph=True) if not reentrant else ()
        output.square().sum().backward()
        results.append([output.detach(), *gradients, *(parameter.grad for parameter in lstm.parameters())])
    assert all(map(torch.equal, *results))


def test_autocast_gives_the_dtypes_and_values_of_torch(kernel_calls):
    lstm = LSTM(3, 16, 2, bidirectional=True)
    reference, exact, x = lstm.to_torch(), doubled(lstm), torch.randn(5, 4, 3)
    for dtype, lengths in ((torch.bfloat16, None), (torch.bfloat16, [5, 2, 1, 4]), (torch.float16, None)):
        kernel_calls.clear()
        with torch.autocast("cpu", dtype):
            output, state = lstm(x, None, lengths)
            assert LSTM(3, 5, hidden_dropout=0.5, dtype=torch.float64)(x.double())[0].dtype == torch.float64
            if lengths is None and dtype == torch.bfloat16:  # many processors have no float16
                with suppress(RuntimeError):  # without AVX-512 torch's layer has no bfloat16
                    expected, hc = reference(x)
                    for ours, theirs in zip((output, *state), (expected, *hc), strict=True):
                        assert ours.dtype == theirs.dtype
                        close(ours, theirs, 2e-2)
        assert output.dtype == state[0].dtype == state[1].dtype == dtype
        exact_output, exact_state = exact(x.double(), None, lengths)
        close(output, exact_output, 1e-2)
        close(state[1], exact_state[1], 1e-2)
    assert not kernel_calls, "float16 is computed by the equations"


@needs_kernel
def test_autocast_runs_the_kernel_and_equals_the_equations(kernel_calls):
    lstm = LSTM(3, 16, hidden_dropout=0.5)
    x, results = torch.randn(5, 4, 3), []
    for context in (nullcontext(), kernel.reference()):
        lstm.zero_grad()
        with context, torch.autocast("cpu", torch.bfloat16):
            output, _ = lstm(x, rng=rng())
            loss = output.float().square().sum()
        loss.backward()
        results.append([output.detach(), *(parameter.grad for parameter in lstm.parameters())])
    assert len(kernel_calls) == 1
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype == (torch.bfloat16 if ours is results[0][0] else torch.float32)
        close(ours, theirs, 3e-2)
    assert torch.equal(results[0][0] == 0, results[1][0] == 0)


# Export -------------------------------------------------------------------------------------------------------------

DYNAMIC = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}


def exported(lstm, dtype=torch.float32):
    """Export with dynamic batch and time, save and load; the program consists of torch's own operators."""
    program = torch.export.export(lstm, (torch.randn(5, 4, 3, dtype=dtype),), dynamic_shapes=(DYNAMIC,))
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not any("reviver" in name for name in names)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file).module()


@pytest.mark.long
@pytest.mark.parametrize(
    "options",
    [
        {"bidirectional": True, "num_layers": 2, "precision": "bf16"},
        {"hidden_dropout": 0.3, "hidden_dropout_kind": "zoneout"},
        {"dtype": torch.float64, "batch_first": True},
    ],
    ids=["two layers and directions in bf16", "zoneout", "float64"],
)
def test_export_in_eval_mode_equals_the_layer(options):
    lstm, dtype = LSTM(3, 6, **options).eval(), options.get("dtype", torch.float32)
    with torch.no_grad():
        loaded = exported(lstm, dtype)
        for shape in ((5, 4, 3), (9, 2, 3), (2, 7, 3)):
            x = torch.randn(shape, dtype=dtype)
            (output, (h, c)), (expected, state) = loaded(x), lstm(x)
            tolerance = {"rtol": 1e-2, "atol": 1e-2} if "precision" in options else {}
            for ours, theirs in ((output, expected), (h, state[0]), (c, state[1])):
                torch.testing.assert_close(ours, theirs, **tolerance)


@pytest.mark.long
def test_export_of_a_classifier_with_lengths_runs_where_reviver_is_not(tmp_path):
    network = LSTMClassifier(3, 6, 4, bidirectional=True, pooling="mean").eval()
    x, lengths = torch.randn(4, 5, 3), torch.tensor([5, 2, 1, 4])
    torch.export.export(network, (x, lengths))  # with a static number of steps before a dynamic one
    program = torch.export.export(network, (x, lengths), dynamic_shapes=(DYNAMIC, {0: torch.export.Dim.DYNAMIC}))
    torch.export.save(program, tmp_path / "program.pt2")
    x, lengths = torch.randn(3, 8, 3), torch.tensor([8, 3, 6])
    torch.save((x, lengths, network(x, lengths).detach()), tmp_path / "expected.pt")
    script = (
        "import sys, torch; loaded = torch.export.load('program.pt2').module();"
        "x, lengths, expected = torch.load('expected.pt');"
        "torch.testing.assert_close(loaded(x, lengths), expected);"
        "assert not any(name.startswith('reviver') for name in sys.modules);"
        "lengths[0] = 9; loaded(x, lengths)"
    )
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "RuntimeError: lengths must be from 1 to T, the number of steps of x" in result.stderr, result.stderr


def test_export_in_training_samples_new_masks():
    lstm = LSTM(3, 40, hidden_dropout=0.5)
    loaded = exported(lstm)
    for shape in ((7, 3, 3), (2, 5, 3)):
        x = torch.randn(shape)
        torch.manual_seed(1)
        first, (h, c) = loaded(x)
        second, (_, _) = loaded(x)
        torch.manual_seed(1)
        torch.testing.assert_close((first, (h, c)), lstm(x))
        assert not torch.equal(first == 0, second == 0)


# Compilation --------------------------------------------------------------------------------------------------------


def train_and_compare(network, compiled, x, *rest):
    results = []
    for model in (network, compiled):
        network.zero_grad()
        inputs = x.clone().requires_grad_()
        torch.manual_seed(0)
        output = model(inputs, *rest)
        output = output if isinstance(output, torch.Tensor) else output[0]
        output.square().sum().backward()
        results.append([output.detach(), inputs.grad, *(parameter.grad for parameter in network.parameters())])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.fixture
def graphs():
    """Collect the graphs that torch.compile makes, of LSTMs too; random numbers are those of eager mode."""
    torch._dynamo.reset()
    found = []

    def backend(graph, inputs):
        found.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    found.append(backend)
    with torch._inductor.config.patch(fallback_random=True), torch._dynamo.config.patch(allow_rnn=True):
        yield found
    torch._dynamo.reset()


@needs_kernel
@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # of torch's own, which differ between its versions
def test_inductor_compiles_training_in_one_graph(graphs):
    network = LSTMClassifier(3, 16, 4, num_layers=2, dropout=0.2, hidden_dropout=0.5, bidirectional=True)
    compiled = torch.compile(network, fullgraph=True)
    train_and_compare(network, compiled, torch.randn(4, 5, 3))
    network.eval()
    x = torch.randn(4, 5, 3)
    torch.testing.assert_close(compiled(x), network(x))


@needs_kernel
def test_compilation_makes_one_graph_for_all_shapes_and_checks_lengths_when_it_runs(graphs):
    network, backend = LSTM(3, 8, 2, hidden_dropout=0.5, hidden_dropout_kind="variational"), graphs.pop()
    compiled = torch.compile(network, fullgraph=True, dynamic=True, backend=backend)
    counts = []
    for shape in ((5, 4, 3), (6, 4, 3), (7, 9, 3), (5, 2, 3), (11, 3, 3)):
        lengths = torch.arange(shape[1]) % shape[0] + 1
        train_and_compare(network, compiled, torch.randn(shape), None, lengths)
        counts.append(len(graphs))
    assert len(set(counts)) == 1
    assert sum("reviver" in str(node.target) for node in graphs[-1].graph.nodes) == 2  # a node per layer
    with pytest.raises((RuntimeError, DataError), match="lengths must be from 1 to T"):
        compiled(torch.randn(2, 3, 3), None, lengths)


@pytest.mark.filterwarnings("ignore")
def test_compilation_of_transforms_and_of_the_equations(graphs):
    lstm = LSTM(3, 6)
    weights, x = parameters(lstm), torch.randn(4, 5, 3)
    per_sample = vmap(grad(loss_of(lstm)), in_dims=(None, 0))
    compiled = torch.compile(per_sample, fullgraph=True, backend=graphs[0])
    for name, gradient in compiled(weights, x).items():
        torch.testing.assert_close(gradient, per_sample(weights, x)[name])
    with kernel.reference():
        network = LSTM(3, 6, hidden_dropout=0.5)
        train_and_compare(network, torch.compile(network, fullgraph=True, backend=graphs[0]), x)


@needs_kernel
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # Dynamo itself looks at it
def test_compilation_leaves_the_layer_between_two_graphs_as_it_does_torchs(graphs):
    network = LSTMClassifier(3, 6, 2)
    with torch._dynamo.config.patch(allow_rnn=False):
        train_and_compare(network, torch.compile(network, backend=graphs[0]), torch.randn(4, 5, 3))


# Other machinery ----------------------------------------------------------------------------------------------------


class Named(torch.Tensor):
    """A tensor of a subclass that nobody but the test knows."""


def test_unknown_subclasses_take_the_equations(kernel_calls):
    lstm, x = LSTM(3, 6), torch.randn(4, 2, 3)
    output, _ = lstm(x.as_subclass(Named))
    assert type(output) is Named
    assert not kernel_calls
    torch.testing.assert_close(output.as_subclass(torch.Tensor), lstm(x)[0])


@needs_kernel
def test_dispatch_modes_see_the_operator():
    from torch.utils._python_dispatch import TorchDispatchMode

    seen = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    lstm, x = LSTM(3, 6), torch.randn(4, 2, 3)
    expected = lstm(x)[0]
    with Recorder():
        output, _ = lstm(x)
    assert torch.equal(output, expected)
    assert "reviver.lstm_forward.default" in seen
