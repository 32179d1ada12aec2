"""Tasks: each is complete and agrees with a slow and obvious check of its definition."""

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from reviver.data.images.mnist import read_mnist
from reviver.data.tasks.build import BUILDERS, build_task
from reviver.data.tasks.digits import DOWNSAMPLED_SHAPES, DigitTask, ImageSequences
from reviver.data.tasks.memory import MarkedNumbers, Symbols, adding, copy, parity, temporal_order
from reviver.data.tasks.task import ACCURACY_NAMES, LOSS_NAMES, Task, correct, mean_loss
from reviver.errors import ConfigError
from reviver.lstm.initialization import chrono
from reviver.lstm.layer import LSTM
from reviver.settings.fields import override
from reviver.settings.lstm import CONTINUOUS_TASKS, IMAGE_LENGTHS, TASKS, LSTMConfig, min_length
from reviver.settings.lstm_presets import PRESETS
from reviver.train.lstm.evaluation import evaluate, predict
from reviver.train.lstm.training import build_network, build_optimizer, train
from tests.lstm_runs import at_step, fingerprint, interrupt

GENERATED = ("copy", "adding", "temporal-order", "parity")
TINY_LENGTHS = {"row-mnist": 28, "pixel-mnist": 49, "temporal-order": 10}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiny(task: str, **changes: Any) -> LSTMConfig:
    """Return settings of a short run of a task."""
    length = TINY_LENGTHS.get(task, 6)
    return LSTMConfig(task=task, length=length, data_size=60, hidden_size=8, epochs=1, batch_size=16, **changes)  # type: ignore[arg-type]


def answers(task: Task, data: Any) -> list[Any]:
    return [row.tolist() for row in data.targets]


# Completeness


def test_every_task_has_a_builder_and_a_preset() -> None:
    assert (*BUILDERS, "custom") == TASKS, "test_custom_data.py tests custom data"
    assert set(CONTINUOUS_TASKS) | set(IMAGE_LENGTHS) < set(TASKS)
    assert {preset.task for preset in PRESETS.values()} == set(BUILDERS), "series gets its task from the option data"
    for name in TASKS[1:-1]:
        assert PRESETS[name].task == name, "a task has a preset of its own name"


@pytest.mark.parametrize("name", BUILDERS)
def test_every_target_kind_has_a_description(name: str) -> None:
    task = build_task(tiny(name))
    assert task.target in LOSS_NAMES
    assert task.target in ACCURACY_NAMES


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("encoding", ["scalar", "onehot"])
def test_every_task_implements_the_interface(name: str, encoding: str) -> None:
    if encoding == "onehot" and name in CONTINUOUS_TASKS:
        pytest.skip("its input is real-valued")
    config = tiny(name, encoding=encoding)
    task = build_task(config)
    for data in (task.training(0, config.length), task.validation(config.length), task.evaluation(config.length, 9)[0]):
        x = data.encode()
        assert x.shape == (len(data), data.steps, task.input_size)
        assert x.dtype == torch.float32
        assert data.lengths is None
        expected = {"class": (len(data),), "number": (len(data),), "class at every step": (len(data), data.steps)}
        assert data.targets.shape == expected[task.target]
        assert data.targets.dtype == (torch.float32 if task.target == "number" else torch.int64)
        if task.target != "number":
            assert 0 <= data.targets.min() <= data.targets.max() < task.output_size
        outputs = build_network(config, task)(x, data.lengths, every_step=task.target == "class at every step")
        assert correct(task.target, outputs, data.targets).shape == (len(data),)
        assert mean_loss(task.target, outputs, data.targets).shape == ()
        part = data[torch.tensor([3, 1])]
        assert torch.equal(part.encode(), x[[3, 1]])
        assert torch.equal(part.targets, data.targets[[3, 1]])
        assert torch.equal(data.to(torch.device("cpu")).encode(), x)


