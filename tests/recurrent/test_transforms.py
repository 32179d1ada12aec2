"""The LSTM inside torch's transforms: right values through the kernel or the equations, chosen without the user's help."""

import copy
import io
from contextlib import suppress

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vjp, vmap
from torch.utils.checkpoint import checkpoint

from reviver.errors import DataError
from reviver.recurrent import kernel, native_pass
from reviver.recurrent.classifier import LSTMClassifier
from reviver.recurrent.lstm import LSTM

# torch warns of its own deprecated parts where its transforms and its compiler use them.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.torch.jit.script. is:FutureWarning")

needs_kernel = pytest.mark.skipif(not kernel.available(), reason="no native kernel on this machine")


def rng(seed=3):
    return torch.Generator().manual_seed(seed)


def doubled(lstm):
    """The same network in float64, which only the equations compute."""
    return copy.deepcopy(lstm).double()


def close(ours, exact, tolerance=1e-4):
    """Compare with float64, or bfloat16 with float32, relative to the largest number."""
    assert ours.shape == exact.shape
    assert (ours.double() - exact.double()).abs().max() <= tolerance * exact.double().abs().max().clamp_min(1e-6)


@pytest.fixture
def kernel_calls(monkeypatch):
    """Count the runs of the kernel."""
    calls = []
    run = native_pass.forward
    monkeypatch.setattr(native_pass, "forward", lambda *args, **kwargs: calls.append(1) or run(*args, **kwargs))
    return calls


# Second derivatives -------------------------------------------------------------------------------------------------


def gradient_penalty(lstm, x, h, c, lengths=None):
    """Differentiate the norm of a gradient; return the loss, the first and the second gradients."""
    dtype = next(lstm.parameters()).dtype
    x, h, c = inputs = [nn.Parameter(tensor.detach().to(dtype)) for tensor in (x, h, c)]
    weights = list(lstm.parameters())
    # Both states depend on x, too, which the gradient of the kernel's own x must leave out.
    output, state = lstm(x, (h + x.mean(), c * x.amax()), lengths, rng=rng())
    loss = output.square().sum() + state[0].sum() + (state[1] * output[0].mean()).sum()
    first = torch.autograd.grad(loss, [*inputs, *weights], create_graph=True)
    second = torch.autograd.grad(sum(gradient.square().sum() for gradient in first), [*inputs, *weights])
    return [loss.detach(), *(gradient.detach() for gradient in first), *second]


@needs_kernel
@pytest.mark.parametrize(
    ("kind", "steps", "precision"),
    [("step", None, "fp32"), ("variational", 2, "fp32"), ("zoneout", None, "fp32"), ("step", 2, "bf16")],
)
def test_second_derivatives_equal_those_of_the_equations(kind, steps, precision, kernel_calls):
    """In float64, or with operands rounded to bfloat16."""
    options = {"hidden_dropout": 0.4, "hidden_dropout_kind": kind, "activation_checkpoint_steps": steps}
    lstm = LSTM(3, 6, 2, bidirectional=True, precision=precision, **options)
    x, h, c = torch.randn(5, 4, 3), torch.randn(4, 4, 6), torch.randn(4, 4, 6)
    for lengths in (None, [5, 2, 1, 4]):
        ours = gradient_penalty(lstm, x, h, c, lengths)
        with kernel.reference():
            expected = gradient_penalty(doubled(lstm) if precision == "fp32" else lstm, x, h, c, lengths)
        for a, b in zip(ours, expected, strict=True):
            close(a, b, 1e-4 if precision == "fp32" else 1e-2)
    assert len(kernel_calls) == 2 * 4  # the outputs come from the kernel


# torch.func ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradients_of_each_sample_equal_a_loop(precision):
    classifier = LSTMClassifier(3, 8, 4, bidirectional=True, precision=precision)
    weights = {name: parameter.detach() for name, parameter in classifier.named_parameters()}
    x, y = torch.randn(6, 5, 3), torch.tensor([0, 1, 2, 3, 0, 1])

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
    for vectorize in (False, True):  # by batches of gradients
        close(torch.autograd.functional.jacobian(lambda x: lstm(x)[0], x, vectorize=vectorize), expected)
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


