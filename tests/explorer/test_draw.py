"""The panel that projects a drawing into latent space: every control, by mouse, finger and keyboard."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.explorer.browser import PHONE, Show, check_accessible, check_fits, current, pixels
from tests.explorer.edits import edit_manifest

SEVEN = ((0.25, 0.25), (0.7, 0.22), (0.5, 0.8))
FIND = "text=Find the nearest image of G"


def draw(page: Page, points: Sequence[tuple[float, float]] = SEVEN) -> None:
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


def target(page: Page) -> np.ndarray:
    """Return the image that the search gets, [28, 28] from 0 to 1."""
    return pixels(page.locator(".draw-target canvas")) / 255


def wait_for_result(page: Page) -> None:
    page.wait_for_selector(".draw-result:not([hidden])")


def test_a_drawing_is_prepared_like_mnist_and_tools_change_it(show: Show) -> None:
    page = show("#draw")
    expect(page.locator(FIND)).to_be_disabled()
    assert target(page).sum() == 0
    draw(page, [(0.1, 0.15), (0.3, 0.5)])  # a small stroke in a corner
    expect(page.locator(FIND)).to_be_enabled()
    image = target(page)
    assert 19 <= max(np.ptp(places) + 1 for places in np.nonzero(image > 0.1)) <= 21
    for axis in (0, 1):
        center = (image.sum(1 - axis) * np.arange(28)).sum() / image.sum()
        assert center == pytest.approx(14, abs=0.2)
    page.click("text=Clear")
    assert target(page).sum() == 0
    expect(page.locator("text=Undo")).to_be_disabled()
    draw(page)
    thin = target(page).sum()
    page.get_by_label("Width of the pen").fill("60")
    draw(page)
    assert target(page).sum() > 1.5 * thin
    page.click("text=Undo")
    assert target(page).sum() == pytest.approx(thin)
    page.get_by_label("Eraser").check(force=True)
    draw(page)
    assert target(page).sum() == 0  # the wider eraser leaves nothing
    expect(page.locator(FIND)).to_be_disabled()
    page.click("text=Undo")
    assert target(page).sum() == pytest.approx(thin)
    page.click("text=Clear")
    page.get_by_label("Pen", exact=True).check(force=True)
    page.locator(".test-picker button").first.click()
    image = pixels(page.locator(".test-picker canvas").first) / 255
    assert np.array_equal(target(page), image)  # a test image stays as it is until it is drawn on
    draw(page)
    assert not np.array_equal(target(page), image)
    page.click("text=Undo")
    assert np.array_equal(target(page), image)
    page.click("text=Undo")
    assert target(page).sum() == 0


def test_a_search_shows_starts_result_baseline_and_neighbor(show: Show) -> None:
    page = show("#draw")
    draw(page)
    page.click(FIND)
    wait_for_result(page)
    assert page.locator(".starts li").count() == 4
    assert page.locator(".starts .chosen .mark").inner_text() == "chosen"
    assert page.locator(".draw-search [class^=series] .chart-line").count() == 4
    errors = [float(error) for error in page.locator(".starts .number").all_inner_texts()]
    reached = page.locator(".result-summary strong").inner_text()
    assert 0 < float(reached) == min(errors) < 1
    expect(page.locator(".draw-result")).to_contain_text("Nearest of 2,000 training images")
    expect(page.locator(".draw-result")).to_contain_text("For it, the search reaches an error of")
    chart = page.locator(".draw-search .chart-plot > svg")
    expect(chart).to_have_attribute("aria-label", re.compile(r"start 4: .*lowest.*\. a real image: 0\.\d+\.$"))
    expect(page.locator("[role='status']")).to_contain_text("Found an image of G")
    assert page.locator(".opinions dd").count() == 2
    page.wait_for_function("() => location.hash.includes('search=1')")
    image = target(page)
    page.reload()  # the address restores drawing and search
    wait_for_result(page)
    assert np.array_equal(target(page), image)
    assert page.locator(".result-summary strong").inner_text() == reached
    found = pixels(page.locator(".result-main figure:nth-child(2) canvas"))
    page.click("text=Use as an end of an interpolation")
    page.wait_for_selector("main[aria-busy='false'] .panel-latent .strip-section")
    assert "code=" in page.evaluate("location.hash")
    assert page.locator("select").first.evaluate("select => select.value") == "code"
    start = pixels(page.locator(".end canvas").first)
    enlarged = found.shape[0] // start.shape[0]
    # The latent is rounded to half precision on its way, so single pixels may differ.
    assert np.abs(found[::enlarged, ::enlarged].astype(int) - start).max() <= 8


def test_the_keyboard_draws_and_searches(show: Show) -> None:
    page = show("#draw", reduced_motion="reduce")
    status = page.locator("[role='status']")
    page.locator(".pad canvas").focus()
    for key in ("Space", *["ArrowDown"] * 10, *["Shift+ArrowRight"] * 3, "Space"):
        page.keyboard.press(key)
    expect(status).to_contain_text("Pen lifted")
    assert target(page).sum() > 20
    page.keyboard.press("ArrowUp")  # moves the lifted pen
    before = target(page)
    for key in ("Space", "Shift+ArrowLeft", "Escape"):
        page.keyboard.press(key)
    assert not np.array_equal(target(page), before)
    page.keyboard.press("Control+z")
    assert np.array_equal(target(page), before)
    page.locator("label:has-text('Pen') input").press("ArrowRight")
    expect(page.get_by_label("Eraser")).to_be_checked()
    page.get_by_label("Width of the pen").press("ArrowRight")
    expect(page.locator(".draw-tools output")).to_have_text("9 %")
    page.locator(".test-picker button").nth(2).press("Enter")
    expect(status).to_contain_text("Started from test image 3.")
    page.locator(FIND).press("Enter")
    wait_for_result(page)
    expect(page.locator(".draw-result")).to_contain_text("The test image")
    path = page.locator(".draw-search .chart-line").first.get_attribute("d")
    page.locator("text=Search from other starts").press("Enter")
    wait_for_result(page)
    assert page.locator(".draw-search .chart-line").first.get_attribute("d") != path
    page.wait_for_function("() => location.hash.includes('seed=1')")
    page.get_by_label("Slow motion").press("Space")
    page.locator(FIND).press("Enter")
    expect(page.locator(".draw-result")).to_be_hidden()  # until the search has ended
    page.wait_for_selector(".draw-search:not([hidden])")
    page.click("nav >> text=Lessons")  # stops the search
    page.wait_for_timeout(500)
    assert current(page) == "lesson"
    assert page.evaluate("location.hash").startswith("#lesson")


def test_a_finger_draws(show: Show) -> None:
    page = show("#draw", width=PHONE, has_touch=True)
    page.locator(".pad canvas").scroll_into_view_if_needed()
    box = page.locator(".pad canvas").bounding_box()
    assert box is not None
    session, scrolled = page.context.new_cdp_session(page), page.evaluate("scrollY")
    for step in range(8):
        touch = {"x": box["x"] + 60, "y": box["y"] + 40 + 15 * step}
        kind = "touchStart" if step == 0 else "touchMove"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [touch]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert target(page).sum() > 20
    assert page.evaluate("scrollY") == scrolled


def test_what_a_file_lacks_is_said(show: Show, explorer_page: Path, tmp_path: Path) -> None:
    def remove(manifest: dict[str, Any]) -> None:
        manifest["gans"][0].update(training=None, test=None, discriminator=None, classifier=None)

    page = show("#draw", edit_manifest(explorer_page, tmp_path / "light.html", remove))
    expect(page.locator(".draw-desk")).to_contain_text("no test images to start from")
    draw(page)
    page.click(FIND)
    wait_for_result(page)
    for kind in ("training", "test"):
        expect(page.locator(".draw-result")).to_contain_text(f"no {kind} images to compare with")
    assert page.locator(".opinions dd").count() == 0
    draw(page)
    expect(page.locator(".draw-result")).to_be_hidden()  # it is of another drawing
    page.wait_for_function("() => !location.hash.includes('search=1')")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_result_is_accessible_and_fits(dark: bool, show: Show) -> None:
    page = show("#draw?test=1&search=1", dark=dark, width=PHONE)
    wait_for_result(page)
    page.wait_for_selector("text=For it, the search reaches")
    check_fits(page)
    check_accessible(page)
