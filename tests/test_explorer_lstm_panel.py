"""The panel "The LSTM at work" in a real browser: mouse, keyboard, URL fragment, and every kind of run."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from reviver.explorer.build import write_explorer
from reviver.settings.lstm import LSTMConfig
from reviver.show.trace import trace_digits
from reviver.train.loading import load
from reviver.train.lstm.run import LSTMRun
from reviver.train.lstm.training import train
from tests.browser import WIDTHS, needs_chromium, visit
from tests.test_explorer_page import find_violations, needs_axe

pytestmark = needs_chromium

REPORT = LSTMConfig(hidden_size=12, encoding="onehot", data_size=2000, epochs=3)
SHORT = LSTMConfig(hidden_size=6, hidden_dropout=0.0, data_size=200, epochs=1)
CONFIGS: Mapping[str, LSTMConfig] = {
    "report": REPORT,
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
KINDS = tuple(CONFIGS)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run of each kind for a moment, and write their page."""
    folder = tmp_path_factory.mktemp("lstm-panel")
    rng = np.random.default_rng(0)
    np.savez(folder / "series.npz", x=rng.normal(size=(60, 20, 3)).astype("float32"), y=np.arange(60) % 3)
    runs = []
    for name, config in CONFIGS.items():
        data = None if config.data is None else str(folder / config.data)
        train(replace(config, data=data), folder / name, device="cpu")
        runs.append(load(folder / name))
    write_explorer(runs, folder / "explorer.html")
    return folder / "explorer.html"


def map_of(page: Page, name: str) -> Locator:
    """Return the heat map with this name."""
    return page.get_by_role("application", name=f"Cells of the {name}")


def fragment_of(page: Page) -> dict[str, str]:
    """Return what the URL fragment keeps now."""
    return {key: values[0] for key, values in parse_qs(urlsplit(page.url).fragment.partition("?")[2]).items()}


def expect_fragment(page: Page, **expected: str) -> None:
    """Wait until the URL fragment keeps these values; the page writes it after a pause."""
    for _ in range(100):
        if expected.items() <= fragment_of(page).items():
            return
        page.wait_for_timeout(100)
    assert {name: fragment_of(page).get(name) for name in expected} == expected


def equation(page: Page, name: str) -> str:
    """Return the numbers of an equation, such as `= σ(1.2 + 0.3 + 0.5) = σ(2.0) = 0.881`."""
    return page.locator(f"[data-map={name}] .lstm-equation-numbers").first.inner_text().replace("−", "-")


def test_typed_digits_give_the_probabilities_of_python(browser: Browser, page_file: Path) -> None:
    run = load(page_file.parent / "report")
    assert isinstance(run, LSTMRun)
    expected = trace_digits(run.network, run.config, [4, 7, 1, 7]).probabilities[-1, 0].tolist()  # type: ignore[arg-type]
    with visit(browser, page_file, "#lstm") as visited:
        page = visited.page
        page.get_by_label("Digits that the network reads").fill("4717")
        table = page.get_by_role("table", name="Class probabilities after step 4")
        shown = [float(cell.rstrip(" %")) / 100 for cell in table.get_by_role("cell").all_inner_texts()]
        assert shown == pytest.approx(expected, abs=0.01)
        page.get_by_label("Digits that the network reads").fill("47x7")
        expect(page.get_by_role("alert")).to_have_text(re.compile("“x” is not one of 0 1 2"))


def test_a_changed_digit_shows_the_difference(browser: Browser, page_file: Path) -> None:
    with visit(browser, page_file, "#lstm?sequence=4717") as visited:
        page = visited.page
        page.get_by_role("slider", name="Step").focus()
        page.keyboard.press("Home")
        page.get_by_label("Change this digit and compare").select_option("9")
        expect(page.get_by_role("textbox", name="Second sequence")).to_have_value("9717")
        expect(page.get_by_role("radio", name="second − first")).to_be_checked()
        expect(page.get_by_role("img", name=re.compile("^Difference of the cell state c"))).to_be_visible()
        expect(page.get_by_text("differs most after the last step")).to_be_visible()
        expect_fragment(page, sequence="4717", compare="9717", show="difference", units="forget")
        fragment, view = "#" + urlsplit(page.url).fragment, fragment_of(page)
    with visit(browser, page_file, fragment) as visited:
        expect(visited.page.get_by_role("textbox", name="Second sequence")).to_have_value("9717")
        expect_fragment(visited.page, **view)
        visited.page.get_by_label("Compare with a second sequence").uncheck()
        expect(visited.page.get_by_role("img", name=re.compile("^Cell state c"))).to_be_visible()


