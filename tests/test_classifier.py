"""`LSTMClassifier`: pooling over time and patches of steps."""

import math
from dataclasses import dataclass
from typing import get_args

import pytest
import torch
from torch import Tensor

from reviver import LSTMClassifier
from reviver.data.sequences.task import Examples
from reviver.data.tasks.task import Sequences
from reviver.errors import ConfigError
from reviver.lstm import scoring
from reviver.lstm.scoring import forward_chunked, score
from reviver.settings.lstm_network import AUTO_PATCHES, Pooling, auto_patch_size
from reviver.show.trace import trace

POOLINGS = get_args(Pooling)
B, T, I, H, C = 4, 7, 3, 5, 2  # noqa: E741
LENGTHS = torch.tensor([7, 1, 4, 6])


def make(pooling: str, bidirectional: bool = False, patch_size: int = 1) -> LSTMClassifier:
    network = LSTMClassifier(
        I, H, C, 2, bidirectional=bidirectional, pooling=pooling, patch_size=patch_size, dtype=torch.float64
    )
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    return network.eval()


def inputs() -> Tensor:
    return torch.randn(B, T, I, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "max", "attention"])
def test_pooling_is_what_its_equation_says(pooling: str, bidirectional: bool) -> None:
    network, x = make(pooling, bidirectional), inputs()
    logits = network(x, LENGTHS)
    for b, length in enumerate(LENGTHS.tolist()):
        h = network.lstm(x[b : b + 1, :length])[0][0]  # [length, D·H]
        if pooling == "mean":
            pooled = sum(h) / length
        elif pooling == "max":
            pooled = torch.stack([max(column) for column in h.T])
        else:
            h = h.detach()
            scores = [(network.u_att @ torch.tanh(network.W_att @ state + network.b_att)).item() for state in h]
            total = sum(math.exp(score) for score in scores)
            pooled = sum(math.exp(score) / total * state for score, state in zip(scores, h, strict=True))
        torch.testing.assert_close(logits[b], network.W_out @ pooled + network.b_out)


@pytest.mark.parametrize("patch_size", [1, 2, 7, 10])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_and_the_rest_of_the_batch_do_not_matter(pooling: str, patch_size: int) -> None:
    network, x = make(pooling, bidirectional=True, patch_size=patch_size), inputs()
    for b, length in enumerate(LENGTHS.tolist()):  # what follows the end of a sequence is 0, as the files give it
        x[b, length:] = 0
    logits = network(x, LENGTHS)
    for b, length in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(logits[b], network(x[b : b + 1, :length])[0])


def test_a_patch_holds_consecutive_steps() -> None:
    network = make("last", patch_size=3)
    x = inputs()
    patches, lengths = network.patch(x, LENGTHS)
    assert patches.shape == (B, 3, 3 * I)
    assert lengths is not None
    assert lengths.tolist() == [3, 1, 2, 2]
    assert patches[0, 1].tolist() == [*x[0, 3].tolist(), *x[0, 4].tolist(), *x[0, 5].tolist()]
    assert patches[0, 2].tolist() == [*x[0, 6].tolist(), *([0.0] * 2 * I)]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradients_reach_every_parameter(pooling: str) -> None:
    network = make(pooling, bidirectional=True, patch_size=2)
    network(inputs(), LENGTHS).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_attention_begins_as_the_mean() -> None:
    network = LSTMClassifier(I, H, C, pooling="attention")
    mean = LSTMClassifier(I, H, C, pooling="mean")
    mean.load_state_dict(network.state_dict(), strict=False)
    x = inputs().float()
    torch.testing.assert_close(network(x, LENGTHS), mean(x, LENGTHS))


@pytest.mark.parametrize(("pooling", "patch_size"), [("mean", 1), ("last", 2)])
def test_logits_of_every_step_need_every_state(pooling: str, patch_size: int) -> None:
    with pytest.raises(ConfigError, match="every_step must be False"):
        make(pooling, patch_size=patch_size)(inputs(), every_step=True)


@pytest.mark.parametrize(
    ("max_length", "patch_size"),
    [(1, 1), (26, 1), (32, 1), (33, 2), (64, 2), (65, 3), (150, 5), (251, 8), (10_000, 313)],
)
def test_auto_patches(max_length: int, patch_size: int) -> None:
    assert auto_patch_size(max_length) == patch_size
    assert -(-max_length // patch_size) <= AUTO_PATCHES
    assert patch_size == 1 or -(-max_length // (patch_size - 1)) > AUTO_PATCHES, "no smaller one would do"


@dataclass(frozen=True)
class Series(Sequences):
    """Sequences [N, T, I] of equal length."""

    x: Tensor

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        return self.x[:, begin:end]


@pytest.mark.parametrize("chunk_steps", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("patch_size", [1, 2, 3, 7])
def test_chunks_of_patches_give_the_logits_of_the_whole_sequence(patch_size: int, chunk_steps: int) -> None:
    network, x = make("last", patch_size=patch_size), inputs()
    torch.testing.assert_close(forward_chunked(network, Series(x), chunk_steps), network(x))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("patch_size", [1, 2])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_score_is_that_of_the_forward_pass(
    pooling: str, patch_size: int, bidirectional: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "MAX_EVALUATION_STEPS", 2 * T)  # two sequences at a time
    network, x = make(pooling, bidirectional, patch_size), inputs()
    targets = torch.tensor([0, 1, 1, 0])
    for lengths in (LENGTHS, torch.full((B,), T)):
        for b, length in enumerate(lengths.tolist()):
            x[b, length:] = 0
        measured = score(network, Examples(x, lengths, targets), "class")
        logits = torch.cat([network(x[b : b + 1, :length]) for b, length in enumerate(lengths.tolist())])
        assert measured.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, targets).item())
        assert measured.accuracy == (logits.argmax(1) == targets).double().mean().item()


@pytest.mark.parametrize(("pooling", "patch_size"), [("mean", 1), ("last", 2)])
def test_a_trace_refuses_pooling_and_patches(pooling: str, patch_size: int) -> None:
    with pytest.raises(
        ConfigError, match=f"^network must have pooling last and patch_size 1 .* got {pooling} and {patch_size}"
    ):
        trace(make(pooling, patch_size=patch_size), inputs(), torch.zeros(B, dtype=torch.int64))


@pytest.mark.parametrize(("name", "value"), [("pooling", "sum"), ("patch_size", 0), ("patch_size", 1.5)])
def test_wrong_values_are_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        LSTMClassifier(I, H, C, **{name: value})