def test_vmap_draws_masks_as_its_randomness_asks():
    lstm, x = LSTM(3, 20, 2, hidden_dropout=0.5), torch.randn(3, 2, 3).expand(8, 3, 2, 3)

    def call(x):
        return lstm(x)[0]

    different = vmap(call, randomness="different")(x)
    assert not any(torch.equal(different[0], output) for output in different[1:])
    torch.manual_seed(1)
    same = vmap(call, randomness="same")(x)
    assert all(torch.equal(same[0], output) for output in same)
    torch.manual_seed(1)
    torch.testing.assert_close(same[3], call(x[3]))
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(call)(x)


def test_vmap_over_lengths_and_over_stacked_weights():
    networks = [LSTM(3, 6, bidirectional=True) for _ in range(3)]
    weights, buffers = stack_module_state(networks)
    base = copy.deepcopy(networks[0]).to("meta")
    x, lengths = torch.randn(3, 5, 2, 3), torch.tensor([[1, 5], [3, 2], [4, 4]])
    together = vmap(lambda w, b, x, n: functional_call(base, (w, b), (x, None, n)))
    output, last = together(weights, buffers, x, lengths)
    for index, network in enumerate(networks):
        expected, state = network(x[index], lengths=lengths[index])
        torch.testing.assert_close(output[index], expected)
        torch.testing.assert_close(last[1][index], state[1])
    lengths[1, 1] = 6
    with pytest.raises(DataError, match="from 1 to T = 5"):
        together(weights, buffers, x, lengths)


# Activation checkpointing and autocast ------------------------------------------------------------------------------


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_sees_the_same_masks(reentrant):
    lstm = LSTM(3, 20, 2, dropout=0.3, hidden_dropout=0.5)
    x = torch.randn(5, 4, 3, requires_grad=True)
    results = []
    for call in (lstm, lambda x: checkpoint(lstm, x, use_reentrant=reentrant)):
        lstm.zero_grad()
        x.grad = None
        torch.manual_seed(1)
        output, _ = call(x)
        torch.rand(7)  # the generator has moved on when the steps are recomputed
        output.square().sum().backward()
        results.append([output.detach(), x.grad, *(parameter.grad for parameter in lstm.parameters())])
    assert all(map(torch.equal, *results))


def test_autocast_gives_the_dtypes_and_values_of_torch(kernel_calls):
    lstm = LSTM(3, 16, 2, bidirectional=True)
    reference, exact, x = lstm.to_torch(), doubled(lstm), torch.randn(5, 4, 3)
    for dtype, lengths in ((torch.bfloat16, None), (torch.bfloat16, [5, 2, 1, 4]), (torch.float16, None)):
        kernel_calls.clear()
        with torch.autocast("cpu", dtype):
            zeros = torch.zeros(4, 4, 16, dtype=dtype)
            output, state = lstm(x.to(dtype), (zeros, zeros), lengths)
            assert LSTM(3, 5, precision="bf16")(x.to(dtype))[0].dtype == dtype
            assert LSTM(3, 5, hidden_dropout=0.5, dtype=torch.float64)(x.double())[0].dtype == torch.float64
            with pytest.raises(RuntimeError):  # nothing is narrowed in silence, as in torch
                lstm(x.double())
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
        pairs = (output, lstm), (exact_output, exact)
        gradients = [torch.autograd.grad(o.double().square().sum(), n.weight_hh_l0)[0] for o, n in pairs]
        assert gradients[0].dtype == torch.float32
        close(*gradients, 3e-2)
        by_kernel = dtype == torch.bfloat16 and not torch.cpu._is_amx_tile_supported()  # float16 by the equations
        assert (len(kernel_calls) > 1) == by_kernel


