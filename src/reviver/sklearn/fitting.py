"""Parameters of the estimators, and the training of their network: Adam, clipped gradients, early stopping.

Shapes: N sequences, B batch, T time, I channels per step, C outputs: classes, or 1 for a number.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, dataclass_transform, get_type_hints

import torch
from pydantic import Field
from torch import Tensor

from reviver.data.sequences.examples import Examples
from reviver.data.task import mean_loss
from reviver.launch import choose_device
from reviver.recurrent.classifier import RecurrentClassifier
from reviver.recurrent.grammar import load_cell
from reviver.rng import make_rng
from reviver.runs.checkpoint import TrainingState
from reviver.settings.fields import Count, CountOrZero, Positive, Probability, lr_scale
from reviver.settings.lstm_network import DropoutKind, PatchSize, Pooling
from reviver.settings.parts import CustomClass
from reviver.settings.validation import refuse
from reviver.train.lstm.curriculum import stopped_early
from reviver.train.lstm.scoring import Score, compute_logits
from reviver.train.lstm.training import keep_best, new_network, set_learning_rate, train_step

Class = TypeVar("Class")


@dataclass_transform(kw_only_default=True)
def parameter_class(cls: type[Class]) -> type[Class]:
    """Decorate a class with a constructor that only keeps its fields, as scikit-learn asks for; help shows plain types."""
    decorated: Any = dataclass(kw_only=True, eq=False, repr=False)(cls)
    decorated.__init__.__annotations__ = get_type_hints(decorated.__init__)
    return decorated  # type: ignore[no-any-return]


@parameter_class
class Parameters:
    """Parameters of an estimator with their bounds, which `fit` checks; `SequenceClassifier` documents them."""

    cell: str | type = "lstm"
    hidden_size: Count = 128
    num_layers: Count = 1
    bidirectional: bool = True
    pooling: Pooling = "mean"
    patch_size: PatchSize = "auto"
    dropout: Probability = 0.0
    hidden_dropout: Probability = 0.0
    hidden_dropout_kind: DropoutKind = "step"
    max_epochs: Count = 500
    batch_size: Count = 16
    learning_rate: Positive = 2e-3
    lr_schedule: Literal["constant", "cosine"] = "constant"
    max_norm: Positive = 1.0
    early_stopping: bool = True
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Count = 200
    channels_first: bool = False
    random_state: Any = None
    device: str = "cpu"
    verbose: CountOrZero | bool = 0


class Subset(NamedTuple):
    """Training or validation part of the sequences."""

    examples: Examples
    """Standardized sequences with their targets: class indices, or numbers."""
    weights: Tensor | None
    """Weight of each sequence in the loss, [N] float32 with mean 1; None if all are 1."""


PLAIN: Mapping[str, Any] = MappingProxyType({"bidirectional": False, "pooling": "last", "patch_size": 1})
"""The only values of parameters that cells other than the LSTM support."""


def train_network(
    estimator: Any, train: Subset, validation: Subset | None, parameters: Parameters, seed: int
) -> tuple[RecurrentClassifier, list[dict[str, Any]], int]:
    """Train a new network, and return it on the CPU in eval mode, the metrics of each epoch, and the epoch that it is from.

    With a validation part, training stops early, by the score of the `estimator`, and the network is that of the last epoch
    with the best one. A loss that is not finite is a ValueError.
    """
    device, patience = choose_device(parameters.device), parameters.patience
    spec, cell, target = estimator.architecture_, parameters.cell, estimator._target
    if isinstance(cell, type) and any(getattr(spec, name) != value for name, value in PLAIN.items()):
        refuse("cell", "supports only bidirectional=False, pooling='last' and patch_size=1")
    part = CustomClass(cell) if isinstance(cell, type) else cell if cell == "lstm" else load_cell(cell).text
    network = new_network(spec, part, make_rng(seed, "weights"), torch.float32).to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=parameters.learning_rate, foreach=True)
    state = TrainingState({"network": network}, {"network": optimizer}, {"dropout": make_rng(seed, "dropout", device)})
    data = train.examples.to(device)
    weights = None if train.weights is None else train.weights.to(device)
    history: list[dict[str, Any]] = []
    options: Any = {"target": target, "max_norm": parameters.max_norm, "rng": state.rngs["dropout"]}
    while state.epoch < parameters.max_epochs:
        order = torch.randperm(len(data), generator=make_rng(seed, f"order/{state.epoch + 1}")).to(device)
        losses = torch.zeros((), device=device)
        batches = order.split(parameters.batch_size)
        for index, rows in enumerate(batches):
            progress = (state.epoch + index / len(batches)) / parameters.max_epochs
            set_learning_rate(optimizer, parameters.learning_rate * lr_scale(parameters.lr_schedule, progress))
            batch, own = data[rows], None if weights is None else weights[rows]
            sequences = batch.encode(), batch.targets, batch.lengths
            losses += train_step(network, optimizer, *sequences, **options, weights=own).loss * len(rows)
        state.epoch += 1
        metrics: dict[str, Any] = {"epoch": state.epoch, "train_loss": losses.item() / len(data)}
        if validation is not None:
            outputs = compute_logits(network, validation.examples).double()
            loss = mean_loss(target, outputs, validation.examples.targets, validation.weights)
            metrics |= {
                "validation_loss": loss.item(),
                "validation_score": estimator._score_outputs(outputs, validation),
            }
        for name, value in metrics.items():
            if not math.isfinite(value):
                problem = f"training diverged: the {name.replace('_', ' ')} of epoch {state.epoch} is {value}"
                raise ValueError(f"{problem}; give a lower learning_rate or max_norm")
        history.append(metrics)
        if parameters.verbose:
            text = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in metrics.items())
            print(f"[{type(estimator).__name__}] {text}")  # noqa: T201
        if validation is not None:
            found = Score(metrics["validation_loss"], metrics["validation_score"], len(validation.examples))
            keep_best(state, found, patience=patience)
            if stopped_early(patience, state.epoch, state.extra["improved"]["epoch"]):
                break
    if state.best_networks is not None:
        network.load_state_dict(state.best_networks["network"])
    return network.cpu().eval(), history, state.extra.get("best", history[-1])["epoch"]