@pytest.mark.parametrize("name", BUILDERS)
def test_every_task_trains_evaluates_and_resumes_bit_for_bit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(name, optimizer="adam", lr_schedule="cosine", init="chrono", hidden_dropout=0.25)
    whole = fingerprint(train(config, tmp_path / "whole"))
    with monkeypatch.context() as patched:
        at_step(patched, 2, interrupt)
        with pytest.raises(BaseException, match="SIGINT and saved"):
            train(config, tmp_path / "cut")
    assert fingerprint(train(config, tmp_path / "cut", resume=True)) == whole
    task = build_task(config)
    result = evaluate(build_network(config, task), task, config.length, 30)
    assert (result.target, result.chance) == (task.target, task.chance)
    assert result.baseline == task.baseline(config.length)
    assert math.isfinite(result.score.loss)


@pytest.mark.parametrize("name", GENERATED)
def test_every_generated_task_trains_with_a_curriculum(name: str, tmp_path: Path) -> None:
    config = tiny(name, curriculum=True, start_length=10, threshold=1e-9)
    config = override(config, {"length": 40, "epochs": 5})
    metrics = train(config, tmp_path / "run").read_metrics()
    assert all(math.isfinite(row["validation_loss"]) for row in metrics)
    lengths = [row["length"] for row in metrics]
    assert lengths == sorted(lengths)


# Data


@pytest.mark.parametrize("name", GENERATED)
def test_training_sequences_are_fresh_and_validation_sequences_fixed(name: str) -> None:
    config = override(tiny(name), {"length": 50, "data_size": 200})
    task, again, other = build_task(config), build_task(config), build_task(override(config, {"seed": 1}))
    first = task.training(0, 50)
    assert len(first) == 160
    assert torch.equal(first.encode(), again.training(0, 50).encode())
    assert torch.equal(first.targets, again.training(0, 50).targets)
    validation = task.validation(50)
    assert len(validation) == 40
    assert torch.equal(validation.encode(), again.validation(50).encode())
    evaluation, origin = task.evaluation(50, 70)
    assert (len(evaluation), origin) == (70, "fresh sequences")
    sets = [first, task.training(1, 50), validation, evaluation, other.training(0, 50), other.validation(50)]
    rows = [set(map(bytes, data.encode().flatten(1).numpy())) for data in sets]
    for (one, data), (two, _) in itertools.combinations(zip(rows, sets, strict=True), 2):
        assert len(one) == len(data), "no sequence occurs twice"
        assert not one & two


@pytest.mark.parametrize("name", [*GENERATED, "palindrome", "row-mnist", "pixel-mnist"])
def test_a_length_that_a_task_does_not_have_is_refused(name: str) -> None:
    config = tiny(name)
    network = build_network(config, build_task(config))
    with pytest.raises(ConfigError, match=r"^length must be .+, got 1$"):
        evaluate(network, build_task(config), 1)
    with pytest.raises(ConfigError, match=r"^size must be at least 1, got 0"):
        evaluate(network, build_task(config), config.length, 0)


@pytest.mark.parametrize("name", TASKS[1:-1])
def test_only_palindromes_have_a_next_digit(name: str) -> None:
    config = tiny(name)
    with pytest.raises(
        ConfigError, match=f"^task must be palindrome to read digits, got {name}; measure this run by lstm evaluate"
    ):
        predict(build_network(config, build_task(config)), config, [1])


@pytest.mark.parametrize("name", ["adding", "temporal-order", "parity"])
def test_with_a_curriculum_a_batch_has_lengths_from_half_of_t_to_t(name: str) -> None:
    config = LSTMConfig(task=name, curriculum=True, start_length=30, length=60, data_size=2000)  # type: ignore[arg-type]
    data = build_task(config).training(0, 60)
    assert data.lengths is not None
    assert (data.lengths.min(), data.lengths.max(), data.steps) == (30, 60, 60)
    x = data.encode()
    for row, length in zip(x, data.lengths, strict=True):
        assert not row[length:].any()
    assert build_task(config).validation(60).lengths is None
    shorter = data[(data.lengths < 40).nonzero()[:, 0]]
    assert torch.equal(shorter.encode(), x[data.lengths < 40])


