"""Code written for torch.nn.LSTM works on LSTM: patterns of well-known libraries, with nn.LSTM as the reference.

The patterns are those of d2l.ai, AllenNLP, stanza, AWD-LSTM, skorch and torch's own tools, written out in few lines.

Shapes: B batch, T time, I input size, H hidden size.
"""

import copy
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from reviver import LSTM

CLOSE = {"rtol": 1e-4, "atol": 1e-6}
Network = LSTM | nn.LSTM
every_dropout = pytest.mark.parametrize("p", [0.0, 0.5])
every_shape = pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=["plain", "deep"])


def twins(*args: Any, hidden_dropout: float = 0.0, **options: Any) -> tuple[LSTM, nn.LSTM]:
    """An LSTM and a torch.nn.LSTM with equal weights, the biases random as the others."""
    theirs = nn.LSTM(*args, **options)
    ours = LSTM(*args, hidden_dropout=hidden_dropout, **options)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def assert_equal(ours: Any, theirs: Any, **tolerance: float) -> None:
    """Two results are close: tensors, packed sequences, and tuples of them."""
    if isinstance(theirs, PackedSequence):
        assert isinstance(ours, PackedSequence)
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_equal(one, other, **tolerance)
    elif theirs is not None:
        torch.testing.assert_close(ours, theirs, **(CLOSE | tolerance))


def gradients(module: nn.Module) -> dict[str, Tensor | None]:
    return {name: parameter.grad for name, parameter in module.named_parameters()}


def assert_same_gradients(ours: nn.Module, theirs: nn.Module) -> None:
    found, expected = gradients(ours), gradients(theirs)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (found[name] is None) == (gradient is None), name
        assert_equal(found[name], gradient, atol=1e-5)


def assert_uses(lstm: LSTM, weights: dict[str, Tensor], x: Tensor, p: float) -> None:
    """The layer computes with these weights by torch's names, in training with the same dropout masks.

    Without dropout the reference is nn.LSTM; with it, a new layer into which the weights are loaded.
    """
    names = ("hidden_size", "num_layers", "batch_first", "bidirectional")
    options = {name: getattr(lstm, name) for name in names}
    for training in (True, False):
        plain: Network = nn.LSTM(lstm.input_size, **options)
        if training and p > 0.0:
            plain = LSTM(lstm.input_size, hidden_dropout=p, **options)
        plain.load_state_dict({name: value.detach() for name, value in weights.items()})
        torch.manual_seed(3)
        expected = plain.train(training)(x)
        torch.manual_seed(3)
        assert_equal(lstm.train(training)(x), expected)
    lstm.train()


# Asking for the class ------------------------------------------------------------------------------------------------


class LanguageModel(nn.Module):
    """The model of chapter 9 of d2l.ai: it asks for the class to know which state the network has."""

    def __init__(self, rnn: nn.RNNBase, words: int):
        super().__init__()
        self.rnn, self.words = rnn, words
        self.directions = 2 if rnn.bidirectional else 1
        self.decoder = nn.Linear(self.directions * rnn.hidden_size, words)

    def begin_state(self, batch: int) -> Any:
        zeros = torch.zeros(self.directions * self.rnn.num_layers, batch, self.rnn.hidden_size)
        return (zeros, zeros.clone()) if isinstance(self.rnn, nn.LSTM) else zeros

    def forward(self, words: Tensor, state: Any) -> tuple[Tensor, Any]:
        output, state = self.rnn(functional.one_hot(words.T, self.words).float(), state)
        return self.decoder(output.flatten(0, 1)), state


class LastStateClassifier(nn.Module):
    """A classifier for all kinds of recurrent networks, which has to know that an LSTM returns h and c."""

    def __init__(self, rnn: nn.RNNBase, classes: int):
        super().__init__()
        self.rnn, self.linear = rnn, nn.Linear(rnn.hidden_size, classes)

    def forward(self, x: Tensor) -> Tensor:
        _, hidden = self.rnn(x)
        return self.linear(hidden[0][-1] if isinstance(self.rnn, nn.LSTM) else hidden[-1])


