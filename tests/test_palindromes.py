"""The palindromes: how many, all distinct, split without overlap, and how they enter a network."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from reviver.errors import ConfigError
from reviver.lstm.config import LSTMConfig
from reviver.lstm.tasks import palindromes as module
from reviver.lstm.tasks.palindromes import (
    Palindromes,
    PalindromeTask,
    count_palindromes,
    encode_digits,
    make_palindromes,
    split_palindromes,
)


def generator(seed: int = 0) -> torch.Generator:
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
    assert len(set(rows(digits))) == count, "no row comes twice"


@pytest.mark.parametrize(("length", "count"), [(2, 10), (3, 100), (4, 100), (5, 1000), (6, 1000), (9, 100_000)])
def test_all_palindromes_are_made_while_they_fit(length: int, count: int) -> None:
    assert count_palindromes(length) == count
    palindromes = make_palindromes(length, 100_000, generator())
    assert_distinct_palindromes(palindromes, count, length)
    assert {row[0] for row in rows(palindromes.digits())} == set(range(10)), "leading zeros are allowed"


@pytest.mark.parametrize("length", [2, 3, 5])
def test_a_size_of_exactly_the_count_makes_all(length: int) -> None:
    count = count_palindromes(length)
    assert_distinct_palindromes(make_palindromes(length, count, generator()), count, length)


@pytest.mark.parametrize("length", [2, 3, 5, 9])
def test_a_size_just_below_the_count_makes_that_many(length: int) -> None:
    size = count_palindromes(length) - 1
    assert_distinct_palindromes(make_palindromes(length, size, generator()), size, length)


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
def test_long_palindromes_are_sampled_without_repeats(length: int, size: int) -> None:
    palindromes = make_palindromes(length, size, generator())
    assert_distinct_palindromes(palindromes, size, length)
    shares = palindromes.halves.flatten().bincount(minlength=10) / palindromes.halves.numel()
    assert ((shares - 0.1).abs() < 5 * (0.09 / palindromes.halves.numel()) ** 0.5).all(), "digits are uniform"


def test_repeated_draws_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 9500 of 10 000 wanted by drawing, nearly every round repeats some."""
    monkeypatch.setattr(module, "PERMUTATION_LIMIT", 1)
    assert_distinct_palindromes(make_palindromes(7, 9500, generator()), 9500, 7)


@given(length=st.integers(2, 60), size=st.integers(1, 300), seed=st.integers(0, 1000))
def test_any_length_and_size(length: int, size: int, seed: int) -> None:
    palindromes = make_palindromes(length, size, generator(seed))
    assert_distinct_palindromes(palindromes, min(size, count_palindromes(length)), length)
    digits = palindromes.digits()
    assert palindromes.steps == length - 1
    assert torch.equal(palindromes.encode().squeeze(-1), digits[:, :-1].float())
    assert torch.equal(palindromes.targets, digits[:, -1].long())
    assert torch.equal(palindromes.targets, digits[:, 0].long())


@pytest.mark.parametrize("length", [11, 15, 101])
def test_the_seed_decides_which_are_sampled(length: int) -> None:
    first, again, other = (make_palindromes(length, 100, generator(seed)).digits() for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_reports_data_is_800_and_200_disjoint() -> None:
    split = PalindromeTask(LSTMConfig()).split
    train, validation = set(rows(split.train.digits())), set(rows(split.validation.digits()))
    assert (len(split.train), len(train)) == (800, 800)
    assert (len(split.validation), len(validation)) == (200, 200)
    assert not train & validation
    assert len(train | validation) == 1000


@pytest.mark.parametrize("length", [2, 5, 15])
def test_the_seed_decides_the_split(length: int) -> None:
    palindromes = make_palindromes(length, 1000, generator())
    first, again, other = (split_palindromes(palindromes, 0.8, seed) for seed in (1, 1, 2))
    assert torch.equal(first.train.digits(), again.train.digits())
    assert torch.equal(first.validation.digits(), again.validation.digits())
    assert set(rows(first.train.digits())) != set(rows(other.train.digits()))
    assert set(rows(first.train.digits())) | set(rows(first.validation.digits())) == set(rows(palindromes.digits()))
    assert not set(rows(first.train.digits())) & set(rows(first.validation.digits()))


@pytest.mark.parametrize(("fraction", "size"), [(0.8, 1), (0.99, 10), (0.01, 10), (0.2, 2)])
def test_a_split_with_an_empty_part_is_refused(fraction: float, size: int) -> None:
    palindromes = make_palindromes(5, size, generator())
    with pytest.raises(
        ConfigError, match=f"^train_fraction {fraction} leaves a part of {size} sequences empty; choose"
    ):
        split_palindromes(palindromes, fraction, 0)


@pytest.mark.parametrize("length", [1, 0, -5])
def test_a_length_below_two_is_refused(length: int) -> None:
    with pytest.raises(ConfigError, match=f"^length must be at least 2, got {length}$"):
        make_palindromes(length, 10, generator())


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_below_one_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match=f"^size must be at least 1, got {size}$"):
        make_palindromes(5, size, generator())


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
def test_every_encoding_is_as_wide_as_the_config_says(encoding: str) -> None:
    digits = torch.arange(10, dtype=torch.uint8).reshape(2, 5)
    encoded = encode_digits(digits, encoding)
    assert encoded.shape == (2, 5, PalindromeTask(LSTMConfig(input=encoding)).input_size)
    assert len(encoded.reshape(10, -1).unique(dim=0)) == 10, "different digits look different"


def test_indexing_and_moving_keep_the_palindromes() -> None:
    palindromes = make_palindromes(5, 1000, generator())
    part = palindromes[torch.tensor([3, 999])]
    assert part.digits().tolist() == [[0, 0, 3, 0, 0], [9, 9, 9, 9, 9]]
    assert palindromes[10:12].digits().tolist() == [[0, 1, 0, 1, 0], [0, 1, 1, 1, 0]]
    assert torch.equal(part.to(torch.device("cpu")).digits(), part.digits())
