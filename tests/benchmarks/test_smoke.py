"""Benchmarks take minutes to hours, so nobody notices when one breaks: here each starts, the quick ones at a tiny size."""

import importlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import experiments, gan_epoch, lstm_epochs, lstm_operator, startup
from benchmarks.tables import RENDER
from reviver.recurrent.kernel import available
from reviver.settings.lstm import LSTMConfig
from tests.gan.scores.conftest import shrink_mnist

ROOT = Path(__file__).parents[2]
SHAPE = lstm_operator.Shape(2, 3, 1, 4, rounds=1)
EXPERIMENTS = {
    "lstm": [{"id": "bias", "base": {"epochs": 1, "dataSize": 40, "forgetBias": 2}, "change": {"curriculum": "on"}}],
    "gan": [{"id": "labels", "base": {"batchSize": 200}, "updates": 3, "change": {"labels": "exchanged"}}],
}
SIZES: dict[Any, dict[str, Any]] = {
    startup: {"ROUNDS": 1, "COMMANDS": ("--help",)},
    lstm_epochs: {"ROUNDS": 1, "LSTMConfig": partial(LSTMConfig, epochs=1, data_size=40)},
    gan_epoch: {"BLOCK": 1, "ROUNDS": 1, "CALLS": 1, "SAMPLES": 10, "SCORED": 100},
    lstm_operator: {
        "SHAPES": (SHAPE,),
        "BF16_SHAPES": (SHAPE,),
        "MEMORY_SHAPES": (SHAPE[:4],),
        "sgemm_gigaflops": partial(lstm_operator.sgemm_gigaflops, size=16, rounds=1),
    },
    experiments: {"SEEDS": range(1), "SAMPLES": 2},
}
"""Quick benchmarks, and what makes them tiny."""


@pytest.mark.skipif(not available(), reason="needs the native kernel")
@pytest.mark.parametrize("module", SIZES, ids=lambda module: module.__name__)
def test_a_quick_benchmark_gives_a_result_that_can_be_saved_and_shown(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink_mnist(monkeypatch)
    definitions = tmp_path / "experiments.json"
    definitions.write_text(json.dumps(EXPERIMENTS))
    monkeypatch.setattr(experiments, "DEFINITIONS", definitions)
    monkeypatch.setattr(experiments, "RUNS", tmp_path / "runs")
    for name, value in SIZES[module].items():
        monkeypatch.setattr(module, name, value)
    result = module.main()
    torch.set_flush_denormal(False)  # experiments sets it
    assert result["machine"]["cores"] > 0
    shown = RENDER[module.__name__.removeprefix("benchmarks.")](json.loads(json.dumps(result)))
    assert len(shown.splitlines()) > 3


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("[!_]*.py")), ids=lambda path: path.stem)
def test_every_benchmark_finds_what_it_imports(path: Path) -> None:
    importlib.import_module(f"benchmarks.{path.stem}")
