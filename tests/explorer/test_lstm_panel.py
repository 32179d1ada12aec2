"""The panel "The LSTM at work" in a real browser: mouse, keyboard, address, and every kind of run."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from reviver.explorer.build import write_explorer
from reviver.settings.lstm import LSTMConfig
from reviver.show.trace import trace_digits
from reviver.train.loading import load
from reviver.train.lstm.run import LSTMRun
from reviver.train.lstm.training import train
from tests.explorer.browser import PHONE, Show, check_accessible, check_fits, text, wait_view

SHORT = LSTMConfig(hidden_size=6, hidden_dropout=0.0, data_size=200, epochs=1)
CONFIGS: Mapping[str, LSTMConfig] = {
    "palindromes": LSTMConfig(hidden_size=12, encoding="onehot", data_size=2000, epochs=3),
    "bidirectional": replace(
        SHORT, num_layers=2, bidirectional=True, hidden_dropout=0.1, hidden_dropout_kind="zoneout", encoding="onehot"
    ),
    "rnn": replace(SHORT, cell="rnn"),
    "adding": replace(SHORT, task="adding", length=12),
    "copy": replace(SHORT, task="copy", length=3, encoding="onehot"),
    "parity": replace(SHORT, task="parity", length=8, encoding="onehot"),
    "series": replace(SHORT, task="custom", data="series.npz", pooling="attention"),
    "patches": replace(SHORT, task="custom", data="series.npz", patch_size=4, bidirectional=True),
}


@pytest.fixture(scope="module")
def runs_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run of each kind for a moment, and write their page."""
    folder = tmp_path_factory.mktemp("lstm-panel")
    rng = np.random.default_rng(0)
    np.savez(folder / "series.npz", x=rng.normal(size=(60, 20, 3)).astype("float32"), y=np.arange(60) % 3)
    for name, config in CONFIGS.items():
        data = None if config.data is None else str(folder / config.data)
        train(replace(config, data=data), folder / name, device="cpu")
    write_explorer([load(folder / name) for name in CONFIGS], folder / "explorer.html")
    return folder / "explorer.html"


def map_of(page: Page, name: str) -> Locator:
    """Return the heat map with this name."""
    return page.get_by_role("application", name=f"Cells of the {name}")


def equation(page: Page, name: str) -> str:
    """Return the numbers of an equation, such as `= σ(1.2 + 0.3 + 0.5) = σ(2.0) = 0.881`."""
    return text(page.locator(f"[data-map={name}] .lstm-equation-numbers").first)


def test_typed_digits_give_the_probabilities_of_python(show: Show, runs_page: Path) -> None:
    run = load(runs_page.parent / "palindromes")
    assert isinstance(run, LSTMRun)
    expected = trace_digits(run.network, run.config, [4, 7, 1, 7]).probabilities[-1, 0].tolist()  # type: ignore[arg-type]
    page = show("#lstm", runs_page)
    digits = page.get_by_label("Digits that the network reads")
    digits.fill("4717")
    table = page.get_by_role("table", name="Class probabilities after step 4")
    shown = [float(cell.rstrip(" %")) / 100 for cell in table.get_by_role("cell").all_inner_texts()]
    assert shown == pytest.approx(expected, abs=0.01)
    stages = page.get_by_role("group", name="Stage of training").get_by_role("radio")
    results = set()
    for index in range(stages.count()):
        stages.nth(index).check()
        results.add(page.locator(".lstm-result").inner_text())
    assert len(results) == stages.count() > 1
    digits.fill("47x7")
    expect(page.get_by_role("alert")).to_have_text(re.compile("“x” is not one of 0 1 2"))
    digits.fill("0123456789" * 1200)
    expect(page.get_by_text("There are more steps than pixels.")).to_be_visible()
    expect(page.get_by_role("slider", name="Step")).to_have_attribute("max", "10000")
    page.get_by_label("A column of pixels shows").select_option("mean")
    wait_view(page, columns="mean")