def test_all_sequences_of_the_copy_task_have_the_same_length() -> None:
    config = LSTMConfig(task="copy", curriculum=True, start_length=30, length=60)
    data = build_task(config).training(0, 60)
    assert (data.lengths, data.steps) == (None, 80)


# Definitions


def check_copy(data: Symbols, length: int) -> None:
    for x, y in zip(data.symbols.tolist(), data.targets.tolist(), strict=True):
        symbols = x[:10]
        assert all(1 <= symbol <= 8 for symbol in symbols)
        assert x[10:] == [0] * (length - 1) + [9] + [0] * 10
        assert y == [0] * (length + 10) + symbols
        assert len(x) == length + 20


def check_adding(data: MarkedNumbers, lengths: list[int]) -> None:
    for row, target, length in zip(data.encode().tolist(), data.targets.tolist(), lengths, strict=True):
        numbers, marks = zip(*row, strict=True)
        assert all(0 <= number < 1 for number in numbers)
        marked = [t for t, mark in enumerate(marks) if mark]
        assert [marks[t] for t in marked] == [1.0, 1.0]
        assert marked[0] < length // 2 <= marked[1] < length
        assert target == pytest.approx(numbers[marked[0]] + numbers[marked[1]])
        assert not any(numbers[length:])


def check_temporal_order(data: Symbols, lengths: list[int]) -> None:
    names = "EBXYabcd"
    classes = {"XX": 0, "XY": 1, "YX": 2, "YY": 3}
    for row, target, length in zip(data.symbols.tolist(), data.targets.tolist(), lengths, strict=True):
        word = "".join(names[symbol] for symbol in row[:length])
        assert (word[0], word[-1]) == ("E", "B")
        assert all(symbol == 255 for symbol in row[length:])
        steps = [t for t, name in enumerate(word) if name in "XY"]
        assert len(steps) == 2
        assert length // 10 <= steps[0] <= length // 5
        assert length // 2 <= steps[1] <= length * 3 // 5
        assert all(name in "abcd" for t, name in enumerate(word) if 0 < t < length - 1 and t not in steps)
        assert target == classes["".join(word[t] for t in steps)]


def check_parity(data: Symbols, lengths: list[int]) -> None:
    for row, target, length in zip(data.symbols.tolist(), data.targets.tolist(), lengths, strict=True):
        is_odd = False
        for bit in row[:length]:
            assert bit in (0, 1)
            is_odd = is_odd != (bit == 1)
        assert target == is_odd


@given(length=st.integers(1, 40), size=st.integers(1, 20), seed=st.integers(0, 1000))
def test_copy_agrees_with_its_definition(length: int, size: int, seed: int) -> None:
    data = copy(torch.full((size,), length), rng(seed))
    assert len(data) == size
    check_copy(data, length)


@given(longest=st.integers(10, 60), size=st.integers(1, 20), seed=st.integers(0, 1000), mixed=st.booleans())
def test_the_other_tasks_agree_with_their_definitions(longest: int, size: int, seed: int, mixed: bool) -> None:
    lengths = torch.randint(10, longest + 1, (size,), generator=rng(seed)) if mixed else torch.full((size,), longest)
    check_adding(adding(lengths, rng(seed)), lengths.tolist())
    check_temporal_order(temporal_order(lengths, rng(seed)), lengths.tolist())
    check_parity(parity(lengths, rng(seed)), lengths.tolist())


@given(lengths=st.lists(st.integers(2, 9), min_size=1, max_size=9), seed=st.integers(0, 1000))
def test_the_shortest_sequences_agree_with_the_definitions(lengths: list[int], seed: int) -> None:
    check_adding(adding(torch.tensor(lengths), rng(seed)), lengths)
    check_parity(parity(torch.tensor(lengths), rng(seed)), lengths)