def test_mouse_and_keyboard_select_a_cell_and_show_its_equation(browser: Browser, page_file: Path) -> None:
    with visit(browser, page_file, "#lstm?sequence=4717&units=trained") as visited:
        page = visited.page
        heat_map = map_of(page, "forget gate f")
        heat_map.scroll_into_view_if_needed()
        box = heat_map.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + box["width"] * 3 / 8, box["y"] + box["height"] * 2.5 / 12)  # step 2, unit 3
        expect(page.get_by_role("heading", name="Unit 3 at step 2 (digit 7): forget gate f")).to_be_visible()
        numbers = re.findall(r"-?[\d.]+", equation(page, "f"))
        terms, z, value = [float(number) for number in numbers[:3]], float(numbers[3]), float(numbers[4])
        assert sum(terms) == pytest.approx(z, abs=2e-3)
        assert 1 / (1 + math.exp(-z)) == pytest.approx(value, abs=1e-3)
        expect_fragment(page, cell="f.2.3")

        map_of(page, "cell state c").focus()
        for key in ("ArrowRight", "ArrowDown", "Enter"):
            page.keyboard.press(key)
        expect(page.get_by_role("heading", name="Unit 4 at step 3 (digit 1): cell state c")).to_be_visible()
        expect(page.locator("[role=status]")).to_contain_text("step 3 (digit 1), unit 4")
        page.locator("summary", has_text="Numbers of all units").click()
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="4", exact=True)).last
        assert equation(page, "c").split("=")[-1].strip() in row.inner_text().replace("−", "-")


def test_dropout_follows_its_seed(browser: Browser, page_file: Path) -> None:
    with visit(browser, page_file, "#lstm?sequence=4717") as visited:
        page = visited.page
        plain = page.locator(".lstm-result").inner_text()
        page.get_by_label("Drop units, as in training").check()
        seen = [page.locator(".lstm-result").inner_text()]
        page.get_by_role("button", name="Next mask").press("Enter")
        seen.append(page.locator(".lstm-result").inner_text())
        assert len({plain, *seen}) == 3
        expect_fragment(page, seed="1")
        page.get_by_label("Mask seed").fill("0")
        expect(page.locator(".lstm-result")).to_have_text(seen[0], ignore_case=True)
        page.get_by_role("checkbox", name="Spread over 100 masks").check()
        expect(page.locator(".lstm-spread-summary")).to_have_text(
            re.compile(r"of 100 masks predict \d, as the network")
        )


def test_stages_differ(browser: Browser, page_file: Path) -> None:
    with visit(browser, page_file, "#lstm?sequence=4717") as visited:
        stages = visited.page.get_by_role("group", name="Stage of training").get_by_role("radio")
        results = set()
        for index in range(stages.count()):
            stages.nth(index).check()
            results.add(visited.page.locator(".lstm-result").inner_text())
        assert len(results) == stages.count() > 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_fits_a_phone(kind: str, browser: Browser, page_file: Path) -> None:
    with visit(browser, page_file, f"#lstm?run=lstm-{KINDS.index(kind)}", width=WIDTHS["phone"]) as visited:
        page = visited.page
        expect(page.get_by_role("img", name=re.compile("^Hidden state h"))).to_be_visible()
        expect(map_of(page, "forget gate f")).to_have_count(0 if kind == "rnn" else 1)
        page.get_by_label("Compare with a second sequence").check()
        expect(page.get_by_text("Second sequence: ")).to_be_visible()
        layers = page.get_by_label(re.compile("^(Layer|Direction)"))
        for index in range(layers.locator("option").count()):
            layers.select_option(index=index)
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS["phone"]


def test_long_sequences_are_decimated_and_clamped(browser: Browser, page_file: Path) -> None:
    digits = "0123456789" * 1200
    with visit(browser, page_file, f"#lstm?run=lstm-0&sequence={digits}&cell=f.5000.1") as visited:
        page = visited.page
        expect(page.get_by_text("There are more steps than pixels.")).to_be_visible()
        expect(page.get_by_role("slider", name="Step")).to_have_attribute("max", "10000")
        expect(page.get_by_role("heading", name="Unit 1 at step 5000 (digit 9)")).to_be_visible()
        page.get_by_label("A column of pixels shows").select_option("mean")
        expect_fragment(page, columns="mean")


@pytest.mark.parametrize(
    "fragment",
    [
        "run=x&sequence=<script>&stage=99&layer=-1&example=1e9&seed=-3&cell=z.0.0&compare=%00&units=__proto__&show=all",
        "run=lstm-3&sequence=nan;1&cell=h.99999999999.7&target=5&columns=1&seed=1",
        "run=lstm-1&layer=7&direction=up&stage=0&compare=12x",
    ],
)
def test_a_foreign_fragment_is_ignored(fragment: str, browser: Browser, page_file: Path) -> None:
    with visit(browser, page_file, f"#lstm?{fragment}") as visited:
        expect(visited.page.locator(".lstm-result")).to_contain_text("rediction")
        expect_fragment(visited.page, example="1")


@needs_axe
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_a_comparison_is_accessible(width: int, dark: bool, browser: Browser, page_file: Path) -> None:
    fragment = "#lstm?sequence=4717&compare=9717&seed=1"
    with visit(browser, page_file, fragment, dark=dark, width=width, bypass_csp=True) as visited:
        visited.page.get_by_role("checkbox", name="Spread over 100 masks").check()
        visited.page.locator("summary", has_text="Numbers of all units").click()
        expect(visited.page.locator(".lstm-spread-summary")).to_contain_text("of 100 masks predict")
        assert find_violations(visited.page) == []
