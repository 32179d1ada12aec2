"""Training of the LSTM on a task: RMSprop or Adam, clipped gradients, and an optional length curriculum.

Shapes: B batch, T time, I input size, C classes.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from reviver.data.build import build_task
from reviver.data.task import Task, correct, mean_loss
from reviver.recurrent import kernel
from reviver.recurrent.classifier import LSTMClassifier, RecurrentClassifier, RNNClassifier
from reviver.recurrent.custom_cells import CellClassifier, probe
from reviver.recurrent.kernel.library import KERNEL
from reviver.recurrent.layers import chrono
from reviver.rng import Rng, make_rng
from reviver.runs.checkpoint import TrainingState
from reviver.runs.distributed.parallel_step import step_options
from reviver.runs.distributed.world import World
from reviver.runs.folder import RunFolder
from reviver.runs.session import Session, Start, open_run, trainer, training_session
from reviver.settings.fields import select
from reviver.settings.lstm import LSTMConfig
from reviver.settings.lstm_network import CELLS, LSTMClassifierSpec, RNNClassifierSpec, auto_patch_size, cell_label
from reviver.settings.parts import BUILT_IN, CustomClass, Parts, is_reference
from reviver.settings.tasks import TargetKind
from reviver.text import percent
from reviver.train.lstm import curriculum
from reviver.train.lstm.curriculum import rank, rank_checkpoint, stopped_early
from reviver.train.lstm.scoring import Score, score
from reviver.train.lstm.snapshots import is_snapshot_due, save_snapshot

_log = logging.getLogger("reviver")
HISTORY = ("train loss", "correct", "sequences")
"""Columns of the metrics that an epoch collects per update: the loss summed over the batch, and two counts."""


class LSTMStepResult(NamedTuple):
    """Metrics of the batch of one update, from the forward pass before it, with dropout; scalars."""

    loss: Tensor
    correct: Tensor
    """Number of correct sequences of the batch."""


def check_batch_sizes(config: LSTMConfig, world: World) -> None:
    """Raise a ConfigError unless every process has a row of a full batch, at each length."""
    for length in config.lengths:
        world.check_batch_size(config.batch_size_at(length), f" at length {length}" if config.curriculum else "")


def build_network(
    config: LSTMConfig, task: Task, parts: Parts = BUILT_IN, *, for_loading: bool = False
) -> RecurrentClassifier:
    """Return the network of a run with its initial weights, or `for_loading` others with uninitialized ones."""
    cell = parts.require("cell", config.cell) if is_reference(config.cell) else config.cell
    patch_size = auto_patch_size(task.max_length) if config.patch_size == "auto" else config.patch_size
    sizes = {"input_size": task.input_size, "num_classes": task.output_size, "patch_size": patch_size}
    rng = None if for_loading else make_rng(config.seed, "weights")
    network = new_network(select(LSTMClassifierSpec, config, **sizes), cell, rng)
    if config.init == "chrono" and rng is not None:
        chrono(network.recurrent, -(-task.max_length // patch_size), rng)  # T in steps of the layers: patches
    return network


def new_network(
    spec: LSTMClassifierSpec, cell: str | CustomClass, rng: torch.Generator | None, dtype: torch.dtype | None = None
) -> RecurrentClassifier:
    """Return a network with weights sampled from `rng`, uninitialized if it is None; torch's generator is not used."""
    if isinstance(cell, CustomClass):
        custom = CellClassifier(cell, spec, rng)
        if not custom.W_out.is_meta:
            probe(cell, custom.layers)
        return custom
    network: LSTMClassifier | RNNClassifier
    if cell == "lstm":
        network = LSTMClassifier(**asdict(spec), dtype=dtype, device="meta")
    else:
        network = RNNClassifier(**asdict(select(RNNClassifierSpec, spec, cell=cell)), dtype=dtype, device="meta")
    network.to_empty(device=torch.get_default_device())
    if rng is not None:
        network.reset_parameters(rng)
    return network


def build_optimizer(config: LSTMConfig, network: RecurrentClassifier) -> torch.optim.Optimizer:
    """Return the optimizer of a run; `train_epoch` sets its learning rate at every update."""
    optimizer = torch.optim.RMSprop if config.optimizer == "rmsprop" else torch.optim.Adam
    return optimizer(network.parameters(), weight_decay=config.weight_decay, foreach=True)


