"""`LSTMClassifier`: pooling over time, patches of steps, scoring in batches and chunks; and the vanilla RNN."""

import math
from dataclasses import dataclass
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from reviver import LSTM, LSTMClassifier
from reviver.data.sequences.task import Examples
from reviver.data.tasks.task import Sequences
from reviver.errors import ConfigError, DataError
from reviver.lstm import scoring
from reviver.lstm.rnn import RNNClassifier
from reviver.lstm.scoring import forward_chunked, score
from reviver.settings.lstm_network import Pooling, auto_patch_size
from reviver.show.trace import trace

POOLINGS = get_args(Pooling)
B, T, I, H, C = 4, 7, 3, 5, 2  # noqa: E741
LENGTHS = torch.tensor([7, 1, 4, 6])


def make(pooling: str = "last", bidirectional: bool = False, patch_size: int = 1) -> LSTMClassifier:
    network = LSTMClassifier(
        I, H, C, 2, bidirectional=bidirectional, pooling=pooling, patch_size=patch_size, dtype=torch.float64
    )
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    return network.eval()


def inputs(lengths: Tensor | None = None) -> Tensor:
    x = torch.randn(B, T, I, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for b, length in enumerate([] if lengths is None else lengths.tolist()):
        x[b, length:] = 0  # as the files give it
    return x


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_pooling_is_what_its_equation_says(pooling: str, bidirectional: bool) -> None:
    network, x = make(pooling, bidirectional), inputs()
    logits = network(x, LENGTHS)
    for b, length in enumerate(LENGTHS.tolist()):
        output, (h_T, _) = network.lstm.to_torch()(x[b : b + 1, :length])
        h = output[0].detach()  # [length, D·H]
        if pooling == "last":
            pooled = torch.cat([h_T[-2, 0], h_T[-1, 0]]) if bidirectional else h_T[-1, 0]
        elif pooling == "mean":
            pooled = sum(h) / length
        elif pooling == "max":
            pooled = torch.stack([max(column) for column in h.T])
        else:
            scores = [(network.u_att @ torch.tanh(network.W_att @ state + network.b_att)).item() for state in h]
            total = sum(math.exp(score) for score in scores)
            pooled = sum(math.exp(score) / total * state for score, state in zip(scores, h, strict=True))
        torch.testing.assert_close(logits[b], network.W_out @ pooled + network.b_out)


@pytest.mark.parametrize("patch_size", [1, 2, 7, 10])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_and_the_rest_of_the_batch_do_not_matter(pooling: str, patch_size: int) -> None:
    network, x = make(pooling, bidirectional=True, patch_size=patch_size), inputs()
    logits = network(x, LENGTHS)
    for b, length in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(logits[b], network(x[b : b + 1, :length])[0])
    if patch_size > 2:
        return  # a single step, without recurrence
    logits.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_a_patch_holds_consecutive_steps() -> None:
    x = inputs()
    patches, lengths = make(patch_size=3).patch(x, LENGTHS)
    assert patches.shape == (B, 3, 3 * I)
    assert lengths.tolist() == [3, 1, 2, 2]
    assert patches[0].flatten().tolist() == [*x[0].flatten().tolist(), *([0.0] * 2 * I)]


def test_attention_begins_as_the_mean() -> None:
    network, mean = (LSTMClassifier(I, H, C, pooling=pooling) for pooling in ("attention", "mean"))
    mean.load_state_dict(network.state_dict(), strict=False)
    x = inputs().float()
    torch.testing.assert_close(network(x, LENGTHS), mean(x, LENGTHS))


def test_auto_patches_are_the_smallest_that_make_at_most_32() -> None:
    for max_length in (1, 26, 32, 33, 64, 65, 150, 10_000):
        size = auto_patch_size(max_length)
        assert math.ceil(max_length / size) <= 32
        assert size == 1 or math.ceil(max_length / (size - 1)) > 32


@dataclass(frozen=True)
class Series(Sequences):
    """Sequences [N, T, I] of equal length."""

    x: Tensor

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        return self.x[:, begin:end]


@pytest.mark.parametrize("patch_size", [1, 2, 3, 7])
def test_chunks_of_patches_give_the_logits_of_the_whole_sequence(patch_size: int) -> None:
    network, x = make(patch_size=patch_size), inputs()
    for chunk_steps in (1, 2, 3, 5, 100):
        torch.testing.assert_close(forward_chunked(network, Series(x), chunk_steps), network(x))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("patch_size", [1, 2])
def test_the_score_is_that_of_the_forward_pass(
    pooling: str, patch_size: int, bidirectional: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "MAX_EVALUATION_STEPS", 2 * T)  # two sequences at a time
    network, targets = make(pooling, bidirectional, patch_size), torch.tensor([0, 1, 1, 0])
    for lengths in (LENGTHS, torch.full((B,), T)):
        x = inputs(lengths)
        measured = score(network, Examples(x, lengths, targets), "class")
        logits = torch.cat([network(x[b : b + 1, :length]) for b, length in enumerate(lengths.tolist())])
        assert measured.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, targets).item())
        assert measured.accuracy == (logits.argmax(1) == targets).double().mean().item()


