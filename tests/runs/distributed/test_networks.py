"""Training by several processes equals training by one process at the same batch size."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reviver.data.sequences.task import Examples
from reviver.errors import ConfigError, DataError
from reviver.gan.parallel import ParallelStep
from reviver.gan.step_options import StepResult
from reviver.lstm import kernel
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.dropout import dropout_masks, skip_rows
from reviver.lstm.layer import LSTM
from reviver.lstm.rnn import RNNClassifier
from reviver.runs.distributed.batch_norm import ParallelBatchNorm1d
from reviver.runs.distributed.rows import BatchRows
from reviver.runs.distributed.world import ALONE, World
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.settings.lstm_network import DropoutKind
from reviver.train.gan import training as gan_training
from reviver.train.gan.training import build_models, check_world
from reviver.train.lstm import training
from reviver.train.lstm.parallel import check_batch_sizes
from tests.runs.children import run_group, train_all_networks
from tests.runs.distributed.train_networks import CONFIGS, EPOCHS, NUM_BATCHES, run_config

ROWS, NO_ROWS = BatchRows(2, 5, 7), BatchRows(2, 2, 7)


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.long)])
def results(
    request: pytest.FixtureRequest, server: ForkServerContext, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, dict[str, Tensor]]]:
    """Train all networks by several processes, and return the results of each by its rank."""
    folder = tmp_path_factory.mktemp("results")
    assert run_group(server, train_all_networks, folder, request.param) == [0] * request.param
    return [torch.load(folder / f"rank-{rank}.pt") for rank in range(request.param)]


@pytest.mark.parametrize("name", CONFIGS)
def test_several_processes_train_as_one(name: str, results: list[dict[str, dict[str, Tensor]]]) -> None:
    """A bias before BatchNorm has no gradient but rounding errors, which Adam amplifies."""
    alone = run_config(name, ALONE)
    assert len(alone["history"]) == EPOCHS * NUM_BATCHES
    if isinstance(CONFIGS[name], LSTMConfig):
        assert alone["history"][NUM_BATCHES - 1, 2] == 1, "a batch with rows for one process only"
    history, others = (0.02, 0.1) if name == "bf16" else (1e-12, 1e-11)
    for together in (result[name] for result in results):
        assert together.keys() == alone.keys()
        for key, value in alone.items():
            assert together[key].equal(results[0][name][key]), f"{key} has the same bits in all processes"
            atol = {"rng": 0.0, "history": history}.get(key, others)
            torch.testing.assert_close(
                together[key], value, rtol=0, atol=atol, msg=lambda text, key=key: f"{key}: {text}"
            )


@pytest.mark.parametrize("kind", ["step", "variational", "zoneout"])
@pytest.mark.parametrize("seed", [0, -1, 2**63 - 1, -(2**63)])
def test_the_masks_of_rows_are_those_of_the_whole_batch(kind: DropoutKind, seed: int) -> None:
    seeds = torch.tensor(seed), skip_rows(torch.tensor(seed), 3)
    whole, rows = (dropout_masks(seed, 4, batch, 5, 0.5, kind) for seed, batch in zip(seeds, (8, 5), strict=True))
    assert rows.equal(whole[:, 3:])
    assert not rows.equal(whole[:, :5])
    assert skip_rows(skip_rows(seeds[0], 1000), 24) == skip_rows(seeds[0], 1024)


NETWORKS: dict[str, Any] = {
    "layers": lambda: LSTMClassifier(3, 6, 2, 2, 0.5, True, hidden_dropout=0.3, pooling="mean"),
    "patches": lambda: LSTMClassifier(3, 6, 2, 2, 0.5, pooling="attention", patch_size=2),
    "rnn": lambda: RNNClassifier(3, 6, 2, hidden_dropout=0.5),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("context", [nullcontext, kernel.reference])
@pytest.mark.parametrize("rows", [ROWS, NO_ROWS], ids=["rows", "no rows"])
def test_rows_have_the_outputs_of_the_whole_batch(name: str, context: Any, rows: BatchRows) -> None:
    network, x, lengths = NETWORKS[name](), torch.randn(7, 5, 3), torch.tensor([5, 1, 2, 5, 3, 4, 5])
    rngs = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    with context():
        whole = network(x, lengths, rng=rngs[0])
        outputs = network(rows.take(x), rows.take(lengths), rng=rngs[1], rows=rows)
    torch.testing.assert_close(outputs, rows.take(whole))
    assert rngs[0].get_state().equal(rngs[1].get_state())
    with pytest.raises(DataError, match="x must be"):
        network(x[:0])


@pytest.mark.parametrize("rows", [BatchRows(0, 3, 7), BatchRows(0, 2, 7, blocks=2)])
def test_other_rows_than_those_of_x_are_refused(rows: BatchRows) -> None:
    for network, x in ((LSTM(3, 6), torch.randn(5, 4, 3)), (RNNClassifier(3, 6, 2), torch.randn(4, 5, 3))):
        problem = rf"rows must be the 4 rows of x in one block, got {len(rows)} in {rows.blocks}"
        with pytest.raises(DataError, match=problem):
            network(x, rows=rows)


def test_rows_of_custom_data_are_padded_as_the_whole_batch_is() -> None:
    batch = Examples(torch.randn(7, 5, 3), torch.tensor([5, 1, 2, 2, 1, 4, 5]), torch.arange(7))
    rows = batch.take_rows(ROWS)
    assert rows.encode().equal(batch.x[2:5])
    assert rows.lengths.tolist() == [2, 2, 1]
    assert rows.targets.tolist() == [2, 3, 4]


CURRICULUM: dict[str, Any] = {"curriculum": True, "length": 40, "batch_size": 20, "batch_steps": 1}
TOO_SMALL = [
    (LSTMConfig(batch_size=3), 4, "must be at least 4, the number of processes, got 3; give a larger one or"),
    (LSTMConfig(**CURRICULUM), 18, "must be at least 18, the number of processes, got 16 at length 10; "),
    (GANConfig(batch_size=3), 4, "3 is too small for 4 processes; give at least 4"),
    (GANConfig(batch_size=8, packing=4), 4, "8 with packing 4 is too small for 4 processes; give at least 16"),
]


@pytest.mark.parametrize(("config", "size", "problem"), TOO_SMALL)
def test_a_batch_must_have_a_row_for_each_process(
    config: LSTMConfig | GANConfig, size: int, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def join(*_: Any) -> Iterator[World]:
        yield World(0, size)

    module = training if isinstance(config, LSTMConfig) else gan_training
    monkeypatch.setattr(module, "join_world", join)
    with pytest.raises(ConfigError, match=f"batch_size {problem}") as caught:
        module.train(config, tmp_path / "run")
    assert caught.value.field == "batch_size"
    assert not (tmp_path / "run").exists()
    check_batch_sizes(LSTMConfig(batch_size=4), World(0, 4))
    check_world(GANConfig(batch_size=8, packing=2), World(0, 4))


@pytest.mark.parametrize(
    ("dtype", "input_dtype", "tolerance"),
    [(torch.float64, torch.float64, 1e-12), (torch.float32, torch.bfloat16, 2e-2)],
)
def test_batch_norm_of_one_process_equals_torch(dtype: torch.dtype, input_dtype: torch.dtype, tolerance: float) -> None:
    expected = nn.BatchNorm1d(5, eps=1e-3, momentum=0.2, dtype=dtype)
    nn.init.normal_(expected.weight)
    nn.init.normal_(expected.bias)
    layer = ParallelBatchNorm1d(copy.deepcopy(expected), 1)
    x, weight = (2 * torch.randn(7, 5) + 1).to(input_dtype), torch.randn(7, 5)
    for _ in range(3):
        outcomes = []
        for norm in (expected, layer):
            leaf = x.clone().requires_grad_()
            y = norm(leaf)
            grads = torch.autograd.grad((y * weight).sum(), [leaf, norm.weight, norm.bias])
            outcomes.append([y, *grads, *norm.buffers()])
        for value, wanted in zip(outcomes[1], outcomes[0], strict=True):
            assert value.dtype == wanted.dtype
            torch.testing.assert_close(value, wanted, rtol=tolerance, atol=tolerance)
    assert layer.eval()(x).equal(expected.load_state_dict(layer.state_dict()) and expected.eval()(x))


def test_a_process_without_rows_contributes_nothing_and_losses_that_are_not_finite_stay_so() -> None:
    models = build_models(GANConfig(), (1, 4, 4), 0, torch.device("cpu"), World(0, 2))
    step = ParallelStep(*models[:2], ALONE).begin(4, 1.0)
    result = step.finish(StepResult(*torch.tensor([1.0, float("nan"), 0.5, float("inf")])))
    assert [value.isfinite().item() for value in result] == [True, False, True, False]
    step.rows = BatchRows(2, 2, 4)
    mean_of_nothing = torch.zeros(0).mean()
    assert [value.item() for value in step.finish(StepResult(*[mean_of_nothing] * 4))] == [0.0] * 4
    assert step.stop_flags == 1.0
