"""The frame of the explorer in a real browser: navigation, address, accessibility, errors, lessons, and hostile content."""

import html
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from reviver.explorer.build import link_tutorials
from tests.explorer.browser import PHONE, Show, check_accessible, check_fits, current, wait_for_panel, wait_for_start
from tests.explorer.edits import edit_manifest, read_blocks, write_block
from tools.site import rewrite_links

WEB = Path(__file__).parents[2] / "web"
PANELS = ("latent", "map", "training", "draw", "discriminator", "lstm", "facts", "lesson")
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


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_panel_is_accessible_and_offline(dark: bool, show: Show) -> None:
    sources = (WEB / "src" / "panels").glob("*.js")
    ids = [re.search(r"^ +id: \"(\w+)\"", source.read_text(encoding="utf-8"), re.MULTILINE) for source in sources]
    assert {match[1] for match in ids if match} == set(PANELS)
    page = show("#lesson", dark=dark)
    for panel in PANELS:
        go(page, panel)
        tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
        controls = [node for node in tree["nodes"] if node.get("role", {}).get("value") in CONTROLS]
        assert controls
        assert [node["role"]["value"] for node in controls if not node.get("name", {}).get("value")] == []
        check_accessible(page)


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_fits_a_phone_and_its_address_restores_it(panel: str, show: Show) -> None:
    page = show(f"#{panel}", width=PHONE)
    page.wait_for_timeout(300)
    written = page.evaluate("location.hash")
    page.reload()
    wait_for_start(page)
    for zoom in (1, 2):  # 320 pixels, and 640 with text at 200 %
        page.set_viewport_size({"width": PHONE * zoom, "height": 900})
        page.evaluate("zoom => { document.documentElement.style.fontSize = `${100 * zoom}%`; }", zoom)
        page.wait_for_timeout(150)
        check_fits(page, PHONE * zoom)
    assert page.evaluate("location.hash") == written


def test_links_keys_and_history_show_panels(show: Show) -> None:
    page = show()
    assert current(page) == "latent"
    assert page.evaluate("document.activeElement === document.body")  # a page that opens takes no focus
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator(".panel-title")).to_be_focused()
    page.locator(".skip").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.panel") == "map"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    wait_for_panel(page, "map")
    expect(page.locator(".panel-title")).to_be_focused()
    go(page, "draw")
    assert page.evaluate("document.activeElement.textContent") == "Draw a digit"
    assert page.title().startswith("Draw a digit – Explorer of ")
    page.locator(".test-picker button").nth(4).click()
    go(page, "lesson")
    for step, panel in (("back", "draw"), ("forward", "lesson")):
        page.evaluate(f"history.{step}()")
        wait_for_panel(page, panel)
        assert current(page) == panel
        page.wait_for_timeout(400)  # a view that is written late must not get into the address of another panel
        assert page.evaluate("location.hash").startswith(f"#{panel}")
    go(page, "draw")  # a return restores the view
    page.wait_for_function("() => location.hash.includes('test=4')")
    go(page, "draw")  # and a second click resets it
    page.wait_for_function("() => !location.hash.includes('test=4')")


WRONG = (
    "#",
    "#nothing?a=b",
    "#latent?__proto__=1&constructor=2&toString=3",
    "#draw?test=%E0%A4%A&strokes=%",
    "#draw???=?&&&=",
    "#draw?strokes=" + "A" * 50_000,
    "#draw?strokes=%00%ff&test=99&class=7&seed=1e9&search=1",
    "#latent?a=<img src=x onerror=alert(1)>&run=<script>",
    "#latent?t=NaN&t=1e999&steps=-5&path=round&run=gan-99&from=-1&to=1e9&code=AAAA",
    "#training?run=<script>&moment=1e9&image=-1&axis=constructor&first=__proto__&second=%00",
    "#facts?run=<b>&with=lstm-0&axis=toString&settings=1&left=gan-0.99&right=__proto__",
    "#discriminator?seed=x&at=nowhere",
    "#lstm?run=x&stage=99&layer=-1&unit=1e9&step=NaN&seed=-1&sequence=9,x,<b>&seed=1e400",
    "#lstm?stage=0&layer=7&direction=up&compare=%00&units=__proto__&show=all&cell=z.0.0&target=5&columns=1",
    "#lstm?sequence=nan;1&cell=h.99999999999.7&compare=12x&example=1e9",
    "#draw?test=3&x=" + "9" * 2_000_000,
)


def test_a_wrong_address_counts_as_missing(show: Show) -> None:
    page = show()
    for fragment in WRONG:
        page.evaluate("fragment => { location.hash = fragment; }", fragment)
        panel = re.match(r"#([a-z]*)", fragment)
        wait_for_panel(page, panel[1] if panel and panel[1] in PANELS else "latent")
        page.wait_for_timeout(100)
        assert page.locator("nav [aria-current='page']").count() == 1
        assert page.locator(".panel-body > [role='alert']").count() == 0
        assert page.locator("main img[src='x']").count() == 0


