"""Training of an LSTM by several processes: it equals training by one process at the same batch size."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from reviver.data.sequences.task import Examples
from reviver.errors import ConfigError, DataError
from reviver.lstm import kernel
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.dropout import dropout_masks, skip_rows
from reviver.lstm.layer import LSTM
from reviver.lstm.rnn import RNNClassifier
from reviver.runs.distributed.rows import BatchRows
from reviver.runs.distributed.world import ALONE, World
from reviver.settings.lstm import LSTMConfig
from reviver.settings.lstm_network import DropoutKind
from reviver.train.lstm import training
from reviver.train.lstm.parallel import check_batch_sizes
from reviver.train.lstm.training import train
from tests.distributed_lstm import CASES, EPOCHS, NUM_BATCHES, result_name, run_case
from tests.distributed_session import run_processes

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5}
ROWS = BatchRows(2, 5, 7)
"""The third to fifth of seven sequences."""
NO_ROWS = BatchRows(2, 2, 7)
long = pytest.mark.skipif("REVIVER_LONG" not in os.environ, reason="REVIVER_LONG=1 trains with four processes, too")


# Equality


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=long)])
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run_processes("tests.distributed_lstm", request.param, tmp_path_factory.mktemp("results"))


@pytest.mark.parametrize("dtype", EPOCHS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_several_processes_train_as_one(name: str, dtype: torch.dtype, results: list[dict[str, Any]]) -> None:
    alone = run_case(CASES[name], dtype, ALONE)
    assert len(alone["history"]) == EPOCHS[dtype] * NUM_BATCHES
    assert alone["history"][NUM_BATCHES - 1, 2] == 1  # a batch with rows for one process only
    for result in results:
        together = result[result_name(name, dtype)]
        assert together["rng"].equal(alone["rng"])
        for quantity in ("history", "scores", "weights"):
            torch.testing.assert_close(together[quantity], alone[quantity], rtol=0, atol=TOLERANCES[dtype])


def test_all_processes_have_the_same_weights_bit_for_bit(results: list[dict[str, Any]]) -> None:
    for result in results[1:]:
        for name, values in result.items():
            for quantity, value in values.items():
                assert value.equal(results[0][name][quantity]), (name, quantity)


# Rows of a batch


@pytest.mark.parametrize("kind", ["step", "variational", "zoneout"])
@pytest.mark.parametrize("seed", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_the_masks_of_rows_are_those_of_the_whole_batch(kind: DropoutKind, seed: int) -> None:
    seeds = torch.tensor(seed), skip_rows(torch.tensor(seed), 3)
    whole, rows = (dropout_masks(seed, 4, batch, 5, 0.5, kind) for seed, batch in zip(seeds, (8, 5), strict=True))
    assert rows.equal(whole[:, 3:])
    assert not rows.equal(whole[:, :5])


def test_skipping_rows_twice_skips_their_sum() -> None:
    seed = torch.tensor(2**62 + 5)
    assert skip_rows(seed, 0) == seed
    assert skip_rows(skip_rows(seed, 1000), 24) == skip_rows(seed, 1024)


NETWORKS: dict[str, Any] = {
    "hidden dropout": lambda: LSTMClassifier(3, 6, 2, hidden_dropout=0.5),
    "layers": lambda: LSTMClassifier(3, 6, 2, 2, 0.5, True, hidden_dropout=0.3, pooling="mean"),
    "patches": lambda: LSTMClassifier(3, 6, 2, 2, 0.5, pooling="attention", patch_size=2),
    "rnn": lambda: RNNClassifier(3, 6, 2, hidden_dropout=0.5),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("uses_kernel", [True, False])
@pytest.mark.parametrize("rows", [ROWS, NO_ROWS], ids=["rows", "no rows"])
def test_rows_have_the_outputs_of_the_whole_batch(name: str, uses_kernel: bool, rows: BatchRows) -> None:
    network, x, lengths = NETWORKS[name](), torch.randn(7, 5, 3), torch.tensor([5, 1, 2, 5, 3, 4, 5])
    rngs = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    with kernel_or_reference(uses_kernel):
        whole = network(x, lengths, rng=rngs[0])
        outputs = network(rows.take(x), rows.take(lengths), rng=rngs[1], rows=rows)
    torch.testing.assert_close(outputs, rows.take(whole))
    assert rngs[0].get_state().equal(rngs[1].get_state())


@contextmanager
def kernel_or_reference(uses_kernel: bool) -> Iterator[None]:
    """Compute inside with the kernel where it is built, or step by step."""
    if uses_kernel:
        yield
    else:
        with kernel.reference():
            yield


def test_nothing_is_computed_without_rows() -> None:
    output, state = LSTM(3, 6)(torch.randn(5, 0, 3), rows=NO_ROWS)
    assert (output.shape, state[0].shape, output.requires_grad) == ((5, 0, 6), (1, 0, 6), False)


def test_an_rnn_without_rows_has_outputs_at_every_step() -> None:
    network = RNNClassifier(3, 6, 2)
    assert network(torch.randn(0, 5, 3), every_step=True, rows=NO_ROWS).shape == (0, 5, 2)
    with pytest.raises(DataError, match="x must be"):
        network(torch.randn(0, 5, 3))


@pytest.mark.parametrize("rows", [BatchRows(0, 3, 7), BatchRows(0, 2, 7, blocks=2)])
def test_other_rows_than_those_of_x_are_refused(rows: BatchRows) -> None:
    problem = rf"rows must be the 4 rows of x in one block, got {len(rows)} in {rows.blocks}"
    with pytest.raises(DataError, match=problem):
        LSTM(3, 6)(torch.randn(5, 4, 3), rows=rows)
    with pytest.raises(DataError, match=problem):
        RNNClassifier(3, 6, 2)(torch.randn(4, 5, 3), rows=rows)


def test_rows_of_custom_data_are_padded_as_the_whole_batch_is() -> None:
    batch = Examples(torch.randn(7, 5, 3), torch.tensor([5, 1, 2, 2, 1, 4, 5]), torch.arange(7))
    rows = batch.take_rows(ROWS)
    assert rows.encode().equal(batch.x[2:5])
    assert rows.lengths.tolist() == [2, 2, 1]
    assert rows.targets.tolist() == [2, 3, 4]


# Settings


@pytest.mark.parametrize(
    ("settings", "size", "problem"),
    [
        ({"batch_size": 3}, 4, "batch_size must be at least 4, the number of processes, got 3; give a larger one or"),
        (
            {"curriculum": True, "length": 40, "batch_size": 20, "batch_steps": 1},
            18,
            "batch_size must be at least 18, the number of processes, got 16 at length 10; ",
        ),
    ],
)
def test_a_batch_smaller_than_the_number_of_processes_is_refused(
    settings: dict[str, Any], size: int, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def join(*_: Any) -> Iterator[World]:
        yield World(0, size)

    monkeypatch.setattr(training, "join_world", join)
    with pytest.raises(ConfigError, match=problem) as caught:
        train(LSTMConfig(**settings), tmp_path / "run")
    assert caught.value.field == "batch_size"
    assert not (tmp_path / "run").exists()


def test_a_batch_with_a_row_for_each_process_is_accepted() -> None:
    check_batch_sizes(LSTMConfig(batch_size=4), World(0, 4))
    check_batch_sizes(LSTMConfig(batch_size=1), ALONE)