@every_shape
def test_a_model_that_asks_for_the_class_gets_its_states(options: dict[str, Any]) -> None:
    ours, theirs = twins(7, 5, **options)
    one, other = LanguageModel(ours, 7), LanguageModel(theirs, 7)
    other.load_state_dict(one.state_dict())
    words = torch.randint(7, (4, 6))
    results = []
    for model in (one, other):
        state = model.begin_state(4)
        for _ in range(2):  # the state of a minibatch starts the next, detached
            logits, state = model(words, tuple(part.detach() for part in state))
        functional.cross_entropy(logits, words.T.flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        results.append((logits, state))
    assert_equal(*results)
    assert_same_gradients(one, other)


def test_the_last_state_is_h_and_not_c() -> None:
    one, other = (LastStateClassifier(lstm, 3) for lstm in twins(4, 5, num_layers=2))
    other.load_state_dict(one.state_dict())
    x = torch.randn(6, 3, 4)
    assert_equal(one(x), other(x))


def test_states_are_plain_tuples_and_inherited_methods_take_them() -> None:
    ours, _ = twins(4, 5)
    x = torch.randn(6, 3, 4)
    _, state = ours(x)
    assert type(state) is tuple
    assert isinstance(ours, nn.LSTM)
    assert isinstance(ours, nn.RNNBase)
    assert ours.mode == "LSTM"
    ours.check_forward_args(x, state, None)
    ours.flatten_parameters()


# Packed sequences ----------------------------------------------------------------------------------------------------


class SequenceEncoder(nn.Module):
    """AllenNLP's wrapper: sort by length, pack, run, unpack, restore the order; states carry over if stateful."""

    def __init__(self, rnn: nn.RNNBase, stateful: bool):
        super().__init__()
        self.rnn, self.stateful = rnn, stateful
        self.states: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        lengths, order = mask.sum(1).sort(descending=True)
        restore = order.argsort()
        packed = pack_padded_sequence(x[order], lengths, batch_first=True)
        states = None
        if self.stateful and self.states is not None:
            states = tuple(state[:, order].contiguous() for state in self.states)
        packed, last = self.rnn(packed, states)
        if self.stateful:
            self.states = tuple(state[:, restore].detach() for state in last)
        output, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
        return output[restore]


class PackedEncoder(nn.Module):
    """stanza's: accepts padded batches with lengths and packed ones, and starts from learned states."""

    def __init__(self, rnn: nn.RNNBase):
        super().__init__()
        self.rnn = rnn
        depth = rnn.num_layers * (2 if rnn.bidirectional else 1)
        self.h = nn.Parameter(torch.linspace(-1, 1, depth * rnn.hidden_size).view(depth, 1, -1))
        self.c = nn.Parameter(torch.linspace(2, -1, depth * rnn.hidden_size).view(depth, 1, -1))

    def forward(self, x: Tensor | PackedSequence, lengths: Tensor | None = None) -> Any:
        was_packed = isinstance(x, PackedSequence)
        if not was_packed:
            x = pack_padded_sequence(x, lengths, batch_first=True)
        batch = int(x.batch_sizes[0])
        start = (self.h.expand(-1, batch, -1).contiguous(), self.c.expand(-1, batch, -1).contiguous())
        output, last = self.rnn(x, start)
        return (output if was_packed else pad_packed_sequence(output, batch_first=True)[0]), last


@every_shape
@pytest.mark.parametrize("stateful", [False, True])
def test_a_wrapper_that_sorts_by_length(stateful: bool, options: dict[str, Any]) -> None:
    one, other = (SequenceEncoder(lstm, stateful) for lstm in twins(4, 5, batch_first=True, **options))
    for _ in range(3):
        x, lengths = torch.randn(32, 6, 4), torch.randint(1, 7, (32,))
        mask = torch.arange(6) < lengths[:, None]
        output, expected = one(x, mask), other(x, mask)
        assert_equal(output, expected)
        output.square().sum().backward()
        expected.square().sum().backward()
    assert_same_gradients(one, other)
    assert_equal(one.states, other.states)


@every_shape
def test_a_wrapper_that_packs_what_is_padded(options: dict[str, Any]) -> None:
    one, other = (PackedEncoder(lstm) for lstm in twins(4, 5, batch_first=True, **options))
    x, lengths = torch.randn(32, 6, 4), torch.randint(1, 7, (32,)).sort(descending=True).values
    output, last = one(x, lengths)
    expected, their_last = other(x, lengths)
    assert_equal((output, last), (expected, their_last))
    packed = pack_padded_sequence(x, lengths, batch_first=True)
    assert_equal(one(packed), other(packed))
    (output.square().sum() + last[1].sum()).backward()
    (expected.square().sum() + their_last[1].sum()).backward()
    assert_same_gradients(one, other)


class Tagger(nn.Module):
    """Labels each step of packed sequences by what came before."""

    def __init__(self, lstm: Network):
        super().__init__()
        self.lstm, self.linear = lstm, nn.Linear(lstm.hidden_size, 2)

    def forward(self, packed: PackedSequence) -> Tensor:
        return self.linear(self.lstm(packed)[0].data)


@every_dropout
def test_a_tagger_learns_from_packed_batches(p: float) -> None:
    """The label of a step is whether the last nonzero input was positive, and ties of lengths are in any order."""
    tagger = Tagger(LSTM(1, 32, hidden_dropout=p))
    optimizer = torch.optim.Adam(tagger.parameters(), lr=1e-2)
    for step in range(120):
        lengths = torch.randint(4, 13, (64,)).sort(descending=True).values
        x = torch.randn(12, 64).sign() * (torch.rand(12, 64) < 0.4)
        x[0] = torch.randn(64).sign()
        label = torch.stack([x[: t + 1].gather(0, last_nonzero(x[: t + 1])[None])[0] for t in range(12)]) > 0
        packed = pack_padded_sequence(x[..., None], lengths)
        targets = pack_padded_sequence(label.long(), lengths).data
        tagger.train(step < 119)
        logits = tagger(packed)
        optimizer.zero_grad()
        functional.cross_entropy(logits, targets).backward()
        optimizer.step()
    assert (logits.argmax(1) == targets).float().mean() >= 0.98


def last_nonzero(x: Tensor) -> Tensor:
    """The last step with an input, of each column of x [T, B]."""
    return torch.where(x != 0, torch.arange(len(x))[:, None], 0).amax(0)


# Weights by name -----------------------------------------------------------------------------------------------------


class WeightDrop(nn.Module):
    """DropConnect on a weight (Merity et al. 2018): before each call it is replaced by a dropped tensor."""

    def __init__(self, module: Network, p: float, name: str = "weight_hh_l0"):
        super().__init__()
        self.module, self.p, self.name = module, p, name
        raw = module._parameters.pop(name)
        module.register_parameter(f"{name}_raw", nn.Parameter(raw.detach()))
        setattr(module, name, raw.detach().clone())

    def forward(self, *args: Any) -> Any:
        raw = getattr(self.module, f"{self.name}_raw")
        setattr(self.module, self.name, functional.dropout(raw, self.p, self.training))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on a GPU, the weights lie no longer in one block
            return self.module(*args)


@every_dropout
def test_dropped_recurrent_weights_take_effect_and_train(p: float) -> None:
    ours, theirs = twins(4, 6, hidden_dropout=p)
    one, other = WeightDrop(ours, 0.5), WeightDrop(theirs, 0.5)
    x = torch.randn(5, 3, 4)
    optimizers = [torch.optim.SGD(module.parameters(), lr=0.1) for module in (one, other)]
    for step in range(3):
        if p:  # no reference: the weight must train, and differ from call to call
            before = ours.weight_hh_l0_raw.detach().clone()
            outputs = [one(x)[0] for _ in range(2)]
            outputs[0].square().sum().backward()
            optimizers[0].step()
            assert not torch.equal(*outputs)
            assert not torch.equal(before, ours.weight_hh_l0_raw)
            continue
        results = []
        for module, optimizer in zip((one, other), optimizers, strict=True):
            torch.manual_seed(step)
            optimizer.zero_grad()
            output, _ = module(x)
            output.square().sum().backward()
            optimizer.step()
            results.append(output)
        assert_equal(*results)
        assert_same_gradients(one, other)
    dropped = dict(ours.named_parameters()) | {"weight_hh_l0": torch.zeros(24, 6)}
    del dropped["weight_hh_l0_raw"]
    ours.weight_hh_l0 = torch.zeros(24, 6)
    assert_uses(ours, dropped, x, p)


HOOKS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "weight_norm": (parametrizations.weight_norm, parametrize.remove_parametrizations),
    "spectral_norm": (parametrizations.spectral_norm, parametrize.remove_parametrizations),
    "orthogonal": (parametrizations.orthogonal, parametrize.remove_parametrizations),
    "old weight_norm": (nn.utils.weight_norm, nn.utils.remove_weight_norm),
    "old spectral_norm": (nn.utils.spectral_norm, nn.utils.remove_spectral_norm),
    "l1 pruning": (lambda lstm, name: prune.l1_unstructured(lstm, name, 0.5), prune.remove),
    "row pruning": (lambda lstm, name: prune.ln_structured(lstm, name, 0.5, n=2, dim=0), prune.remove),
}


