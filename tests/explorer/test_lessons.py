"""Lessons of steps, what lights up and explains itself, and panels on slides and projectors."""

import json
import re
from pathlib import Path

from playwright.sync_api import expect

from tests.explorer.browser import Show, check_accessible, text, wait_view

WEB = Path(__file__).parents[2] / "web"


def test_a_first_visit_is_led_and_a_lesson_ends_with_answers_to_hand_in(show: Show) -> None:
    page = show("#start")
    page.evaluate("localStorage.clear()")  # nobody has been here
    page.get_by_role("link", name="Train an LSTM").click()
    card = page.get_by_role("complementary", name="Lesson")
    expect(card).to_contain_text("How an LSTM learns 1 of 6")
    card.get_by_role("textbox", name="Your guess first").fill("4")
    card.get_by_text("Compare").click()
    expect(card).to_contain_text("Read backwards a palindrome is the same")
    card.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="One update").click()
    for number in ("Forward", "Loss", "Gradient", "Change"):
        expect(card.get_by_text(f"{number}:")).to_be_visible()
    before, after = re.findall(r"-?0\.\d+", text(card.get_by_text("Change:")))
    gradient = re.findall(r"-?0\.\d+", text(card.get_by_text("Gradient:")))[0]
    assert (float(after) - float(before)) * float(gradient) < 0  # against the gradient
    wait_view(page, lesson="lstm.2")
    page.reload()
    expect(card).to_contain_text("2 of 6")
    card.get_by_role("button", name="Skip the lesson").click()
    expect(card).to_have_count(0)
    for link in ("Start", "Train"):
        page.get_by_role("link", name=link, exact=True).click()
    expect(page.locator(".train-bar")).to_be_visible()
    expect(card).to_have_count(0)  # not twice
    page.get_by_role("link", name="Lessons").click()
    page.get_by_role("link", name="What a forget gate does").click()
    expect(page.get_by_role("region", name="Experiment")).to_be_visible()
    for answer in ("hardly any", "the first", "", "chance"):
        card.get_by_label(re.compile(r"\?$")).fill(answer)
        if answer != "chance":
            card.get_by_role("button", name="Next").click()
    card.get_by_label("Your name").fill("Ada")
    with page.expect_download() as waiting:
        card.get_by_role("button", name="Save my answers").click()
    content = Path(waiting.value.path()).read_text(encoding="utf-8")
    assert content.startswith("What a forget gate does, Ada\n\n1. How much of the first digit is left")
    assert [line for line in content.splitlines() if "?" not in line and line][1:] == [
        *("hardly any", "the first", "(no answer)", "chance")
    ]


def test_every_step_of_a_lesson_names_a_place_and_parts_that_there_are(show: Show) -> None:
    lessons = json.loads((WEB / "src" / "page" / "lessons.json").read_text(encoding="utf-8"))
    page = show("#start")
    for lesson in lessons:
        page.evaluate(
            "fragment => { location.hash = fragment; }", f"{lesson['steps'][0]['open']}&lesson={lesson['id']}"
        )
        card = page.get_by_role("complementary", name="Lesson")
        for number, step in enumerate(lesson["steps"], 1):
            expect(card).to_contain_text(f"{lesson['title']} {number} of {len(lesson['steps'])}")
            if step["at"] != ".train-verdict":  # it comes with the end of the runs
                expect(page.locator(step["at"]).first).to_be_visible()
            if "part" in step:
                expect(card.locator(".columns > :nth-child(2)")).to_be_visible()
            if number < len(lesson["steps"]):
                card.get_by_role("button", name="Next").click()


def test_an_embedded_panel_fits_a_slide_and_a_projector_has_large_labels(show: Show) -> None:
    sizes = """() => [...document.querySelectorAll("main *")].filter((one) => one.checkVisibility() &&
        [...one.childNodes].some(({ nodeType, data }) => nodeType === 3 && data.trim()))
        .map((one) => parseFloat(getComputedStyle(one).fontSize))"""
    fits = "([w, h]) => document.documentElement.scrollWidth <= w && document.documentElement.scrollHeight <= h"
    for net in ("lstm", "gan"):
        page = show(f"#train?net={net}&batch=64&embed=1")
        page.set_viewport_size({"width": 700, "height": 450})
        page.get_by_role("button", name="One update").click()
        expect(page.get_by_role("button", name="Reset")).to_be_enabled()
        expect(page.locator("nav, footer")).to_have_count(2)
        for hidden in ("nav", "footer"):
            expect(page.locator(hidden)).to_be_hidden()
        page.wait_for_function(fits, arg=[700, 450])
        check_accessible(page)
        page = show(f"#train?net={net}&batch=64")
        page.set_viewport_size({"width": 1920, "height": 1080})
        page.get_by_role("button", name="One update").click()
        expect(page.get_by_role("button", name="Reset")).to_be_enabled()
        page.locator(".train-bar summary").click()
        page.get_by_role("button", name="Present").click()
        page.wait_for_function(fits, arg=[1920, 1080])
        assert min(page.evaluate(sizes)) >= 22


def test_parts_light_up_together_and_terms_explain_themselves(show: Show) -> None:
    page = show("#train?units=16")
    part = page.get_by_role("group", name="Diagram of the cell").get_by_role("button", name="forget gate f")
    part.focus()
    expect(page.locator(".train-picture .lit .steps-title")).to_have_text("forget gate f")
    expect(page.locator(".diagram .note")).to_contain_text("f = sigmoid(W_f @ x + U_f @ h + b_f)")
    expect(page.locator(".cell-editor pre .lit")).to_contain_text("f = sigmoid")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".panel-train .lit .steps-title")).to_have_text("cell candidate g")
    tip = page.locator(".tip")
    term = page.locator(".train-facts .term", has_text="Epoch")
    term.focus()
    expect(tip).to_contain_text("One pass over all training data")
    page.keyboard.press("Escape")
    expect(tip).to_have_count(0)
    page.locator("label .term", has_text="Units").first.click()
    expect(tip).to_contain_text("gates of its own")
    expect(page.get_by_label("Units").first).not_to_be_focused()


def test_a_file_asks_a_teachers_questions_one_after_the_other(show: Show, tmp_path: Path) -> None:
    page = show("#lesson")
    page.get_by_role("textbox", name="Title").fill("Memory")
    page.get_by_role("textbox", name="Your questions").fill("What is kept?\n\nAnd why?")
    page.get_by_label("Lesson of the page").select_option("forget")
    page.get_by_label("Start view").select_option("train")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as lesson").click()
    download.value.save_as(tmp_path / "memory.html")
    page = show(file=tmp_path / "memory.html")
    card = page.get_by_role("complementary", name="Lesson")
    expect(card).to_contain_text("What a forget gate does 1 of 6")  # its four steps, then the teacher's
    card.get_by_role("button", name="Skip the lesson").click()
    expect(card).to_contain_text("Memory 1 of 2")
    card.get_by_label("What is kept?").fill("The first digit")
    card.get_by_role("button", name="Next").click()
    card.get_by_label("And why?").fill("f is near 1")
    card.get_by_label("Your name").fill("Eve")  # the page remembers the last one
    expect(card.locator("pre")).to_have_text(
        "Memory, Eve\n\n1. What is kept?\nThe first digit\n\n2. And why?\nf is near 1"
    )
    expect(card.get_by_role("button", name="End the lesson")).to_have_count(0)
