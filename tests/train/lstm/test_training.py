"""Training of the LSTM: an update, what a run writes, and that it learns every task."""

import math
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reviver import load
from reviver.data.build import build_task
from reviver.data.palindromes import PalindromeTask
from reviver.errors import ConfigError, Interrupted
from reviver.recurrent.kernel.library import KERNEL
from reviver.runs.checkpoint import checkpoint_step, find_checkpoint
from reviver.runs.folder import RunFolder
from reviver.settings.lstm import LSTMConfig
from reviver.settings.presets import LSTM_PRESETS
from reviver.settings.tasks import TASKS
from reviver.train.lstm import scoring, training
from reviver.train.lstm.evaluation import evaluate
from reviver.train.lstm.scoring import score
from reviver.train.lstm.training import build_network, build_optimizer, train, train_step
from tests.lstm_runs import LENGTHS, TINY, fingerprint, interrupt

REPORT = LSTMConfig()
NETWORKS: dict[str, dict[str, Any]] = {
    "palindrome": {"cell": "rnn"},
    "adding": {"num_layers": 2, "bidirectional": True, "dropout": 0.3},
    "parity": {"init": "chrono"},
}


def first_batch() -> tuple[Tensor, Tensor]:
    part = PalindromeTask(REPORT).splits["train"][: REPORT.batch_size]
    return part.encode(), part.targets


# One update