@contextmanager
def old_hooks() -> Iterator[None]:
    """Ignore that torch advises against the functions of old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


@every_dropout
@pytest.mark.parametrize("name", ["weight_hh_l0", "weight_ih_l1_reverse"])
@pytest.mark.parametrize("hook", HOOKS)
def test_reparametrized_weights_take_effect_and_train(hook: str, name: str, p: float) -> None:
    apply, remove = HOOKS[hook]
    lstm = LSTM(4, 6, 2, bidirectional=True, hidden_dropout=p)
    names = [key for key, _ in lstm.named_parameters()]
    x = torch.randn(5, 3, 4)
    with old_hooks():
        apply(lstm, name)
    assert name not in dict(lstm.named_parameters())
    optimizer = torch.optim.SGD(lstm.parameters(), lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        lstm(x)[0].square().sum().backward()
        assert all(value.grad is not None for value in lstm.parameters())
        optimizer.step()
    lstm.eval()
    lstm(x)
    assert_equal(lstm(x)[0], reference(lstm, {key: getattr(lstm, key) for key in names})(x)[0])
    with old_hooks():
        remove(lstm, name)
    assert sorted(key for key, _ in lstm.named_parameters()) == sorted(names)
    assert_uses(lstm, dict(lstm.named_parameters()), x, p)


def reference(lstm: Network, weights: dict[str, Tensor]) -> nn.LSTM:
    """A torch.nn.LSTM with these weights in eval mode."""
    names = ("hidden_size", "num_layers", "batch_first", "bidirectional")
    result = nn.LSTM(lstm.input_size, **{name: getattr(lstm, name) for name in names}).eval()
    result.load_state_dict({name: value.detach() for name, value in weights.items()})
    return result


def forget_slice(lstm: Network) -> None:
    for name, bias in lstm.named_parameters():
        if "bias_ih" in name:
            size = bias.size(0)
            bias.data.fill_(0)
            bias.data[size // 4 : size // 2].fill_(1)


def by_substring(lstm: Network) -> None:
    for name, parameter in lstm.named_parameters():
        if "weight_ih" in name:
            nn.init.xavier_uniform_(parameter.data)
        elif "weight_hh" in name:
            nn.init.orthogonal_(parameter.data)
        elif "bias" in name:
            parameter.data.fill_(0)


def by_isinstance(model: nn.Module) -> None:
    if isinstance(model, nn.LSTM | nn.GRU):
        for parameter in model.parameters():
            (nn.init.orthogonal_ if parameter.dim() >= 2 else nn.init.normal_)(parameter.data)


def by_gate(lstm: Network) -> None:
    for part in range(4):
        block = slice(part * lstm.hidden_size, (part + 1) * lstm.hidden_size)
        nn.init.xavier_normal_(lstm.weight_ih_l0.data[block])
        nn.init.eye_(lstm.weight_hh_l0.data[block])


def by_all_weights(lstm: Network) -> None:
    for weight_ih, weight_hh, bias_ih, bias_hh in lstm.all_weights:
        nn.init.kaiming_normal_(weight_ih)
        nn.init.orthogonal_(weight_hh)
        nn.init.zeros_(bias_ih)
        nn.init.ones_(bias_hh)


def by_names_of_layers(lstm: Network) -> None:
    for layer in range(lstm.num_layers):
        nn.init.uniform_(getattr(lstm, f"weight_ih_l{layer}"), -0.1, 0.1)
        with torch.no_grad():
            getattr(lstm, f"bias_hh_l{layer}")[lstm.hidden_size : 2 * lstm.hidden_size] += 1.0


def by_state_dict(lstm: Network) -> None:
    lstm.load_state_dict({name: torch.full_like(value, 0.1) for name, value in lstm.state_dict().items()})


def by_flat_vector(lstm: Network) -> None:
    count = sum(parameter.numel() for parameter in lstm.parameters())
    nn.utils.vector_to_parameters(torch.linspace(-0.2, 0.3, count), lstm.parameters())


def by_private_weights(lstm: Network) -> None:
    for layer in lstm._all_weights:
        for name in layer:
            if name.startswith("weight"):
                nn.init.uniform_(lstm._parameters[name], -0.05, 0.05)


INITIALIZERS = (
    by_substring,
    by_isinstance,
    by_gate,
    by_all_weights,
    by_names_of_layers,
    by_state_dict,
    by_flat_vector,
    by_private_weights,
    forget_slice,
)


@every_shape
@pytest.mark.parametrize("initialize", INITIALIZERS)
def test_initializers_set_the_weights(initialize: Callable[[Any], None], options: dict[str, Any]) -> None:
    ours, theirs = twins(4, 6, **options)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    for lstm in (ours, theirs):
        torch.manual_seed(2)
        lstm.apply(initialize)
    assert any(not torch.equal(value, before[name]) for name, value in ours.state_dict().items())
    assert_equal(list(ours.state_dict().values()), list(theirs.state_dict().values()), rtol=0, atol=0)
    x = torch.randn(5, 3, 4)
    assert_equal(ours(x), theirs(x))


@every_dropout
@every_shape
def test_assigned_and_copied_weights_take_effect(options: dict[str, Any], p: float) -> None:
    lstm, x = LSTM(4, 6, hidden_dropout=p, **options), torch.randn(5, 3, 4)
    lstm(x)
    lstm.weight_hh_l0 = nn.Parameter(torch.randn(24, 6))
    lstm.weight_ih_l0.data.copy_(torch.randn(24, 4))
    with torch.no_grad():
        lstm.bias_ih_l0[6:12] = 2.0
        lstm.bias_hh_l0 -= 0.5
    lstm.weight_ih_l0.data = lstm.weight_ih_l0.data * 2
    assert_uses(lstm, dict(lstm.named_parameters()), x, p)
    with pytest.raises(TypeError, match=r"cannot assign .* as parameter 'weight_hh_l0'"):
        lstm.weight_hh_l0 = torch.randn(24, 6)


class WithOwnWeights:
    """A subclass, of either class, that overrides the initialization, which the constructor calls."""

    def reset_parameters(self) -> None:
        self.count = getattr(self, "count", 0) + 1
        for weight in self.parameters():
            nn.init.constant_(weight, 0.25)


class WithOwnForward:
    """A subclass, of either class, that adds to what forward does."""

    calls = 0

    def forward(self, input: Any, hx: Any = None) -> Any:  # noqa: A002
        self.calls += 1
        output, state = super().forward(input, hx)
        return output, (state[0] + 1, state[1])


def test_the_constructor_calls_reset_parameters_of_a_subclass() -> None:
    ours, theirs = (type("Own", (WithOwnWeights, base), {})(3, 4, num_layers=2) for base in (LSTM, nn.LSTM))
    assert ours.count == theirs.count == 1
    assert_equal(list(ours.parameters()), list(theirs.parameters()))


def test_forward_of_a_subclass_is_called_once() -> None:
    ours, theirs = (type("Own", (WithOwnForward, base), {})(3, 4) for base in (LSTM, nn.LSTM))
    theirs.load_state_dict(ours.state_dict())
    packed = pack_padded_sequence(torch.randn(5, 17, 3), torch.full((17,), 5))
    assert_equal(ours(packed), theirs(packed))
    assert ours.calls == theirs.calls == 1
    assert_equal(ours(packed.data[:, None]), theirs(packed.data[:, None]))
    assert ours.calls == theirs.calls == 2


# Optimization --------------------------------------------------------------------------------------------------------


def train(lstm: Network, optimizer: torch.optim.Optimizer, steps: int = 2) -> list[float]:
    """The norms of the gradient of some updates on the same data."""
    x, target = torch.linspace(-1, 1, 60).view(5, 3, 4), torch.linspace(1, -1, 15).view(5, 3)
    norms = []
    for _ in range(steps):
        optimizer.zero_grad()
        (lstm(x)[0].sum(2) - target).square().mean().backward()
        norms.append(float(nn.utils.clip_grad_norm_([p for p in lstm.parameters() if p.requires_grad], 1e9)))
        optimizer.step()
    return norms


def everything(lstm: Network) -> torch.optim.Optimizer:
    return torch.optim.SGD(lstm.parameters(), lr=0.5, momentum=0.9)


def without_decay_of_biases(lstm: Network) -> torch.optim.Optimizer:
    no_decay = ["bias"]
    named = list(lstm.named_parameters())
    groups = [
        {"params": [p for n, p in named if not any(word in n for word in no_decay)], "weight_decay": 0.5},
        {"params": [p for n, p in named if any(word in n for word in no_decay)], "weight_decay": 0.0},
    ]
    assert len(groups[1]["params"]) == len(named) // 2
    return torch.optim.AdamW(groups, lr=0.1)


def with_frozen_recurrence(lstm: Network) -> torch.optim.Optimizer:
    for name, parameter in lstm.named_parameters():
        parameter.requires_grad = "weight_hh" not in name and name != "bias_ih_l0"
    return torch.optim.SGD([p for p in lstm.parameters() if p.requires_grad], lr=0.5)


@every_shape
@pytest.mark.parametrize("make", [everything, without_decay_of_biases, with_frozen_recurrence])
def test_gradient_norms_and_updates_equal_torchs(
    make: Callable[[Network], torch.optim.Optimizer], options: dict[str, Any]
) -> None:
    ours, theirs = twins(4, 6, **options)
    torch.testing.assert_close(train(ours, make(ours)), train(theirs, make(theirs)), rtol=1e-4, atol=0)
    assert_equal(list(ours.state_dict().values()), list(theirs.state_dict().values()), atol=1e-5)


def test_frozen_weights_stay_with_hidden_dropout() -> None:
    lstm = LSTM(4, 6, hidden_dropout=0.5)
    optimizer = with_frozen_recurrence(lstm)
    before = copy.deepcopy(lstm.state_dict())
    train(lstm, optimizer)
    changed = {name for name, value in lstm.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"weight_ih_l0", "bias_hh_l0"}


def test_the_state_of_an_optimizer_carries_over() -> None:
    ours, theirs = twins(4, 6)
    optimizers = [torch.optim.Adam(lstm.parameters(), lr=0.1) for lstm in (ours, theirs)]
    train(theirs, optimizers[1])
    ours.load_state_dict(theirs.state_dict())
    optimizers[0].load_state_dict(copy.deepcopy(optimizers[1].state_dict()))
    for lstm, optimizer in zip((ours, theirs), optimizers, strict=True):
        train(lstm, optimizer)
    assert_equal(list(ours.parameters()), list(theirs.parameters()), atol=1e-5)


# Calls and files -----------------------------------------------------------------------------------------------------


@every_shape
def test_arguments_by_name(options: dict[str, Any]) -> None:
    ours, theirs = twins(4, 6, **options)
    depth = 4 if options else 1
    hx = (torch.randn(depth, 3, 6), torch.randn(depth, 3, 6))
    assert_equal(ours(input=torch.ones(5, 3, 4), hx=hx), theirs(input=torch.ones(5, 3, 4), hx=hx))


def test_a_numpy_integer_is_a_number_of_layers() -> None:
    """torch.nn.LSTM accepts no others either."""
    ours, theirs = twins(4, 6, np.int64(2))
    x = torch.randn(5, 3, 4)
    assert_equal(ours(x), theirs(x))


@every_dropout
@every_shape
def test_functional_call_with_torchs_names(options: dict[str, Any], p: float) -> None:
    ours, theirs = twins(4, 6, hidden_dropout=p, **options)
    other = {name: torch.randn_like(value, requires_grad=True) for name, value in theirs.named_parameters()}
    x = torch.randn(5, 3, 4)
    results = []
    for lstm in (ours.eval(), theirs):
        output, state = functional_call(lstm, other, (x,))
        results.append((output, state, torch.autograd.grad(output.square().sum(), list(other.values()))))
    assert_equal(*results, atol=1e-4)
    assert_equal(ours(x), theirs(x))  # its own weights are back


@pytest.mark.parametrize("names", [["weight_hh_l0"], ["bias_ih_l0", "weight_ih_l0"]])
def test_functional_call_with_some_weights(names: list[str]) -> None:
    ours, theirs = twins(4, 6)
    some = {name: torch.randn_like(getattr(theirs, name)) for name in names}
    x = torch.randn(5, 3, 4)
    assert_equal(functional_call(ours, some, x), functional_call(theirs, some, x))


@every_shape
def test_saved_weights_load_both_ways(options: dict[str, Any]) -> None:
    x = torch.randn(5, 3, 4)
    for source, target in ((LSTM, nn.LSTM), (nn.LSTM, LSTM)):
        saved, loaded = source(4, 6, **options), target(4, 6, **options)
        assert list(saved.state_dict()) == list(loaded.state_dict())
        file = io.BytesIO()
        torch.save(saved.state_dict(), file)
        file.seek(0)
        loaded.load_state_dict(torch.load(file, weights_only=True))
        assert_equal(loaded(x), saved(x))
        loaded.load_state_dict(saved.state_dict(), assign=True)
        assert loaded.weight_hh_l0.data_ptr() == saved.weight_hh_l0.data_ptr()
        assert_equal(loaded(x), saved(x))


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_to_torch_and_from_torch_copy_the_weights() -> None:
    theirs = nn.LSTM(4, 6, 2, batch_first=True, bidirectional=True, proj_size=3)
    ours = LSTM.from_torch(theirs, hidden_dropout=0.3).eval()
    again = ours.to_torch()
    assert type(again) is nn.LSTM
    x = torch.randn(3, 5, 4)
    assert_equal(ours(x), theirs(x))
    assert_equal(again(x), theirs(x))
    with torch.no_grad():
        ours.weight_hh_l0.zero_()
    assert_equal(again(x), theirs(x))


def test_the_name_that_keras_has_leads_to_ours() -> None:
    with pytest.raises(TypeError, match="hidden_dropout"):
        LSTM(4, 6, recurrent_dropout=0.5)


def test_an_error_of_torch_is_torchs() -> None:
    ours, theirs = twins(4, 6)
    for arguments in ((torch.randn(5, 3, 7),), (torch.randn(5, 3, 4), (torch.randn(1, 2, 6), torch.randn(1, 3, 6)))):
        with pytest.raises(RuntimeError) as expected:
            theirs(*arguments)
        with pytest.raises(RuntimeError) as found:
            ours(*arguments)
        assert str(found.value) == str(expected.value)


# Derivatives ---------------------------------------------------------------------------------------------------------


@every_dropout
def test_batched_gradients_equal_a_loop(p: float) -> None:
    ours, theirs = twins(3, 4, hidden_dropout=p)
    results = []
    for lstm in (ours.eval(), theirs.eval()):
        x = torch.linspace(-1, 1, 24).view(4, 2, 3).requires_grad_()
        output, _ = lstm(x)
        directions = torch.linspace(-1, 1, 3 * output.numel()).view(3, *output.shape)
        inputs = [x, *lstm.parameters()]
        results.append(torch.autograd.grad(output, inputs, directions, is_grads_batched=True, retain_graph=True))
        for index, direction in enumerate(directions):
            one = torch.autograd.grad(output, inputs, direction, retain_graph=True)
            assert_equal([part[index] for part in results[-1]], list(one))
    assert_equal(*results)


@pytest.mark.parametrize("vectorize", [False, True])
def test_jacobians_and_hessians_equal_torchs(vectorize: bool) -> None:
    ours, theirs = twins(2, 3, dtype=torch.float64)
    x = torch.randn(3, 2, 2, dtype=torch.float64)
    results = []
    for lstm in (ours, theirs):
        jacobian = torch.autograd.functional.jacobian(lambda x, lstm=lstm: lstm(x)[0], x, vectorize=vectorize)
        hessian = torch.autograd.functional.hessian(
            lambda x, lstm=lstm: lstm(x)[0].square().sum(), x, vectorize=vectorize
        )
        results.append((jacobian, hessian))
    assert_equal(*results, atol=1e-8)


@pytest.mark.parametrize("vectorize", [False, True])
def test_jacobians_in_float32_equal_torchs(vectorize: bool) -> None:
    x = torch.randn(4, 2, 3)
    networks = twins(3, 4, 2, bidirectional=True)
    jacobian = torch.autograd.functional.jacobian
    assert_equal(*(jacobian(lambda x, lstm=lstm: lstm(x)[0], x, vectorize=vectorize) for lstm in networks))


# torch's tools -------------------------------------------------------------------------------------------------------


@contextmanager
def deprecated() -> Iterator[None]:
    """Ignore that torch advises against its older tools, and that tracing may fix numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Model(nn.Module):
    """A model around the layer, as tools take it."""

    def __init__(self, lstm: Network):
        super().__init__()
        self.lstm = lstm

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output, (h, c) = self.lstm(x)
        return output, h, c


