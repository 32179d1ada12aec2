"""Palindromes: number, sampling without duplicates, disjoint splits, and encoding."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from reviver.data.tasks import palindromes as module
from reviver.data.tasks.palindromes import (
    Palindromes,
    PalindromeTask,
    count_palindromes,
    encode_digits,
    make_palindromes,
    split_palindromes,
)
from reviver.errors import ConfigError
from reviver.settings.lstm import LSTMConfig


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(digits: Tensor) -> list[bytes]:
    return [bytes(row.tolist()) for row in digits]


def assert_distinct_palindromes(palindromes: Palindromes, count: int, length: int) -> None:
    digits = palindromes.digits()
    assert digits.shape == (count, length)
    assert len(palindromes) == count
    assert torch.equal(digits, digits.flip(1)), "every row reads the same from both ends"
    assert digits.max() <= 9
    assert digits.dtype == torch.uint8
    assert len(set(rows(digits))) == count, "no row occurs twice"


@pytest.mark.parametrize(("length", "count"), [(2, 10), (3, 100), (4, 100), (5, 1000), (6, 1000), (9, 100_000)])
def test_short_palindromes_are_complete(length: int, count: int) -> None:
    assert count_palindromes(length) == count
    palindromes = make_palindromes(length, 100_000, rng())
    assert_distinct_palindromes(palindromes, count, length)
    assert {row[0] for row in rows(palindromes.digits())} == set(range(10)), "leading zeros are allowed"


@pytest.mark.parametrize("length", [2, 3, 5])
def test_a_size_equal_to_the_count_gives_all(length: int) -> None:
    count = count_palindromes(length)
    assert_distinct_palindromes(make_palindromes(length, count, rng()), count, length)


@pytest.mark.parametrize("length", [2, 3, 5, 9])
def test_a_size_just_below_the_count_gives_that_many(length: int) -> None:
    size = count_palindromes(length) - 1
    assert_distinct_palindromes(make_palindromes(length, size, rng()), size, length)


@pytest.mark.parametrize(
    ("length", "size"),
    [
        (11, 5000),
        (13, 5000),
        (15, 5000),
        (16, 300),
        (35, 300),
        (36, 300),
        (37, 300),
        (38, 300),
        (39, 300),
        (1000, 200),
        (4001, 50),
    ],
)
def test_long_palindromes_are_sampled_without_duplicates(length: int, size: int) -> None:
    palindromes = make_palindromes(length, size, rng())
    assert_distinct_palindromes(palindromes, size, length)
    fractions = palindromes.halves.flatten().bincount(minlength=10) / palindromes.halves.numel()
    assert ((fractions - 0.1).abs() < 5 * (0.09 / palindromes.halves.numel()) ** 0.5).all(), "digits are uniform"


def test_duplicates_are_sampled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 9500 of 10 000 palindromes, nearly every round has duplicates."""
    monkeypatch.setattr(module, "PERMUTATION_LIMIT", 1)
    assert_distinct_palindromes(make_palindromes(7, 9500, rng()), 9500, 7)


@given(length=st.integers(2, 60), size=st.integers(1, 300), seed=st.integers(0, 1000))
def test_any_length_and_size(length: int, size: int, seed: int) -> None:
    palindromes = make_palindromes(length, size, rng(seed))
    assert_distinct_palindromes(palindromes, min(size, count_palindromes(length)), length)
    digits = palindromes.digits()
    assert palindromes.steps == length - 1
    assert torch.equal(palindromes.encode().squeeze(-1), digits[:, :-1].float())
    assert torch.equal(palindromes.targets, digits[:, -1].long())
    assert torch.equal(palindromes.targets, digits[:, 0].long())


@pytest.mark.parametrize("length", [11, 15, 101])
def test_the_seed_decides_which_are_sampled(length: int) -> None:
    first, again, other = (make_palindromes(length, 100, rng(seed)).digits() for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_data_of_the_report_are_800_and_200_disjoint_palindromes() -> None:
    split = PalindromeTask(LSTMConfig()).split
    train, validation = set(rows(split.train.digits())), set(rows(split.validation.digits()))
    assert (len(split.train), len(train)) == (800, 800)
    assert (len(split.validation), len(validation)) == (200, 200)
    assert not train & validation
    assert len(train | validation) == 1000


@pytest.mark.parametrize("length", [2, 5, 15])
def test_the_seed_decides_the_split(length: int) -> None:
    palindromes = make_palindromes(length, 1000, rng())
    first, again, other = (split_palindromes(palindromes, 0.8, seed) for seed in (1, 1, 2))
    assert torch.equal(first.train.digits(), again.train.digits())
    assert torch.equal(first.validation.digits(), again.validation.digits())
    assert set(rows(first.train.digits())) != set(rows(other.train.digits()))
    assert set(rows(first.train.digits())) | set(rows(first.validation.digits())) == set(rows(palindromes.digits()))
    assert not set(rows(first.train.digits())) & set(rows(first.validation.digits()))


@pytest.mark.parametrize(("fraction", "size"), [(0.8, 1), (0.99, 10), (0.01, 10), (0.2, 2)])
def test_an_empty_training_or_validation_set_is_refused(fraction: float, size: int) -> None:
    palindromes = make_palindromes(5, size, rng())
    with pytest.raises(
        ConfigError,
        match=f"^train_fraction {fraction} leaves the training or validation set of {size} sequences empty; give",
    ):
        split_palindromes(palindromes, fraction, 0)


@pytest.mark.parametrize("length", [1, 0, -5])
def test_a_length_below_two_is_refused(length: int) -> None:
    with pytest.raises(ConfigError, match=f"^length must be at least 2, got {length}$"):
        make_palindromes(length, 10, rng())


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_below_one_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match=f"^size must be at least 1, got {size}$"):
        make_palindromes(5, size, rng())


def test_scalar_encoding_is_the_digit_itself() -> None:
    encoded = encode_digits(torch.tensor([[0, 9, 4]], dtype=torch.uint8), "scalar")
    assert encoded.dtype == torch.float32
    assert encoded.tolist() == [[[0.0], [9.0], [4.0]]]


def test_onehot_encoding_marks_the_digit() -> None:
    encoded = encode_digits(torch.tensor([[0, 9, 4]], dtype=torch.uint8), "onehot")
    assert encoded.dtype == torch.float32
    assert encoded.shape == (1, 3, 10)
    assert encoded.sum(2).tolist() == [[1.0, 1.0, 1.0]]
    assert encoded.argmax(2).tolist() == [[0, 9, 4]]


@pytest.mark.parametrize("encoding", ["scalar", "onehot"])
def test_the_size_of_every_encoding_is_the_input_size(encoding: str) -> None:
    digits = torch.arange(10, dtype=torch.uint8).reshape(2, 5)
    encoded = encode_digits(digits, encoding)
    assert encoded.shape == (2, 5, PalindromeTask(LSTMConfig(encoding=encoding)).input_size)
    assert len(encoded.reshape(10, -1).unique(dim=0)) == 10, "different digits have different encodings"


def test_indexing_and_moving_keep_the_palindromes() -> None:
    palindromes = make_palindromes(5, 1000, rng())
    part = palindromes[torch.tensor([3, 999])]
    assert part.digits().tolist() == [[0, 0, 3, 0, 0], [9, 9, 9, 9, 9]]
    assert palindromes[10:12].digits().tolist() == [[0, 1, 0, 1, 0], [0, 1, 1, 1, 0]]
    assert torch.equal(part.to(torch.device("cpu")).digits(), part.digits())
