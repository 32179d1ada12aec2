"""The first visit: what moves without a click, and what comes of it."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from reviver.explorer.page import build_page
from tests.explorer.browser import Show, check_accessible, check_fits, poll, wait_for_panel
from tests.explorer.test_train_panel import press, update


@pytest.fixture(scope="module")
def page_without_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page that only trains."""
    file = tmp_path_factory.mktemp("start") / "explorer.html"
    build_page([]).save(file)
    return file


def updates(page: Page) -> int:
    """Return how many updates the images of Start have seen; -1 while there are none."""
    label = page.locator(".live .pictures").get_attribute("aria-label") or ""
    found = re.search(r"update (\d+)", label)
    return int(found[1]) if found else -1


def test_a_gan_learns_without_a_click_and_can_be_kept(show: Show, page_without_runs: Path) -> None:
    page = show(file=page_without_runs)
    poll(lambda: updates(page) > 20)
    expect(page.locator(".live-news")).to_contain_text("strokes rise from the noise")
    assert page.locator("[role='status']").inner_text() == ""  # nobody asked for it
    page.click("nav [data-panel='lesson']")
    page.wait_for_timeout(600)
    page.click("nav [data-panel='start']")
    before = updates(page)
    poll(lambda: updates(page) > before)  # goes on where it was
    press(page, "Pause")
    expect(page.locator(".live").get_by_role("button", name="Go on")).to_be_visible()
    page.wait_for_timeout(600)
    before = updates(page)
    check_accessible(page)
    page.wait_for_timeout(400)
    assert updates(page) == before
    press(page, "Keep this one")
    wait_for_panel(page, "train")
    poll(lambda: update(page) == before)
    expect(page.get_by_role("img", name=f"Images of 25 latents at update {before}")).to_be_visible()
    page.wait_for_timeout(400)
    assert update(page) == before
    press(page, "Go on")
    poll(lambda: update(page) > before)


def test_nothing_moves_unasked_for_whoever_prefers_less_motion(show: Show, page_without_runs: Path) -> None:
    page = show(file=page_without_runs, reduced_motion="reduce", width=390)
    poll(lambda: updates(page) == 0)
    page.wait_for_timeout(600)
    assert updates(page) == 0
    check_fits(page, 390)
    press(page, "Start")
    poll(lambda: updates(page) > 0)
