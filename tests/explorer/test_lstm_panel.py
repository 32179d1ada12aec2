"""The panel "The LSTM at work" in a real browser: mouse, keyboard, address, and every kind of run."""

import math
import re
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Locator, Page, expect

from reviver.explorer.page import build_page
from reviver.run import LSTMRun, load, train_lstm
from reviver.settings.tasks import TaskDefinition
from reviver.show.trace import trace_digits
from tests.explorer.browser import PHONE, Show, check_accessible, check_fits, text, view_of, wait_view
from tests.explorer.conftest import lstm_id


class Majority(TaskDefinition):
    """Are there more + than -?"""

    symbols, classes = ("-", "+"), ("minus", "plus")

    def generate(self, lengths: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Generate sequences, see `TaskDefinition.generate`."""
        x = torch.randint(2, (len(lengths), int(lengths.max())), generator=rng)
        return x, (2 * (x * (torch.arange(x.shape[1]) < lengths[:, None])).sum(1) > lengths).long()


def map_of(page: Page, name: str) -> Locator:
    """Return the heat map with this name."""
    return page.get_by_role("application", name=f"Cells of the {name}")


def test_typed_digits_give_the_probabilities_of_python(show: Show, small_page: Path) -> None:
    run = load(small_page.parent / "palindrome")
    assert isinstance(run, LSTMRun)
    expected = trace_digits(run.network, run.config, [4, 7, 1, 7]).probabilities[-1].tolist()
    page = show("#lstm", small_page)
    digits = page.get_by_label("Digits that the network reads")
    digits.fill("4717")
    bars = page.get_by_role("list", name="Class probabilities after step 4").locator("li > :last-child")
    shown = [float(text.strip("<>\xa0%")) / 100 for text in bars.all_inner_texts()]
    assert shown == pytest.approx(expected, abs=0.01)
    expect(page.locator(".lstm-charts .marked")).to_have_text("4")  # the target of these digits, not of the example
    result = page.locator(".lstm-result").inner_text()
    page.get_by_role("group", name="Stage of training").get_by_role("radio").first.check()
    assert page.locator(".lstm-result").inner_text() != result
    page.get_by_role("slider", name="Step").press("Home")
    page.get_by_label("Change this digit and compare").select_option("9")
    expect(page.get_by_role("textbox", name="Second sequence")).to_have_value("9717")
    expect(page.get_by_role("img", name=re.compile("^Difference of the cell state c"))).to_be_visible()
    view = wait_view(page, sequence="4717", compare="9717", show="difference", units="forget")
    page.reload()
    wait_view(page, **view)
    page.get_by_label("Compare with a second sequence").uncheck()
    digits.fill("47x7")
    expect(page.get_by_role("alert")).to_have_text(re.compile("“x” is not one of 0 1 2"))
    digits.fill("0123456789" * 1200)
    expect(page.get_by_text("There are more steps than pixels.")).to_be_visible()
    expect(page.get_by_role("slider", name="Step")).to_have_attribute("max", "10000")


def test_a_cell_shows_its_equation_and_dropout_follows_its_seed(show: Show, small_page: Path) -> None:
    page = show("#lstm?sequence=4717&units=trained", small_page)
    heat_map = map_of(page, "forget gate f")
    heat_map.scroll_into_view_if_needed()
    box = heat_map.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 3 / 8, box["y"] + box["height"] * 2.5 / 12)  # step 2, unit 3
    expect(page.get_by_role("heading", name="Unit 3 at step 2 (digit 7): forget gate f")).to_be_visible()
    numbers = text(page.locator("[data-map=f] .lstm-equation-numbers").first)  # = σ(1.2 + 0.3 + 0.5) = 0.881
    *terms, value = [float(number) for number in re.findall(r"-?[\d.]+", numbers)[:4]]
    assert 1 / (1 + math.exp(-sum(terms))) == pytest.approx(value, abs=1e-3)
    wait_view(page, cell="f.2.3")
    map_of(page, "cell state c").focus()
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    expect(page.get_by_role("heading", name="Unit 4 at step 3 (digit 1): cell state c")).to_be_visible()
    result = page.locator(".lstm-result")
    plain = result.inner_text()
    drop = page.get_by_label("Drop units, as in training")
    drop.check()
    first = result.inner_text()
    page.get_by_role("button", name="Next mask").press("Enter")
    assert len({plain, first, result.inner_text()}) == 3
    wait_view(page, seed="1")
    for typed in ("0", "1.5"):  # the second is no seed
        page.get_by_label("Mask seed").fill(typed)
        drop.uncheck()
        drop.check()
        wait_view(page, seed="0")
    expect(result).to_have_text(first, ignore_case=True)
    page.get_by_role("checkbox", name="Spread over 100 masks").check()
    page.locator("summary", has_text="Numbers of all units").click()
    expect(page.locator(".lstm-spread-summary")).to_contain_text("of 100 masks predict")
    check_accessible(page)


def test_every_kind_of_run_fits_a_phone(show: Show, small_page: Path) -> None:
    page = show("#lstm", small_page, width=PHONE)
    for kind in ("adding", "parity", "custom", "attention", "rnn"):
        page.get_by_label("Run", exact=True).select_option(label=kind)
        expect(page.get_by_role("img", name=re.compile("^Hidden state h"))).to_be_visible()
        expect(map_of(page, "forget gate f")).to_have_count(0 if kind == "rnn" else 1)
        page.get_by_text("Settings", exact=True).click()
        page.get_by_label("Compare with a second sequence").check()
        expect(page.locator(".lstm-result")).to_contain_text("Second sequence: ")
        check_fits(page)
        for ticks in page.locator(".lstm-charts .steps-rows").all_inner_texts():
            assert len(set(ticks.split())) == len(ticks.split())  # also of weights that are nearly equal
    page = show(f"#lstm?run={lstm_id('custom')}&sequence=1+2%3B3+4", small_page)
    expect(page.get_by_label("Target class")).to_have_value("")  # the address gives none
    choose = "(runs, id) => { runs.value = id; runs.dispatchEvent(new Event('change')); }"
    for name in ("variational", "rnn"):  # the first has more to load
        page.get_by_label("Run", exact=True).evaluate(choose, lstm_id(name))
    page.wait_for_timeout(1000)
    assert view_of(page)["run"] == lstm_id("rnn")


def test_a_task_of_ones_own_says_what_may_be_typed(show: Show, tmp_path: Path) -> None:
    """The run names the symbols; without a rule for the target a reader chooses it."""
    run = train_lstm(tmp_path / "run", task=Majority, length=6, epochs=1, data_size=40, hidden_size=4, progress=False)
    build_page([run]).save(tmp_path / "page.html")
    page = show("#lstm", tmp_path / "page.html")
    symbols = page.get_by_label("Symbols that the network reads")
    symbols.fill("++x")
    expect(page.get_by_role("alert")).to_have_text(re.compile("“x” is not one of - \\+"))
    symbols.fill("++-+")
    page.get_by_label("Target class").select_option(label="plus")
    expect(page.locator(".lstm-result")).to_contain_text("target plus: ")
    page.get_by_role("button", name="Next example").click()
    wait_view(page, example="1")


def test_a_gru_shows_its_own_gates_and_equations(show: Show, small_page: Path) -> None:
    page = show(f"#lstm?run={lstm_id('gru')}&sequence=4717", small_page)
    for name in ("reset gate r", "update gate z", "candidate n", "hidden state h"):
        expect(map_of(page, name)).to_be_visible()
    expect(page.locator("[data-map=n] .lstm-equation-letters")).to_have_text("nt = tanh(Wn xt + Un (rt ht−1) + bn)")
    page = show(f"#lstm?run={lstm_id('own')}", small_page)  # a text of one's own
    expect(map_of(page, "gate z")).to_be_visible()
    expect(page.get_by_role("heading", name=re.compile("^Unit .*: gate z"))).to_be_visible()
