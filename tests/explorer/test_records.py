"""Runs whose networks a page cannot run: it shows what training recorded, says so, and runs no code of the user."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from playwright.sync_api import expect
from torch import nn

import reviver
from reviver.cli import main
from reviver.runs.folder import RunFolder
from reviver.train.lstm.training import train
from tests.explorer.browser import check_accessible, text
from tests.explorer.conftest import SMALL
from tests.explorer.edits import read_page

if TYPE_CHECKING:
    from tests.explorer.browser import Show


class Maker(nn.Sequential):
    def __init__(self, latent_size: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__(nn.Linear(latent_size, 64), nn.Tanh(), nn.Unflatten(1, image_shape))


class Judge(nn.Sequential):
    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """Write a page of own networks, an own cell, a GRU and an LSTM."""
    monkeypatch.chdir(tmp_path)
    np.savez("tiny.npz", images=np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8))
    options = {"image_size": 8, "epochs": 2, "batch_size": 16, "latent_size": 8, "log_every": 1, "eval_every": 0}
    reviver.train_gan("mine", networks=(Maker, Judge), data="tiny.npz", progress=False, **options)  # type: ignore[arg-type]
    reviver.train_lstm("own", cell=nn.LSTMCell, epochs=2, data_size=60, hidden_size=6, progress=False)
    for name in ("gru", "lstm"):
        train(replace(SMALL, cell=name), tmp_path / name, device="cpu")
    for path in tmp_path.glob("*/parts/*.py"):
        path.write_text("raise SystemExit('ran')")
    assert main(["explore", "mine", "own", "gru", "lstm", "--quiet"]) == 0
    assert "ran" not in capsys.readouterr().err
    return tmp_path / "explorer.html"


def test_a_page_has_what_training_recorded_of_networks_that_it_cannot_run(page: Path) -> None:
    content = read_page(page.read_text("utf-8"))
    gan, own = content.manifest["recorded"]
    assert ([run["name"] for run in content.manifest["lstms"]], content.manifest["gans"]) == (["gru", "lstm"], [])
    assert (gan["name"], own["name"]) == ("mine", "own")
    assert "generator" not in gan
    assert gan["metrics"]["step"] == [record["step"] for record in RunFolder.open("mine").read_metrics()]
    assert len(own["metrics"]["validation_accuracy"]) == 2


def test_panels_show_records_and_say_what_they_cannot_run(show: "Show", page: Path) -> None:
    opened = show("#facts?run=recorded-0", page)
    expect(opened.locator(".panel-body")).to_contain_text("This page cannot run the networks of this run.")
    expect(opened.get_by_role("link", name="Latent space")).to_have_count(0)
    opened.get_by_text("Needs a trained network").click()
    reason = "This page cannot run the networks of mine. Curves and facts shows what training recorded."
    assert text(opened.locator(".missing dd").first).startswith(reason)
    check_accessible(opened)
    expect(opened.get_by_role("link", name="Be the discriminator")).to_have_count(0)
    opened.get_by_role("link", name="The LSTM at work").click()
    expect(opened.locator(".panel-body")).to_contain_text("This page cannot run the networks of own.")
    opened.get_by_role("link", name="Curves and facts").click()
    opened.get_by_label("Run", exact=True).select_option("own")
    expect(opened.locator(".facts-charts .chart").nth(1)).to_be_visible()
    expect(opened.get_by_role("heading", name="Rounding")).to_have_count(0)
    opened.get_by_label("Run", exact=True).select_option("mine")
