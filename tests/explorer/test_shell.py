"""The frame of the explorer in a real browser: navigation, address, accessibility, errors, lessons, and hostile content."""

import html
import json
import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.explorer.browser import PHONE, Show, check_accessible, check_fits, current, wait_for_panel, wait_for_start
from tests.explorer.edits import edit_manifest, read_page
from tools.release import link_tutorials

WEB = Path(__file__).parents[2] / "web"
PANELS = ("start", "train", "lstm", "latent", "draw", "discriminator", "facts", "lesson")
CONTROLS = ("button", "slider", "checkbox", "combobox", "link", "radio", "spinbutton", "textbox")
"""Roles of what a reader operates."""
HOSTILE = (
    "</script><script>alert(1)</script> --> <!-- <![CDATA[ ]]> <img src=x onerror=alert(1)> \"'`&quot;&lt;\\ "
    "\U0001f469\u200d\U0001f52c \u202e \u2028 \u00e9 </title><style>*{display:none}</style>"
)


def go(page: Page, panel: str) -> None:
    """Click the link of a panel."""
    page.click(f"nav [data-panel='{panel}']")
    wait_for_panel(page, panel)
    assert current(page) == panel


def test_every_panel_is_accessible_and_offline(show: Show) -> None:
    sources = (WEB / "src" / "panels").rglob("panel.tsx")
    ids = [re.search(r"^ +id: \"(\w+)\"", source.read_text(encoding="utf-8"), re.MULTILINE) for source in sources]
    assert {match[1] for match in ids if match} == set(PANELS)
    page = show("#lesson")
    for panel in PANELS:
        go(page, panel)
        tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
        controls = [node for node in tree["nodes"] if node.get("role", {}).get("value") in CONTROLS]
        assert controls
        assert [node["role"]["value"] for node in controls if not node.get("name", {}).get("value")] == []
        check_accessible(page)


def test_every_panel_fits_a_phone_also_with_large_text(show: Show) -> None:
    for zoom in (1, 2):  # 320 pixels, and 640 with text at 200 %
        page = show("#lesson", width=PHONE * zoom)
        page.evaluate("zoom => { document.documentElement.style.fontSize = `${100 * zoom}%`; }", zoom)
        for panel in PANELS:  # Lessons last, where it names the panels that were changed
            page.evaluate("panel => { location.hash = `#${panel}`; }", panel)
            wait_for_panel(page, panel)
            page.wait_for_timeout(100)
            check_fits(page, PHONE * zoom)


def test_every_panel_prints_on_two_pages(show: Show) -> None:
    page = show("#start", color_scheme="dark")
    for panel in PANELS:
        go(page, panel)
        page.wait_for_timeout(300)  # the charts are drawn
        assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4", print_background=True))) <= 2, panel


def test_links_keys_and_history_show_panels(show: Show) -> None:
    page = show()
    assert current(page) == "start"
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".panel-title")).to_be_focused()
    go(page, "draw")
    assert page.title().startswith("Draw a digit – Explorer of ")
    page.locator(".test-picker button").nth(4).click()
    go(page, "lesson")
    for step, panel in (("back", "draw"), ("forward", "lesson")):
        page.evaluate(f"history.{step}()")
        wait_for_panel(page, panel)
        page.wait_for_timeout(400)  # a view that is written late must not get into the address of another panel
        assert page.evaluate("location.hash").startswith(f"#{panel}")
    go(page, "draw")
    page.wait_for_function("() => location.hash.includes('test=4')")
    page.reload()  # the address restores the view
    wait_for_start(page)
    page.wait_for_function("() => location.hash.includes('test=4')")
    go(page, "draw")  # and a second click resets it
    page.wait_for_function("() => !location.hash.includes('test=4')")


WRONG = (
    "#",
    "#nothing?a=b",
    "#latent?__proto__=1&constructor=2&toString=3",
    "#latent?t=NaN&t=1e999&steps=-5&path=round&run=gan-99&start=class-3-99&end=grid--1&code=AAAA",
    "#latent?a=<img src=x onerror=alert(1)>&run=<script>",
    "#latent?x=NaN&y=1e999&extent=-1&plane=__proto__&c=grid-25",
    "#draw???=?&&&=",
    "#draw?strokes=%00%ff&test=99&class=7&seed=1e9&search=1",
    "#draw?strokes=" + "A" * 50_000,
    "#draw?test=3&x=" + "9" * 2_000_000,
    "#training?run=<script>&moment=1e9&image=-1",
    "#facts?run=<b>&with=lstm-0&axis=toString&settings=1&left=gan-0.99&right=__proto__",
    "#discriminator?seed=x&at=nowhere",
    "#lstm?run=x&stage=99&layer=-1&unit=1e9&step=NaN&seed=-1&sequence=9,x,<b>&seed=1e400",
    "#lstm?sequence=nan;1&stage=0&layer=7&direction=up&compare=%00&units=__proto__&cell=h.99999999999.7&columns=1",
)


def test_a_wrong_address_counts_as_missing(show: Show) -> None:
    page = show()
    for fragment in WRONG:
        page.evaluate("fragment => { location.hash = fragment; }", fragment)
        panel = re.match(r"#([a-z]*)", fragment)
        wait_for_panel(page, panel[1] if panel and panel[1] in PANELS else "start")
        page.wait_for_timeout(50)
        assert page.locator("nav [aria-current='page']").count() == 1
        if "training" in fragment:  # a panel of an earlier version
            expect(page.get_by_role("alert").first).to_contain_text("no panel “training” any more; this is Start")
        assert page.locator(".panel-body > [role='alert']").count() == 0
        assert page.locator("main img[src='x']").count() == 0