# Export and compilation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "training"),
    [
        ({"hidden_dropout": 0.3, "hidden_dropout_kind": "zoneout"}, False),
        pytest.param({"hidden_dropout": 0.5}, True, marks=pytest.mark.long),
        pytest.param({"bidirectional": True, "num_layers": 2, "precision": "bf16"}, False, marks=pytest.mark.long),
    ],
    ids=["zoneout", "in training", "two layers and directions in bf16"],
)
def test_an_exported_program_equals_the_layer_at_other_lengths_and_checks_them(options, training):
    """It consists of torch's own operators, is saved and loaded, and in training samples new masks."""
    lstm, example = LSTM(3, 40, **options).train(training), (torch.randn(5, 4, 3), None, torch.tensor([5, 2, 1, 4]))
    DYNAMIC = torch.export.Dim.DYNAMIC
    program = torch.export.export(lstm, example, dynamic_shapes=({0: DYNAMIC, 1: DYNAMIC}, None, {0: DYNAMIC}))
    assert not any("reviver" in str(node.target) for node in program.graph.nodes if node.op == "call_function")
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    x, lengths = torch.randn(9, 3, 3), torch.tensor([9, 3, 6])
    torch.manual_seed(1)
    output, state = loaded(x, None, lengths)
    assert training != torch.equal(output == 0, loaded(x, None, lengths)[0] == 0)
    torch.manual_seed(1)
    tolerance = {"rtol": 1e-2, "atol": 1e-2} if "precision" in options else {}
    torch.testing.assert_close((output, tuple(state)), lstm(x, None, lengths), **tolerance)
    with pytest.raises(RuntimeError, match="lengths must be from 1 to T, the number of steps of x"):
        loaded(x, None, lengths + 1)


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
    torch.testing.assert_close(*results)


@pytest.fixture
def graphs():
    """Collect the graphs that torch.compile makes, of LSTMs too; random numbers are those of eager mode."""
    from torch._inductor import config  # takes a second, and only these tests need it

    torch._dynamo.reset()
    found = []

    def backend(graph, inputs):
        found.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    found.append(backend)
    with config.patch(fallback_random=True), torch._dynamo.config.patch(allow_rnn=True):
        yield found
    torch._dynamo.reset()


@needs_kernel
@pytest.mark.filterwarnings("ignore")  # of torch's own, which differ between its versions
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.long)])
def test_compiled_training_equals_the_layer_or_leaves_it_between_two_graphs_as_torchs(backend, graphs):
    network = LSTMClassifier(3, 16, 4, num_layers=2, dropout=0.2, hidden_dropout=0.5, bidirectional=True)
    x = torch.randn(4, 5, 3)
    if backend == "inductor":
        train_and_compare(network, torch.compile(network, fullgraph=True), x)
    with torch._dynamo.config.patch(allow_rnn=False):
        train_and_compare(network, torch.compile(network, backend=backend), x)


@needs_kernel
def test_compilation_makes_one_graph_for_all_shapes_and_checks_lengths_when_it_runs(graphs):
    network, backend = LSTM(3, 8, 2, hidden_dropout=0.5, hidden_dropout_kind="variational"), graphs.pop()
    compiled = torch.compile(network, fullgraph=True, dynamic=True, backend=backend)
    counts = []
    for shape in ((5, 4, 3), (7, 9, 3), (11, 3, 3)):
        lengths = torch.arange(shape[1]) % shape[0] + 1
        train_and_compare(network, compiled, torch.randn(shape), None, lengths)
        counts.append(len(graphs))
    assert len(set(counts)) == 1
    assert sum("reviver" in str(node.target) for node in graphs[-1].graph.nodes) == 2  # a node per layer
    with pytest.raises((RuntimeError, DataError), match="lengths must be from 1 to T"):
        compiled(torch.randn(2, 3, 3), None, lengths)


def test_unknown_subclasses_take_the_equations(kernel_calls):
    named, lstm, x = type("Named", (torch.Tensor,), {}), LSTM(3, 6), torch.randn(4, 2, 3)
    output, _ = lstm(x.as_subclass(named))
    assert type(output) is named
    assert not kernel_calls
    torch.testing.assert_close(output.as_subclass(torch.Tensor), lstm(x)[0])