def train_step(
    network: RecurrentClassifier,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    targets: Tensor,
    lengths: Tensor | None = None,
    *,
    target: TargetKind = "class",
    max_norm: float,
    rng: Rng = None,
    weights: Tensor | None = None,
    fraction: float = 1.0,
    gather: Callable[..., tuple[Tensor, ...]] | None = None,
) -> LSTMStepResult:
    """Update the weights of `network`, in training mode, once; return the metrics of the batch before the update.

    `x` is [B, T, I], `lengths` the steps of each sequence, [B] int64, all T if None; for `targets` see `TargetKind`, and
    `weights` is a factor of the loss of each sequence, [B]. A gradient with a norm above `max_norm` is scaled down to it.
    With `gather`, which adds the gradients of all processes, it is a `fraction` of a batch.
    """
    optimizer.zero_grad()
    outputs = network(x, lengths, every_step=target == "class at every step", rng=rng)
    loss = mean_loss(target, outputs, targets, weights)
    if isinstance(network, RNNClassifier) and len(x) and loss.device.type == "cpu" and not loss.isfinite():
        _explain_nan(network, x, lengths)
    (fraction * loss).backward()  # through time
    result = LSTMStepResult(loss.detach(), correct(target, outputs.detach(), targets).sum())
    if gather is not None:
        result = LSTMStepResult(*gather(network.parameters(), result.loss[None], result.correct))
    nn.utils.clip_grad_norm_(network.parameters(), max_norm)
    optimizer.step()
    return result


def _explain_nan(network: RNNClassifier, x: Tensor, lengths: Tensor | None) -> None:
    """Log which line of the text made a number that is not finite, unless a weight is not: then a gradient was."""
    if all(bool(weight.isfinite().all()) for weight in network.parameters()):
        found = network.rnn.find_nan(network.patch(x.to(network.W_out.dtype), lengths)[0])
        if found:
            _log.warning(found)