def test_a_page_that_cannot_start_says_why(show: Show, explorer_page: Path, tmp_path: Path) -> None:
    shown = show(wait=False, java_script_enabled=False).locator("body").inner_text()
    assert shown.strip() == "The explorer runs trained networks in your browser, so it needs JavaScript."
    newer = edit_manifest(explorer_page, tmp_path / "newer.html", lambda manifest: manifest.update(schemaVersion=2))
    page = show(file=newer, wait=False)
    expect(page.locator("body > [role='alert']")).to_contain_text("The explorer could not start")
    expect(page.locator("#app")).to_be_hidden()
    show.problems.clear()


def test_a_damaged_file_loses_only_panels_and_hostile_names_are_text(
    show: Show, explorer_page: Path, tmp_path: Path
) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        (gan,) = manifest["gans"]
        gan |= {"name": HOSTILE[:70] + "x" * 300, "training": None, "test": None}
        manifest["lstms"] = []

    page_file = edit_manifest(explorer_page, tmp_path / "page.html", edit)
    content = page_file.read_text(encoding="utf-8")
    page_file.write_text(re.sub(r'(id="gan-0-generator">)[^<]{100}', r"\1", content), encoding="utf-8")
    page = show("#draw", page_file, width=PHONE)
    expect(page.locator("main [role='alert']")).to_contain_text("This panel could not start")
    expect(page.locator(".runs")).to_contain_text(HOSTILE[:70])
    assert page.locator("header img").count() == 0
    check_fits(page)
    go(page, "lesson")
    expect(page.locator("main form")).to_be_visible()
    assert page.locator("nav a[data-panel='lstm'], nav a[data-panel='discriminator']").count() == 0
    page.locator("nav summary").press("Enter")
    expect(page.locator("nav dl")).to_contain_text("no LSTM run in this file")
    page.get_by_role("link", name="Train one here").first.click()
    wait_for_panel(page, "train")
    assert len(show.problems) == 1  # for developers
    show.problems.clear()


def test_the_page_works_in_a_sandboxed_iframe(show: Show, explorer_page: Path, tmp_path: Path) -> None:
    content = html.escape(explorer_page.read_text(encoding="utf-8"))
    outer = tmp_path / "notebook.html"
    frame_tag = f'<iframe sandbox="allow-scripts" width=1000 height=800 srcdoc="{content}"></iframe>'
    outer.write_text(f"<!doctype html><title>x</title>{frame_tag}", encoding="utf-8")
    frame = show(file=outer, wait=False).frame_locator("iframe")
    expect(frame.locator("nav [aria-current]")).to_have_text("Start")
    frame.locator("nav >> text=Draw a digit").click()
    frame.locator(".test-picker button").first.click()
    expect(frame.locator(".draw-target")).to_be_visible()
    frame.locator("nav >> text=Lessons").click()
    expect(frame.locator(".lesson-form")).to_be_visible()


def test_panels_link_to_the_tutorials(show: Show, explorer_page: Path, tmp_path: Path) -> None:
    page_file = tmp_path / "explorer.html"
    page_file.write_text(link_tutorials(explorer_page.read_text(encoding="utf-8"), "tutorials/"), encoding="utf-8")
    page = show("#lesson", page_file)
    link = page.get_by_role("link", name="How it works: the tutorial")
    for panel in PANELS[1:-1]:
        go(page, panel)
        file, _, anchor = (link.get_attribute("href") or "").partition("#")
        tutorial = (WEB.parent / "docs" / file).with_suffix(".md").read_text(encoding="utf-8")
        assert f'id="{anchor}"' in tutorial


def test_a_lesson_has_chosen_panels_start_view_and_question(show: Show, explorer_page: Path, tmp_path: Path) -> None:
    page = show("#draw?test=4")
    go(page, "lesson")
    page.get_by_label("Start view").select_option("draw")
    page.get_by_role("textbox", name="Title").fill("Was kann G?")
    page.get_by_role("textbox", name="Your question").fill(HOSTILE)
    for panel in ("Be the discriminator", "The LSTM at work", "Train", "Curves and facts"):
        page.get_by_label(panel, exact=True).uncheck()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as lesson").press("Enter")
    assert download.value.suggested_filename == "Was-kann-G.html"
    lesson = tmp_path / "lesson.html"
    download.value.save_as(lesson)
    before, after = (read_page(path.read_text(encoding="utf-8")) for path in (explorer_page, lesson))
    assert {"lesson", "manifest", "gan-0-generator", "gan-0-training"} <= set(after.texts) < {*before.texts, "lesson"}
    assert not any(name.startswith("lstm") for name in after.texts)
    for part in (r"<style>.*?</style>", r"<script>.*?</script>", r'<meta http-equiv="Content-Security-Policy"[^>]*>'):
        found = [re.findall(part, path.read_text(encoding="utf-8"), re.DOTALL) for path in (explorer_page, lesson)]
        assert found[0] == found[1]
    saved = json.loads(after.blocks["lesson"])
    page = show(file=lesson)
    assert page.locator("nav a").all_inner_texts() == ["Latent space", "Draw a digit"]
    expect(page.locator("header h1")).to_have_text("Was kann G?")
    question = page.locator("#app > .tutor label").first
    assert question.locator("*").count() == 0  # no markup of the text
    assert " ".join(question.inner_text().split()) == " ".join(saved["question"].split())
    assert current(page) == "draw"
    page.wait_for_function("() => location.hash.includes('test=4')")
