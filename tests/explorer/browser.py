"""Chromium for the tests of the explorer: the pages that a test opens, what went wrong in them, and how to look at them."""

import base64
import io
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Error, Locator, Page, expect

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
PHONE = 320
"""Width of a phone, pixels."""
SECONDS = 30
"""Time that a change may take on a busy machine."""
COPY_CANVAS = """canvas => {
    const copy = document.createElement("canvas");  // Chromium warns of frequent reading
    [copy.width, copy.height] = [canvas.width, canvas.height];
    copy.getContext("2d", { willReadFrequently: true }).drawImage(canvas, 0, 0);
    return copy.toDataURL("image/png");
}"""

expect.set_options(timeout=1000 * SECONDS)


class Show:
    """Opens pages of the explorer; `problems` are console errors, exceptions and requests of all of them."""

    def __init__(self, browser: Browser, file: Path) -> None:
        self.browser, self.file = browser, file
        self.contexts: dict[str, BrowserContext] = {}
        self.problems: list[str] = []
        self.pages: list[Page] = []

    def __call__(
        self, fragment: str = "", file: Path | None = None, width: int = 1280, wait: bool = True, **options: Any
    ) -> Page:
        """Open a page file, at a fragment of its URL with #, and wait until the explorer has started."""
        context = self._context(viewport={"width": width, "height": 900}, **options)
        page = context.new_page()
        self.pages.append(page)
        page.set_default_timeout(60_000)
        note = self.problems.append
        page.on("console", lambda message: note(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: note(str(error)))
        page.on("request", lambda request: None if request.url.startswith(OFFLINE) else note(request.url))
        page.goto((file or self.file).as_uri() + fragment)
        if wait:
            wait_for_start(page)
        return page

    def close_pages(self) -> None:
        """Close all pages, and check that nothing went wrong in them."""
        for page in self.pages:
            page.close()
        problems, self.pages, self.problems = self.problems, [], []
        assert problems == []

    def _context(self, **options: Any) -> BrowserContext:
        """Return the context with these options; a new one costs Chromium as much time as the explorer itself."""
        key = repr(sorted(options.items()))
        if key not in self.contexts:
            self.contexts[key] = self.browser.new_context(**options)
            self.contexts[key].new_page()  # so does the first page, which stays open
        return self.contexts[key]


OFFLINE = ("file:", "data:", "blob:", "about:")


def wait_for_start(page: Page) -> None:
    page.wait_for_selector("#app:not([hidden]) .panel-body > *")


def wait_for_panel(page: Page, panel: str) -> None:
    page.wait_for_selector(f"main[aria-busy='false'] .panel-{panel}", state="attached")


def current(page: Page) -> str:
    """Return the id of the panel on show."""
    return str(page.locator("nav [aria-current='page']").get_attribute("data-panel"))


def poll(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds. Playwright's own `wait_for_function` needs eval in some cases, which pages forbid."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "the condition does not come true"
        time.sleep(0.05)


def view_of(page: Page) -> dict[str, str]:
    """Return the view that the address keeps."""
    fragment = urlsplit(page.evaluate("location.href")).fragment
    return {name: values[0] for name, values in parse_qs(fragment.partition("?")[2]).items()}


def wait_view(page: Page, **expected: str) -> dict[str, str]:
    """Wait until the address keeps these values, and return the view."""
    poll(lambda: expected.items() <= view_of(page).items())
    return view_of(page)


def pixels(canvas: Locator) -> np.ndarray:
    """Return the first channel of a canvas, [H, W]."""
    data = canvas.evaluate(COPY_CANVAS)
    with Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))) as image:
        return np.asarray(image)[..., 0]


def pictures(page: Page, selector: str) -> list[str]:
    """Return the pictures of canvases as data URLs."""
    urls: list[str] = page.locator(selector).evaluate_all("all => all.map((canvas) => canvas.toDataURL())")
    return urls


def text(locator: Locator) -> str:
    """Return the text of an element with ordinary spaces and minus signs."""
    return locator.inner_text().replace("\xa0", " ").replace("−", "-")


def check_fits(page: Page, width: int = PHONE) -> None:
    """Check that a page does not scroll sideways, once its charts are drawn for the width of the window."""
    with suppress(Error):
        page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
    wide = page.evaluate("""() => [...document.querySelectorAll("body *")]
        .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest("[data-scrolls]"))
        .slice(0, 3).map((e) => e.outerHTML.slice(0, 150))""")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, wide


def check_accessible(page: Page) -> None:
    """Check that axe finds no violation in a page, nor too little contrast in dark colors; skip without axe."""

    def violations(options: str) -> list[str]:
        found = page.evaluate(f"axe.run(document, {options})")["violations"]
        return [f"{rule['id']}: {rule['nodes'][0]['html'][:200]}" for rule in found]

    if not AXE.exists():
        pytest.skip("no web/node_modules; install npm and run make setup")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    assert violations("{resultTypes: ['violations']}") == []
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("() => document.getAnimations().length === 0")  # colors change gradually
    assert violations("{runOnly: ['color-contrast']}") == []
    page.emulate_media(color_scheme="light")
