"""The benchmark of the dips: its training is that of the package, its replays and its sharpness are what they claim."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from benchmarks.dips.replay import CHANGES, Past, find_gradient, find_sharpness, replay, rmsprop_step
from benchmarks.dips.run import average_accuracy, count_errors, margin
from benchmarks.dips.updates import Training, Update, copy, largest, norm
from reviver.lstm.config import LSTMConfig
from reviver.lstm.run import load_lstm
from reviver.lstm.training import train

CONFIG = LSTMConfig(hidden_size=6, epochs=2, batch_size=300, length=4, train_fraction=0.8, max_norm=0.05)


@pytest.fixture(scope="module")
def trained() -> tuple[Training, list[Update]]:
    training = Training(CONFIG)
    return training, [update for epoch in range(CONFIG.epochs) for update in training.updates(epoch)]


def test_the_updates_are_those_of_the_package(trained: tuple[Training, list[Update]], tmp_path: Path) -> None:
    training, updates = trained
    run = load_lstm(train(CONFIG, tmp_path / "run", device="cpu"), device="cpu")
    for parameter, expected in zip(training.parameters, run.network.parameters(), strict=True):
        assert torch.equal(parameter, expected)
    ends = [update for update in updates if len(update.batch) < CONFIG.batch_size or update.index == 0]
    assert [update.accuracy for update in updates if update.index == max(end.index for end in ends)] == [
        record["validation_accuracy"] for record in run.metrics
    ]
    assert list(Training(CONFIG).epochs()) == [record["validation_accuracy"] for record in run.metrics]


def test_a_replay_without_a_change_is_the_update(trained: tuple[Training, list[Update]]) -> None:
    for update, following in pairwise(trained[1]):
        step = rmsprop_step(update.gradient, update.square_avg, CONFIG.learning_rate)
        for weight, s, expected in zip(update.weights, step, following.weights, strict=True):
            torch.testing.assert_close(weight + s, expected, rtol=0, atol=1e-8)


def test_the_gradient_of_a_replay_is_that_of_the_update(trained: tuple[Training, list[Update]]) -> None:
    """It is recomputed from the weights and the state of the generator of the dropout masks, and clipped as before."""
    training, updates = trained
    training.set_weights(updates[-1].weights)
    gradient = find_gradient(training, updates[-1].batch, updates[-1].rng_state)
    assert norm(gradient) == pytest.approx(CONFIG.max_norm, rel=1e-3)
    for ours, expected in zip(gradient, updates[-1].gradient, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-7)


def test_replays_change_what_they_say(trained: tuple[Training, list[Update]]) -> None:
    training, updates = trained
    update, lr = updates[-1], CONFIG.learning_rate
    past = Past([2 * v for v in update.square_avg], [torch.zeros_like(g) for g in update.gradient])
    steps = {name: change(training, update, past, 0) for name, (change, _) in CHANGES.items()}
    length = norm(update.step)
    assert norm(steps["learning rate × 1/2"]) == pytest.approx(length / 2, rel=1e-4)
    assert largest(steps["every weight moves by at most the learning rate"]) <= lr * (1 + 1e-6) < largest(update.step)
    shortened = steps["the whole step shortened as much"]
    assert norm(shortened) == pytest.approx(norm(steps["every weight moves by at most the learning rate"]), rel=1e-4)
    for name in ("random signs of the same step", "along the gradient, as far"):
        assert norm(steps[name]) == pytest.approx(length, rel=1e-4)
    before = copy(training.parameters)
    accuracies = replay(training, update, past)
    assert accuracies["none"] == [update.accuracy]
    assert [len(values) for values in accuracies.values()] == [draws for _, draws in CHANGES.values()]
    assert all(map(torch.equal, before, training.parameters))


def test_the_sharpness_is_the_largest_eigenvalue() -> None:
    """Against the Hessian of autograd; without dropout all masks are equal."""
    training = Training(replace(CONFIG, hidden_size=2, hidden_dropout=0.0))
    names = [name for name, _ in training.network.named_parameters()]
    sizes = [parameter.numel() for parameter in training.parameters]
    square_avg = [torch.full_like(parameter, 1e-4) for parameter in training.parameters]
    square_avg[0] *= 9

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = [part.view_as(w) for part, w in zip(flat.split(sizes), training.parameters, strict=True)]
        logits = torch.func.functional_call(
            training.network, dict(zip(names, parts, strict=True)), (training.train.encode(),)
        )
        return functional.cross_entropy(logits, training.train.targets)

    flat = torch.cat([parameter.detach().flatten() for parameter in training.parameters])
    hessian = torch.autograd.functional.hessian(loss, flat)
    scale = (CONFIG.learning_rate / (torch.cat([v.flatten() for v in square_avg]).sqrt() + 1e-8)).sqrt()
    eigenvalues = torch.linalg.eigvalsh((scale[:, None] * hessian * scale).double())
    expected = eigenvalues[eigenvalues.abs().argmax()]
    assert find_sharpness(training, square_avg, iterations=60) == pytest.approx(float(expected), rel=0.02)


def test_errors_and_margins_are_those_of_the_logits(trained: tuple[Training, list[Update]]) -> None:
    training, updates = trained
    logits = updates[-1].logits
    wrong = len(training.validation) - round(updates[-1].accuracy * len(training.validation))
    assert sum(count_errors(training, logits).values()) == wrong
    targets = training.validation.targets
    rows = [float(row[2] - row[3]) for row, target in zip(logits, targets, strict=True) if target == 2]
    assert margin(training, logits, 2) == pytest.approx(sum(rows) / len(rows), abs=1e-5)
    assert average_accuracy(training, [copy(training.parameters)] * 2) == updates[-1].accuracy
