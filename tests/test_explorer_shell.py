"""The frame of the explorer: navigation, the URL fragment, errors, and lessons."""

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import needs_chromium, visit
from tests.explorer_edits import block_names, edit_manifest, read_block, write_block

pytestmark = needs_chromium

AXE = Path(__file__).parents[1] / "web" / "node_modules" / "axe-core" / "axe.min.js"


def current(page: Page) -> str:
    """Return the id of the panel on show."""
    return str(page.locator("nav [aria-current='page']").get_attribute("data-panel"))


def wait_for_panel(page: Page, panel: str) -> None:
    page.wait_for_selector(f"main[aria-busy='false'] .panel-{panel}", state="attached")


def test_a_link_shows_its_panel_and_moves_the_focus(browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page) as visited:
        page = visited.page
        assert current(page) == "latent"
        assert page.evaluate("document.activeElement === document.body")  # a page that opens takes no focus
        page.click("nav >> text=Draw a digit")
        wait_for_panel(page, "draw")
        assert current(page) == "draw"
        assert page.evaluate("document.activeElement.textContent") == "Draw a digit"
        assert page.title().startswith("Draw a digit – Explorer of ")
        assert page.evaluate("location.hash").startswith("#draw")


def test_the_keyboard_reaches_panel_and_navigation(browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page) as visited:
        page = visited.page
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        expect(page.locator(".skip")).to_be_in_viewport()
        page.keyboard.press("Enter")
        expect(page.locator(".panel-title")).to_be_focused()
        page.locator(".skip").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.dataset.panel") == "map"
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        page.keyboard.press("Enter")
        wait_for_panel(page, "map")
        expect(page.locator(".panel-title")).to_be_focused()


def test_back_and_forward_go_through_the_panels(browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page) as visited:
        page = visited.page
        for title, panel in (("Draw a digit", "draw"), ("Curves and facts", "facts")):
            page.click(f"nav >> text={title}")
            wait_for_panel(page, panel)
        for step, panel in (("back", "draw"), ("back", "latent"), ("forward", "draw")):
            page.evaluate(f"history.{step}()")
            wait_for_panel(page, panel)
            assert current(page) == panel
            page.wait_for_timeout(400)  # a view that is written late must not get into the address of another panel
            assert page.evaluate("location.hash").startswith(f"#{panel}")


def test_a_return_restores_the_view_and_a_second_click_resets_it(browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, "#draw?test=4") as visited:
        page = visited.page
        page.click("nav >> text=Lessons")
        wait_for_panel(page, "lesson")
        page.click("nav >> text=Draw a digit")
        wait_for_panel(page, "draw")
        page.wait_for_function("() => location.hash.includes('test=4')")
        page.click("nav >> text=Draw a digit")
        page.wait_for_function("() => !location.hash.includes('test=4')")


HOSTILE = {
    "empty": "#",
    "unknown": "#nothing?a=b",
    "prototype": "#__proto__?__proto__=1&constructor=2",
    "bad escape": "#draw?test=%E0%A4%A&strokes=%",
    "question marks": "#draw???=?&&&=",
    "strokes": "#draw?strokes=" + "A" * 50_000,
    "long": "#draw?test=3&x=" + "9" * 2_000_000,
    "long id": "#" + "x" * 2_000_000,
}


@pytest.mark.parametrize("fragment", HOSTILE.values(), ids=HOSTILE)
def test_a_wrong_fragment_counts_as_missing(fragment: str, browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page) as visited:
        page = visited.page
        page.evaluate("fragment => { location.hash = fragment; }", fragment)
        page.wait_for_timeout(300)
        assert page.locator("nav [aria-current='page']").count() == 1
        assert page.locator("main [role='alert']").count() == 0


def test_a_damaged_block_disables_only_its_panels(browser: Browser, explorer_page: Path, tmp_path: Path) -> None:
    page_file = tmp_path / "damaged.html"
    text = explorer_page.read_text(encoding="utf-8")
    page_file.write_text(re.sub(r'(id="gan-0-generator">)[^<]{100}', r"\1", text), encoding="utf-8")
    with visit(browser, page_file, "#draw") as visited:
        page = visited.page
        expect(page.locator("main [role='alert']")).to_contain_text("This panel could not start")
        page.click("nav >> text=Lessons")
        wait_for_panel(page, "lesson")
        expect(page.locator("main form")).to_be_visible()
        assert [problem[:6] for problem in visited.problems] == ["error:"]  # for developers
        visited.problems.clear()


