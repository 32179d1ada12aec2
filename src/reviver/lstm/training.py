"""Training of the LSTM on a memory task: RMSprop, cross-entropy, clipped gradients.

Shapes: B batch, T length, I input size, C classes.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from reviver.lstm.network import LSTMClassifier
from reviver.lstm.presets import LSTMConfig
from reviver.lstm.tasks import NUM_DIGITS, Palindromes, Split, encode_digits, make_palindromes, split_palindromes
from reviver.runs.checkpoint import TrainingState, save_best
from reviver.runs.devices import choose_device
from reviver.runs.folder import RunFolder, refuse_existing
from reviver.runs.randomness import stream
from reviver.runs.session import Session, open_run, permutation, training_session

HISTORY = ("train loss", "correct", "sequences")
EVALUATION_BATCH = 1024


class StepResult(NamedTuple):
    """What one update measured, before it changed the weights and with dropout on."""

    loss: Tensor
    """Mean cross-entropy of the batch, a scalar."""
    correct: Tensor
    """Sequences whose most probable class is right, a scalar."""


class Score(NamedTuple):
    """How well a network does on a set of sequences, without dropout."""

    loss: float
    """Mean cross-entropy."""
    accuracy: float
    """Fraction of sequences whose most probable class is right."""
    size: int
    """Sequences scored."""


def build_network(config: LSTMConfig) -> LSTMClassifier:
    """Return the network of a run with the weights that it starts from."""
    network = LSTMClassifier(
        config.input_size,
        config.hidden_size,
        NUM_DIGITS,
        config.num_layers,
        config.dropout,
        config.bidirectional,
        hidden_dropout=config.hidden_dropout,
        hidden_dropout_kind=config.hidden_dropout_kind,
        precision=config.precision,
    )
    network.reset_parameters(stream(config.seed, "weights"))
    return network


def build_data(config: LSTMConfig) -> Split:
    """Return the training and the validation part of a run's palindromes."""
    palindromes = make_palindromes(config.length, config.data_size, stream(config.seed, "data"))
    return split_palindromes(palindromes, config.train_fraction, config.seed)


def train_step(
    network: LSTMClassifier,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    classes: Tensor,
    *,
    max_norm: float,
    generator: torch.Generator | None = None,
) -> StepResult:
    """Make one update from a batch x [B, T - 1, I] with its `classes` [B]."""
    logits = network(x, generator=generator)  # [B, C]
    loss = functional.cross_entropy(logits, classes)
    optimizer.zero_grad()
    loss.backward()  # through time, by autograd
    nn.utils.clip_grad_norm_(network.parameters(), max_norm)
    optimizer.step()
    return StepResult(loss.detach(), (logits.detach().argmax(1) == classes).sum())


@torch.no_grad()
def score(network: LSTMClassifier, data: Palindromes, encoding: str) -> Score:
    """Measure `network` on `data`, in eval mode and in batches; the network's mode is put back after."""
    was_training = network.training
    network.eval()
    loss, correct = 0.0, 0
    for start in range(0, len(data), EVALUATION_BATCH):
        part = data[start : start + EVALUATION_BATCH]
        logits = network(encode_digits(part.inputs, encoding))
        loss += functional.cross_entropy(logits, part.classes, reduction="sum").item()
        correct += int((logits.argmax(1) == part.classes).sum())
    network.train(was_training)
    return Score(loss / len(data), correct / len(data), len(data))


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
    data = Split(*(part.to(chosen_device) for part in build_data(config)))
    network = build_network(config).to(chosen_device)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=config.learning_rate, foreach=True)
    batches = -(-len(data.train) // config.batch_size)
    state = TrainingState(
        networks={"network": network},
        optimizers={"network": optimizer},
        generators={"dropout": stream(config.seed, "dropout", chosen_device)},
        tensors={"history": torch.zeros(batches, len(HISTORY), device=chosen_device)},
    )
    folder = open_run(out, "lstm", config, chosen_device, resume=resume)
    best = BestWeights(network, state)
    with training_session(
        folder, state, epochs=config.epochs, description=f"LSTM T={config.length}", progress=progress
    ) as session:
        while state.epoch < config.epochs:
            train_epoch(session, network, optimizer, data.train, config, best)
            validation = score(network, data.validation, config.input)
            session.check_finite(torch.tensor([[validation.loss]]), state.step, ("validation loss",))
            log_epoch(session, validation)
            best.offer(validation)
            if state.epoch % config.checkpoint_every == 0 or state.epoch == config.epochs:
                best.save(folder)
                session.save()
    return folder


def train_epoch(
    session: Session,
    network: LSTMClassifier,
    optimizer: torch.optim.Optimizer,
    data: Palindromes,
    config: LSTMConfig,
    best: "BestWeights",
) -> None:
    """Train on all of `data` once, or on what is left of it in this epoch after a resume.

    If a signal asks to stop, `best` and the state are saved after the step.
    """
    state = session.state
    history, dropout = state.tensors["history"], state.generators["dropout"]
    order = permutation(len(data), stream(config.seed, f"order/{state.epoch}"), history.device)
    for indices in order.split(config.batch_size)[state.batch :]:
        batch = data[indices]
        x = encode_digits(batch.inputs, config.input)
        result = train_step(network, optimizer, x, batch.classes, max_norm=config.max_norm, generator=dropout)
        history[state.batch] = torch.stack(
            [result.loss * len(indices), result.correct, torch.tensor(len(indices), device=history.device)]
        )
        state.batch += 1
        state.step += 1
        if session.stop_requested:
            check_losses(session)
            best.save(session.folder)
            session.stop()
    check_losses(session)
    state.epoch += 1
    state.batch = 0


def check_losses(session: Session) -> None:
    """Raise `DivergenceError` if a loss of this epoch is not finite."""
    state = session.state
    history = state.tensors["history"][: state.batch]
    session.check_finite(history, state.step - state.batch + 1, HISTORY)


def log_epoch(session: Session, validation: Score) -> None:
    """Write the metrics of the epoch that has just ended."""
    loss, correct, count = session.state.tensors["history"].sum(0).tolist()
    session.log(
        epoch=session.state.epoch,
        train_loss=loss / count,
        train_accuracy=correct / count,
        validation_loss=validation.loss,
        validation_accuracy=validation.accuracy,
    )
    facts = f"train loss {loss / count:.3f}, validation accuracy {validation.accuracy:.1%}"
    session.progress.update(session.state.epoch, facts)


class BestWeights:
    """Remembers the weights with the highest validation accuracy, of equals the one with the lowest loss."""

    def __init__(self, network: LSTMClassifier, state: TrainingState) -> None:
        self._network = network
        self._state = state
        self._weights: dict[str, Tensor] | None = None

    def offer(self, validation: Score) -> None:
        """Take the network's present weights if they are better than the best so far."""
        best = self._state.extra.get("best")
        if best is None or (validation.accuracy, -validation.loss) > (
            best["validation_accuracy"],
            -best["validation_loss"],
        ):
            self._state.extra["best"] = {
                "step": self._state.step,
                "epoch": self._state.epoch,
                "validation_accuracy": validation.accuracy,
                "validation_loss": validation.loss,
            }
            self._weights = {key: value.clone() for key, value in self._network.state_dict().items()}

    def save(self, folder: RunFolder) -> None:
        """Write the best weights into the run folder, unless they are there already."""
        if self._weights is not None:
            save_best(folder.checkpoints, self._state.extra["best"]["step"], {"network": self._weights})
            self._weights = None
