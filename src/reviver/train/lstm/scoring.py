"""Outputs, loss and accuracy of a network on a set of sequences.

Shapes: N sequences, B batch, T time, I input size, C classes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reviver.data.task import Sequences, correct, mean_loss
from reviver.recurrent.classifier import RecurrentClassifier
from reviver.runs.distributed.world import ALONE, World
from reviver.settings.tasks import TargetKind

MAX_EVALUATION_STEPS = 1 << 19
"""Maximum time steps (batch × length) per forward pass of an evaluation. It bounds the memory at any length."""

CHUNK_STEPS = 1 << 15
"""Maximum time steps (batch × length) per chunk of long sequences: few enough that their hidden states stay in the cache."""

MAX_EVALUATION_BATCH = 1024
"""Maximum number of sequences per forward pass of an evaluation."""


class Score(NamedTuple):
    """Loss and accuracy of a network on a set of sequences, without dropout."""

    loss: float  # mean loss, see `TargetKind`
    accuracy: float  # fraction of correct sequences, see `data.task.correct`
    size: int  # number of sequences


@torch.no_grad()
def score(
    network: RecurrentClassifier,
    data: Sequences,
    target: TargetKind,
    world: World = ALONE,
    report: Callable[[float], None] | None = None,
) -> Score:
    """Return loss and accuracy of `network` on `data`, computed in eval mode and in batches; the mode is restored.

    The processes of `world` each compute a part of the data, and all return the same score. `report` is a function of the
    fraction of the work that is done, called before each part of it.
    """
    size = len(data)
    if world.size > 1:
        rows = world.rows(size)
        data = data[rows.begin : rows.end]
    was_training = network.training
    network.eval()
    every_step = target == "class at every step"
    # Pooling and the backward direction need all steps at once.
    carries_state = network.recurrent.num_directions == 1 and network.pooling == "last"
    chunked = carries_state and not every_step and data.lengths is None
    batch_size = min(MAX_EVALUATION_BATCH, max(1, len(data))) if chunked else evaluation_batch_size(data)
    total_loss, num_correct = 0.0, 0
    for start in range(0, len(data), batch_size):
        batch = data[start : start + batch_size]

        def report_chunk(done: float, start: int = start, count: int = len(batch)) -> None:
            if report is not None:
                report((start + count * done) / len(data))

        if chunked:
            outputs = forward_chunked(network, batch, max(1, CHUNK_STEPS // batch_size), report_chunk)
        else:
            report_chunk(0.0)
            outputs = network(batch.encode(), batch.lengths, every_step=every_step)
        total_loss += mean_loss(target, outputs, batch.targets).item() * len(batch)
        num_correct += int(correct(target, outputs, batch.targets).sum())
    network.train(was_training)
    if world.size > 1:
        sums = torch.tensor([total_loss, num_correct], dtype=torch.float64, device=data.targets.device)
        total_loss, num_correct = world.sum(sums).tolist()
    return Score(total_loss / size, num_correct / size, size)


@torch.no_grad()
def compute_logits(network: RecurrentClassifier, data: Sequences) -> Tensor:
    """Return the outputs of a network in eval mode for N sequences, [N, C] on the CPU, in batches; its mode is restored."""
    was_training, batch_size, outputs = network.training, evaluation_batch_size(data), []
    network.eval()
    for start in range(0, len(data), batch_size):
        batch = data[start : start + batch_size].to(network.W_out.device)
        x, lengths = batch.encode().to(network.W_out.dtype), batch.lengths
        if len(batch) == 1:  # as two rows: matmuls with one row round differently, and the result would depend on N
            x, lengths = x.expand(2, -1, -1), None if lengths is None else lengths.expand(2)
        outputs.append(network(x, lengths)[: len(batch)].cpu())
    network.train(was_training)
    return torch.cat(outputs)


def evaluation_batch_size(data: Sequences) -> int:
    """Return the number of whole sequences per forward pass of an evaluation."""
    return max(1, min(MAX_EVALUATION_BATCH, MAX_EVALUATION_STEPS // data.steps))


def forward_chunked(
    network: RecurrentClassifier, data: Sequences, chunk_steps: int, report: Callable[[float], None] | None = None
) -> Tensor:
    """Return the outputs after the last step, [N, C], from chunks of `chunk_steps` steps that pass the state on.

    Only one chunk is encoded at a time, so that long sequences need little memory. They have equal lengths, and the network
    neither pools nor reads backward. `report` gets the fraction of the steps that is done before each chunk.
    """
    state: Any = None
    chunk_steps = max(1, chunk_steps // network.patch_size) * network.patch_size
    for begin in range(0, data.steps, chunk_steps):
        if report is not None:
            report(begin / data.steps)
        x, _ = network.patch(data.encode(begin, min(begin + chunk_steps, data.steps)), None)
        _, state = network.recurrent(x, state)
    assert state is not None, "sequences have at least one step"
    return network.classify(state if isinstance(state, Tensor) else state[0])