def test_a_page_without_its_manifest_says_why(browser: Browser, explorer_page: Path, tmp_path: Path) -> None:
    broken = {
        "damaged": write_block(explorer_page, tmp_path / "damaged.html", "manifest", b"{"),
        "of another version": edit_manifest(
            explorer_page, tmp_path / "version.html", lambda manifest: manifest.update(schemaVersion=2)
        ),
    }
    for name, page_file in broken.items():
        with visit(browser, page_file, wait=False) as visited:
            alert = visited.page.locator("body > [role='alert']")
            expect(alert, name).to_contain_text("The explorer could not start")
            expect(visited.page.locator("#app")).to_be_hidden()
            visited.problems.clear()


def test_an_old_browser_is_told_what_it_lacks(browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, wait=False) as visited:
        page = visited.page
        page.add_init_script("delete globalThis.DecompressionStream")
        page.reload()
        expect(page.locator("body > [role='alert']")).to_contain_text("this browser lacks DecompressionStream")
        visited.problems.clear()


def test_panels_that_the_runs_lack_are_listed_with_the_reason(
    browser: Browser, explorer_page: Path, tmp_path: Path
) -> None:
    page_file = edit_manifest(explorer_page, tmp_path / "gan.html", lambda manifest: manifest.update(lstms=[]))
    with visit(browser, page_file) as visited:
        page = visited.page
        assert page.locator("nav a[data-panel='lstm']").count() == 0
        page.locator("nav summary").focus()
        page.keyboard.press("Enter")
        expect(page.locator("nav dl")).to_contain_text("The LSTM at work")
        expect(page.locator("nav dl")).to_contain_text("no LSTM run in this file")


def test_hostile_names_are_text(browser: Browser, explorer_page: Path, tmp_path: Path) -> None:
    name = "</script><img src=x onerror=alert(1)>"

    def rename(manifest: dict[str, Any]) -> None:
        manifest["gans"][0]["name"] = name
        manifest["lstms"][0]["name"] = "x" * 300

    page_file = edit_manifest(explorer_page, tmp_path / "names.html", rename)
    with visit(browser, page_file, width=320) as visited:
        expect(visited.page.locator(".runs")).to_contain_text(name)
        assert visited.page.locator("header img").count() == 0
        assert visited.page.evaluate("document.documentElement.scrollWidth") <= 320


def test_the_page_works_in_a_sandboxed_iframe(browser: Browser, explorer_page: Path, tmp_path: Path) -> None:
    content = html.escape(explorer_page.read_text(encoding="utf-8"))
    outer = tmp_path / "notebook.html"
    outer.write_text(
        f'<!doctype html><title>x</title><iframe sandbox="allow-scripts" width=1000 height=800 srcdoc="{content}">'
        "</iframe>",
        encoding="utf-8",
    )
    with visit(browser, outer, wait=False) as visited:
        frame = visited.page.frame_locator("iframe")
        expect(frame.locator("nav [aria-current]")).to_have_text("Latent interpolation")
        frame.locator("nav >> text=Draw a digit").click()
        expect(frame.locator("nav [aria-current]")).to_have_text("Draw a digit")
        frame.locator(".test-picker button").first.click()
        visited.page.wait_for_timeout(500)
        frame.locator("nav >> text=Lessons").click()
        expect(frame.locator(".lesson-form")).to_be_visible()
        frame.locator("nav >> text=Draw a digit").click()
        expect(frame.locator(".draw-target")).to_be_visible()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.skipif(not AXE.exists(), reason="no web/node_modules; install npm and run make setup")
def test_the_form_of_lessons_is_accessible(dark: bool, browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, "#lesson", dark=dark) as visited:
        visited.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = visited.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        assert [rule["id"] for rule in found] == []


def save_lesson(page: Page, out: Path, title: str, question: str, *, without: tuple[str, ...] = ()) -> Path:
    """Fill the form of the panel, press the button and return the downloaded file."""
    page.get_by_role("textbox", name="Title").fill(title)
    page.get_by_role("textbox", name="Your question").fill(question)
    for panel in without:
        page.get_by_label(panel, exact=True).uncheck()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as lesson").click()
    path = out / download.value.suggested_filename
    download.value.save_as(path)
    expect(page.locator(".result")).to_contain_text("Saved ")
    expect(page.locator("[role='status']")).to_contain_text("Saved ")
    return path


