"""`LSTMClassifier`: pooling over time, patches of steps, scoring in batches and chunks."""

import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from reviver import LSTMClassifier
from reviver.data.sequences.custom import Examples
from reviver.errors import ConfigError, DataError
from reviver.settings.lstm_network import Pooling, auto_patch_size
from reviver.train.lstm import scoring
from reviver.train.lstm.scoring import score

POOLINGS = get_args(Pooling)
B, T, I, H, C = 4, 7, 3, 5, 2  # noqa: E741
LENGTHS = torch.tensor([7, 1, 4, 6])


def make(pooling: str = "last", bidirectional: bool = False, patch_size: int = 1) -> LSTMClassifier:
    options = {"bidirectional": bidirectional, "pooling": pooling, "patch_size": patch_size}
    network = LSTMClassifier(I, H, C, 2, **options, dtype=torch.float64)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    return network.eval()


def inputs() -> Tensor:
    return torch.randn(B, T, I, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_pooling_is_what_its_equation_says(pooling: str, bidirectional: bool) -> None:
    network, x = make(pooling, bidirectional), inputs()
    logits = network(x, LENGTHS.tolist())
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


def test_a_patch_holds_consecutive_steps() -> None:
    x = inputs()
    patches, lengths = make(patch_size=3).patch(x, LENGTHS)
    assert patches.shape == (B, 3, 3 * I)
    assert lengths.tolist() == [3, 1, 2, 2]
    assert patches[0].flatten().tolist() == [*x[0].flatten().tolist(), *([0.0] * 2 * I)]
    for max_length in (1, 26, 32, 33, 64, 65, 150, 10_000):
        size = auto_patch_size(max_length)
        assert math.ceil(max_length / size) <= 32
        assert size == 1 or math.ceil(max_length / (size - 1)) > 32, "the smallest that makes at most 32 patches"


@pytest.mark.parametrize("patch_size", [1, 2, 10])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_logits_and_score_are_those_of_each_sequence_alone(
    pooling: str, patch_size: int, bidirectional: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is beyond the end of a sequence does not matter."""
    monkeypatch.setattr(scoring, "MAX_EVALUATION_STEPS", 2 * T)  # two sequences at a time
    network, x, targets = make(pooling, bidirectional, patch_size), inputs(), torch.tensor([0, 1, 1, 0])
    for lengths in (LENGTHS, torch.full((B,), T)):
        logits = torch.cat([network(x[b : b + 1, :length]) for b, length in enumerate(lengths.tolist())])
        torch.testing.assert_close(network(x, lengths), logits)
        measured = score(network, Examples(x, lengths, targets), "class")
        assert measured.loss == pytest.approx(nn.functional.cross_entropy(logits, targets).item())
        assert measured.accuracy == (logits.argmax(1) == targets).double().mean().item()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: make("mean")(inputs(), every_step=True), ConfigError, "every_step must be False .* 'mean'"),
        (lambda: make(patch_size=2)(inputs(), every_step=True), ConfigError, "every_step must be False .* 2"),
        (lambda: make()(torch.zeros(4, 3)), DataError, r"x must be \[B, T, I\] with I = 3, got shape \[4, 3\]"),
        (lambda: make(patch_size=4)(inputs(), LENGTHS + 1), DataError, "from 1 to T = 7, got"),
        (lambda: LSTMClassifier(I, H, C, pooling="sum"), ConfigError, "^pooling must be last, mean, max or attention"),
        (lambda: LSTMClassifier(I, H, C, patch_size=0), ConfigError, "^patch_size must be at least 1, got 0$"),
        (lambda: setattr(make(), "precision", "fp8"), ConfigError, "^precision must be fp32 or bf16, got 'fp8'$"),
        (lambda: make()(inputs(), LENGTHS - 0.5), DataError, "^lengths must be integers, got float32; round them"),
    ],
)
def test_wrong_values_are_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