def test_a_trace_of_a_projection_is_the_forward_pass() -> None:
    """A classifier whose LSTM was replaced: its output layer reads the 4 numbers of the projection."""
    classifier = LSTMClassifier(3, 4, 5, dtype=torch.float64).eval()
    classifier.lstm = LSTM(3, 6, bias=False, batch_first=True, proj_size=4, dtype=torch.float64).eval()
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    found = trace(classifier, x, torch.tensor([1, 3]))
    output, (_, c) = classifier.lstm(x)
    torch.testing.assert_close(found.layers[0].h, output.transpose(0, 1))
    torch.testing.assert_close(found.layers[0].c[-1], c[0])
    torch.testing.assert_close(found.probabilities[-1], classifier(x).softmax(-1))


# The vanilla RNN ------------------------------------------------------------------------------------------------------


@given(B=st.integers(1, 5), T=st.integers(1, 9), I=st.integers(1, 4), H=st.integers(1, 9), seed=st.integers(0, 100))
def test_the_rnn_equals_that_of_torch(B: int, T: int, I: int, H: int, seed: int) -> None:  # noqa: E741
    torch.manual_seed(seed)
    rnn = RNNClassifier(I, H, 3).double()
    reference = nn.RNN(I, H, batch_first=True).double()
    weights = {"weight_ih_l0": rnn.W, "weight_hh_l0": rnn.U, "bias_ih_l0": rnn.b, "bias_hh_l0": torch.zeros(H)}
    reference.load_state_dict(weights)
    x = torch.randn(B, T, I, dtype=torch.float64)
    expected = reference(x)[0] @ rnn.W_out.T + rnn.b_out
    torch.testing.assert_close(rnn(x, every_step=True), expected)
    torch.testing.assert_close(rnn(x), expected[:, -1])
    lengths = torch.randint(1, T + 1, (B,))
    torch.testing.assert_close(rnn(x, lengths), expected[torch.arange(B), lengths - 1])


def test_the_rnn_drops_the_hidden_state_at_every_step() -> None:
    network = RNNClassifier(2, 50, 3, hidden_dropout=0.5)
    x = torch.randn(4, 3, 2)
    first, again, other = (network(x, rng=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    masks = 2.0 * (torch.rand(3, 4, 50, generator=torch.Generator().manual_seed(1)) >= 0.5)
    h = torch.zeros(4, 50)
    for t in range(3):
        h = masks[t] * torch.tanh(x[:, t] @ network.W.T + network.b + h @ network.U.T)
    torch.testing.assert_close(first, h @ network.W_out.T + network.b_out)


@pytest.mark.parametrize("shape", [(3, 2), (2, 3, 5), (0, 3, 2), (2, 0, 2)])
def test_the_rnn_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"^x must be \[B, T, I\] with I = 2, got shape "):
        RNNClassifier(2, 4, 3)(torch.zeros(shape))


# Wrong values ---------------------------------------------------------------------------------------------------------

NO_TRACE = "^network must have pooling last and patch_size 1 .* got {} and {}"
ZEROS = torch.zeros(B, dtype=torch.int64)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: make("mean")(inputs(), every_step=True), ConfigError, "every_step must be False"),
        (lambda: make(patch_size=2)(inputs(), every_step=True), ConfigError, "every_step must be False"),
        (lambda: trace(make("mean"), inputs(), ZEROS), ConfigError, NO_TRACE.format("mean", 1)),
        (lambda: trace(make(patch_size=2), inputs(), ZEROS), ConfigError, NO_TRACE.format("last", 2)),
        (lambda: make()(torch.zeros(4, 3)), DataError, r"x must be \[B, T, I\] with I = 3, got shape \[4, 3\]"),
        (lambda: LSTMClassifier(I, H, C, pooling="sum"), ConfigError, "^pooling must be last, mean, max or attention"),
        (lambda: LSTMClassifier(I, H, C, patch_size=0), ConfigError, "^patch_size must be at least 1, got 0$"),
        (lambda: LSTMClassifier(I, H, C, patch_size=1.5), ConfigError, "^patch_size must be an integer, got 1.5$"),
        (lambda: LSTMClassifier(0, H, C), ConfigError, "^input_size must be at least 1, got 0$"),
        (lambda: LSTMClassifier(I, -3, C), ConfigError, "^hidden_size must be at least 1, got -3$"),
        (lambda: LSTMClassifier(I, H, 0), ConfigError, "^num_classes must be at least 1, got 0$"),
        (lambda: LSTMClassifier(I, H, C, 0), ConfigError, "^num_layers must be at least 1, got 0$"),
        (lambda: LSTMClassifier(I, H, C, dropout=1.0), ConfigError, "^dropout must be less than 1, got 1.0$"),
        (lambda: LSTMClassifier(I, H, C, precision="fp8"), ConfigError, "^precision must be fp32 or bf16, got 'fp8'$"),
    ],
)
def test_wrong_values_are_refused(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