@every_dropout
@every_shape
def test_a_trace_holds_for_other_numbers_of_steps(options: dict[str, Any], p: float) -> None:
    ours, theirs = twins(4, 6, hidden_dropout=p, **options)
    x = torch.randn(5, 3, 4)
    with deprecated():
        traced = torch.jit.trace(ours.eval(), x)
    for steps in (5, 9, 2):
        x = torch.randn(steps, 3, 4)
        assert_equal(traced(x), theirs(x))


@every_dropout
@every_shape
def test_legacy_onnx_export_with_dynamic_time(options: dict[str, Any], p: float) -> None:
    ours, theirs = twins(4, 6, hidden_dropout=p, **options)
    file = io.BytesIO()
    with deprecated():
        torch.onnx.export(
            ours.eval(),
            (torch.randn(5, 3, 4),),
            file,
            dynamo=False,
            input_names=["x"],
            output_names=["output", "h", "c"],
            dynamic_axes={"x": {0: "time", 1: "batch"}},
        )
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    for steps in (5, 9, 2):
        x = torch.randn(steps, 3, 4)
        found = [torch.from_numpy(part) for part in session.run(None, {"x": x.numpy()})]
        output, state = theirs(x)
        assert_equal(found, [output, *state], atol=1e-5)


@every_dropout
def test_export_with_dynamic_time_after_one_with_static_time(p: float) -> None:
    ours, theirs = twins(4, 6, hidden_dropout=p)
    x, time = torch.randn(5, 3, 4), torch.export.Dim.DYNAMIC
    with deprecated():
        static = torch.export.export(ours.eval(), (x,))
        dynamic = torch.export.export(ours, (x,), dynamic_shapes=({0: time},)).module()
    assert_equal(static.module()(x), theirs(x))
    for steps in (5, 9, 2):
        x = torch.randn(steps, 3, 4)
        assert_equal(dynamic(x), theirs(x))


@every_dropout
def test_quantization_after_to_torch(p: float) -> None:
    """quantize_dynamic looks for nn.LSTM itself and leaves subclasses as they are."""
    model = Model(LSTM(16, 32, hidden_dropout=p)).eval()
    x = torch.randn(5, 3, 16)
    expected, *_ = model(x)
    model.lstm = model.lstm.to_torch()
    with deprecated():
        quantized = torch.ao.quantization.quantize_dynamic(model, {nn.LSTM}, dtype=torch.qint8)
        output, *_ = quantized(x)
    assert "quantized" in type(quantized.lstm).__module__
    assert_equal(output, expected, atol=0.05)
    assert not torch.equal(output, expected)


def test_scripting_after_to_torch() -> None:
    lstm = LSTM(4, 6, hidden_dropout=0.5).eval()
    x = torch.randn(5, 3, 4)
    with deprecated():
        scripted = torch.jit.script(Model(lstm.to_torch()))
    assert_equal(scripted(x), Model(lstm)(x))
