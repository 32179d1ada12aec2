"""The panels of training, of the game against D, and of curves and facts: every control, by mouse and by keyboard."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from reviver.explorer.build import write_explorer
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan.training import train as train_gan
from reviver.train.loading import load
from reviver.train.lstm.training import train as train_lstm
from tests.explorer.browser import Show, check_accessible, pictures, wait_for_panel, wait_view

UPDATES = 12
"""Of each GAN; each has a snapshot, and the start has one."""
ROUND = 20


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Train tiny runs on images of noise, and write their pages.

    `all` has two GANs and two LSTMs, `bare` a GAN without its snapshots, whose discriminator has a loss without
    probabilities, `lstm` an LSTM only.
    """
    path = tmp_path_factory.mktemp("training")
    np.savez(path / "tiny.npz", images=np.random.default_rng(0).integers(0, 256, (41, 8, 8), dtype=np.uint8))
    tiny = GANConfig(
        data=str(path / "tiny.npz"), image_size=8, latent_size=16, epochs=4, batch_size=16, sample_every=3, log_every=2
    )
    wasserstein = {"loss": "wasserstein", "gradient_penalty": 1.0}
    changes: dict[str, dict[str, Any]] = {"gan-a": {}, "gan-b": {"seed": 1, "r1": 0.1}, "gan-bare": wasserstein}
    for name, change in changes.items():
        train_gan(replace(tiny, **change), path / name, device="cpu")
    for seed in range(2):
        config = LSTMConfig(hidden_size=4, data_size=40, batch_size=16, epochs=3, seed=seed)
        train_lstm(config, path / f"lstm-{seed}", device="cpu")
    shutil.rmtree(path / "gan-bare" / "snapshots")
    names = {"all": ["gan-a", "gan-b", "lstm-0", "lstm-1"], "bare": ["gan-bare"], "lstm": ["lstm-0"]}
    for page, runs in names.items():
        write_explorer([load(path / run) for run in runs], path / f"{page}.html")
    return {page: path / f"{page}.html" for page in names}


def moment(page: Page) -> Locator:
    return page.get_by_label("Moment of the training")


# Training time


def test_slider_and_player_move_pictures_and_cursor(show: Show, pages: dict[str, Path]) -> None:
    page = show("#training", pages["all"])
    slider = moment(page)
    assert slider.get_attribute("max") == str(UPDATES)
    expect(slider).to_have_attribute("aria-valuetext", re.compile(r"^epoch 4 \(update 12\)$"))
    last = pictures(page, ".training-grid canvas")
    assert len(last) == 25
    cursor = page.locator(".training-curves .chart-cursor-line").first
    right = cursor.get_attribute("d")
    slider.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^start"))
    assert pictures(page, ".training-grid canvas") != last
    assert cursor.get_attribute("d") != right
    wait_view(page, moment="0")
    expect(page.get_by_role("button", name="Previous")).to_be_disabled()
    page.get_by_role("button", name="Next").press("Enter")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^update 1 "))
    page.keyboard.press("Space")
    expect(slider).to_have_value("2")
    page.get_by_role("button", name="Previous").click()
    expect(slider).to_have_value("1")
    slider.press("End")
    assert pictures(page, ".training-grid canvas") == last
    play, pause = (page.get_by_role("button", name=name) for name in ("Play", "Pause"))
    play.press("Enter")  # from the start again
    page.wait_for_function("() => document.querySelector('.training-time input').valueAsNumber === 2")
    pause.click()
    stopped = slider.input_value()
    page.wait_for_timeout(700)
    assert slider.input_value() == stopped
    expect(page.locator("[role='status'].visually-hidden")).to_contain_text("Stopped at")
    wait_view(page, moment=stopped)