def test_random_steps_reach_both_ends_of_their_ranges() -> None:
    lengths = torch.full((20_000,), 100)
    marked = adding(lengths, rng()).marked
    assert (marked.min(0).values.tolist(), marked.max(0).values.tolist()) == ([0, 50], [49, 99])
    symbols = temporal_order(lengths, rng()).symbols
    steps = ((symbols == 2) | (symbols == 3)).nonzero()[:, 1].view(-1, 2)
    assert (steps.min(0).values.tolist(), steps.max(0).values.tolist()) == ([10, 50], [20, 60]), "as in experiment 6a"


@given(begin=st.integers(0, 50), size=st.integers(0, 50), seed=st.integers(0, 100), mixed=st.booleans())
def test_encoding_a_range_of_steps_equals_that_range_of_the_whole(
    begin: int, size: int, seed: int, mixed: bool
) -> None:
    lengths = torch.randint(10, 40, (5,), generator=rng(seed)) if mixed else torch.full((5,), 30)
    sets: list[Any] = [
        adding(lengths, rng(seed)),
        ImageSequences(torch.arange(60).byte().view(2, 30, 1), torch.zeros(2)),
    ]
    for encoding in ("scalar", "onehot"):
        sets += [temporal_order(lengths, rng(seed), encoding), parity(lengths, rng(seed), encoding)]
        sets += [copy(torch.full((5,), 30), rng(seed), encoding)]
    for data in sets:
        end = min(begin + size, data.steps)
        first = min(begin, end)
        assert torch.equal(data.encode(first, end), data.encode()[:, first:end])


@pytest.mark.parametrize(("symbol", "encoded"), [(0, [1.0, 0.0]), (1, [0.0, 1.0]), (255, [0.0, 0.0])])
def test_a_symbol_is_a_number_or_a_one_hot_vector(symbol: int, encoded: list[float]) -> None:
    symbols = torch.tensor([[symbol]], dtype=torch.uint8)
    onehot = Symbols(symbols, torch.zeros(1, dtype=torch.uint8), None, 2, "onehot")
    assert onehot.encode().tolist() == [[encoded]]
    assert dataclasses.replace(onehot, encoding="scalar").encode().tolist() == [[[float(symbol % 255)]]]


# Chance and baseline, measured on samples


def baseline_of_copy(length: int, size: int) -> Tensor:
    """Return logits without memory for the copy task: a blank until the delimiter, then any of the 8 symbols."""
    logits = torch.full((size, length + 20, 9), -1e4)
    logits[:, : length + 10, 0] = 1e4
    logits[:, length + 10 :, 1:] = 0.0
    return logits


@pytest.mark.parametrize("length", [10, 100])
def test_the_baseline_of_copy(length: int) -> None:
    task = build_task(LSTMConfig(task="copy", length=length))
    data, _ = task.evaluation(length, 2000)
    outputs = baseline_of_copy(length, 2000)
    assert mean_loss(task.target, outputs, data.targets).item() == pytest.approx(task.baseline(length), rel=1e-4)
    assert task.baseline(length) == pytest.approx(10 * math.log(8) / (length + 20))
    symbols = data.encode()[:, :10] if task.input_size > 1 else data.encode()[:, :10, 0]
    fractions = symbols.long().flatten().bincount(minlength=9)[1:9] / symbols.numel()
    assert fractions.tolist() == pytest.approx([1 / 8] * 8, abs=0.01)
    assert task.chance == pytest.approx((1 / 8) ** 10)
    assert not correct(task.target, outputs, data.targets).any(), "one of 8^10 is out of reach of 2000"


def test_a_copy_is_correct_only_as_a_whole() -> None:
    data, _ = build_task(LSTMConfig(task="copy", length=10)).evaluation(10, 3)
    outputs = nn.functional.one_hot(data.targets, 9).float()
    outputs[0, 25] = outputs[0, 25].roll(1)  # a wrong symbol
    outputs[1, 3] = outputs[1, 3].roll(1)  # a symbol instead of a blank
    assert correct("class at every step", outputs, data.targets).tolist() == [False, True, True]