@trainer
def train(config: LSTMConfig, start: Start) -> RunFolder:
    """Train a network on a task; for the arguments of callers see `reviver.runs.session.trainer`."""
    parts, world, device = start.parts, start.world, start.device
    check_batch_sizes(config, world)
    rngs = {"dropout": make_rng(config.seed, "dropout", device)}
    if parts.cell is not None:
        rngs |= start.default_rngs
    task = build_task(config, parts=parts)
    network = build_network(config, task, parts).to(device)
    optimizer = build_optimizer(config, network)
    max_batches = max(-(-task.epoch_size(length) // config.batch_size_at(length)) for length in config.lengths)
    history = torch.zeros(max_batches, len(HISTORY), device=device)
    state = TrainingState(
        networks={"network": network},
        optimizers={"network": optimizer},
        rngs=rngs,
        tensors={"history": history},
        extra={**curriculum.start(config), "sequences": 0},
    )
    uses_kernel = not is_reference(config.cell) and device.type == "cpu" and kernel.available()
    folder = open_run(start.out, "lstm", config, resume=start.resume, world=world)
    folder.record_parts(parts)
    if isinstance(network, CellClassifier) and world.is_main:
        _log.info(f"the cell {config.cell} runs step by step, which takes longer than a text, which runs natively")
    if isinstance(network, RNNClassifier) and world.is_main:
        cell = network.rnn.cell
        _log.info(f"cell {cell.name}: {cell.summary()}")
    if task.data is not None:
        folder.record_data("data", task.data.model_dump(mode="json"), "data", "file")
    label = cell_label(config.cell) if config.cell not in CELLS else config.cell.upper()
    with training_session(
        folder,
        state,
        total=len(config.lengths) if config.curriculum else config.epochs,
        unit="lengths" if config.curriculum else "epochs",
        description=label + ("" if config.task == "custom" else f" T={config.length}"),
        progress=start.progress,
        native=KERNEL.variant if uses_kernel else "none",
    ) as session:
        while not is_finished(config, state):
            if world.is_main:
                folder.remove_later_snapshots(state.step)
            with session.rolling_back():
                stage = curriculum.next_stage(config, state.extra)
                length = config.lengths[stage.number]
                if stage.trains:
                    train_epoch(session, task, length)
                validation = _validate(session, network, task, length, stage.trains)
                session.check_finite(torch.tensor([[validation.loss]]), state.step, ("validation loss",))
                passed = config.curriculum and validation.accuracy >= config.threshold_at(length)
                _log_validation(session, validation, length, stage.trains, config)
                if stage.trains and is_snapshot_due(state.epoch, config.epochs) and world.is_main:
                    save_snapshot(folder, state, validation.accuracy)
                if stage.trains or passed:
                    keep_best(state, validation, length, config.patience)
                if config.curriculum:
                    curriculum.advance(state.extra, stage, passed=passed)
                if (stage.trains and state.epoch % config.checkpoint_every == 0) or is_finished(config, state):
                    session.save()
    return folder


def train_epoch(session: Session, task: Task, length: int) -> None:
    """Train for one epoch at `length`, or for the rest of it after a resume."""
    state, world, config = session.state, session.world, task.config
    network, optimizer = cast("RecurrentClassifier", state.networks["network"]), state.optimizers["network"]
    history, dropout_rng = state.tensors["history"], state.rngs["dropout"]
    if state.batch == 0:
        history.zero_()
    data = task.training(state.epoch, length).to(history.device)
    order = torch.randperm(len(data), generator=make_rng(config.seed, f"order/{state.epoch}"))
    batches = order.to(history.device).split(config.batch_size_at(length))

    for indices in batches[state.batch :]:
        progress = (state.epoch + state.batch / len(batches)) / config.epochs
        set_learning_rate(optimizer, config.learning_rate_at(progress, length) * session.lr_scale)
        batch = data[indices]
        rows = world.rows(len(batch))
        local = batch if world.size == 1 else batch.take_rows(rows)
        options: Any = {
            "target": task.target,
            "max_norm": config.max_norm,
            **step_options(session, rows, dropout_rng),
        }
        result = train_step(network, optimizer, local.encode(), local.targets, local.lengths, **options)
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


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def is_finished(config: LSTMConfig, state: TrainingState) -> bool:
    """Return whether a run ends: by the last length of a curriculum, the last epoch, or early stopping."""
    if state.extra["stage"] == len(config.lengths):
        return True
    improved = state.extra.get("improved")
    is_last = state.epoch >= config.epochs and curriculum.next_stage(config, state.extra).trains
    return is_last or (improved is not None and stopped_early(config.patience, state.epoch, improved["epoch"]))


def _validate(session: Session, network: RecurrentClassifier, task: Task, length: int, trained: bool) -> Score:
    """Return the score on the validation sequences of a length. One without training may take minutes, so a signal stops it."""
    world = session.world

    def report(done: float) -> None:
        if world.size == 1 and session.stop_requested:
            session.stop()
        session.progress.update(session.state.extra["stage"], f"validation at length {length:,}: {done:.0%}")

    if not trained:
        if world.size > 1:
            session.agree(world.sum(torch.tensor([session.stop_flag], device=network.W_out.device)).item())
        if session.stop_requested:
            session.stop()
    data = task.validation(length).to(network.W_out.device)
    return score(network, data, task.target, world, None if trained else report)


def _log_validation(session: Session, validation: Score, length: int, trained: bool, config: LSTMConfig) -> None:
    """Write the metrics of a validation and of the epoch before it, if there was one, and update the progress bar."""
    state = session.state
    metrics: dict[str, Any] = {"epoch": state.epoch, "sequences": state.extra["sequences"]}
    text, done = f"validation accuracy {percent(validation.accuracy, 1)}%", state.epoch
    if config.curriculum:
        metrics |= {"length": length, "validation_sequences": validation.size}
        text, done = f"{text} at length {length:,}", state.extra["stage"]
    metrics |= {"train_loss": None, "train_accuracy": None}
    if trained:
        loss, num_correct, count = state.tensors["history"].sum(0).tolist()
        metrics |= {"train_loss": loss / count, "train_accuracy": num_correct / count}
        text += f", train loss {loss / count:.3f}"
    session.log(**metrics, validation_loss=validation.loss, validation_accuracy=validation.accuracy)
    session.progress.update(done, text)


def keep_best(state: TrainingState, validation: Score, length: int = 0, patience: int | None = None) -> None:
    """Keep a copy of the weights if their metrics are the best so far, see `rank_checkpoint`."""
    best, improved = state.extra.get("best"), state.extra.get("improved")
    metrics = {
        "step": state.step,
        "epoch": state.epoch,
        "length": length,
        "validation_accuracy": validation.accuracy,
        "validation_loss": validation.loss,
    }
    if patience is not None and (improved is None or rank(metrics) > rank(improved)):
        state.extra["improved"] = metrics
    if best is None or rank_checkpoint(metrics, patience) > rank_checkpoint(best, patience):
        state.extra["best"] = metrics
        weights = state.networks["network"].state_dict()
        state.best_networks = {"network": {key: value.clone() for key, value in weights.items()}}
