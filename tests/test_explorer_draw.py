"""The panel that projects a drawing into latent space: every control, by mouse and by keyboard."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import needs_chromium, visit
from tests.explorer_edits import edit_manifest

pytestmark = needs_chromium

AXE = Path(__file__).parents[1] / "web" / "node_modules" / "axe-core" / "axe.min.js"
SEVEN = ((0.25, 0.25), (0.7, 0.22), (0.5, 0.8))
FIND = "text=Find the nearest image of G"

READ_CANVAS = """selector => {
    const source = document.querySelector(selector);
    const canvas = document.createElement("canvas");  // a copy, since Chromium warns of frequent reading
    [canvas.width, canvas.height] = [source.width, source.height];
    const context = canvas.getContext("2d");
    context.drawImage(source, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    return Array.from({ length: canvas.width * canvas.height }, (_, i) => data[4 * i] / 255);
}"""


def draw(page: Page, points: Sequence[tuple[float, float]]) -> None:
    """Draw a stroke with the mouse, in fractions of the pad."""
    pad = page.locator(".pad canvas")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None
    positions = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*positions[0])
    page.mouse.down()
    for position in positions[1:]:
        page.mouse.move(*position, steps=6)
    page.mouse.up()


def read_target(page: Page, selector: str = ".draw-target canvas") -> list[float]:
    """Return the pixels of the image that the search gets, or of another, from 0 to 1."""
    pixels: list[float] = page.evaluate(READ_CANVAS, selector)
    return pixels


def wait_for_result(page: Page) -> None:
    page.wait_for_selector(".draw-result:not([hidden])")


def test_a_drawing_is_prepared_like_mnist(browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, "#draw") as visited:
        page = visited.page
        expect(page.locator(FIND)).to_be_disabled()
        assert sum(read_target(page)) == 0
        draw(page, [(0.1, 0.15), (0.3, 0.5)])  # a small stroke in a corner
        expect(page.locator(FIND)).to_be_enabled()
        pixels = read_target(page)
        mass = sum(pixels)
        rows = [index // 28 for index, value in enumerate(pixels) if value > 0.1]
        columns = [index % 28 for index, value in enumerate(pixels) if value > 0.1]
        assert 19 <= max(max(rows) - min(rows), max(columns) - min(columns)) + 1 <= 21
        assert sum(value * (index // 28) for index, value in enumerate(pixels)) / mass == pytest.approx(14, abs=0.2)
        assert sum(value * (index % 28) for index, value in enumerate(pixels)) / mass == pytest.approx(14, abs=0.2)


def test_a_search_shows_starts_result_baseline_and_neighbor(browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, "#draw") as visited:
        page = visited.page
        draw(page, SEVEN)
        page.click(FIND)
        wait_for_result(page)
        assert page.locator(".starts li").count() == 4
        assert page.locator(".starts .chosen .mark").inner_text() == "chosen"
        assert page.locator(".draw-search [class^=series] .chart-line").count() == 4
        errors = [float(text) for text in page.locator(".starts .number").all_inner_texts()]
        reached = float(page.locator(".result-summary strong").inner_text())
        assert reached == min(errors)
        assert 0 < reached < 1
        expect(page.locator(".draw-result")).to_contain_text("Nearest of 2,000 training images")
        expect(page.locator(".draw-result")).to_contain_text("For it, the search reaches an error of")
        chart = page.locator(".draw-search .chart-plot > svg")
        expect(chart).to_have_attribute("aria-label", re.compile(r"start 4: .*lowest.*\. a real image: 0\.\d+\.$"))
        expect(page.locator("[role='status']")).to_contain_text("Found an image of G")
        assert page.locator(".opinions dd").count() == 2


def test_tools_change_the_drawing(browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, "#draw") as visited:
        page = visited.page
        draw(page, SEVEN)
        thin = sum(read_target(page))
        page.get_by_label("Width of the pen").fill("60")
        draw(page, SEVEN)
        assert sum(read_target(page)) > 1.5 * thin
        page.click("text=Undo")
        assert sum(read_target(page)) == pytest.approx(thin)
        page.get_by_label("Eraser").check(force=True)
        draw(page, SEVEN)
        assert sum(read_target(page)) == 0  # the wider eraser leaves nothing
        expect(page.locator(FIND)).to_be_disabled()
        page.click("text=Undo")
        assert sum(read_target(page)) == pytest.approx(thin)
        page.click("text=Clear")
        assert sum(read_target(page)) == 0
        expect(page.locator("text=Undo")).to_be_disabled()


def test_the_keyboard_draws_and_searches(browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, "#draw", reduced_motion="reduce") as visited:
        page = visited.page
        page.locator(".pad canvas").focus()
        for key in ("Space", *["ArrowDown"] * 10, *["Shift+ArrowRight"] * 3, "Space"):
            page.keyboard.press(key)
        expect(page.locator("[role='status']")).to_contain_text("Pen lifted")
        assert sum(read_target(page)) > 20
        page.keyboard.press("ArrowUp")  # moves the lifted pen
        before = read_target(page)
        page.keyboard.press("Space")
        page.keyboard.press("Shift+ArrowLeft")
        page.keyboard.press("Escape")
        assert read_target(page) != before
        page.keyboard.press("Control+z")
        assert read_target(page) == before
        page.locator("label:has-text('Pen') input").focus()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_label("Eraser")).to_be_checked()
        page.get_by_label("Width of the pen").focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator(".draw-tools output")).to_have_text("9 %")
        page.locator(".test-picker button").nth(2).focus()
        page.keyboard.press("Enter")
        expect(page.locator("[role='status']")).to_contain_text("Started from test image 3.")
        page.get_by_label("Slow motion").focus()
        page.keyboard.press("Space")
        page.locator(FIND).focus()
        page.keyboard.press("Enter")
        wait_for_result(page)
        expect(page.locator(".draw-result")).to_contain_text("The test image")
        before_path = page.locator(".draw-search .chart-line").first.get_attribute("d")
        page.locator("text=Search from other starts").focus()
        page.keyboard.press("Enter")
        wait_for_result(page)
        assert page.locator(".draw-search .chart-line").first.get_attribute("d") != before_path
        page.wait_for_function("() => location.hash.includes('seed=1')")


def test_a_finger_draws(browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, "#draw", width=320, has_touch=True) as visited:
        page = visited.page
        page.locator(".pad canvas").scroll_into_view_if_needed()
        box = page.locator(".pad canvas").bounding_box()
        assert box is not None
        session = page.context.new_cdp_session(page)
        scrolled = page.evaluate("scrollY")
        for step in range(8):
            point = {"x": box["x"] + 60, "y": box["y"] + 40 + 15 * step}
            session.send(
                "Input.dispatchTouchEvent",
                {"type": "touchStart" if step == 0 else "touchMove", "touchPoints": [point]},
            )
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert sum(read_target(page)) > 20
        assert page.evaluate("scrollY") == scrolled


def test_a_test_image_stays_as_it_is_until_it_is_drawn_on(browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, "#draw") as visited:
        page = visited.page
        page.locator(".test-picker button").first.click()
        image = read_target(page, ".test-picker canvas")
        assert read_target(page) == image
        draw(page, SEVEN)
        assert read_target(page) != image
        page.click("text=Undo")
        assert read_target(page) == image
        page.click("text=Undo")
        assert sum(read_target(page)) == 0


def test_the_fragment_restores_drawing_and_search(browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, "#draw") as visited:
        page = visited.page
        draw(page, SEVEN)
        page.click(FIND)
        wait_for_result(page)
        page.wait_for_function("() => location.hash.includes('search=1')")
        fragment, pixels = page.evaluate("location.hash"), read_target(page)
        error = page.locator(".result-summary strong").inner_text()
        draw(page, SEVEN)
        expect(page.locator(".draw-result")).to_be_hidden()  # it is of another drawing
        page.wait_for_function("() => !location.hash.includes('search=1')")
    with visit(browser, explorer_page, fragment) as visited:
        page = visited.page
        wait_for_result(page)
        assert read_target(page) == pixels
        assert page.locator(".result-summary strong").inner_text() == error


WRONG_VIEWS = (
    "strokes=AAAA",
    "strokes=DRb___9AQ",
    "strokes=%00%ff",
    "strokes=///&test=-1",
    "test=99&class=7&seed=1e9&search=1",
)


@pytest.mark.parametrize("view", WRONG_VIEWS)
def test_a_wrong_view_shows_an_empty_pad(view: str, browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, f"#draw?{view}") as visited:
        assert sum(read_target(visited.page)) == 0
        expect(visited.page.locator(".draw-result")).to_be_hidden()


def test_the_result_becomes_an_end_of_an_interpolation(browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, "#draw?test=0&search=1") as visited:
        page = visited.page
        wait_for_result(page)
        found = page.locator(".result-main figure:nth-child(2) canvas").evaluate("canvas => canvas.toDataURL()")
        page.click("text=Use as an end of an interpolation")
        page.wait_for_selector("main[aria-busy='false'] .panel-latent .strip-section")
        assert "code=" in page.evaluate("location.hash")
        assert page.locator("select").first.evaluate("select => select.value") == "code"
        start = page.locator(".end canvas").first.evaluate("canvas => canvas.toDataURL()")
        # The latent is rounded to half precision on its way, so single pixels may differ by one.
        difference = page.evaluate(
            """async urls => { const [a, b] = await Promise.all(urls.map(async (url) => {
                const image = new Image(); image.src = url; await image.decode();
                const canvas = document.createElement("canvas"); [canvas.width, canvas.height] = [28, 28];
                const context = canvas.getContext("2d"); context.drawImage(image, 0, 0, 28, 28);
                return context.getImageData(0, 0, 28, 28).data; }));
                return Math.max(...a.map((value, i) => Math.abs(value - b[i]))); }""",
            [found, start],
        )
        assert difference <= 8


def test_what_a_file_lacks_is_said(browser: Browser, explorer_page: Path, tmp_path: Path) -> None:
    def remove(manifest: dict[str, Any]) -> None:
        manifest["gans"][0].update(training=None, test=None, discriminator=None, classifier=None)

    page_file = edit_manifest(explorer_page, tmp_path / "light.html", remove)
    with visit(browser, page_file, "#draw") as visited:
        page = visited.page
        expect(page.locator(".draw-desk")).to_contain_text("no test images to start from")
        draw(page, SEVEN)
        page.click(FIND)
        wait_for_result(page)
        expect(page.locator(".draw-result")).to_contain_text("no training images to compare with")
        expect(page.locator(".draw-result")).to_contain_text("no test images to compare with")
        assert page.locator(".opinions dd").count() == 0


def test_a_search_stops_when_another_panel_is_shown(browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, "#draw?test=1") as visited:
        page = visited.page
        page.get_by_label("Slow motion").check()
        page.click(FIND)
        page.wait_for_selector(".draw-search:not([hidden])")
        page.click("nav >> text=Lessons")
        page.wait_for_timeout(500)
        assert page.locator("nav [aria-current]").inner_text() == "Lessons"
        assert page.evaluate("location.hash").startswith("#lesson")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.skipif(not AXE.exists(), reason="no web/node_modules; install npm and run make setup")
def test_the_result_is_accessible_and_fits(dark: bool, browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, "#draw?test=1&search=1", dark=dark, width=320) as visited:
        page = visited.page
        wait_for_result(page)
        page.wait_for_selector("text=For it, the search reaches")
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        assert [(rule["id"], rule["nodes"][0]["html"][:150]) for rule in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
