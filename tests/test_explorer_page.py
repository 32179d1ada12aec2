"""The explorer as a reader meets it: every panel in a real browser, offline, accessible, and without scripts."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import WIDTHS, needs_chromium, visit

pytestmark = needs_chromium

ROOT = Path(__file__).parents[1]
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
PANELS = ("latent", "map", "training", "draw", "discriminator", "lstm", "facts", "lesson")

CONTROLS = ("button", "slider", "checkbox", "combobox", "link", "radio", "spinbutton", "textbox")
"""Roles of what a reader operates."""

needs_axe = pytest.mark.skipif(not AXE.exists(), reason="no web/node_modules; install npm and run make setup")


def find_violations(page: Page) -> list[str]:
    """Return what axe finds in a page, one line per rule."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [f"{rule['id']}: {rule['nodes'][0]['html'][:200]}" for rule in result["violations"]]


def test_the_list_of_panels_is_complete() -> None:
    sources = (ROOT / "web" / "src" / "panels").glob("*.js")
    ids = [re.search(r"^ +id: \"(\w+)\"", source.read_text(encoding="utf-8"), re.MULTILINE) for source in sources]
    assert {match[1] for match in ids if match} == set(PANELS)


def find_unnamed_controls(page: Page) -> list[str]:
    """Return the roles of the controls that have no name for a screen reader."""
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
    controls = [node for node in tree["nodes"] if node.get("role", {}).get("value") in CONTROLS]
    assert controls
    return [node["role"]["value"] for node in controls if not node.get("name", {}).get("value")]


@needs_axe
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_is_accessible_and_offline(panel: str, dark: bool, browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, f"#{panel}", dark=dark) as visited:
        assert visited.page.locator(f"nav [aria-current='page'][href='#{panel}']").count() == 1
        assert find_violations(visited.page) == []
        assert find_unnamed_controls(visited.page) == []


@pytest.mark.parametrize("panel", PANELS)
def test_no_panel_scrolls_sideways(panel: str, browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, f"#{panel}", width=WIDTHS["phone"]) as visited:
        page = visited.page
        for zoom in (1, 2):  # 320 pixels, and 640 with text at 200 %
            page.set_viewport_size({"width": WIDTHS["phone"] * zoom, "height": 900})
            page.evaluate("zoom => { document.documentElement.style.fontSize = `${100 * zoom}%`; }", zoom)
            page.wait_for_timeout(200)
            wide = page.evaluate("""() => [...document.querySelectorAll("body *")]
                .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest("[data-scrolls]"))
                .slice(0, 3).map((e) => e.outerHTML.slice(0, 150))""")
            assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS["phone"] * zoom, wide


def test_the_policy_blocks_what_a_run_could_smuggle_in(browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page) as visited:
        blocked = visited.page.evaluate("""async () => {
            globalThis.ran = [];
            const violations = [];
            document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
            const script = document.createElement("script");
            script.textContent = "globalThis.ran.push('script')";
            document.body.append(script);
            const image = document.createElement("div");
            image.innerHTML = "<img src='data:,x' onerror=\\"globalThis.ran.push('handler')\\">";
            document.body.append(image);
            await fetch("https://example.com/").then(() => ran.push("fetch"), () => {});
            const style = document.createElement("div");
            style.setAttribute("style", "color: red");
            document.body.append(style);
            await new Promise((resolve) => setTimeout(resolve, 300));
            return { ran, violations: [...new Set(violations)].sort() };
        }""")
        visited.problems.clear()  # the violations that this test provoked
    assert blocked["ran"] == []
    assert set(blocked["violations"]) >= {"connect-src", "script-src-attr", "script-src-elem", "style-src-attr"}


def test_without_scripts_the_page_says_what_it_needs(browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, wait=False, java_script_enabled=False) as visited:
        text = visited.page.locator("body").inner_text()
        assert text.strip() == "The explorer runs trained networks in your browser, so it needs JavaScript."


HOSTILE = {
    "unknown panel": "#nothing",
    "bad escape": "#latent?a=%E0%A4%A&%=%",
    "prototype": "#latent?__proto__=1&constructor=2&toString=3",
    "markup": "#latent?a=<img src=x onerror=alert(1)>&run=<script>",
    "numbers": "#latent?t=NaN&t=1e999&steps=-5&path=round&run=gan-99&from=-1&to=1e9&code=AAAA",
    "long": "#latent?a=" + "9" * 100_000,
    "lstm": "#lstm?run=x&stage=99&layer=-1&unit=1e9&step=NaN&seed=-1&sequence=9,x,<b>&seed=1e400",
}


@pytest.mark.parametrize("fragment", HOSTILE.values(), ids=HOSTILE)
def test_a_wrong_fragment_shows_a_panel_all_the_same(fragment: str, browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, fragment) as visited:
        assert visited.page.locator(".panel-body > [role=alert]").count() == 0
        assert visited.page.locator("nav [aria-current='page']").count() == 1


@pytest.mark.parametrize("panel", PANELS)
def test_the_fragment_that_a_panel_writes_restores_its_view(panel: str, browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, f"#{panel}") as visited:
        visited.page.wait_for_timeout(300)
        written = visited.page.evaluate("location.hash")
        visited.page.reload()
        visited.page.wait_for_selector("#app:not([hidden]) .panel-body > *")
        visited.page.wait_for_timeout(300)
        assert visited.page.evaluate("location.hash") == written
