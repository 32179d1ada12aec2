"""The LSTM's promises beyond torch.nn.LSTM: equations, names of weights, initialization, and dropout.

The oracles are torch.nn.LSTM in float64, the equations written out, and the statistics of masks.
"""

import copy
import itertools
import math
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from reviver import LSTM, LSTMClassifier, LSTMState, lstm_step
from reviver.errors import ConfigError, DataError
from reviver.recurrent import kernel
from reviver.recurrent.dropout import dropout_masks, row_keys, unit_bits
from reviver.recurrent.layers import chrono
from reviver.settings.lstm_network import DropoutKind

GATES = "ifco"
CLOSE = {"rtol": 1e-9, "atol": 1e-11}
SEED = torch.tensor(1234567)


def rng(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def results(lstm: nn.LSTM, x: Tensor, state: Any) -> list[Tensor]:
    """Output, final state, and the gradients of a loss on which every entry has another influence."""
    inputs = [tensor.to(x.dtype, copy=True).requires_grad_() for tensor in (x, *(state or ()))]
    prepared = [tensor.repeat_interleave(2, -1)[..., ::2] for tensor in inputs]  # not contiguous
    output, (h, c) = lstm(prepared[0], tuple(prepared[1:]) or None)
    loss = sum((torch.linspace(-1.0, 2.0, t.numel(), dtype=t.dtype).view(t.shape) * t).sum() for t in (output, h, c))
    return [output, h, c, *torch.autograd.grad(loss, [*inputs, *lstm.parameters()])]


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@given(
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 3)),
    options=st.fixed_dictionaries({name: st.booleans() for name in ("bidirectional", "batch_first", "bias")}),
    project=st.booleans(),
    steps=st.integers(1, 7),
    batch=st.none() | st.integers(1, 4),
    with_state=st.booleans(),
)
def test_outputs_states_and_all_gradients_equal_torchs_and_one_pass_equals_step_by_step(
    sizes: tuple[int, ...], options: dict[str, bool], project: bool, steps: int, batch: int | None, with_state: bool
) -> None:
    """The equations in float64, and whatever runs in float32."""
    generator = rng(steps)
    theirs = nn.LSTM(*sizes, **options, proj_size=sizes[1] // 2 * project, dtype=torch.float64)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(0.0, 0.7, generator=generator)
    ours, shape = LSTM.from_torch(theirs), [] if batch is None else [batch]
    depth, time = sizes[2] * ours.num_directions, 1 if ours.batch_first and batch else 0
    x = torch.randn(*([*shape, steps] if time else [steps, *shape]), sizes[0], dtype=torch.float64, generator=generator)
    state = None
    if with_state:
        state = [torch.randn(depth, *shape, n, generator=generator).double() for n in (ours.output_size, sizes[1])]
    expected = results(theirs, x, state)
    torch.testing.assert_close(results(ours.to_torch(), x, state), expected, **CLOSE)
    single, float32 = copy.deepcopy(ours).float(), results(copy.deepcopy(theirs).float(), x.float(), state)
    torch.testing.assert_close(results(single, x.float(), state), float32, rtol=1e-4, atol=1e-5)
    with kernel.reference():
        torch.testing.assert_close(results(ours, x, state), expected, **CLOSE)
        if not ours.bidirectional:
            parts = []
            for x_t in x.split(1, dim=time):
                part, state = ours(x_t, state)
                parts.append(part)
            torch.testing.assert_close([torch.cat(parts, dim=time), *state], expected[:3], **CLOSE)


@pytest.mark.parametrize("options", [{"proj_size": 4, "bias": False}, {}])
@pytest.mark.parametrize("kind", [None, *get_args(DropoutKind)])
def test_the_recurrence_by_hand_with_the_masks_read_off_the_output(kind: str | None, options: dict[str, Any]) -> None:
    p, steps, batch, H = 0.4 if kind else 0.0, 6, 5, 6
    P, zoneout = options.get("proj_size", H), kind == "zoneout"
    dropout = {"hidden_dropout": p, "hidden_dropout_kind": kind or "step"}
    lstm = LSTM(2, H, dtype=torch.float64, **options, **dropout)
    cell = lstm.gate_weights()
    x = torch.randn(steps, batch, 2, dtype=torch.float64)
    h, c = torch.randn(batch, P, dtype=torch.float64), torch.randn(batch, H, dtype=torch.float64)
    start = h[None], c[None]
    output, last = lstm(x, start, rng=rng())
    masks = []
    for t in range(steps):
        i, f, g, o = (
            x[t] @ getattr(cell, f"W_{gate}").T + h @ getattr(cell, f"U_{gate}").T + (getattr(cell, f"b_{gate}") if lstm.bias else 0)
            for gate in GATES
        )  # fmt: skip
        _, gates = lstm_step(x[t], LSTMState(h, c), cell)
        torch.testing.assert_close(tuple(gates), (i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()), **CLOSE)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        new = o.sigmoid() * c.tanh()
        new = new if cell.W_proj is None else new @ cell.W_proj.T
        drop = (output[t] == h) if zoneout else (output[t] == 0.0)  # [B, P]
        masks.append(drop)
        h = torch.where(drop, h if zoneout else 0.0, new if zoneout else new / (1 - p))
        torch.testing.assert_close(output[t], h, **CLOSE)
    torch.testing.assert_close(last, (h[None], c[None]), **CLOSE)
    dropped = torch.stack(masks).double()
    assert abs(dropped.mean() - p) <= 5 * math.sqrt(p * (1 - p) / dropped[0].numel())
    assert torch.equal(dropped[0], dropped[-1]) == (kind in (None, "variational"))
    plain = LSTM(2, H, dtype=torch.float64, **options)
    plain.load_state_dict(lstm.state_dict())
    expected = plain(x[:1], start)[0]  # in eval mode zoneout takes the mean
    torch.testing.assert_close(lstm.eval()(x[:1], start)[0], p * start[0] + (1 - p) * expected if zoneout else expected)


# Weights by name, initialization --------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"bias": False, "proj_size": 3}, {"single_bias": True}])
def test_the_names_of_the_equations_are_views_of_torchs_parameters(options: dict[str, object]) -> None:
    lstm = LSTM(2, 5, 2, bidirectional=True, **options)
    if lstm.bias and not lstm.options.single_bias:
        nn.init.normal_(lstm.bias_hh_l0)
    for name, value in lstm.gate_weights()._asdict().items():
        assert getattr(lstm, name) is None if value is None else torch.equal(getattr(lstm, name), value)
    assert torch.equal(lstm.stacked_weights().W, lstm.weight_ih_l0)
    for layer, reverse in itertools.product((0, 1), (False, True)):
        w, suffix = lstm.gate_weights(layer, reverse), f"l{layer}" + "_reverse" * reverse
        stacked = {"W": "weight_ih", "U": "weight_hh"} | ({"b": "bias_ih"} if lstm.bias else {})
        for (letter, name), (index, gate) in itertools.product(stacked.items(), enumerate(GATES)):
            view, rows = getattr(w, f"{letter}_{gate}"), slice(5 * index, 5 * index + 5)
            parameter = getattr(lstm, f"{name}_{suffix}")
            if letter == "b" and not lstm.options.single_bias:  # two biases count as their sum
                torch.testing.assert_close(view, (parameter + getattr(lstm, f"bias_hh_{suffix}"))[rows])
                continue
            with torch.no_grad():
                view.fill_(index)
            assert (parameter[rows] == index).all()


def test_a_single_bias_trains_one_and_keeps_torchs_names() -> None:
    theirs = nn.LSTM(3, 4, 2, bidirectional=True)
    ours = LSTM.from_torch(theirs, single_bias=True)
    assert set(ours.state_dict()) == set(theirs.state_dict())
    assert not any("bias_hh" in name for name, _ in ours.named_parameters())
    x = torch.randn(5, 2, 3)
    for lstm in (ours, theirs):
        lstm(x)[0].square().sum().backward()
    torch.testing.assert_close(ours.bias_ih_l1.grad, theirs.bias_ih_l1.grad)
    for lstm in (ours, ours.to_torch(), copy.deepcopy(ours)):
        torch.testing.assert_close(lstm(x)[0], theirs(x)[0])


def test_weights_start_uniform_over_xaviers_range_and_depend_on_the_generator() -> None:
    classifier, again, other = (LSTMClassifier(200, 300, 10, 2) for _ in range(3))
    for network, seed in ((classifier, 0), (again, 0), (other, 1)):
        network.reset_parameters(rng(seed))
    assert all(map(torch.equal, classifier.parameters(), again.parameters()))
    assert not torch.equal(classifier.lstm.U_o, other.lstm.U_o)
    cells = [classifier.lstm.gate_weights(layer) for layer in range(2)]
    matrices = [*cells[0][:8], *cells[1][:8], classifier.W_out]
    for matrix in (*matrices, LSTM(200, 300, proj_size=100).W_proj):
        counts = (matrix.detach() / math.sqrt(6 / sum(matrix.shape))).histc(10, -1.0, 1.0) / matrix.numel()
        assert ((counts - 0.1).abs() < 0.02).all()
        assert counts.sum() == pytest.approx(1.0), "none is beyond the range"
    assert len({matrix[0, 0].item() for matrix in matrices}) == len(matrices), "the matrices are drawn separately"
    assert not classifier.b_out.any()
    for w in cells:
        assert w.b_f.eq(1.0).all()
        assert not any(bias.any() for bias in (w.b_i, w.b_c, w.b_o))


def test_chrono_initialization_spreads_the_time_scales_of_every_cell_uniformly() -> None:
    """See Tallec & Ollivier (2018); the other weights stay."""
    lstm = LSTM(3, 2000, 2, bidirectional=True)
    before = [w.by_gate()._asdict() for w in copy.deepcopy(lstm).all_stacked_weights()]
    chrono(lstm, 1000, rng(0))
    for old, stacked in zip(before, lstm.all_stacked_weights(), strict=True):
        new = stacked.by_gate()._asdict()
        changed = [name for name, value in old.items() if value is not None and not torch.equal(value, new[name])]
        assert changed == ["b_i", "b_f"]
        assert torch.equal(new["b_i"], -new["b_f"])
        time_scales = new["b_f"].detach().exp()
        assert 1 <= time_scales.min() <= time_scales.max() <= 999.01
        assert (torch.histc(time_scales, 4, 1, 999) / 2000).tolist() == pytest.approx([0.25] * 4, abs=0.04)
    chrono(lstm, 2)  # the minimum length
    assert not any(w.by_gate().b_f.any() for w in lstm.all_stacked_weights()), "log U(1, 1) is 0"


# Dropout --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_masks_have_their_probability_their_mean_and_no_correlation(p: float) -> None:
    masks = dropout_masks(SEED, 50, 100, 100, p, "step")
    assert set(masks.unique().tolist()) == {0.0, 1 / (1 - p)}
    spread = math.sqrt(p * (1 - p))
    kept = (masks != 0).double() - (1 - p)
    assert abs(kept.mean()) < 5 * spread / math.sqrt(masks.numel())
    for axes in ((0, 1), (0, 2), (1, 2)):  # no unit, sequence or step is special
        means = kept.mean(axes)
        assert means.abs().max() < 5 * spread / math.sqrt(masks.numel() / len(means))
    for axis, lag in itertools.product(range(3), (1, 2, 16)):
        size = masks.shape[axis] - lag
        product = kept.narrow(axis, 0, size) * kept.narrow(axis, lag, size)
        assert abs(product.mean()) < 5 * spread**2 / math.sqrt(product.numel())


def test_known_bits() -> None:
    """SplitMix64's published first outputs from seed 1234567, and bits that must never change: runs are resumed with them."""
    keys = row_keys(SEED, torch.tensor(0), torch.arange(2))
    assert [key % 2**64 for key in keys.tolist()] == [6457827717110365317, 3203168211198807973]
    assert unit_bits(keys, torch.tensor(5)).tolist() == [3544763239, 255776611]


@pytest.mark.parametrize(
    "dropouts", [{"hidden_dropout": 0.5}, {"dropout": 0.5}, {"dropout": 0.5, "dtype": torch.float64}]
)
def test_masks_come_from_the_generator_or_from_torchs_own(dropouts: dict[str, Any]) -> None:
    lstm, x = LSTM(3, 8, 2, bidirectional=True, **dropouts), torch.randn(6, 4, 3, dtype=dropouts.get("dtype"))
    generator, before = rng(11), torch.get_rng_state()
    first, second = (lstm(x, rng=generator)[0] for _ in range(2))
    assert torch.equal(first, lstm(x, rng=rng(11))[0])
    assert not torch.equal(first, second), "a generator goes on, so the next call has other masks"
    assert torch.equal(torch.get_rng_state(), before), "torch's own generator is left alone"
    torch.manual_seed(1)
    first = lstm(x)[0]
    assert not torch.equal(lstm(x)[0], first)
    torch.manual_seed(1)
    assert torch.equal(lstm(x)[0], first)
    if "hidden_dropout" in dropouts:
        dropped = (LSTM(3, 40, bidirectional=True, **dropouts)(x)[0] == 0).double() - 0.5
        both = dropped[..., :40] * dropped[..., 40:]
        assert both.mean().abs() < 5 * 0.25 / math.sqrt(both.numel()), "the directions have masks of their own"


def test_an_option_that_is_assigned_takes_effect() -> None:
    lstm, classifier, x = LSTM(3, 8), LSTMClassifier(3, 8, 2), torch.randn(6, 4, 3)
    lstm.hidden_dropout = classifier.hidden_dropout = 0.9
    lstm.hidden_dropout_kind = "variational"
    assert (lstm.hidden_dropout, lstm.options.hidden_dropout_kind, classifier.hidden_dropout) == (
        0.9,
        "variational",
        0.9,
    )
    expected = LSTM.from_torch(lstm.to_torch(), hidden_dropout=0.9, hidden_dropout_kind="variational")
    assert torch.equal(lstm(x, rng=rng())[0], expected(x, rng=rng())[0])
    assert not torch.equal(classifier(x), classifier(x))
    classifier.hidden_dropout = 0.0
    assert torch.equal(classifier(x), classifier(x))


def test_dropout_between_layers_drops_what_the_upper_layer_reads() -> None:
    """The upper layer only adds up what it reads: its input gates are open, its forget gates closed, its candidates small."""
    p, hidden, scale = 0.4, 30, 1e-3
    lstm = LSTM(2, hidden, 2, dropout=p, dtype=torch.float64)
    upper = lstm.gate_weights(1)
    with torch.no_grad():
        for weight in upper[:8]:
            weight.zero_()
        upper.W_c.copy_(scale * torch.eye(hidden))
        lstm.bias_ih_l1.copy_(torch.tensor([50.0, -50.0, 0.0, 50.0]).repeat_interleave(hidden))
    x = torch.randn(8, 20, 2, dtype=torch.float64)
    lower = LSTM(2, hidden, dtype=torch.float64)
    lower.load_state_dict({name: value for name, value in lstm.state_dict().items() if "l0" in name})
    seen = lstm(x, rng=rng(4))[0].atanh().atanh() / scale  # what the upper layer read
    kept = seen.abs() > 1e-9
    assert abs(kept.double().mean() - (1 - p)) < 5 * math.sqrt(p * (1 - p) / kept.numel())
    torch.testing.assert_close(seen, kept * lower(x)[0] / (1 - p), rtol=1e-6, atol=1e-9)
    seen = lstm.eval()(x)[0].atanh().atanh() / scale
    torch.testing.assert_close(seen, lower(x)[0], rtol=1e-6, atol=1e-9)


# Lengths --------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("context", [nullcontext, kernel.reference])
@pytest.mark.parametrize("options", [{}, {"precision": "bf16"}, {"proj_size": 3}])
def test_lengths_equal_each_sequence_alone(context: Callable[[], Any], options: dict[str, Any]) -> None:
    """What is beyond the end of a sequence must not matter, not even a NaN."""
    lstm = LSTM(3, 20, 2, bidirectional=True, **options)
    sequences = [torch.randn(n, 3) for n in (2, 7, 5, 1)]
    padded = nn.utils.rnn.pad_sequence([*sequences, torch.zeros(9, 3)], padding_value=math.nan)[:, :4]
    with context():
        output, state = lstm(padded, lengths=[2, 7, 5, 1])
        gradients = torch.autograd.grad(output.sum(), lstm.parameters(), create_graph=True)
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert len(output) == 9
        for b, sequence in enumerate(sequences):
            alone, last = lstm(sequence)
            tolerance = {"rtol": 1e-2, "atol": 1e-2} if "precision" in options else {"rtol": 1e-4, "atol": 1e-5}
            torch.testing.assert_close(output[: len(sequence), b], alone, **tolerance)
            torch.testing.assert_close((state[0][:, b], state[1][:, b]), last, **tolerance)
            assert not output[len(sequence) :, b].any()


pad = partial(LSTM(3, 5), torch.zeros(4, 2, 3))
NO_ZONEOUT = r"^hidden_dropout_kind must be step or variational .* got 'zoneout'.*; keep .* or train without zoneout$"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (partial(LSTM, 2, 3, hidden_dropout=-0.1), ConfigError, "^hidden_dropout must be at least 0, got -0.1$"),
        (partial(LSTM, 2, 3, hidden_dropout=math.nan), ConfigError, "^hidden_dropout must be a finite number, got nan"),
        (partial(LSTM, 3, 5, hidden_dropout_kind="often"), ConfigError, "must be step, variational or zoneout, got"),
        (partial(LSTM, 3, 5, activation_checkpoint_steps=0), ConfigError, "_steps must be at least 1, got 0"),
        (partial(LSTMClassifier, 2, 3, 4, hiden_dropout=0.5), ConfigError, r"unknown; did you mean hidden_dropout\?$"),
        (LSTM(3, 4, hidden_dropout=0.1, hidden_dropout_kind="zoneout").to_torch, ConfigError, NO_ZONEOUT),
        (
            partial(setattr, LSTM(2, 3), "hidden_dropout", 1.5),
            ConfigError,
            "^hidden_dropout must be less than 1, got 1.5$",
        ),
        (
            partial(setattr, LSTM(2, 3), "single_bias", True),
            ConfigError,
            r"^single_bias must stay; .* by LSTM.from_torch\(lstm, ",
        ),
        (partial(pad, lengths=[5.0, 3.9]), DataError, "^lengths must be integers, got float32; round them"),
        (partial(pad, lengths=[1, 0]), DataError, r"1 to T = 4, got \[1, 0\]"),
        (partial(pad, lengths=[5, 1]), DataError, r"1 to T = 4, got \[5, 1\]"),
        (partial(pad, lengths=[1]), DataError, r"\[B\] = \[2\], got \[1\]"),
    ],
)
def test_wrong_values_are_refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
