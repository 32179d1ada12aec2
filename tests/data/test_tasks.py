"""Tasks: each is complete, agrees with a slow and obvious check of its definition, and has its chance and baseline."""

import dataclasses
import hashlib
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from reviver.data import palindromes as module
from reviver.data.build import build_task
from reviver.data.digits import DOWNSAMPLED_SHAPES, DigitTask
from reviver.data.generated import generate
from reviver.data.images.named import read_mnist
from reviver.data.palindromes import Palindromes, PalindromeTask, make_palindromes
from reviver.data.task import correct, mean_loss
from reviver.errors import ConfigError
from reviver.rng import make_rng
from reviver.settings.lstm import LSTMConfig
from reviver.settings.tasks import DEFINITIONS, TASKS
from tests.lstm_runs import LENGTHS, override

GENERATED = ("copy", "adding", "temporal-order", "parity")
adding, copy, parity, temporal_order = (
    partial(generate, DEFINITIONS[name]) for name in ("adding", "copy", "parity", "temporal-order")
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiny(task: str, **changes: Any) -> LSTMConfig:
    """Return settings with few and short sequences of a task."""
    return LSTMConfig(task=task, length=LENGTHS.get(task, 6), data_size=60, **changes)  # type: ignore[arg-type]


# The interface


@pytest.mark.parametrize("name", [*GENERATED, "palindrome"])
def test_training_sequences_are_fresh_and_validation_sequences_fixed(name: str) -> None:
    config = override(tiny(name), {"length": 50, "data_size": 200, "curriculum": True})
    task, again, other = build_task(config), build_task(config), build_task(override(config, {"seed": 1}))
    first, validation = task.training(0, 50), task.validation(50)
    assert (len(first), task.epoch_size(50), len(validation)) == (160, 160, 40)
    for one, same in ((first, again.training(0, 50)), (validation, again.validation(50))):
        assert torch.equal(one.encode(), same.encode())
        assert torch.equal(one.targets, same.targets)
    evaluation, origin = task.evaluation(50, 70)
    assert (len(evaluation), origin) == (70, "fresh palindromes" if name == "palindrome" else "fresh sequences")
    if name != "palindrome":  # saved results depend on the streams
        for data, purpose in ((validation, "validation/50"), (evaluation, "evaluation/50")):
            lengths, rng = torch.full((len(data),), 50), make_rng(config.seed, purpose)
            assert torch.equal(data.encode(), generate(task.definition, lengths, rng, config.encoding).encode())
    sets = [first, task.training(1, 50), validation, evaluation, other.training(0, 50), other.validation(50)]
    rows = [row for data in sets for row in map(bytes, data.encode().flatten(1).numpy())]
    assert len(set(rows)) == len(rows), "no sequence occurs twice"


def test_sequences_keep_their_seeds(golden: Callable[..., None]) -> None:
    digests = {}
    for name in (*GENERATED, "palindrome"):
        config = override(tiny(name), {"length": 50, "data_size": 200, "curriculum": True})
        for index, data in enumerate((build_task(config).training(1, 50), build_task(config).validation(50))):
            content = data.encode().long().numpy()  # symbols, or marks
            digests[f"{name} {index}"] = hashlib.sha256(content.tobytes()).hexdigest()
    golden("tasks", digests)


@pytest.mark.parametrize("name", ["adding", "temporal-order", "parity"])
def test_with_a_curriculum_a_batch_has_lengths_from_half_of_t_to_t(name: str) -> None:
    config = LSTMConfig(task=name, curriculum=True, start_length=30, length=60, data_size=2000)  # type: ignore[arg-type]
    data = build_task(config).training(0, 60)
    assert data.lengths is not None
    assert (data.lengths.min(), data.lengths.max(), data.steps) == (30, 60, 60)
    x = data.encode()
    assert not x[torch.arange(60) >= data.lengths[:, None]].any()
    assert torch.equal(data[data.lengths.argsort()[:9]].encode(), x[data.lengths.argsort()[:9]])
    assert build_task(config).validation(60).lengths is None
    copied = build_task(override(config, {"task": "copy"})).training(0, 60)
    assert (copied.lengths, copied.steps) == (None, 80), "all sequences of the copy task have the same length"


# Definitions


@given(length=st.integers(1, 40), size=st.integers(1, 20), seed=st.integers(0, 1000))
def test_copy_agrees_with_its_definition(length: int, size: int, seed: int) -> None:
    data = copy(torch.full((size,), length), rng(seed), "onehot")
    assert (len(data), data.steps) == (size, length + 20)
    for x, y in zip(data.symbols.tolist(), data.targets.tolist(), strict=True):
        assert all(1 <= symbol <= 8 for symbol in x[:10])
        assert x[10:] == [0] * (length - 1) + [9] + [0] * 10
        assert y == [0] * (length + 10) + x[:10]


def check_adding(lengths: list[int], seed: int) -> None:
    data = adding(torch.tensor(lengths), rng(seed), "scalar")
    for row, target, length in zip(data.encode().tolist(), data.targets.tolist(), lengths, strict=True):
        numbers, marks = zip(*row, strict=True)
        assert all(0 <= number < 1 for number in numbers)
        marked = [t for t, mark in enumerate(marks) if mark]
        assert [marks[t] for t in marked] == [1.0, 1.0]
        assert marked[0] < length // 2 <= marked[1] < length
        assert target == pytest.approx(numbers[marked[0]] + numbers[marked[1]])
        assert not any(numbers[length:])


def check_temporal_order(lengths: list[int], seed: int) -> None:
    data = temporal_order(torch.tensor(lengths), rng(seed), "onehot")
    for row, target, length in zip(data.symbols.tolist(), data.targets.tolist(), lengths, strict=True):
        word = "".join("EBXYabcd"[symbol] for symbol in row[:length])
        assert (word[0], word[-1]) == ("E", "B")
        assert all(symbol == 255 for symbol in row[length:])
        first, second = (t for t, name in enumerate(word) if name in "XY")
        assert length // 10 <= first <= length // 5
        assert length // 2 <= second <= length * 3 // 5
        assert all(name in "abcd" for t, name in enumerate(word) if t not in (0, first, second, length - 1))
        assert target == ["XX", "XY", "YX", "YY"].index(word[first] + word[second])


def check_parity(lengths: list[int], seed: int) -> None:
    data = parity(torch.tensor(lengths), rng(seed), "onehot")
    assert (data.symbols.dtype, data.classes.dtype) == (torch.uint8, torch.uint8)
    assert (data.lengths is None) == (len(set(lengths)) == 1)
    for row, target, length in zip(data.symbols.tolist(), data.targets.tolist(), lengths, strict=True):
        assert set(row[:length]) <= {0, 1}
        assert all(symbol == 255 for symbol in row[length:])
        assert target == row[:length].count(1) % 2


def check_states(lengths: list[int], seed: int) -> None:
    """The tasks of the benchmark of cells, whose targets a loop over the symbols finds."""
    symbols = {}
    for name in ("modular", "permutations", "counting", "nesting", "associative-recall"):
        data = generate(DEFINITIONS[name], torch.tensor(lengths), rng(seed), "onehot")
        pairs = zip(data.symbols.tolist(), data.targets.tolist(), lengths, strict=True)
        symbols[name] = [([DEFINITIONS[name].symbols[k] for k in row[:T]], target) for row, target, T in pairs]
        assert all(set(row[T:]) <= {255} for row, T in zip(data.symbols.tolist(), lengths, strict=True))
    for word, target in symbols["modular"]:
        assert target == sum(map(int, word)) % 5
    for word, target in symbols["permutations"]:
        order = "abc"
        for permutation in word:
            order = "".join(order["abc".index(letter)] for letter in permutation)
        assert DEFINITIONS["permutations"].classes[target] == order
    for word, target in symbols["counting"]:
        assert word == sorted(word, key=["blank", "a", "b"].index)
        assert target == word.count("b") - word.count("a") + 1
    for word, target in symbols["nesting"]:
        opened = 0
        for letter in word:
            opened += {"letter": 0, "(": 1, ")": -1}[letter]
            assert opened >= 0, "no bracket closes that is not open"
        assert target == min(opened, 5)
    for word, target in symbols["associative-recall"]:
        found = dict(zip(word[0:6:2], word[1:6:2], strict=True))
        assert len(found) == 3
        assert set(word[6:-1]) <= {"blank"}
        assert DEFINITIONS["associative-recall"].classes[target] == found[word[-1]]


@given(lengths=st.lists(st.integers(10, 60), min_size=1, max_size=20), seed=st.integers(0, 1000), equal=st.booleans())
def test_the_other_tasks_agree_with_their_definitions(lengths: list[int], seed: int, equal: bool) -> None:
    lengths = lengths[:1] * len(lengths) if equal else lengths
    check_temporal_order(lengths, seed)
    check_states(lengths, seed)
    for some in (lengths, [2 + length % 8 for length in lengths]):
        check_adding(some, seed)
        check_parity(some, seed)


@pytest.mark.parametrize("name", TASKS[:-1])
def test_sequences_on_another_device_stay_there(name: str) -> None:
    config = LSTMConfig(task=name, curriculum=name == "palindrome", length=LENGTHS.get(name, 6), data_size=20)
    task = build_task(config)
    here = task.training(0, config.length)
    there = here.to(torch.device("meta"))
    for begin, end in ((0, None), (1, 2)):
        expected, found = here.encode(begin, end), there.encode(begin, end)
        assert (found.is_meta, found.shape, found.dtype) == (True, expected.shape, torch.float32)
    assert (there.targets.is_meta, there.targets.shape) == (True, here.targets.shape)
    assert (there.lengths is None) == (here.lengths is None)
    assert there.lengths is None or there.lengths.is_meta


# Chance and baseline, measured on samples


def test_chance_and_baseline_of_copy() -> None:
    length = 30
    task = build_task(LSTMConfig(task="copy", length=length, encoding="scalar"))
    data, _ = task.evaluation(length, 2000)
    outputs = torch.full((2000, length + 20, 9), -1e4)  # a blank until the delimiter, then any of the 8 symbols
    outputs[:, : length + 10, 0] = 1e4
    outputs[:, length + 10 :, 1:] = 0.0
    for weight in (1.0, 3.0):
        loss = mean_loss(task.target, outputs, data.targets, torch.full((2000,), weight))
        assert loss.item() == pytest.approx(weight * task.baseline(length), rel=1e-4)
    fractions = data.encode()[:, :10, 0].long().flatten().bincount(minlength=9)[1:] / 20_000
    assert fractions.tolist() == pytest.approx([1 / 8] * 8, abs=0.01)
    assert task.chance == pytest.approx((1 / 8) ** 10)
    outputs = nn.functional.one_hot(data.targets[:3], 9).float()
    outputs[0, length + 15] = outputs[0, length + 15].roll(1)  # a wrong symbol
    outputs[1, 3] = outputs[1, 3].roll(1)  # a symbol instead of a blank
    assert correct(task.target, outputs, data.targets[:3]).tolist() == [False, True, True]


def test_chance_and_baseline_of_adding() -> None:
    task = build_task(LSTMConfig(task="adding", length=50))
    data, _ = task.evaluation(50, 100_000)
    outputs = torch.ones(100_000, 1)
    assert mean_loss("number", outputs, data.targets).item() == pytest.approx(task.baseline(50), rel=0.02)
    assert correct("number", outputs, data.targets).float().mean().item() == pytest.approx(task.chance, abs=0.003)


def test_chance_and_baseline_of_nesting() -> None:
    task = build_task(LSTMConfig(task="nesting", length=200))
    data, _ = task.evaluation(200, 50_000)
    fractions = data.targets.bincount(minlength=6) / len(data)
    assert fractions.max().item() == pytest.approx(task.chance, abs=0.005)
    logits = fractions.log().expand(len(data), -1)
    assert mean_loss("class", logits, data.targets).item() == pytest.approx(task.baseline(200), rel=0.01)


@pytest.mark.parametrize("name", ["parity", "palindrome", "modular", "permutations", "counting", "associative-recall"])
def test_classes_are_equally_frequent(name: str) -> None:
    task = build_task(LSTMConfig(task=name, length=50))  # type: ignore[arg-type]
    data, _ = task.evaluation(49, 20_000)
    fractions = data.targets.bincount(minlength=task.output_size) / len(data)
    assert fractions.tolist() == pytest.approx([task.chance] * task.output_size, abs=0.015)
    loss = mean_loss("class", torch.zeros(len(data), task.output_size), data.targets).item()
    assert loss == pytest.approx(task.baseline(50))


# Digits


@pytest.mark.parametrize("name", ["row-mnist", "pixel-mnist"])
def test_chance_and_baseline_of_digits(name: str) -> None:
    task, labels = build_task(tiny(name)), read_mnist("test").labels
    fractions = labels.bincount() / 10_000
    assert fractions.max().item() == pytest.approx(task.chance)
    assert -(fractions * fractions.log()).sum().item() == pytest.approx(task.baseline(28), rel=1e-4)


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
    assert {*DOWNSAMPLED_SHAPES, 784} == set(DEFINITIONS["pixel-mnist"].lengths or ())
    for length, (height, width) in DOWNSAMPLED_SHAPES.items():
        small, _ = task.evaluation(length, 20)
        blocks = images[:20].float().view(20, height, 28 // height, width, 28 // width).mean((2, 4))
        assert ((small.encode() * 255).view(20, height, width) - blocks).abs().max() <= 0.501


def test_validation_images_are_a_fixed_subset_of_the_training_images() -> None:
    config = LSTMConfig(task="row-mnist", length=28, train_fraction=0.95)
    task, again = DigitTask(config), DigitTask(config)
    assert [len(split.labels) for split in task.splits.values()] == [57_000, 3_000]
    whole = torch.cat([split.images for split in task.splits.values()])
    assert sorted(map(bytes, whole.numpy())) == sorted(map(bytes, read_mnist("train").images.numpy()))
    assert torch.equal(again.splits["validation"].images, task.splits["validation"].images)
    few = DigitTask(override(config, {"data_size": 100}))
    assert [len(split.labels) for split in few.splits.values()] == [95, 5]
    assert torch.equal(few.training(0, 28).x, few.training(3, 28).x)


# Palindromes


def assert_distinct_palindromes(palindromes: Palindromes, count: int, length: int) -> None:
    digits = palindromes.digits()
    assert (digits.shape, digits.dtype, len(palindromes)) == ((count, length), torch.uint8, count)
    assert torch.equal(digits, digits.flip(1)), "every row reads the same from both ends"
    assert digits.max() <= 9
    assert len(set(map(bytes, digits.numpy()))) == count, "no row occurs twice"
    assert palindromes.steps == length - 1, "all digits but the last are read"
    assert torch.equal(palindromes.encode().squeeze(-1), digits[:, :-1].float())
    onehot = dataclasses.replace(palindromes, encoding="onehot").encode()
    assert torch.equal(onehot, nn.functional.one_hot(digits[:, :-1].long(), 10).float())
    assert torch.equal(palindromes.targets, digits[:, -1].long())


@pytest.mark.parametrize(("length", "count"), [(2, 10), (3, 100), (4, 100), (5, 1000), (9, 100_000)])
def test_short_palindromes_are_complete_and_in_order(length: int, count: int) -> None:
    for size in (count, 100_000):
        palindromes = make_palindromes(length, size, rng())
        assert_distinct_palindromes(palindromes, count, length)
        numbers = (palindromes.halves.long() * 10 ** torch.arange((length + 1) // 2).flip(0)).sum(1)
        assert torch.equal(numbers, torch.arange(count)), "leading zeros are allowed"
    assert_distinct_palindromes(make_palindromes(length, count - 1, rng()), count - 1, length)


@pytest.mark.parametrize("length", [11, 16, 37, 38, 4001])
def test_long_palindromes_are_random_without_duplicates(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 2000 if length < 16 else 300
    palindromes = make_palindromes(length, size, rng())
    assert_distinct_palindromes(palindromes, size, length)
    fractions = palindromes.halves.flatten().bincount(minlength=10) / palindromes.halves.numel()
    assert ((fractions - 0.1).abs() < 5 * (0.09 / palindromes.halves.numel()) ** 0.5).all(), "digits are uniform"
    again, other = (make_palindromes(length, size, rng(seed)).digits() for seed in (0, 2))
    assert torch.equal(palindromes.digits(), again)
    assert not torch.equal(palindromes.digits(), other)
    monkeypatch.setattr(module, "PERMUTATION_LIMIT", 1)  # of 9500 of 10 000, nearly every round has duplicates
    assert_distinct_palindromes(make_palindromes(7, 9500, rng()), 9500, 7)


@settings(max_examples=20)
@given(length=st.one_of(st.integers(4, 12), st.integers(15, 40)), seed=st.integers(0, 1000))
def test_palindromes_of_a_curriculum_have_several_lengths(length: int, seed: int) -> None:
    config = LSTMConfig(
        curriculum=True, start_length=4, length=length, data_size=40, seed=seed, min_length_fraction=0.5
    )
    data = PalindromeTask(config).training(0, length)
    assert data.lengths is not None
    rows = zip(data.halves.tolist(), data.digits(), data.lengths.tolist(), data.targets, strict=True)
    for row, x, steps, target in rows:
        size = steps + 1
        assert max(2, math.ceil(length / 2)) <= size <= length
        expected = [*row[: (size + 1) // 2], *row[: size // 2][::-1]]
        assert x.tolist() == expected + [0] * (length - size)
        assert target == expected[-1]


def test_a_curriculum_never_trains_on_the_palindromes_held_out() -> None:
    task = PalindromeTask(LSTMConfig(curriculum=True, start_length=4, length=5, data_size=1000))
    data, held_out = task.training(0, 5), set(map(tuple, task.validation(5).halves.tolist()))
    assert data.lengths is not None
    whole = data.halves[data.lengths == 4].tolist()
    assert (len(held_out), len(whole) > 100) == (200, True), "of 1000, so that chance would hit some"
    assert not held_out & set(map(tuple, whole))
    task = PalindromeTask(LSTMConfig(curriculum=True, length=2, train_fraction=0.01))
    assert len(task.validation(2)) == 9, "one is left to train on"


def test_the_data_of_the_report_are_800_and_200_disjoint_palindromes() -> None:
    task, again, other = (PalindromeTask(LSTMConfig(seed=seed)) for seed in (1, 1, 2))
    train, validation = task.splits.values()
    assert (len(train), len(validation)) == (800, 200)
    everything = make_palindromes(5, 1000, rng())
    assert torch.equal(torch.cat([train.digits(), validation.digits()]).unique(dim=0), everything.digits())
    assert torch.equal(train.digits(), again.splits["train"].digits())
    assert not torch.equal(train.digits(), other.splits["train"].digits())
    evaluation, origin = task.evaluation(5, 3)
    assert (torch.equal(evaluation.digits(), validation.digits()), origin) == (True, "validation set of the run")
    assert everything[torch.tensor([3, 999])].digits().tolist() == [[0, 0, 3, 0, 0], [9, 9, 9, 9, 9]]


def test_sizes_of_which_no_palindromes_are_left_are_refused() -> None:
    for fraction in (0.01, 0.99):
        with pytest.raises(ConfigError, match=rf"^train_fraction {fraction} leaves .* set of 10 sequences empty; give"):
            _ = PalindromeTask(LSTMConfig(data_size=10, train_fraction=fraction)).splits