def test_a_lesson_has_chosen_panels_start_view_and_question(
    browser: Browser, explorer_page: Path, tmp_path: Path
) -> None:
    others = ("Map", "Training time", "Be the discriminator", "The LSTM at work", "Curves and facts")
    with visit(browser, explorer_page, "#draw?test=4") as visited:
        page = visited.page
        page.click("nav >> text=Lessons")
        wait_for_panel(page, "lesson")
        page.get_by_label("Start view").select_option("draw")
        lesson = save_lesson(page, tmp_path, "Was kann G?", "What can G make?\nAnd why?", without=others)
    assert lesson.name == "was-kann-g.html"
    names = block_names(lesson)
    assert names < block_names(explorer_page) | {"lesson"}
    assert {"lesson", "manifest", "gan-0-generator", "gan-0-training"} <= names
    assert not any(name.startswith("lstm") for name in names)
    assert json.loads(read_block(lesson, "lesson"))["start"].startswith("draw?")
    with visit(browser, lesson) as visited:
        page = visited.page
        assert page.locator("nav a").all_inner_texts() == ["Latent interpolation", "Draw a digit"]
        expect(page.locator("header h1")).to_have_text("Was kann G?")
        expect(page.locator("#app > .lesson-question p")).to_have_text("What can G make? And why?")
        assert current(page) == "draw"
        page.wait_for_function("() => location.hash.includes('test=4')")
        page.click("nav >> text=Latent interpolation")
        wait_for_panel(page, "latent")
        assert page.locator("main [role='alert']").count() == 0
        # A lesson of the lesson.
        page.click("footer >> text=Make a lesson")
        wait_for_panel(page, "lesson")
        expect(page.get_by_label("Title")).to_have_value("Was kann G?")
        second = save_lesson(page, tmp_path, "Part 2", "And now?", without=("Draw a digit",))
    assert "gan-0-training" not in block_names(second)
    with visit(browser, second) as visited:
        assert visited.page.locator("nav a").all_inner_texts() == ["Latent interpolation"]
        expect(visited.page.locator("#app > .lesson-question p")).to_have_text("And now?")


def test_a_lesson_changes_nothing_else(browser: Browser, explorer_page: Path, tmp_path: Path) -> None:
    with visit(browser, explorer_page, "#lesson") as visited:
        lesson = save_lesson(visited.page, tmp_path, "All", "?")
    before, after = (path.read_text(encoding="utf-8") for path in (explorer_page, lesson))
    for part in (r"<style>.*?</style>", r"<script>.*?</script>", r'<meta http-equiv="Content-Security-Policy"[^>]*>'):
        assert re.findall(part, before, re.DOTALL) == re.findall(part, after, re.DOTALL)
    assert block_names(lesson) == block_names(explorer_page) | {"lesson"}
    assert abs(len(after) - len(before)) < 0.01 * len(before)


HOSTILE_TEXT = (
    "</script><script>alert(1)</script>",
    "--> <!-- <![CDATA[ ]]>",
    "<img src=x onerror=alert(1)>",
    "\"'`&quot;&lt;\\",
    "\U0001f469\u200d\U0001f52c \u202e \u2028 \u00e9",
    "</title><style>*{display:none}</style>",
)


def test_hostile_texts_of_a_lesson_are_harmless(browser: Browser, explorer_page: Path, tmp_path: Path) -> None:
    text = " ".join(HOSTILE_TEXT)[:500]
    for title, question in ((text[:110], text), (HOSTILE_TEXT[5], HOSTILE_TEXT[0])):
        with visit(browser, explorer_page, "#lesson") as visited:
            path = save_lesson(visited.page, tmp_path, title, question)
        shown = json.loads(read_block(path, "lesson"))
        with visit(browser, path) as visited:
            page = visited.page
            section = page.locator("#app > .lesson-question")
            assert section.locator("*").count() == 2  # heading and text, no markup of the texts
            assert " ".join(section.locator("p").inner_text().split()) == " ".join(shown["question"].split())
            assert section.is_visible()
            assert page.locator("img[src='x']").count() == 0
            assert shown["title"].split()[0] in page.title()


def test_a_lesson_needs_a_panel(browser: Browser, explorer_page: Path) -> None:
    with visit(browser, explorer_page, "#lesson") as visited:
        page = visited.page
        save = page.get_by_role("button", name="Save as lesson")
        boxes = page.locator(".choices input")
        for index in range(boxes.count()):
            boxes.nth(index).focus()
            page.keyboard.press("Space")
        expect(save).to_be_disabled()
        page.keyboard.press("Space")
        expect(save).to_be_enabled()
        assert page.get_by_label("Start view").locator("option").count() == 1
        page.get_by_label("Title").focus()
        page.keyboard.type("By keyboard")
        save.focus()
        with page.expect_download() as download:
            page.keyboard.press("Enter")
        assert download.value.suggested_filename == "by-keyboard.html"
