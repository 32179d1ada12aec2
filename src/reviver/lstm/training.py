"""Training of the LSTM on a memory task: RMSprop or Adam, clipped gradients, and lengths that may grow.

Shapes: B batch, T time, I input size, C classes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from reviver.lstm.cell import LSTMState
from reviver.lstm.config import LSTMConfig
from reviver.lstm.initialisation import chrono
from reviver.lstm.network import LSTMClassifier
from reviver.lstm.rnn import RNNClassifier
from reviver.lstm.tasks.build import build_task
from reviver.lstm.tasks.task import Sequences, TargetKind, Task, correct, mean_loss
from reviver.runs.checkpoint import TrainingState
from reviver.runs.devices import choose_device
from reviver.runs.folder import RunFolder, refuse_existing
from reviver.runs.rng import make_rng
from reviver.runs.session import Session, open_run, permutation, training_session

HISTORY = ("train loss", "correct", "sequences")
EVALUATION_STEPS = 1 << 19
"""Time steps (batch × length) that are evaluated at a time, and so the memory that evaluation takes at any length."""

MAX_EVALUATION_BATCH = 1024

Network = LSTMClassifier | RNNClassifier


class StepResult(NamedTuple):
    """What one update measured, before it changed the weights and with dropout on."""

    loss: Tensor
    """Mean loss of the batch, a scalar."""
    correct: Tensor
    """Sequences that are answered right, a scalar."""


class Score(NamedTuple):
    """How well a network does on a set of sequences, without dropout."""

    loss: float
    """Mean loss, see `tasks.task.TargetKind`."""
    accuracy: float
    """Fraction of sequences that are answered right."""
    size: int
    """Sequences scored."""


def build_network(config: LSTMConfig, task: Task) -> Network:
    """Return the network of a run with the weights that it starts from."""
    sizes, weights = (task.input_size, config.hidden_size, task.output_size), make_rng(config.seed, "weights")
    if config.cell == "rnn":
        rnn = RNNClassifier(*sizes, hidden_dropout=config.hidden_dropout)
        rnn.reset_parameters(weights)
        return rnn
    network = LSTMClassifier(
        *(*sizes, config.num_layers, config.dropout, config.bidirectional),
        hidden_dropout=config.hidden_dropout,
        activation_checkpoint_steps=config.activation_checkpoint_steps,
        hidden_dropout_kind=config.hidden_dropout_kind,
        precision=config.precision,
    )
    network.reset_parameters(weights)
    if config.init == "chrono":
        chrono(network.lstm, config.length, weights)
    return network


def build_optimizer(config: LSTMConfig, network: Network) -> torch.optim.Optimizer:
    """Return the optimiser of a run, at its first learning rate."""
    kind = torch.optim.RMSprop if config.optimizer == "rmsprop" else torch.optim.Adam
    return kind(network.parameters(), lr=config.learning_rate, foreach=True)


def train_step(
    network: Network,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    targets: Tensor,
    lengths: Tensor | None = None,
    *,
    target: TargetKind = "class",
    max_norm: float,
    generator: torch.Generator | None = None,
) -> StepResult:
    """Make one update from a batch x [B, T, I] with its `targets`, whose shape depends on what is asked for, the `target`."""
    outputs = network(x, lengths, every_step=target == "class at every step", rng=generator)
    loss = mean_loss(target, outputs, targets)
    optimizer.zero_grad()
    loss.backward()  # through time, by autograd
    nn.utils.clip_grad_norm_(network.parameters(), max_norm)
    optimizer.step()
    return StepResult(loss.detach(), correct(target, outputs.detach(), targets).sum())


@torch.no_grad()
def score(network: Network, data: Sequences, target: TargetKind) -> Score:
    """Measure `network` on `data`, in eval mode and in batches; the network's mode is put back after."""
    was_training = network.training
    network.eval()
    every_step = target == "class at every step"
    has_state = isinstance(network, LSTMClassifier) and not network.lstm.bidirectional
    in_pieces = has_state and not every_step and data.lengths is None
    batch_size = min(MAX_EVALUATION_BATCH, len(data)) if in_pieces else evaluation_batch_size(data)
    loss, right = 0.0, 0
    for start in range(0, len(data), batch_size):
        part = data[start : start + batch_size]
        if in_pieces:
            assert isinstance(network, LSTMClassifier)
            outputs = answer_in_pieces(network, part, max(1, EVALUATION_STEPS // batch_size))
        else:
            outputs = network(part.encode(), part.lengths, every_step=every_step)
        loss += mean_loss(target, outputs, part.targets).item() * len(part)
        right += int(correct(target, outputs, part.targets).sum())
    network.train(was_training)
    return Score(loss / len(data), right / len(data), len(data))


def evaluation_batch_size(data: Sequences) -> int:
    """How many whole sequences are evaluated at a time."""
    return max(1, min(MAX_EVALUATION_BATCH, EVALUATION_STEPS // data.steps))


def answer_in_pieces(network: LSTMClassifier, data: Sequences, steps: int) -> Tensor:
    """Return the outputs of `network` after the last step, [B, C]; it reads `steps` at a time and carries its state on."""
    state: LSTMState | None = None
    for begin in range(0, data.steps, steps):
        _, state = network.lstm(data.encode(begin, min(begin + steps, data.steps)), state)
    assert state is not None, "there is at least one step"
    return network.classify(state)


def train(
    config: LSTMConfig, out: str | Path, *, device: str = "auto", resume: bool = False, progress: bool = False
) -> RunFolder:
    """Train a network as `config` says, into the run folder `out`.

    With `resume` an interrupted run goes on from its last checkpoint and ends with the same bits as one
    that was never interrupted (same machine and thread count).

    Raises:
        ConfigError, DeviceError, RunFolderError: before anything is written.
        DivergenceError: if a loss is not finite.
        Interrupted: after SIGINT or SIGTERM, once the state is saved.
    """
    chosen_device = choose_device(device)
    if not resume:
        refuse_existing(out)
    task = build_task(config)
    network = build_network(config, task).to(chosen_device)
    optimizer = build_optimizer(config, network)
    most_batches = max(-(-task.epoch_size(n) // config.batch_size_at(n)) for n in config.lengths)
    state = TrainingState(
        networks={"network": network},
        optimizers={"network": optimizer},
        rngs={"dropout": make_rng(config.seed, "dropout", chosen_device)},
        tensors={"history": torch.zeros(most_batches, len(HISTORY), device=chosen_device)},
        extra={"stage": 0, "sequences": 0},
    )
    folder = open_run(out, "lstm", config, chosen_device, resume=resume)
    if task.data_record is not None:
        folder.record_data("data", task.data_record, "data", "file")
    stages = len(config.lengths)
    with training_session(
        folder,
        state,
        total=stages if config.curriculum else config.epochs,
        unit="lengths" if config.curriculum else "epochs",
        description="LSTM" if config.task == "custom" else f"LSTM T={config.length}",
        progress=progress,
    ) as session:
        while state.epoch < config.epochs and state.extra["stage"] < stages:
            with session.rolling_back():
                length = config.lengths[state.extra["stage"]]
                train_epoch(session, network, optimizer, task, length, config)
                validation = score(network, task.validation(length).to(chosen_device), task.target)
                session.check_finite(torch.tensor([[validation.loss]]), state.step, ("validation loss",))
                log_epoch(session, validation, length, config)
                offer_best(state, network, validation, length)
                if config.curriculum and validation.accuracy >= config.threshold_at(length):
                    state.extra["stage"] += 1
                ended = state.epoch == config.epochs or state.extra["stage"] == stages
                if state.epoch % config.checkpoint_every == 0 or ended:
                    session.save()
    return folder


def train_epoch(
    session: Session, network: Network, optimizer: torch.optim.Optimizer, task: Task, length: int, config: LSTMConfig
) -> None:
    """Train for an epoch at `length`, or on what is left of it after a resume.

    If a signal asks to stop, the state is saved after the step.
    """
    state = session.state
    history, dropout = state.tensors["history"], state.rngs["dropout"]
    if state.batch == 0:
        history.zero_()
    data = task.training(state.epoch, length).to(history.device)
    order = permutation(len(data), make_rng(config.seed, f"order/{state.epoch}"), history.device)
    batches = order.split(config.batch_size_at(length))
    for indices in batches[state.batch :]:
        batch = data[indices]
        rate = config.learning_rate_at((state.epoch + state.batch / len(batches)) / config.epochs, length)
        for group in optimizer.param_groups:
            group["lr"] = rate * session.lr_scale
        result = train_step(
            *(network, optimizer, batch.encode(), batch.targets, batch.lengths),
            target=task.target,
            max_norm=config.max_norm,
            generator=dropout,
        )
        count = torch.tensor(len(indices), device=history.device)
        history[state.batch] = torch.stack([result.loss * count, result.correct, count])
        state.batch += 1
        state.step += 1
        if session.stop_requested:
            break
    session.check_finite(history[: state.batch], state.step - state.batch + 1, HISTORY)
    if session.stop_requested:
        session.stop()
    state.extra["sequences"] += len(data)
    state.epoch += 1
    state.batch = 0


def log_epoch(session: Session, validation: Score, length: int, config: LSTMConfig) -> None:
    """Write the metrics of the epoch that has just ended."""
    state = session.state
    loss, correct, count = state.tensors["history"].sum(0).tolist()
    session.log(
        epoch=state.epoch,
        **({"length": length} if config.curriculum else {}),
        sequences=state.extra["sequences"],
        train_loss=loss / count,
        train_accuracy=correct / count,
        validation_loss=validation.loss,
        validation_accuracy=validation.accuracy,
    )
    done, where = (state.extra["stage"], f"length {length}, ") if config.curriculum else (state.epoch, "")
    text = f"{where}train loss {loss / count:.3f}, validation accuracy {validation.accuracy:.1%}"
    session.progress.update(done, text)


def is_reached(config: LSTMConfig, last: Mapping[str, Any]) -> bool:
    """Whether a growing run came to its end, by the metrics of its last epoch."""
    return bool(last["length"] == config.length and last["validation_accuracy"] >= config.threshold_at(config.length))


def rank(point: Mapping[str, Any]) -> tuple[float, ...]:
    """The order of epochs by their metrics, the best last: the longest sequences, then the highest accuracy, then the lowest loss."""
    return point.get("length", 0), point["validation_accuracy"], -point["validation_loss"]


def offer_best(state: TrainingState, network: Network, validation: Score, length: int) -> None:
    """Keep the present weights of `network` as the best if they are better than those so far, see `rank`."""
    best = state.extra.get("best")
    point = {
        "step": state.step,
        "epoch": state.epoch,
        "length": length,
        "validation_accuracy": validation.accuracy,
        "validation_loss": validation.loss,
    }
    if best is None or rank(point) > rank(best):
        state.extra["best"] = point
        state.best_networks = {"network": {key: value.clone() for key, value in network.state_dict().items()}}
