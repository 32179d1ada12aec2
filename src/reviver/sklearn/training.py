"""Training of the network of an estimator: Adam, clipped gradients, and early stopping on a validation part.

Shapes: N sequences, B batch, T time, I channels per step, C outputs: classes, or 1 for a number.
"""

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from reviver.data.sequences.examples import Examples
from reviver.data.tasks.task import TargetKind, mean_loss
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.scoring import evaluation_batch_size
from reviver.runs.devices import choose_device
from reviver.runs.rng import make_rng
from reviver.runs.session import permutation
from reviver.settings.fields import Count, CountOrZero, Positive
from reviver.settings.lr_schedule import lr_scale
from reviver.settings.lstm_network import LSTMClassifierSpec, PatchSize, auto_patch_size
from reviver.settings.validation import settings
from reviver.train.lstm.training import train_step


@settings
class FitSettings:
    """Parameters of an estimator that `fit` checks; `SequenceClassifier` documents them.

    Raises:
        ConfigError: if a value is out of range.
    """

    network: LSTMClassifierSpec
    """Spec of the network; what depends on the data is still 1."""
    patch_size: PatchSize
    max_epochs: Count
    batch_size: Count
    learning_rate: Positive
    lr_schedule: Literal["constant", "cosine"]
    max_norm: Positive
    early_stopping: bool
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]
    patience: Count
    channels_first: bool
    device: str
    verbose: CountOrZero | bool

    def __post_init__(self) -> None:
        choose_device(self.device)

    def patch_size_for(self, steps: int) -> int:
        """Return the number of steps of a patch for sequences of up to `steps` steps."""
        return auto_patch_size(steps) if self.patch_size == "auto" else min(self.patch_size, steps)


class Part(NamedTuple):
    """Training or validation part of the sequences."""

    examples: Examples
    """Standardized sequences with their targets: class indices, or numbers."""
    weights: Tensor | None
    """Weight of each sequence in the loss, [N] float32 with mean 1; None if all are 1."""


class FittedNetwork(NamedTuple):
    """Result of a training."""

    network: LSTMClassifier
    """Network on the CPU in eval mode: with early stopping that of the last epoch with the best score, otherwise of the
    last epoch."""
    history: list[dict[str, Any]]
    """Metrics of each epoch."""
    best_epoch: int
    """Epoch that `network` is from, counted from 1."""


def new_network(spec: LSTMClassifierSpec, rng: torch.Generator | None = None) -> LSTMClassifier:
    """Return a network with weights sampled from `rng`, or with any; torch's default generator is left as it is."""
    with torch.random.fork_rng(devices=[]):
        network = LSTMClassifier(**asdict(spec), dtype=torch.float32)
    if rng is not None:
        network.reset_parameters(rng)
    return network


def train_network(
    spec: LSTMClassifierSpec,
    train: Part,
    validation: Part | None,
    *,
    target: TargetKind,
    settings: FitSettings,
    seed: int,
    score: Callable[[Tensor, Part], float],
    log: Callable[[str], None] | None = None,
) -> FittedNetwork:
    """Train a new network.

    Torch's default random number generator is neither read nor changed.

    Args:
        spec: arguments of the network.
        train: training part.
        validation: validation part for early stopping, or None.
        target: "class" or "number".
        settings: settings of the training.
        seed: seed of the weights, the order and the dropout masks.
        score: function of the outputs [N, C] for a part and the part: the accuracy, or R².
        log: function that is given a line of text per epoch.

    Raises:
        ValueError: if a loss is not finite.
    """
    device = choose_device(settings.device)
    network = new_network(spec, make_rng(seed, "weights")).to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, foreach=True)
    dropout_rng = make_rng(seed, "dropout", device)
    data = train.examples.to(device)
    weights = None if train.weights is None else train.weights.to(device)
    history: list[dict[str, Any]] = []
    best = (-math.inf, -math.inf)
    improved_epoch, best_epoch, best_weights = 0, 0, network.state_dict()
    for epoch in range(1, settings.max_epochs + 1):
        losses = torch.zeros((), device=device)
        batches = permutation(len(data), make_rng(seed, f"order/{epoch}"), device).split(settings.batch_size)
        for index, rows in enumerate(batches):
            progress = (epoch - 1 + index / len(batches)) / settings.max_epochs
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * lr_scale(settings.lr_schedule, progress)
            batch = data[rows]
            result = train_step(
                network,
                optimizer,
                batch.encode(),
                batch.targets,
                batch.lengths,
                target=target,
                max_norm=settings.max_norm,
                rng=dropout_rng,
                weights=None if weights is None else weights[rows],
            )
            losses += result.loss * len(rows)
        metrics: dict[str, Any] = {"epoch": epoch, "train_loss": losses.item() / len(data)}
        if validation is not None:
            outputs = predict_outputs(network, validation.examples)
            loss = mean_loss(target, outputs, validation.examples.targets, validation.weights)
            metrics |= {"validation_loss": loss.item(), "validation_score": score(outputs, validation)}
        _check_finite(metrics)
        history.append(metrics)
        if log is not None:
            log(", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in metrics.items()))
        if validation is None:
            continue
        rank = (metrics["validation_score"], -metrics["validation_loss"])
        if rank[0] >= best[0]:  # the last of equals: a loss of few sequences says little
            best_epoch = epoch
            best_weights = {name: value.clone() for name, value in network.state_dict().items()}
        if rank > best:
            best, improved_epoch = rank, epoch
        elif epoch - improved_epoch >= settings.patience:
            break
    if validation is not None:
        network.load_state_dict(best_weights)
    return FittedNetwork(network.cpu().eval(), history, best_epoch or len(history))


@torch.no_grad()
def predict_outputs(network: LSTMClassifier, data: Examples) -> Tensor:
    """Return the outputs of a network in eval mode for sequences, [N, C] float64 on the CPU.

    The network is in its former mode again afterwards.
    """
    was_training = network.training
    network.eval()
    device = network.W_out.device
    outputs = []
    size = evaluation_batch_size(data)
    for start in range(0, len(data), size):
        batch = data[start : start + size].to(device)
        x, lengths = batch.encode(), batch.lengths
        if len(batch) == 1:  # as two rows: matmuls with one row round differently, and the result would depend on N
            x, lengths = x.expand(2, -1, -1), lengths.expand(2)
        outputs.append(network(x, lengths)[: len(batch)].double().cpu())
    network.train(was_training)
    return torch.cat(outputs)


def _check_finite(metrics: dict[str, Any]) -> None:
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise ValueError(
                f"training diverged: the {name.replace('_', ' ')} of epoch {metrics['epoch']} is {value}; "
                "give a lower learning_rate or max_norm"
            )