def test_chance_and_baseline_of_adding() -> None:
    task = build_task(LSTMConfig(task="adding", length=50))
    data, _ = task.evaluation(50, 100_000)
    outputs = torch.ones(100_000, 1)
    assert mean_loss("number", outputs, data.targets).item() == pytest.approx(task.baseline(50), rel=0.02)
    assert correct("number", outputs, data.targets).float().mean().item() == pytest.approx(task.chance, abs=0.003)
    for constant in (0.9, 1.1):
        worse = correct("number", outputs * constant, data.targets).float().mean().item()
        assert worse < task.chance, "1 is the best guess"


@pytest.mark.parametrize("name", ["temporal-order", "parity"])
def test_classes_are_equally_frequent(name: str) -> None:
    task = build_task(LSTMConfig(task=name, length=50))  # type: ignore[arg-type]
    data, _ = task.evaluation(50, 20_000)
    fractions = data.targets.bincount(minlength=task.output_size) / len(data)
    assert fractions.tolist() == pytest.approx([task.chance] * task.output_size, abs=0.015)
    loss = mean_loss("class", torch.zeros(len(data), task.output_size), data.targets).item()
    assert loss == pytest.approx(task.baseline(50))


@pytest.mark.parametrize("name", IMAGE_LENGTHS)
def test_chance_and_baseline_of_digits(name: str) -> None:
    task = build_task(tiny(name))
    labels = read_mnist("test").labels
    fractions = labels.bincount() / 10_000
    constant = torch.zeros(10_000, 10)
    constant[:, 1] = 1.0
    assert correct("class", constant, labels).float().mean().item() == pytest.approx(task.chance)
    assert fractions.max().item() == pytest.approx(task.chance)
    best = fractions.log().expand(10_000, 10)
    assert mean_loss("class", best, labels).item() == pytest.approx(task.baseline(28), rel=1e-4)


# Digits