def test_the_policy_blocks_what_a_run_could_smuggle_in(show: Show) -> None:
    blocked = show().evaluate("""async () => {
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
    show.problems.clear()  # the violations that this test provoked
    assert blocked["ran"] == []
    assert set(blocked["violations"]) >= {"connect-src", "script-src-attr", "script-src-elem", "style-src-attr"}


def test_pages_that_cannot_start_say_why(show: Show, explorer_page: Path, tmp_path: Path) -> None:
    shown = show(wait=False, java_script_enabled=False).locator("body").inner_text()
    assert shown.strip() == "The explorer runs trained networks in your browser, so it needs JavaScript."
    page = show(wait=False)
    page.add_init_script("delete globalThis.DecompressionStream")
    page.reload()
    expect(page.locator("body > [role='alert']")).to_contain_text("this browser lacks DecompressionStream")
    damaged = write_block(explorer_page, tmp_path / "damaged.html", "manifest", b"{")
    newer = edit_manifest(explorer_page, tmp_path / "newer.html", lambda manifest: manifest.update(schemaVersion=2))
    for out in (damaged, newer):
        page = show(file=out, wait=False)
        expect(page.locator("body > [role='alert']")).to_contain_text("The explorer could not start")
        expect(page.locator("#app")).to_be_hidden()
    show.problems.clear()


def test_what_is_damaged_or_missing_disables_only_its_panels(show: Show, explorer_page: Path, tmp_path: Path) -> None:
    page = edit_manifest(explorer_page, tmp_path / "page.html", lambda manifest: manifest.update(lstms=[]))
    content = page.read_text(encoding="utf-8")
    page.write_text(re.sub(r'(id="gan-0-generator">)[^<]{100}', r"\1", content), encoding="utf-8")
    opened = show("#draw", page)
    expect(opened.locator("main [role='alert']")).to_contain_text("This panel could not start")
    go(opened, "lesson")
    expect(opened.locator("main form")).to_be_visible()
    assert opened.locator("nav a[data-panel='lstm']").count() == 0
    opened.locator("nav summary").press("Enter")
    expect(opened.locator("nav dl")).to_contain_text("The LSTM at work")
    expect(opened.locator("nav dl")).to_contain_text("no LSTM run in this file")
    assert len(show.problems) == 1  # for developers
    show.problems.clear()


def test_hostile_names_are_text(show: Show, explorer_page: Path, tmp_path: Path) -> None:
    def rename(manifest: dict[str, Any]) -> None:
        manifest["gans"][0]["name"] = HOSTILE[:70]
        manifest["lstms"][0]["name"] = "x" * 300

    page = show(file=edit_manifest(explorer_page, tmp_path / "names.html", rename), width=PHONE)
    expect(page.locator(".runs")).to_contain_text(HOSTILE[:70])
    assert page.locator("header img").count() == 0
    check_fits(page)


def test_the_page_works_in_a_sandboxed_iframe(show: Show, explorer_page: Path, tmp_path: Path) -> None:
    content = html.escape(explorer_page.read_text(encoding="utf-8"))
    outer = tmp_path / "notebook.html"
    frame_tag = f'<iframe sandbox="allow-scripts" width=1000 height=800 srcdoc="{content}"></iframe>'
    outer.write_text(f"<!doctype html><title>x</title>{frame_tag}", encoding="utf-8")
    page = show(file=outer, wait=False)
    frame = page.frame_locator("iframe")
    expect(frame.locator("nav [aria-current]")).to_have_text("Latent interpolation")
    frame.locator("nav >> text=Draw a digit").click()
    frame.locator(".test-picker button").first.click()
    page.wait_for_timeout(500)
    frame.locator("nav >> text=Lessons").click()
    expect(frame.locator(".lesson-form")).to_be_visible()
    frame.locator("nav >> text=Draw a digit").click()
    expect(frame.locator(".draw-target")).to_be_visible()


def test_panels_link_to_the_tutorials_and_back(show: Show, explorer_page: Path, tmp_path: Path) -> None:
    (tmp_path / "tutorials").mkdir()
    for name in ("gan", "lstm"):
        text = (WEB.parent / "docs" / "tutorials" / f"{name}.md").read_text(encoding="utf-8")
        for explorer, links in (("", 0), ("explorer.html", len(re.findall('id="panel-', text)))):
            source = [text]
            config = SimpleNamespace(explorer=explorer)
            rewrite_links(SimpleNamespace(config=config), f"tutorials/{name}", source)  # type: ignore[arg-type]
            assert source[0].count("explorer.html#") == links  # none where the explorer does not stand beside the site
        (tmp_path / "tutorials" / f"{name}.html").write_text(f"<!doctype html><title>x</title>{source[0]}", "utf-8")
    page_file = tmp_path / "explorer.html"
    page_file.write_text(link_tutorials(explorer_page.read_text(encoding="utf-8"), "tutorials/"), encoding="utf-8")
    page = show("#lesson", page_file)
    lesson = save_lesson(page, tmp_path, "Elsewhere", "")
    for panel in PANELS[:-1]:
        go(page, panel)
        title = page.locator(".panel-title").inner_text()
        page.get_by_role("link", name="How it works: the tutorial").click()
        page.wait_for_url(f"**/tutorials/*.html#panel-{panel}")
        expect(page.locator(f"#panel-{panel}")).to_be_attached()
        page.get_by_role("link", name=title).click()
        wait_for_panel(page, panel)
    for alone in (lesson, explorer_page):
        expect(show(file=alone).locator(".guide a")).to_have_count(0)


# Lessons


def save_lesson(page: Page, out: Path, title: str, question: str, *, without: tuple[str, ...] = ()) -> Path:
    """Fill the form of the panel, press the button and return the downloaded file."""
    page.get_by_role("textbox", name="Title").fill(title)
    page.get_by_role("textbox", name="Your question").fill(question)
    for panel in without:
        page.get_by_label(panel, exact=True).uncheck()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as lesson").press("Enter")
    path = out / download.value.suggested_filename
    download.value.save_as(path)
    expect(page.locator("[role='status']")).to_contain_text("Saved ")
    return path


def test_a_lesson_has_chosen_panels_start_view_and_question(show: Show, explorer_page: Path, tmp_path: Path) -> None:
    others = ("Map", "Training time", "Be the discriminator", "The LSTM at work", "Curves and facts")
    page = show("#draw?test=4")
    go(page, "lesson")
    page.get_by_label("Start view").select_option("draw")
    lesson = save_lesson(page, tmp_path, "Was kann G?", "What can G make?\nAnd why?", without=others)
    assert lesson.name == "was-kann-g.html"
    names = set(read_blocks(lesson))
    assert names < set(read_blocks(explorer_page)) | {"lesson"}
    assert {"lesson", "manifest", "gan-0-generator", "gan-0-training"} <= names
    assert not any(name.startswith("lstm") for name in names)
    assert json.loads(read_blocks(lesson)["lesson"])["start"].startswith("draw?")
    page = show(file=lesson)
    assert page.locator("nav a").all_inner_texts() == ["Latent interpolation", "Draw a digit"]
    expect(page.locator("header h1")).to_have_text("Was kann G?")
    expect(page.locator("#app > .lesson-question p")).to_have_text("What can G make? And why?")
    assert current(page) == "draw"
    page.wait_for_function("() => location.hash.includes('test=4')")
    page.click("footer >> text=Make a lesson")  # a lesson of the lesson
    wait_for_panel(page, "lesson")
    expect(page.get_by_label("Title")).to_have_value("Was kann G?")
    second = save_lesson(page, tmp_path, "Part 2", "And now?", without=("Draw a digit",))
    assert "gan-0-training" not in read_blocks(second)
    page = show(file=second)
    assert page.locator("nav a").all_inner_texts() == ["Latent interpolation"]
    expect(page.locator("#app > .lesson-question p")).to_have_text("And now?")


def test_a_lesson_changes_nothing_else_and_its_texts_are_text(show: Show, explorer_page: Path, tmp_path: Path) -> None:
    page = show("#lesson")
    lesson = save_lesson(page, tmp_path, HOSTILE[:110], HOSTILE)
    before, after = (path.read_text(encoding="utf-8") for path in (explorer_page, lesson))
    for part in (r"<style>.*?</style>", r"<script>.*?</script>", r'<meta http-equiv="Content-Security-Policy"[^>]*>'):
        assert re.findall(part, before, re.DOTALL) == re.findall(part, after, re.DOTALL)
    assert set(read_blocks(lesson)) == set(read_blocks(explorer_page)) | {"lesson"}
    assert abs(len(after) - len(before)) < 0.01 * len(before)
    boxes = page.locator(".choices input")
    for index in range(boxes.count()):
        boxes.nth(index).press("Space")
    expect(page.get_by_role("button", name="Save as lesson")).to_be_disabled()  # a lesson needs a panel
    boxes.last.press("Space")
    assert page.get_by_label("Start view").locator("option").count() == 1
    assert save_lesson(page, tmp_path, "By keyboard", "").name == "by-keyboard.html"
    shown = json.loads(read_blocks(lesson)["lesson"])
    page = show(file=lesson)
    section = page.locator("#app > .lesson-question")
    assert section.locator("*").count() == 2  # heading and text, no markup of the texts
    assert " ".join(section.locator("p").inner_text().split()) == " ".join(shown["question"].split())
    assert section.is_visible()
    assert page.locator("img[src='x']").count() == 0
    assert shown["title"].split()[0] in page.title()