@pytest.mark.parametrize(("max_norm", "clipped"), [(1e-3, True), (1e3, False)])
def test_gradients_are_clipped_between_backward_and_step(max_norm: float, clipped: bool) -> None:
    """Plain descent with rate 1 moves the weights by exactly the gradient that the optimizer receives."""
    network = build_network(REPORT, build_task(REPORT)).double().eval()  # no dropout: autograd sees the same loss
    x, classes = first_batch()
    gradients = torch.autograd.grad(nn.functional.cross_entropy(network(x.double()), classes), [*network.parameters()])
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    assert (norm > max_norm) == clipped
    before = [parameter.detach().clone() for parameter in network.parameters()]
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)  # of an earlier backward pass
    train_step(network, torch.optim.SGD(network.parameters(), lr=1.0), x.double(), classes, max_norm=max_norm)
    scale = max_norm / norm if clipped else 1.0
    for old, parameter, gradient in zip(before, network.parameters(), gradients, strict=True):
        torch.testing.assert_close(old - parameter, scale * gradient, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("name", ["rmsprop", "adam"])
def test_weight_decay_adds_its_share_of_the_weights_to_the_gradient(name: Any) -> None:
    results = []
    for decay, share in ((0.1, 0.0), (0.0, 0.1)):
        network = build_network(REPORT, build_task(REPORT)).double()
        optimizer = build_optimizer(replace(REPORT, optimizer=name, weight_decay=decay), network)
        for parameter in network.parameters():
            parameter.grad = 0.01 + share * parameter.detach()
        optimizer.step()
        results.append([parameter.detach() for parameter in network.parameters()])
    torch.testing.assert_close(*results)


# Score


@pytest.mark.parametrize(("task", "patch_size"), [("palindrome", 1), ("parity", 4), ("temporal-order", 1)])
def test_chunks_have_the_score_of_the_whole_sequences_bit_for_bit(
    task: Any, patch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"hidden_size": 16, "num_layers": 2, "data_size": 200, "patch_size": patch_size}
    config = LSTMConfig(task=task, length=52, encoding="onehot", **options)
    built = build_task(config)
    network, data = build_network(config, built), built.validation(52)
    scores, reports = [], list[float]()
    for steps in (1, 7, 52):
        monkeypatch.setattr(scoring, "CHUNK_STEPS", steps * len(data))
        reports.clear()
        scores.append(score(network, data, built.target, report=reports.append))
        chunk = max(1, steps // patch_size) * patch_size  # whole patches
        assert reports == pytest.approx([begin / data.steps for begin in range(0, data.steps, chunk)])
    assert scores[0] == scores[1] == scores[2]


# Runs


def test_the_first_losses_of_the_report_preset_equal_the_golden_file(
    golden: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tolerance allows the rounding of another processor, but no change of the mathematics or the seeds."""
    losses = []

    def recording(*arguments: Any, **keywords: Any) -> training.LSTMStepResult:
        result = train_step(*arguments, **keywords)
        losses.append(result.loss.item())
        return result

    monkeypatch.setattr(training, "train_step", recording)
    metrics = train(replace(LSTM_PRESETS["original"], epochs=2), tmp_path / "run").read_metrics()
    assert len(losses) == 14
    columns = {key: [row[key] for row in metrics] for key in ("train_loss", "validation_loss")}
    golden("lstm_report", {"losses": losses, **columns}, relative=1e-4)


def test_it_learns_with_onehot_digits_in_the_same_bits_for_the_same_seed_only(tmp_path: Path) -> None:
    config = replace(LSTM_PRESETS["onehot"], epochs=6, learning_rate=3e-3)
    metrics = train(config, tmp_path / "run").read_metrics()
    assert metrics[0]["validation_accuracy"] < 0.9
    assert metrics[-1]["validation_accuracy"] >= 0.99
    assert metrics[-1]["validation_loss"] < 0.1
    torch.manual_seed(2)  # the default generator of torch is not used
    short = replace(config, epochs=2)
    again, other = (train(replace(short, seed=seed), tmp_path / str(seed)).read_metrics() for seed in (0, 1))
    assert [row | {"seconds": 0} for row in again] == [row | {"seconds": 0} for row in metrics[:2]]
    assert other[0]["train_loss"] != again[0]["train_loss"]


def test_a_run_writes_its_metrics_record_and_checkpoints(tmp_path: Path) -> None:
    """It trains outside the main thread, as in a notebook, which cannot handle signals."""
    config = replace(TINY, epochs=5, learning_rate=0.02)
    thread = threading.Thread(target=train, args=(config, tmp_path / "run"))
    thread.start()
    thread.join()
    folder = RunFolder.open(tmp_path / "run", "lstm")
    metrics = folder.read_metrics()
    counts = [(epoch, 5 * epoch, 80 * epoch) for epoch in range(1, 6)]
    assert [(row["epoch"], row["step"], row["sequences"]) for row in metrics] == counts
    names = {"train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "seconds"}
    assert set(metrics[0]) == {"step", "epoch", "sequences", *names}
    assert (folder.status, folder.record["config"]["length"]) == ("finished", 3)
    best = max(metrics, key=lambda row: (row["validation_accuracy"], -row["validation_loss"]))
    for which, expected in (("last", metrics[-1]), ("best", best)):
        path = find_checkpoint(folder.checkpoints, which)
        assert checkpoint_step(path) == expected["step"]
        measured = score(
            load(folder.path, checkpoint=which).network, PalindromeTask(TINY).splits["validation"], "class"
        )
        assert measured.accuracy == expected["validation_accuracy"]
        assert measured.loss == pytest.approx(expected["validation_loss"], rel=1e-6)


# Tasks and evaluation


@pytest.mark.parametrize("name", TASKS[:-1])
def test_every_task_trains_evaluates_and_resumes_bit_for_bit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"length": LENGTHS.get(name, 6), "data_size": 60, "hidden_size": 8, "epochs": 1, "batch_size": 16}
    options = {"optimizer": "adam", "lr_schedule": "cosine", "hidden_dropout": 0.25, **NETWORKS.get(name, {})}
    config = LSTMConfig(task=name, **sizes, **options)  # type: ignore[arg-type]
    whole, step, rates = train(config, tmp_path / "whole"), training.train_step, []
    assert whole.record["hardware"]["native"] == KERNEL.variant

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


@pytest.mark.parametrize(
    ("changes", "accuracy", "loss"),
    [
        ({"task": "adding", "length": 4, "lr_schedule": "cosine", "epochs": 15}, 0.8, (1 / 6) / 50),
        ({"task": "temporal-order", "length": 10, "encoding": "onehot", "epochs": 12}, 0.98, 0.1),
    ],
)
def test_it_learns_short_problems(changes: dict[str, Any], accuracy: float, loss: float, tmp_path: Path) -> None:
    values = {"data_size": 2000, "batch_size": 32, "hidden_size": 32, "hidden_dropout": 0.0, "optimizer": "adam"}
    config = LSTMConfig(**values, **changes, learning_rate=1e-2)  # type: ignore[arg-type]
    last = train(config, tmp_path / "run").read_metrics()[-1]
    assert last["validation_accuracy"] > accuracy
    assert last["validation_loss"] < loss