def test_rows_and_pixels_equal_those_of_the_images() -> None:
    images, labels = read_mnist("test")
    rows, origin = build_task(tiny("row-mnist")).evaluation(28, 10_000)
    assert (len(rows), origin) == (10_000, "the MNIST test images")
    assert torch.equal(rows.targets, labels)
    x = rows[7:9].encode()
    assert torch.equal((x * 255).round().byte(), images[7:9]), "x_t is row t, from 0 to 1"
    assert (x.min(), x.max()) == (0.0, 1.0)
    task = build_task(LSTMConfig(task="pixel-mnist", length=784))
    pixels, origin = task.evaluation(784, 20)
    assert origin == "the first 20 MNIST test images"
    assert torch.equal(pixels.encode()[7, :, 0], x[0].flatten()), "x_t is pixel t, in row-major order"
    assert {*DOWNSAMPLED_SHAPES, 784} == set(IMAGE_LENGTHS["pixel-mnist"])
    for length, (height, width) in DOWNSAMPLED_SHAPES.items():
        small, _ = task.evaluation(length, 20)
        blocks = images[:20].float().view(20, height, 28 // height, width, 28 // width).mean((2, 4))
        assert ((small.encode() * 255).view(20, height, width) - blocks).abs().max() <= 0.501


def test_validation_images_are_a_fixed_subset_of_the_training_images() -> None:
    config = LSTMConfig(task="row-mnist", length=28, train_fraction=0.95)
    task = DigitTask(config)
    assert [len(split.labels) for split in task.splits.values()] == [57_000, 3_000]
    train, validation = (set(map(bytes, split.images.numpy())) for split in task.splits.values())
    assert len(train | validation) == len(set(map(bytes, read_mnist("train").images.numpy())))
    assert not train & validation or len(read_mnist("train").images.flatten(1).unique(dim=0)) < 60_000
    assert torch.equal(DigitTask(config).splits["validation"].images, task.splits["validation"].images)
    few = DigitTask(override(config, {"data_size": 100}))
    assert [len(split.labels) for split in few.splits.values()] == [95, 5]
    assert torch.equal(few.training(0, 28).pixels, few.training(3, 28).pixels)


# Chrono initialization, optimizer, learning-rate schedule


def test_chrono_spreads_the_time_scales_uniformly() -> None:
    lstm = LSTM(3, 4000, num_layers=1)
    weights = {name: value.clone() for name, value in lstm.gate_weights()._asdict().items() if value is not None}
    chrono(lstm, 1000, rng())
    after = lstm.gate_weights()._asdict()
    changed = [name for name in weights if not torch.equal(weights[name], after[name])]
    assert sorted(changed) == ["b_f", "b_i"]
    assert torch.equal(after["b_i"], -after["b_f"])
    time_scales = after["b_f"].detach().exp()
    assert time_scales.min() >= 1
    assert time_scales.max() <= 999.01
    quarters = torch.histc(time_scales, 4, 1, 999) / 4000
    assert quarters.tolist() == pytest.approx([0.25] * 4, abs=0.03)


def test_chrono_sets_every_layer_and_direction_and_allows_the_minimum_length() -> None:
    lstm = LSTM(3, 5, num_layers=2, bidirectional=True)
    chrono(lstm, 2, rng())
    weights = [stacked.by_gate() for stacked in lstm.all_stacked_weights()]
    biases = [bias for w in weights for bias in (w.b_f, w.b_i)]
    assert len(biases) == 8
    assert not any(bias.any() for bias in biases), "log U(1, 1) is 0"


def test_a_run_samples_chrono_biases_after_the_weights() -> None:
    config = tiny("copy", encoding="onehot")
    task = build_task(config)
    plain = build_network(config, task).weights_by_name()
    changed = build_network(override(config, {"init": "chrono"}), task).weights_by_name()
    again = build_network(override(config, {"init": "chrono"}), task).weights_by_name()
    assert all(torch.equal(changed[name], again[name]) for name in changed)
    different = {name for name in plain if not torch.equal(plain[name], changed[name])}
    assert different == {"lstm.layers.0.b_f", "lstm.layers.0.b_i"}


@pytest.mark.parametrize(("name", "kind"), [("rmsprop", torch.optim.RMSprop), ("adam", torch.optim.Adam)])
def test_the_optimizer_is_that_of_the_settings(name: str, kind: type) -> None:
    config = tiny("copy", optimizer=name, learning_rate=0.07)
    optimizer = build_optimizer(config, build_network(config, build_task(config)))
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["lr"] == 0.07


def test_the_learning_rate_decays_within_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reviver.train.lstm import training

    rates: list[float] = []
    real = training.train_step

    def recording(network: Any, optimizer: Any, *arguments: Any, **keywords: Any) -> Any:
        rates.append(optimizer.param_groups[0]["lr"])
        return real(network, optimizer, *arguments, **keywords)

    monkeypatch.setattr(training, "train_step", recording)
    config = override(tiny("parity", lr_schedule="cosine"), {"epochs": 2, "learning_rate": 0.01})
    train(config, tmp_path / "run")
    assert rates == pytest.approx([config.learning_rate_at(step / 6, config.length) for step in range(6)])


# Learning


def test_generated_tasks_have_their_minimum_length() -> None:
    for name in GENERATED:
        config = override(tiny(name), {"length": min_length(name)})
        assert len(build_task(config).training(0, config.length)) == 48


def test_it_learns_short_adding_problems(tmp_path: Path) -> None:
    config = LSTMConfig(
        task="adding",
        length=4,
        data_size=2000,
        epochs=15,
        batch_size=32,
        hidden_size=32,
        hidden_dropout=0.0,
        optimizer="adam",
        learning_rate=1e-2,
        lr_schedule="cosine",
    )
    last = train(config, tmp_path / "run").read_metrics()[-1]
    assert last["validation_loss"] < (1 / 6) / 50
    assert last["validation_accuracy"] > 0.8


def test_it_learns_short_temporal_order(tmp_path: Path) -> None:
    config = LSTMConfig(
        task="temporal-order",
        length=10,
        encoding="onehot",
        data_size=2000,
        epochs=12,
        batch_size=32,
        hidden_size=32,
        hidden_dropout=0.0,
        optimizer="adam",
        learning_rate=1e-2,
    )
    assert train(config, tmp_path / "run").read_metrics()[-1]["validation_accuracy"] > 0.98
