"""The panel that projects a drawing into latent space: every control, by mouse, finger and keyboard."""

from collections.abc import Sequence

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.explorer.browser import PHONE, Show, check_accessible, check_fits, pixels

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
    draw(page, [(0.1, 0.15), (0.3, 0.5)])  # a small stroke in a corner
    expect(page.locator(FIND)).to_be_enabled()
    image = target(page)
    assert 19 <= max(np.ptp(places) + 1 for places in np.nonzero(image > 0.1)) <= 21
    for axis in (0, 1):
        center = (image.sum(1 - axis) * np.arange(28)).sum() / image.sum()
        assert center == pytest.approx(14, abs=0.2)
    page.click("text=Clear")
    assert target(page).sum() == 0
    draw(page)
    thin = target(page).sum()
    page.get_by_label("Width of the pen").fill("60")
    draw(page)
    assert target(page).sum() > 1.5 * thin
    page.click("text=Undo")
    assert target(page).sum() == pytest.approx(thin)
    page.locator(".test-picker button").first.click()
    image = pixels(page.locator(".test-picker canvas").first) / 255
    assert np.array_equal(target(page), image)  # a test image stays as it is until it is drawn on


def test_a_search_shows_starts_result_baseline_and_neighbor(show: Show) -> None:
    page = show("#draw")
    draw(page)
    page.click(FIND)
    wait_for_result(page)
    errors = [float(error) for error in page.locator(".starts .number").all_inner_texts()]
    reached = page.locator(".result-summary strong").inner_text()
    assert len(errors) == 4
    assert 0 < float(reached) == min(errors) < 1
    expect(page.locator(".draw-result")).to_contain_text("Nearest of 2,000 training images")
    expect(page.locator(".draw-result")).to_contain_text("For it, the search reaches an error of")
    check_accessible(page)
    page.wait_for_function("() => location.hash.includes('search=1')")
    page.set_viewport_size({"width": PHONE, "height": 900})
    check_fits(page)
    image = target(page)
    page.reload()  # the address restores drawing and search
    wait_for_result(page)
    assert np.array_equal(target(page), image)
    assert page.locator(".result-summary strong").inner_text() == reached
    found = pixels(page.locator(".result-main figure:nth-child(2) canvas"))
    page.click("text=Use as an end of an interpolation")
    page.wait_for_selector("main[aria-busy='false'] .panel-latent .strip-section")
    start = pixels(page.locator(".end canvas").first)
    enlarged = found.shape[0] // start.shape[0]
    # The latent is rounded to half precision on its way, so single pixels may differ.
    assert np.abs(found[::enlarged, ::enlarged].astype(int) - start).max() <= 8


def test_the_keyboard_draws_and_searches(show: Show) -> None:
    page = show("#draw", reduced_motion="reduce")
    page.locator(".pad canvas").focus()
    for key in ("Space", *["ArrowDown"] * 10, *["Shift+ArrowRight"] * 3, "Space"):
        page.keyboard.press(key)
    expect(page.locator("[role='status']")).to_contain_text("Pen lifted")
    before = target(page)
    assert before.sum() > 20
    for key in ("Space", "Shift+ArrowLeft", "Escape"):
        page.keyboard.press(key)
    assert not np.array_equal(target(page), before)
    page.keyboard.press("Control+z")
    assert np.array_equal(target(page), before)
    page.locator(FIND).press("Enter")
    page.wait_for_selector(".draw-search:not([hidden])")
    page.click("nav >> text=Lessons")  # stops the search
    expect(page.locator(".lesson-form")).to_be_visible()
