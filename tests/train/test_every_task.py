"""Training of the LSTM on every task: it runs, resumes bit for bit, follows its schedule, and learns."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from reviver.data.tasks.build import BUILDERS, build_task
from reviver.errors import ConfigError, DataError, Interrupted
from reviver.settings.lstm import LSTMConfig
from reviver.train.lstm import training
from reviver.train.lstm.evaluation import evaluate, parse_digits
from reviver.train.lstm.training import build_network, train
from tests.lstm_runs import fingerprint, interrupt

LENGTHS = {"row-mnist": 28, "pixel-mnist": 49, "temporal-order": 10}
NETWORKS: dict[str, dict[str, Any]] = {
    "palindrome": {"cell": "rnn"},
    "adding": {"num_layers": 2, "bidirectional": True, "dropout": 0.3},
    "parity": {"init": "chrono"},
}


@pytest.mark.parametrize("name", BUILDERS)
def test_every_task_trains_evaluates_and_resumes_bit_for_bit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"length": LENGTHS.get(name, 6), "data_size": 60, "hidden_size": 8, "epochs": 1, "batch_size": 16}
    options = {"optimizer": "adam", "lr_schedule": "cosine", "hidden_dropout": 0.25, **NETWORKS.get(name, {})}
    config = LSTMConfig(task=name, **sizes, **options)  # type: ignore[arg-type]
    whole, step, rates = train(config, tmp_path / "whole"), training.train_step, []

    def stopping(network: Any, optimizer: Any, *arguments: Any, **keywords: Any) -> Any:
        rates.append(optimizer.param_groups[0]["lr"])
        if len(rates) == 2:
            interrupt(network)
        return step(network, optimizer, *arguments, **keywords)

    monkeypatch.setattr(training, "train_step", stopping)
    with pytest.raises(Interrupted, match="SIGINT and saved"):
        train(config, tmp_path / "cut")
    assert fingerprint(train(config, tmp_path / "cut", resume=True)) == fingerprint(whole)
    count = math.ceil(build_task(config).epoch_size(config.length) / 16)
    assert rates == pytest.approx([config.learning_rate_at(step / count, config.length) for step in range(count)])
    task = build_task(config)
    result = evaluate(build_network(config, task), task, config.length, 30)
    assert (result.target, result.chance, result.baseline) == (task.target, task.chance, task.baseline(config.length))
    assert math.isfinite(result.score.loss)
    for arguments, problem in (((1,), r"^length must be .+, got 1$"), ((config.length, 0), "^size must be at least 1")):
        with pytest.raises(ConfigError, match=problem):
            evaluate(build_network(config, task), task, *arguments)


@pytest.mark.parametrize(("length", "size"), [(10_000, 10_000), (20_000, 5_000), (10_000_000, 100)])
def test_by_default_evaluation_reads_100_million_steps(length: int, size: int) -> None:
    asked: list[tuple[int, int]] = []

    def evaluation(*arguments: int) -> None:
        asked.append(arguments)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        evaluate(nn.Linear(1, 1), SimpleNamespace(evaluation=evaluation), length)  # type: ignore[arg-type]
    assert asked == [(length, size)]


@pytest.mark.parametrize(
    ("changes", "epochs"),
    [
        ({"task": "adding", "length": 4, "lr_schedule": "cosine"}, 15),
        ({"task": "temporal-order", "length": 10, "encoding": "onehot"}, 12),
    ],
)
def test_it_learns_short_problems(changes: dict[str, Any], epochs: int, tmp_path: Path) -> None:
    values = {"data_size": 2000, "batch_size": 32, "hidden_size": 32, "hidden_dropout": 0.0, "optimizer": "adam"}
    config = LSTMConfig(**values, **changes, epochs=epochs, learning_rate=1e-2)  # type: ignore[arg-type]
    last = train(config, tmp_path / "run").read_metrics()[-1]
    if config.task == "adding":
        assert last["validation_loss"] < (1 / 6) / 50
    assert last["validation_accuracy"] > (0.8 if config.task == "adding" else 0.98)


def test_digits_are_read_with_or_without_separators() -> None:
    for text in ("1232", "1 2 3 2", " 1,2, 3,2\n"):
        assert parse_digits(text) == [1, 2, 3, 2]
    assert parse_digits("7") == [7]
    for text, problem in (("12,34", "got '12' in"), ("1 x", "got 'x' in"), ("", "got nothing")):
        with pytest.raises(DataError, match=f"^digits must be .*{problem}"):
            parse_digits(text)
