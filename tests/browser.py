"""Chromium for the tests of the explorer, and the page that they open.

The tests skip with one line where there is no Chromium: `make setup` installs it where it may.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tools.chromium import find_chromium

WIDTHS = {"desktop": 1280, "phone": 320}


needs_chromium = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium; install it to test the explorer in a browser"
)


class Visit:
    """A page that a test has opened, and what went wrong in it.

    Attributes:
        page: the page.
        problems: console errors, exceptions, violations of the content security policy, and requests.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        page.on("request", lambda request: self._note_request(request.url))

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.problems.append(f"{kind}: {text}")

    def _note_request(self, url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:", "about:")):
            self.problems.append(f"request: {url}")


_contexts: "WeakKeyDictionary[Browser, dict[str, BrowserContext]]" = WeakKeyDictionary()


def find_context(browser: Browser, **options: Any) -> BrowserContext:
    """Return the context of the browser with these options, which all visits with them share.

    A new context, or the first page of one, costs Chromium as much time as the explorer itself, so a context lives as
    long as the browser, with an empty page that stays open. The explorer stores nothing in the browser, so visits that
    share a context share only its options.
    """
    contexts = _contexts.setdefault(browser, {})
    key = repr(sorted(options.items()))
    if key not in contexts:
        contexts[key] = browser.new_context(**options)
        contexts[key].new_page()
    return contexts[key]


@contextmanager
def visit(
    browser: Browser,
    file: Path,
    fragment: str = "",
    *,
    width: int = WIDTHS["desktop"],
    dark: bool = False,
    wait: bool = True,
    **options: Any,
) -> Iterator[Visit]:
    """Open a page file, wait until the explorer has started, and check at the end that nothing went wrong.

    Args:
        browser: Chromium.
        file: the page.
        fragment: of the URL, with #.
        width: of the window, pixels.
        dark: whether the reader prefers dark colors.
        wait: whether to wait for the explorer; False for a page without scripts.
        **options: of the browser context.
    """
    context = find_context(
        browser, viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", **options
    )
    try:
        visited = Visit(context.new_page())
        visited.page.set_default_timeout(60_000)
        visited.page.goto(file.as_uri() + fragment)
        if wait:
            visited.page.wait_for_selector("#app:not([hidden]) .panel-body > *")
        yield visited
        assert visited.problems == []
    finally:
        for page in context.pages[1:]:  # the first stays open
            page.close()