def test_an_image_is_followed_by_mouse_and_keyboard(show: Show, pages: dict[str, Path]) -> None:
    page = show("#training", pages["all"])
    image = page.get_by_role("button", name="image 4", exact=True)
    image.click()
    frames = page.locator(".filmstrip button")
    expect(frames).to_have_count(UPDATES + 1)
    expect(page.get_by_role("heading", name="Image 4 through training")).to_be_visible()
    expect(frames.last).to_contain_text(re.compile(r"epoch 4.*D 0\.\d\d"))
    strip = pictures(page, ".filmstrip canvas")
    assert strip[-1] == pictures(page, ".training-grid canvas")[3]
    frames.nth(5).click()
    expect(moment(page)).to_have_value("5")
    expect(frames.nth(5)).to_have_attribute("aria-pressed", "true")
    assert pictures(page, ".training-grid canvas")[3] == strip[5]
    image.click()
    expect(page.locator(".filmstrip")).to_be_hidden()
    stops = page.locator(".training-grid button[tabindex='0']")
    expect(stops).to_have_count(1)
    stops.focus()
    for key in ("Home", "ArrowRight", "ArrowDown", "ArrowLeft", "End", "Home", "ArrowDown", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(page.get_by_role("heading", name="Image 7 through training")).to_be_visible()
    wait_view(page, image="6")
    page.locator(".filmstrip button[tabindex='0']").focus()
    for key in ("Home", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(moment(page)).to_have_value("1")


def test_curves_axis_and_run_are_choices_that_the_address_keeps(show: Show, pages: dict[str, Path]) -> None:
    page = show("#training?run=gan-1&moment=5&image=2&axis=step&first=probability", pages["all"])
    chart = page.locator(".training-curves .chart").first
    expect(page.get_by_label("Run", exact=True)).to_have_value("gan-1")
    expect(moment(page)).to_have_value("5")
    expect(page.get_by_role("heading", name="Image 3 through training")).to_be_visible()
    expect(page.get_by_label("First curves")).to_have_value("probability")
    expect(chart.locator("svg[role=img]").first).to_have_attribute("aria-label", re.compile("^Mean probability"))
    page.get_by_label("Run", exact=True).select_option("gan-0")
    wait_view(page, run="gan-0")
    page.get_by_label("First curves").select_option("gan-loss")
    page.get_by_label("Second curves").select_option(label="Mean probability by D that an image is real")
    wait_view(page, first="gan-loss", second="probability")
    for axis, label in (("step", "update"), ("step-log", "update"), ("epoch", "epoch"), ("moment", "update")):
        page.get_by_label("Horizontal axis").select_option(axis)
        expect(chart.locator(".chart-x-label")).to_have_text(label)
        expect(chart.locator(".chart-cursor-line")).to_have_count(1)
        wait_view(page, axis=axis)
    # Between the even stops 0 and 12, update 6 is in the middle.
    line, plot = (chart.locator(part).first.bounding_box() for part in (".chart-grid path", ".chart-plot"))
    assert line is not None
    assert plot is not None
    page.mouse.click(line["x"] + line["width"] / 2, plot["y"] + plot["height"] / 2)
    expect(moment(page)).to_have_value("6")


def test_runs_that_lack_something(show: Show, pages: dict[str, Path]) -> None:
    page = show("#discriminator", pages["bare"])  # a loss without probabilities can play, too
    assert page.locator("nav [data-panel='training']").count() == 0
    expect(page.get_by_label("Images from").locator("option")).to_have_count(1)
    play_round(page)
    expect(page.get_by_text("a number without a unit")).to_be_visible()
    page = show("#facts", pages["lstm"])
    assert page.locator("nav [data-panel='training'], nav [data-panel='discriminator']").count() == 0
    expect(page.get_by_text("with dropout on", exact=False).first).to_be_visible()
    expect(page.locator(".pair-grid")).to_have_count(0)


# Be the discriminator


def play_round(page: Page, answers: str = "rg") -> None:
    """Answer all images with the keys."""
    for index in range(ROUND):
        page.keyboard.press(answers[index % len(answers)])
    expect(page.locator(".game-results")).to_be_visible()


def expect_image(page: Page, number: int) -> None:
    expect(page.locator(".game-progress")).to_have_text(f"Image {number} of {ROUND}")


def test_a_round_by_keys_counts_both_scores(show: Show, pages: dict[str, Path]) -> None:
    page = show("#discriminator?at=late&seed=3", pages["all"])
    play_round(page)
    heading = page.locator(".game-results h3")
    expect(heading).to_be_focused()
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
    expect(heading).to_have_text(f"You: {you} of {ROUND}. D: {d} of {ROUND}.")
    expect(page.get_by_text("6 to 14 right in 19 of 20 rounds")).to_be_visible()
    expect(page.locator("[role='status'].visually-hidden")).to_contain_text(f"You: {you} of {ROUND}")


def test_rounds_moments_and_runs_are_choices(show: Show, pages: dict[str, Path]) -> None:
    page = show("#discriminator?at=late", pages["all"])
    seed, rounds = page.get_by_label("Seed of the round"), {}
    expect(seed).to_have_value("0")
    for number in (0, 1, 2):
        play_round(page, "r")
        rounds[number] = pictures(page, ".game-grid canvas")
        page.get_by_role("button", name="Play another round").press("Enter")
        wait_view(page, seed=str(number + 1))
        expect_image(page, 1)
        expect(page.get_by_role("button", name="Real (R)")).to_be_focused()
    assert rounds[0] != rounds[1]
    page.get_by_role("button", name="New round").click()
    wait_view(page, seed="4")
    for typed in ("1", "-3"):  # the second is no seed
        seed.fill(typed)
        seed.press("Enter")
        wait_view(page, seed="1")
    expect(seed).to_have_value("1")
    page.locator("#app h2").click()
    play_round(page, "r")
    assert pictures(page, ".game-grid canvas") == rounds[1]  # a seed gives the same round
    for at in ("early", "end"):
        page.get_by_label("Images from").select_option(at)
        wait_view(page, at=at)
    page.get_by_label("Run", exact=True).select_option("gan-1")
    wait_view(page, run="gan-1")


def test_buttons_answer_and_take_back_and_keys_can_be_turned_off(show: Show, pages: dict[str, Path]) -> None:
    page = show("#discriminator", pages["all"])
    expect_image(page, 1)
    first = pictures(page, ".game-table canvas")
    back, feedback = page.get_by_role("button", name="Take back"), page.locator(".game-feedback")
    expect(back).to_be_disabled()
    page.get_by_role("button", name="Real (R)").click()
    page.get_by_role("button", name="Generated (G)").press("Enter")
    expect_image(page, 3)
    back.click()
    back.press("Enter")
    expect_image(page, 1)
    assert pictures(page, ".game-table canvas") == first
    page.get_by_label("Answer with the keys R and G").click()
    page.keyboard.press("r")
    page.get_by_label("Answer with the keys R and G").press("Space")
    page.get_by_label("Seed of the round").press("r")
    page.get_by_label("Images from").press("Control+g")
    expect_image(page, 1)
    page.locator("#app h2").click()
    page.keyboard.press("r")
    expect(feedback).to_be_empty()
    page.get_by_label("Tell me after each image").press("Space")
    page.keyboard.press("g")
    expect(feedback).to_contain_text(re.compile(r"Image 2 was (real|generated)\. You: "))
    expect(back).to_be_disabled()


# Curves and facts


def test_a_chart_tells_its_values(show: Show, pages: dict[str, Path]) -> None:
    page = show("#facts?run=gan-1", pages["all"])
    chart = page.locator(".chart").first
    reader, tooltip = chart.get_by_label("Move to read values"), chart.locator(".chart-tooltip")
    for key, value in (
        ("End", r"^epoch 4: generator G \S+, discriminator D \S+, "),
        ("ArrowLeft", r"^epoch 3\.33"),
        ("Home", "^epoch 0"),
        ("PageUp", r"^epoch 1\.33"),
    ):
        reader.press(key)
        expect(reader).to_have_attribute("aria-valuetext", re.compile(value))
        expect(tooltip).to_be_visible()
    reader.blur()
    expect(tooltip).to_be_hidden()
    box = reader.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] - 12, box["y"] + box["height"] / 2)
    expect(reader).to_have_attribute("aria-valuetext", re.compile("^epoch 4:"))
    chart.locator("svg[role=img]").first.hover()
    expect(tooltip).to_contain_text(re.compile(r"epoch .*generator G .*discriminator D"))
    chart.get_by_text("Values as a table").press("Enter")
    expect(chart.locator("tbody tr")).to_have_count(UPDATES // 2)
    expect(chart.locator("thead")).to_contain_text("generator G")
    chart.get_by_text("Values as a table").click()
    expect(chart.locator("tbody")).to_have_count(0)
    rows = page.get_by_role("region", name="Settings").locator("tbody tr")
    changed = rows.all_inner_texts()
    assert changed
    assert all("changed" in row for row in changed)
    page.get_by_label("Only changed settings").press("Space")
    assert rows.count() > len(changed)


def test_two_runs_and_two_generators_stand_side_by_side(show: Show, pages: dict[str, Path]) -> None:
    page = show("#facts", pages["all"])
    expect(page.locator(".pair-grid canvas")).to_have_count(50)
    page.get_by_label("Left").select_option("gan-0.12")
    page.get_by_label("Right").select_option("gan-0")
    wait_view(page, left="gan-0.12", right="gan-0")
    # The pictures that training saved are those of the embedded network, up to its rounding.
    page.wait_for_timeout(200)
    difference = page.evaluate("""() => {
        const all = [...document.querySelectorAll(".pair-grid canvas")].map((canvas) =>
            canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);
        return Math.max(...all.slice(0, 25).flatMap((data, n) => [...data].map((v, i) => Math.abs(v - all[n + 25][i]))));
    }""")
    assert difference <= 2
    page.get_by_label("Right").select_option("gan-1")
    wait_view(page, right="gan-1")
    page.get_by_label("Compare with").select_option("gan-1")
    wait_view(page, **{"with": "gan-1"})
    label = page.locator(".chart svg[role=img]").first.get_attribute("aria-label") or ""
    assert "gan-a:" in label
    assert "gan-b:" in label
    settings = page.get_by_role("region", name="Settings of both runs").locator("tbody tr")
    assert {row.split()[0] for row in settings.all_inner_texts()} == {"seed", "r1"}
    page.get_by_label("Only different settings").click()
    assert settings.count() > 20
    wait_view(page, settings="all")
    page.get_by_label("Run", exact=True).select_option("lstm-0")
    wait_view(page, run="lstm-0")
    assert page.get_by_label("Compare with").locator("option").all_inner_texts() == ["no other run", "lstm-1"]
    page.get_by_label("Horizontal axis").select_option("step-log")
    expect(page.locator(".chart-x-label").first).to_have_text("update")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_results_and_comparisons_are_accessible(dark: bool, show: Show, pages: dict[str, Path]) -> None:
    page = show("#training?image=2", pages["all"], dark=dark)
    page.locator("summary", has_text="Values as a table").first.click()
    check_accessible(page)
    page.evaluate("location.hash = '#discriminator'")
    wait_for_panel(page, "discriminator")
    play_round(page)
    check_accessible(page)
    page.evaluate("location.hash = '#facts?run=gan-0&with=gan-1'")
    wait_for_panel(page, "facts")
    page.locator(".chart").first.get_by_label("Move to read values").focus()
    check_accessible(page)
