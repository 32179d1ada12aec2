"""The panels of the game against D, and of curves and facts, by mouse and by keyboard."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.explorer.browser import Show, check_accessible, pictures, wait_view

UPDATES = 12
"""Of each GAN."""
ROUND = 20


def play_round(page: Page, answers: str = "rg") -> None:
    """Answer all images with the keys."""
    for index in range(ROUND):
        page.keyboard.press(answers[index % len(answers)])
    expect(page.locator(".game-results")).to_be_visible()


def test_a_round_by_keys_counts_both_scores(show: Show, small_page: Path) -> None:
    page = show("#discriminator?seed=3", small_page)
    play_round(page)
    texts = page.locator(".game-grid li").all_inner_texts()
    assert len(texts) == ROUND
    for index, text in enumerate(texts):
        kind, mine, by_d = (part.strip() for part in text.split("\n") if part.strip())
        answer = "real" if index % 2 == 0 else "generated"
        assert mine == f"{'✓' if answer == kind else '✗'} you: {answer}"
        probability = float(by_d.split()[-1])
        if probability != 0.5:
            assert by_d[0] == ("✓" if (probability > 0.5) == (kind == "real") else "✗")
    you, d = (sum(f"✓ {who}" in text for text in texts) for who in ("you", "D"))
    expect(page.locator(".game-results h3")).to_have_text(f"You: {you} of {ROUND}. D: {d} of {ROUND}.")
    check_accessible(page)
    images = pictures(page, ".game-grid canvas")
    page.get_by_role("button", name="Play another round").press("Enter")
    wait_view(page, seed="4")
    play_round(page)
    assert pictures(page, ".game-grid canvas") != images
    page.get_by_label("Seed of the round").fill("3")
    page.keyboard.press("Enter")
    page.locator("#app h2").click()
    play_round(page)
    assert pictures(page, ".game-grid canvas") == images  # a seed gives the same round
    page.get_by_label("Run", exact=True).select_option("gan-2")  # a loss without probabilities can play, too
    page.locator("#app h2").click()
    play_round(page)
    expect(page.get_by_text("a number without a unit")).to_be_visible()


def test_buttons_answer_and_take_back_and_keys_can_be_turned_off(show: Show, small_page: Path) -> None:
    page = show("#discriminator", small_page)
    progress, back = page.locator(".game-progress"), page.get_by_role("button", name="Undo")
    page.get_by_role("button", name="Real (R)").click()
    page.get_by_role("button", name="Generated (G)").press("Enter")
    expect(progress).to_have_text(f"Image 3 of {ROUND}")
    back.click()
    back.press("Enter")
    page.get_by_label("Answer with the keys R and G").click()
    page.keyboard.press("r")
    expect(progress).to_have_text(f"Image 1 of {ROUND}")
    expect(back).to_be_disabled()


def test_a_chart_tells_its_values(show: Show, small_page: Path) -> None:
    page = show("#facts?run=gan-1", small_page)
    chart = page.locator(".chart").first
    reader = chart.get_by_label("Move to read values")
    for key, value in (("End", r"^epoch 4: generator G \S+, discriminator D \S+, "), ("ArrowLeft", r"^epoch 3\.33")):
        reader.press(key)
        expect(reader).to_have_attribute("aria-valuetext", re.compile(value))
    chart.locator("svg[role=img]").first.hover()
    expect(chart.locator(".chart-tooltip")).to_contain_text(re.compile(r"epoch .*generator G .*discriminator D"))
    chart.get_by_text("Values as a table").press("Enter")
    expect(chart.locator("tbody tr")).to_have_count(UPDATES // 2)
    expect(page.get_by_text("both are ln 2")).to_be_visible()


def test_two_runs_stand_side_by_side(show: Show, small_page: Path) -> None:
    page = show("#facts", small_page)
    page.get_by_label("Compare with").select_option("gan-1")
    wait_view(page, **{"with": "gan-1"})
    label = page.locator(".chart svg[role=img]").first.get_attribute("aria-label") or ""
    assert "plain:" in label
    assert "with 'classes':" in label
    settings = page.get_by_role("region", name="Settings of both runs").locator("tbody tr")
    assert {row.split()[0] for row in settings.all_inner_texts()} == {"seed", "conditional"}
    page.locator(".chart").first.get_by_label("Move to read values").focus()
    check_accessible(page)
    page.get_by_label("Compare with").select_option("gan-2")  # a Wasserstein GAN, whose D gives no probability
    expect(page.get_by_text("probability that an image is real")).to_have_count(1)  # in the rounding of the other
    expect(page.get_by_text("both are ln 2")).to_have_count(0)
    page.get_by_label("Run", exact=True).select_option("lstm-0")
    wait_view(page, run="lstm-0")
    expect(page.get_by_text("with dropout on", exact=False).first).to_be_visible()