def test_a_changed_digit_shows_the_difference(show: Show, runs_page: Path) -> None:
    page = show("#lstm?sequence=4717", runs_page)
    page.get_by_role("slider", name="Step").press("Home")
    page.get_by_label("Change this digit and compare").select_option("9")
    expect(page.get_by_role("textbox", name="Second sequence")).to_have_value("9717")
    expect(page.get_by_role("radio", name="second − first")).to_be_checked()
    expect(page.get_by_role("img", name=re.compile("^Difference of the cell state c"))).to_be_visible()
    expect(page.get_by_text("differs most after the last step")).to_be_visible()
    view = wait_view(page, sequence="4717", compare="9717", show="difference", units="forget")
    page.reload()
    expect(page.get_by_role("textbox", name="Second sequence")).to_have_value("9717")
    wait_view(page, **view)
    page.get_by_label("Compare with a second sequence").uncheck()
    expect(page.get_by_role("img", name=re.compile("^Cell state c"))).to_be_visible()


def test_a_cell_shows_its_equation_and_dropout_follows_its_seed(show: Show, runs_page: Path) -> None:
    page = show("#lstm?sequence=4717&units=trained", runs_page)
    heat_map = map_of(page, "forget gate f")
    heat_map.scroll_into_view_if_needed()
    box = heat_map.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 3 / 8, box["y"] + box["height"] * 2.5 / 12)  # step 2, unit 3
    expect(page.get_by_role("heading", name="Unit 3 at step 2 (digit 7): forget gate f")).to_be_visible()
    *terms, z, value = [float(number) for number in re.findall(r"-?[\d.]+", equation(page, "f"))[:5]]
    assert sum(terms) == pytest.approx(z, abs=2e-3)
    assert 1 / (1 + math.exp(-z)) == pytest.approx(value, abs=1e-3)
    wait_view(page, cell="f.2.3")
    map_of(page, "cell state c").focus()
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    expect(page.get_by_role("heading", name="Unit 4 at step 3 (digit 1): cell state c")).to_be_visible()
    expect(page.locator("[role=status]")).to_contain_text("step 3 (digit 1), unit 4")
    page.locator("summary", has_text="Numbers of all units").click()
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="4", exact=True)).last
    assert equation(page, "c").split("=")[-1].strip() in text(row)
    result = page.locator(".lstm-result")
    plain = result.inner_text()
    page.get_by_label("Drop units, as in training").check()
    first = result.inner_text()
    page.get_by_role("button", name="Next mask").press("Enter")
    assert len({plain, first, result.inner_text()}) == 3
    wait_view(page, seed="1")
    page.get_by_label("Mask seed").fill("0")
    expect(result).to_have_text(first, ignore_case=True)
    page.get_by_role("checkbox", name="Spread over 100 masks").check()
    expect(page.locator(".lstm-spread-summary")).to_have_text(re.compile(r"of 100 masks predict \d, as the network"))


def test_every_kind_of_run_fits_a_phone(show: Show, runs_page: Path) -> None:
    page = show("#lstm", runs_page, width=PHONE)
    for index, kind in enumerate(CONFIGS):
        page.get_by_label("Run", exact=True).select_option(f"lstm-{index}")
        wait_view(page, run=f"lstm-{index}")
        expect(page.get_by_role("img", name=re.compile("^Hidden state h"))).to_be_visible()
        expect(map_of(page, "forget gate f")).to_have_count(0 if kind == "rnn" else 1)
        page.get_by_label("Compare with a second sequence").check()
        expect(page.get_by_text("Second sequence: ")).to_be_visible()
        layers = page.get_by_label(re.compile("^(Layer|Direction)"))
        for layer in range(layers.locator("option").count()):
            layers.select_option(index=layer)
        check_fits(page)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (PHONE, True)], ids=["desktop", "phone, dark"])
def test_a_comparison_is_accessible(width: int, dark: bool, show: Show, runs_page: Path) -> None:
    page = show("#lstm?sequence=4717&compare=9717&seed=1", runs_page, dark=dark, width=width, bypass_csp=True)
    page.get_by_role("checkbox", name="Spread over 100 masks").check()
    page.locator("summary", has_text="Numbers of all units").click()
    expect(page.locator(".lstm-spread-summary")).to_contain_text("of 100 masks predict")
    check_accessible(page)
