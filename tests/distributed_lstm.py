"""Train small LSTMs by several processes: `torchrun -m tests.distributed_lstm FOLDER` writes the results to FOLDER.

`test_distributed_lstm.py` starts it, and compares the results with those of one process.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn

from reviver.data.tasks.build import build_task
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.scoring import score
from reviver.runs.checkpoint import TrainingState
from reviver.runs.distributed.world import World, join_world
from reviver.runs.rng import make_rng
from reviver.runs.session import Session
from reviver.settings.lstm import LSTMConfig
from reviver.train.lstm.training import HISTORY, build_network, build_optimizer, train_epoch

NUM_BATCHES = 5
"""Batches per epoch: four of 8 sequences and one of 1, in which all processes but one have no row."""
EPOCHS = MappingProxyType({torch.float64: 10, torch.float32: 2})
"""Epochs of a case by dtype: 50 and 10 updates."""


def small(**settings: Any) -> LSTMConfig:
    """Return the settings of a small network with 33 training sequences and 8 validation sequences."""
    defaults = {"length": 6, "encoding": "onehot", "hidden_size": 8, "batch_size": 8, "data_size": 41}
    return LSTMConfig(**defaults | settings)


CASES: Mapping[str, LSTMConfig] = MappingProxyType(
    {
        "palindrome": small(),
        "zoneout": small(hidden_dropout_kind="zoneout", hidden_dropout=0.2),
        "layers": small(num_layers=2, bidirectional=True, dropout=0.3),
        "lengths": small(task="parity", curriculum=True, start_length=3),
        "attention": small(pooling="attention", hidden_dropout_kind="variational"),
        "every step": small(task="copy", length=2),
        "number": small(task="adding", encoding="scalar", optimizer="adam"),
        "rnn": small(cell="rnn"),
    }
)
"""Settings by name; each case runs in both precisions."""


@dataclass
class LoopSession:
    """What `train_epoch` needs of a session, without a run folder."""

    state: TrainingState
    lr_scale: float = 1.0
    stop_flag: float = 0.0
    stop_requested: bool = False

    def agree(self, stop_flags: float) -> None:
        """Check that nobody asked to stop."""
        assert stop_flags == 0.0

    def check_finite(self, history: Tensor, first_step: int, names: tuple[str, ...]) -> None:
        """Check that all values are finite."""
        assert history.isfinite().all(), (first_step, names)


def run_case(config: LSTMConfig, dtype: torch.dtype, world: World) -> dict[str, Any]:
    """Train a network, and return everything that must not depend on the number of processes."""
    task = build_task(config)
    network = build_network(config, task).to(dtype)
    reader = network.lstm if isinstance(network, LSTMClassifier) else network
    reader.register_forward_pre_hook(lambda _, arguments: (arguments[0].to(dtype), *arguments[1:]))
    optimizer = build_optimizer(config, network)
    state = TrainingState(
        networks={"network": network},
        optimizers={"network": optimizer},
        rngs={"dropout": make_rng(config.seed, "dropout")},
        tensors={"history": torch.zeros(NUM_BATCHES, len(HISTORY), dtype=dtype)},
        extra={"stage": 0, "sequences": 0},
    )
    history, scores = [], []
    for epoch in range(EPOCHS[dtype]):
        length = config.lengths[min(epoch, len(config.lengths) - 1)]
        session = cast("Session", LoopSession(state))
        train_epoch(session, network, optimizer, task, length, config, world)
        history.append(state.tensors["history"].clone())
        scores.append(score(network, task.validation(length), task.target, world))
    return {
        "history": torch.cat(history),  # [updates, quantities]
        "scores": torch.tensor(scores, dtype=torch.float64),  # [epochs, 3]
        "rng": state.rngs["dropout"].get_state(),
        "weights": nn.utils.parameters_to_vector(network.parameters()).detach(),
    }


def run_all(world: World) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run every case in each precision, and yield its name and result."""
    for name, config in CASES.items():
        for dtype in EPOCHS:
            yield result_name(name, dtype), run_case(config, dtype, world)


def result_name(case: str, dtype: torch.dtype) -> str:
    """Return the name of the result of a case in a precision."""
    return f"{case} {str(dtype).removeprefix('torch.')}"


def main(folder: Path) -> None:
    """Write the results of this process to `folder`."""
    with join_world(torch.device("cpu"), timeout=60) as world:
        torch.save(dict(run_all(world)), folder / f"rank-{world.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
