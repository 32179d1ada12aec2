"""The native pass against the text stepped in float64 with autograd, which knows no plan and no derivative of ours."""

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reviver import RNN
from reviver.recurrent import kernel, native_pass, reference
from reviver.recurrent.grammar import load_cell, parse
from reviver.settings.lstm_network import CELLS, LSTMOptions

pytestmark = pytest.mark.skipif(not kernel.available(), reason="no native kernel on this machine")


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
):
    """Assert that outputs, last states and gradients of everything are those of the text in float64."""
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
    options = LSTMOptions(hidden_dropout=p, hidden_dropout_kind=kind, activation_checkpoint_steps=save)
    found = []
    for dtype in (torch.float64, torch.float32):

        def leaf(tensor, dtype=dtype):
            return tensor.to(dtype).requires_grad_()

        inputs = {"x": leaf(x), **{f"start {name}": leaf(value) for name, value in start.items()}}
        inputs |= {name: leaf(weight) for name, weight in weights.items()}
        states = [inputs[f"start {name}"] for name in cell.states]
        of_seed = None if seed is None else torch.tensor(seed)
        arguments = inputs["x"], states, lengths, options, of_seed, reverse
        run = reference.unroll if dtype == torch.float64 else native_pass.run
        output, after = run(cell, cell.weights, [inputs[name] for name in cell.weights], *arguments)
        last = dict(zip(cell.states, after, strict=True))
        loss = (output * grad_output.to(dtype)).sum()
        loss = loss + sum((last[name] * grad_states[name].to(dtype)).sum() for name in cell.states)
        gradients = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True)
        found.append(({"output": output, **last}, dict(zip(inputs, gradients, strict=True))))
    (exact, exact_gradients), (ours, our_gradients) = found
    for name, value in exact.items():
        assert relative(ours[name], value) < 1e-5, name
    floor = max(gradient.abs().max().item() for gradient in exact_gradients.values() if gradient is not None)
    for name, gradient in exact_gradients.items():
        ours_or_zero = torch.zeros(()) if our_gradients[name] is None else our_gradients[name]
        exact_or_zero = torch.zeros((), dtype=torch.float64) if gradient is None else gradient
        assert relative(ours_or_zero, exact_or_zero, max(floor / 100, 0.1)) < 1e-4, name


def relative(ours, exact, floor=1.0):
    return ((ours.double() - exact).abs().max() / exact.abs().max().clamp_min(floor)).item()


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
    ],
    ids=str,
)
def test_built_in_texts(name, case):
    compare(load_cell(name), **case)


@pytest.mark.parametrize("name", ["lstm", "gru", "peephole"])
def test_bf16_rounds_the_operands_of_products_as_the_equations_do(name):
    found = []
    for native in (True, False):
        layer = RNN(name, 7, 40, hidden_dropout=0.3, precision="bf16")
        layer.reset_parameters(torch.Generator().manual_seed(1))
        rng = torch.Generator().manual_seed(2)
        x = torch.randn(9, 21, 7, generator=rng).requires_grad_()
        with nullcontext() if native else kernel.reference():
            output, _ = layer(x, lengths=torch.arange(21) % 9 + 1, rng=rng)
            output.square().sum().backward()
        found.append([output.detach(), x.grad, *(parameter.grad for parameter in layer.parameters())])
    layer.precision = "fp32"
    torch.randn(9, 21, 7, generator=rng.manual_seed(2))  # the same masks
    exact, _ = layer(x, lengths=torch.arange(21) % 9 + 1, rng=rng)
    for ours, equations in zip(*found, strict=True):
        assert relative(ours, equations.double(), floor=0.1) < 0.01
    assert relative(found[0][0], found[1][0].double()) < relative(exact, found[1][0].double())


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
