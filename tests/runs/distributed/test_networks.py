"""Training by several processes equals training by one process at the same batch size."""

from contextlib import chdir, nullcontext
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from reviver.data.sequences.custom import Examples
from reviver.errors import ConfigError
from reviver.rng import BatchRows
from reviver.runs import session
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.distributed.world import World
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan import training as gan_training
from reviver.train.gan.training import check_world
from reviver.train.lstm import training as lstm_training
from reviver.train.lstm.training import check_batch_sizes
from tests.runs.distributed.training import CONFIGS, train_all, write_images
from tests.runs.small import run_group

ROWS, NO_ROWS = BatchRows(2, 5, 7), BatchRows(2, 2, 7)


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.long)])
def folder(request: pytest.FixtureRequest, server: ForkServerContext, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train all networks by one process and by several, and return the folder of their runs."""
    folder = tmp_path_factory.mktemp("networks")
    with chdir(folder):
        write_images()
    for name, size in (("alone", 1), ("together", request.param)):
        (folder / name).mkdir()
        assert run_group(server, train_all, folder / name, size) == [0] * size
    return folder


@pytest.mark.parametrize("name", CONFIGS)
def test_several_processes_train_as_one(name: str, folder: Path) -> None:
    """A bias before BatchNorm has no gradient but rounding errors, which Adam amplifies."""
    alone, together = (RunFolder.open(folder / each / name) for each in ("alone", "together"))
    loss_tolerance, tolerance = (0.02, 0.1) if name == "bf16" else (1e-12, 1e-11)
    for row, expected in zip(together.read_metrics(), alone.read_metrics(), strict=True):
        assert row | {"seconds": 0} == pytest.approx(expected | {"seconds": 0}, rel=0, abs=loss_tolerance)
    last, expected_last = (find_checkpoint(run.checkpoints, "last") for run in (together, alone))
    assert last.name == expected_last.name
    tensors, expected = load_file(last), load_file(expected_last)
    assert tensors.keys() == expected.keys()
    for key, value in expected.items():
        atol = tolerance if value.is_floating_point() else 0  # the states of random number generators
        torch.testing.assert_close(tensors[key], value, rtol=0, atol=atol, msg=lambda text, key=key: f"{key}: {text}")


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
    (GANConfig(batch_size=3), 4, "must be at least 4, the number of processes, got 3; give a larger one or"),
]


@pytest.mark.parametrize(("config", "size", "problem"), TOO_SMALL)
def test_a_batch_must_have_a_row_for_each_process(
    config: LSTMConfig | GANConfig, size: int, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = lstm_training if isinstance(config, LSTMConfig) else gan_training
    monkeypatch.setattr(session, "join_world", lambda *_: nullcontext(World(0, size)))
    with pytest.raises(ConfigError, match=f"batch_size {problem}"):
        module.train(config, tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()
    check_batch_sizes(LSTMConfig(batch_size=4), World(0, 4))
    check_world(GANConfig(batch_size=4), World(0, 4))
