"""The updates of a training run, one by one, with the state of RMSprop before and after each.

Shapes: N validation sequences, C classes. A list of tensors has one tensor per parameter of the network.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.config import LSTMConfig
from reviver.lstm.scoring import score
from reviver.lstm.tasks.build import build_task
from reviver.lstm.tasks.palindromes import Palindromes
from reviver.lstm.training import build_network, build_optimizer, train_step
from reviver.packed.order import epoch_order
from reviver.runs.rng import make_rng

Weights = list[Tensor]


@dataclass(frozen=True)
class Update:
    """One update of the weights.

    Attributes:
        epoch: epoch, from 1.
        index: batch within the epoch, from 0.
        batch: its sequences.
        rng_state: state of the generator of the dropout masks before the update.
        weights: weights before the update.
        square_avg: v of RMSprop before the update, the running mean of the squared gradient; 0 at first.
        gradient: gradient after clipping.
        step: change of the weights.
        accuracy: validation accuracy after the update.
        logits: logits of the validation sequences after the update, [N, C].
    """

    epoch: int
    index: int
    batch: Palindromes
    rng_state: Tensor
    weights: Weights
    square_avg: Weights
    gradient: Weights
    step: Weights
    accuracy: float
    logits: Tensor


class Training:
    """Training as `reviver.lstm.training` does it on one CPU, bit for bit, that stops after every update.

    Attributes:
        config: settings of the run.
        network: network, which each update changes.
        train: training palindromes.
        validation: validation palindromes.
    """

    def __init__(self, config: LSTMConfig) -> None:
        self.config = config
        self._task = build_task(config)
        network = build_network(config, self._task)
        assert isinstance(network, LSTMClassifier)
        self.network = network
        self.optimizer = build_optimizer(config, network)
        self.train = self._palindromes(self._task.training(0, config.length))
        self.validation = self._palindromes(self._task.validation(config.length))
        self.parameters = list(network.parameters())
        self._rng = make_rng(config.seed, "dropout")

    @staticmethod
    def _palindromes(sequences: object) -> Palindromes:
        assert isinstance(sequences, Palindromes), "the dips are those of the report's task"
        return sequences

    def epochs(self) -> Iterator[float]:
        """Train to the end, and yield the validation accuracy after each epoch."""
        for epoch in range(self.config.epochs):
            self.train_epoch(epoch)
            yield score(self.network, self.validation, "class").accuracy

    def train_epoch(self, epoch: int) -> None:
        """Train for an epoch, from 0."""
        for index, batch in self._batches(epoch):
            self._update(batch, self._progress(epoch, index))

    def updates(self, epoch: int) -> Iterator[Update]:
        """Train for an epoch, from 0, and yield each update."""
        for index, batch in self._batches(epoch):
            weights, square_avg = copy(self.parameters), self.square_avg()
            rng_state = self._rng.get_state()
            self._update(batch, self._progress(epoch, index))
            yield Update(
                epoch + 1,
                index,
                batch,
                rng_state,
                weights,
                square_avg,
                [parameter.grad.clone() for parameter in self.parameters if parameter.grad is not None],
                [after.detach() - before for after, before in zip(self.parameters, weights, strict=True)],
                score(self.network, self.validation, "class").accuracy,
                self.logits(),
            )

    def square_avg(self) -> Weights:
        """Return a copy of v; 0 before the first update. Adam's is not corrected for its start."""
        states = [self.optimizer.state.get(parameter, {}) for parameter in self.parameters]
        name = "square_avg" if self.config.optimizer == "rmsprop" else "exp_avg_sq"
        return [
            state[name].clone() if state else torch.zeros_like(parameter)
            for state, parameter in zip(states, self.parameters, strict=True)
        ]

    @torch.no_grad()
    def logits(self) -> Tensor:
        """Return the logits of the validation sequences without dropout, [N, C]."""
        self.network.eval()
        logits: Tensor = self.network(self.validation.encode())
        self.network.train()
        return logits

    @torch.no_grad()
    def set_weights(self, weights: Sequence[Tensor]) -> None:
        """Give the network these weights."""
        for parameter, value in zip(self.parameters, weights, strict=True):
            parameter.copy_(value)

    def _batches(self, epoch: int) -> Iterator[tuple[int, Palindromes]]:
        data = self._palindromes(self._task.training(epoch, self.config.length))
        order = epoch_order(self.config.order, data.block_edges, make_rng(self.config.seed, f"order/{epoch}"))
        batches = order.split(self.config.batch_size)
        yield from enumerate(data.read(batches, self.config.order))

    def _progress(self, epoch: int, index: int) -> float:
        return (epoch + index / -(-len(self.train) // self.config.batch_size)) / self.config.epochs

    def _update(self, batch: Palindromes, progress: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate_at(progress, self.config.length)
        train_step(
            self.network, self.optimizer, batch.encode(), batch.targets, max_norm=self.config.max_norm, rng=self._rng
        )


def copy(tensors: Sequence[Tensor]) -> Weights:
    """Return copies of tensors, without their gradients."""
    return [tensor.detach().clone() for tensor in tensors]


def norm(tensors: Sequence[Tensor]) -> float:
    """Return the Euclidean norm of all elements of all tensors."""
    return float(torch.stack([tensor.square().sum() for tensor in tensors]).sum().sqrt())


def largest(tensors: Sequence[Tensor]) -> float:
    """Return the largest absolute value of all elements of all tensors."""
    return max(float(tensor.abs().max()) for tensor in tensors)
