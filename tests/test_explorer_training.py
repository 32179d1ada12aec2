"""The panels of training, of the game against D, and of curves and facts: every control, by mouse and by keyboard."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from reviver.explorer.build import write_explorer
from reviver.settings.gan import GANConfig
from reviver.train.gan.training import train as train_gan
from reviver.train.loading import load
from reviver.train.lstm.training import train as train_lstm
from tests.browser import needs_chromium, visit
from tests.lstm_runs import TINY
from tests.test_explorer_page import find_violations, needs_axe

pytestmark = needs_chromium

UPDATES = 12
"""Of each GAN; each has a snapshot, and the start has one."""
ROUND = 20


class Pages(NamedTuple):
    """The pages of these tests.

    Attributes:
        all: two GANs and two LSTMs.
        old: a GAN of an older version, whose discriminator has a loss without probabilities.
        lstm: an LSTM only.
    """

    all: Path
    old: Path
    lstm: Path


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """Train tiny runs on images of noise, and write their pages."""
    path = tmp_path_factory.mktemp("training")
    np.savez(path / "tiny.npz", images=np.random.default_rng(0).integers(0, 256, (41, 8, 8), dtype=np.uint8))
    config = GANConfig(
        data=str(path / "tiny.npz"), image_size=8, latent_size=16, epochs=4, batch_size=16, sample_every=3, log_every=2
    )
    for name, changes in {
        "gan-a": config,
        "gan-b": replace(config, seed=1, r1=0.1),
        "gan-old": replace(config, loss="wasserstein", gradient_penalty=1.0),
    }.items():
        train_gan(changes, path / name, device="cpu")
    for seed in range(2):
        train_lstm(replace(TINY, seed=seed), path / f"lstm-{seed}", device="cpu")
    shutil.rmtree(path / "gan-old" / "snapshots")
    names = {
        "all": ["gan-a", "gan-b", "lstm-0", "lstm-1"],
        "old": ["gan-old"],
        "lstm": ["lstm-0"],
    }
    for page, runs in names.items():
        write_explorer([load(path / run) for run in runs], path / f"{page}.html")
    return Pages(*(path / f"{page}.html" for page in names))


def wait_for_fragment(page: Page, text: str) -> None:
    """Wait until the address has some text."""
    page.wait_for_function("text => location.hash.includes(text)", arg=text)


def pixels(page: Page, selector: str) -> list[str]:
    """Return the pictures of canvases as data URLs."""
    urls: list[str] = page.locator(selector).evaluate_all("all => all.map((canvas) => canvas.toDataURL())")
    return urls


# Training time


def test_the_slider_moves_pictures_and_cursor(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#training") as visited:
        page = visited.page
        slider = page.get_by_label("Moment of the training")
        assert slider.get_attribute("max") == str(UPDATES)
        expect(slider).to_have_attribute("aria-valuetext", re.compile(r"^epoch 4 \(update 12\)$"))
        last = pixels(page, ".training-grid canvas")
        assert len(last) == 25
        cursor = page.locator(".training-curves .chart-cursor-line").first
        right = cursor.get_attribute("d")
        slider.press("Home")
        expect(slider).to_have_attribute("aria-valuetext", re.compile("^start"))
        assert pixels(page, ".training-grid canvas") != last
        assert cursor.get_attribute("d") != right
        wait_for_fragment(page, "moment=0")
        slider.press("ArrowRight")
        expect(slider).to_have_attribute("aria-valuetext", re.compile("^update 1 "))
        slider.press("End")
        assert pixels(page, ".training-grid canvas") == last


def test_the_buttons_step_through_the_moments(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#training?moment=1") as visited:
        page = visited.page
        slider = page.get_by_label("Moment of the training")
        page.get_by_role("button", name="Previous").click()
        expect(slider).to_have_value("0")
        expect(page.get_by_role("button", name="Previous")).to_be_disabled()
        page.get_by_role("button", name="Next").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Space")
        expect(slider).to_have_value("2")


@pytest.mark.parametrize("key", [None, "Enter"], ids=["mouse", "keyboard"])
def test_playing_starts_again_and_stops(key: str | None, browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#training") as visited:
        page = visited.page
        slider = page.get_by_label("Moment of the training")
        play = page.get_by_role("button", name="Play")
        play.press(key) if key else play.click()
        page.wait_for_function("() => document.querySelector('.training-time input').valueAsNumber === 2")
        pause = page.get_by_role("button", name="Pause")
        pause.press(key) if key else pause.click()
        stopped = slider.input_value()
        page.wait_for_timeout(1000)
        assert slider.input_value() == stopped
        expect(page.locator("[role='status'].visually-hidden")).to_contain_text("Stopped at")
        wait_for_fragment(page, f"moment={stopped}")


def test_playing_is_slow_with_reduced_motion(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#training", reduced_motion="reduce") as visited:
        page = visited.page
        page.get_by_role("button", name="Play").click()
        page.wait_for_timeout(700)
        assert page.get_by_label("Moment of the training").input_value() == "0"


def test_playing_ends_with_the_panel(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#training") as visited:
        page = visited.page
        page.get_by_role("button", name="Play").click()
        page.locator("nav [data-panel='facts']").click()
        page.wait_for_selector(".facts-body")
        page.wait_for_timeout(1000)
        assert page.evaluate("location.hash").startswith("#facts")


def test_an_image_is_followed_by_mouse(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#training") as visited:
        page = visited.page
        page.get_by_role("button", name="image 4", exact=True).click()
        frames = page.locator(".filmstrip button")
        expect(frames).to_have_count(UPDATES + 1)
        expect(page.get_by_role("heading", name="Image 4 through training")).to_be_visible()
        expect(frames.last).to_contain_text(re.compile(r"epoch 4.*D 0\.\d\d"))
        grid, strip = pixels(page, ".training-grid canvas"), pixels(page, ".filmstrip canvas")
        assert strip[-1] == grid[3]
        frames.nth(5).click()
        expect(page.get_by_label("Moment of the training")).to_have_value("5")
        expect(frames.nth(5)).to_have_attribute("aria-pressed", "true")
        assert pixels(page, ".training-grid canvas")[3] == strip[5]
        page.get_by_role("button", name="image 4", exact=True).click()
        expect(page.locator(".filmstrip")).to_be_hidden()


def test_an_image_is_followed_by_keyboard(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#training") as visited:
        page = visited.page
        stops = page.locator(".training-grid button[tabindex='0']")
        expect(stops).to_have_count(1)
        stops.focus()
        for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "End", "Home", "ArrowDown", "ArrowRight"):
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Image 7 through training")).to_be_visible()
        wait_for_fragment(page, "image=6")
        page.locator(".filmstrip button[tabindex='0']").focus()
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        expect(page.get_by_label("Moment of the training")).to_have_value("1")


def test_curves_and_axis_are_choices(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#training?moment=3") as visited:
        page = visited.page
        chart = page.locator(".training-curves .chart").first
        page.get_by_label("First curves").select_option(label="Mean probability by D that an image is real")
        expect(chart.locator("svg[role=img]").first).to_have_attribute("aria-label", re.compile("^Mean probability"))
        wait_for_fragment(page, "first=probability")
        page.get_by_label("Second curves").select_option("gan-loss")
        wait_for_fragment(page, "second=gan-loss")
        for axis, label in (("step", "update"), ("step-log", "update"), ("epoch", "epoch"), ("moment", "update")):
            page.get_by_label("Horizontal axis").select_option(axis)
            expect(chart.locator(".chart-x-label")).to_have_text(label)
            expect(chart.locator(".chart-cursor-line")).to_have_count(1)
            wait_for_fragment(page, f"axis={axis}")
        # Between the even stops 0 and 12, update 6 is in the middle.
        line = chart.locator(".chart-grid path").first.bounding_box()
        assert line is not None
        plot = chart.locator(".chart-plot").bounding_box()
        assert plot is not None
        page.mouse.click(line["x"] + line["width"] / 2, plot["y"] + plot["height"] / 2)
        expect(page.get_by_label("Moment of the training")).to_have_value("6")


def test_the_fragment_restores_the_training_and_ignores_what_is_wrong(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#training?run=gan-1&moment=5&image=2&axis=step&first=probability") as visited:
        page = visited.page
        expect(page.get_by_label("Run", exact=True)).to_have_value("gan-1")
        expect(page.get_by_label("Moment of the training")).to_have_value("5")
        expect(page.get_by_role("heading", name="Image 3 through training")).to_be_visible()
        expect(page.get_by_label("First curves")).to_have_value("probability")
        page.get_by_label("Run", exact=True).select_option("gan-0")
        wait_for_fragment(page, "run=gan-0")
    hostile = "#training?run=<script>&moment=1e9&image=-1&axis=constructor&first=__proto__&second=%00"
    with visit(browser, pages.all, hostile) as visited:
        expect(visited.page.get_by_label("Moment of the training")).to_have_value(str(UPDATES))
        expect(visited.page.locator(".filmstrip")).to_be_hidden()


def test_an_older_run_has_pictures_without_the_output_of_d(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.old, "#training?image=0") as visited:
        page = visited.page
        expect(page.locator(".verdicts")).to_contain_text("did not record")
        assert page.locator(".filmstrip button").count() > 1
        expect(page.locator(".frame-verdict")).to_have_count(0)


def test_a_file_with_lstms_only_has_curves(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.lstm, "#facts") as visited:
        page = visited.page
        assert page.locator("nav [data-panel='training'], nav [data-panel='discriminator']").count() == 0
        expect(page.get_by_text("with dropout on", exact=False).first).to_be_visible()
        expect(page.locator(".pair-grid")).to_have_count(0)


# Be the discriminator


def play_round(page: Page, answers: str = "rg") -> None:
    """Answer all images with the keys."""
    for index in range(ROUND):
        page.keyboard.press(answers[index % len(answers)])
    expect(page.locator(".game-results")).to_be_visible()


def test_a_round_by_keys_counts_both_scores(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#discriminator?at=late&seed=3") as visited:
        page = visited.page
        play_round(page)
        heading = page.locator(".game-results h3")
        expect(heading).to_be_focused()
        cards = page.locator(".game-grid li")
        expect(cards).to_have_count(ROUND)
        texts = cards.all_inner_texts()
        for index, text in enumerate(texts):
            kind, mine, by_d = (part.strip() for part in text.split("\n") if part.strip())
            answer = "real" if index % 2 == 0 else "generated"
            assert mine == f"{'✓' if answer == kind else '✗'} you: {answer}"
            probability = float(by_d.split()[-1])
            if probability != 0.5:
                assert by_d[0] == ("✓" if (probability > 0.5) == (kind == "real") else "✗")
        you = sum("✓ you" in text for text in texts)
        d = sum("✓ D" in text for text in texts)
        expect(heading).to_have_text(f"You: {you} of {ROUND}. D: {d} of {ROUND}.")
        expect(page.get_by_text("6 to 14 right in 19 of 20 rounds")).to_be_visible()
        expect(page.locator("[role='status'].visually-hidden")).to_contain_text(f"You: {you} of {ROUND}")


def test_a_seed_gives_the_same_round(browser: Browser, pages: Pages) -> None:
    rounds = []
    for fragment in ("#discriminator?at=late&seed=3", "#discriminator?at=late&seed=3", "#discriminator?at=late&seed=4"):
        with visit(browser, pages.all, fragment) as visited:
            play_round(visited.page, "r")
            rounds.append(pixels(visited.page, ".game-grid canvas"))
    assert rounds[0] == rounds[1] != rounds[2]


def test_buttons_answer_and_take_back(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#discriminator") as visited:
        page = visited.page
        progress = page.locator(".game-progress")
        expect(progress).to_have_text("Image 1 of 20")
        first = pixels(page, ".game-table canvas")
        expect(page.get_by_role("button", name="Take back")).to_be_disabled()
        page.get_by_role("button", name="Real (R)").click()
        page.get_by_role("button", name="Generated (G)").press("Enter")
        expect(progress).to_have_text("Image 3 of 20")
        page.get_by_role("button", name="Take back").click()
        page.get_by_role("button", name="Take back").press("Enter")
        expect(progress).to_have_text("Image 1 of 20")
        assert pixels(page, ".game-table canvas") == first


def test_feedback_tells_the_answer_at_once(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#discriminator") as visited:
        page = visited.page
        page.keyboard.press("r")
        expect(page.locator(".game-feedback")).to_be_empty()
        page.get_by_label("Tell me after each image").press("Space")
        page.keyboard.press("g")
        expect(page.locator(".game-feedback")).to_contain_text(re.compile(r"Image 2 was (real|generated)\. You: "))
        expect(page.get_by_role("button", name="Take back")).to_be_disabled()


def test_keys_can_be_turned_off(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#discriminator") as visited:
        page = visited.page
        page.get_by_label("Answer with the keys R and G").click()
        page.keyboard.press("r")
        expect(page.locator(".game-progress")).to_have_text("Image 1 of 20")
        page.get_by_label("Answer with the keys R and G").press("Space")
        page.get_by_label("Seed of the round").press("r")
        expect(page.locator(".game-progress")).to_have_text("Image 1 of 20")
        page.get_by_label("Images from").focus()
        page.keyboard.press("Control+g")
        expect(page.locator(".game-progress")).to_have_text("Image 1 of 20")


def test_rounds_moments_and_runs_are_choices(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#discriminator?seed=x&at=nowhere") as visited:
        page = visited.page
        expect(page.get_by_label("Seed of the round")).to_have_value("0")
        page.get_by_role("button", name="New round").click()
        wait_for_fragment(page, "seed=1")
        page.get_by_label("Seed of the round").fill("7")
        page.get_by_label("Seed of the round").press("Enter")
        wait_for_fragment(page, "seed=7")
        page.get_by_label("Seed of the round").fill("-3")
        page.get_by_label("Seed of the round").press("Enter")
        expect(page.get_by_label("Seed of the round")).to_have_value("7")
        for moment in ("early", "end"):
            page.get_by_label("Images from").select_option(moment)
            wait_for_fragment(page, f"at={moment}")
        page.get_by_label("Run", exact=True).select_option("gan-1")
        wait_for_fragment(page, "run=gan-1")
        page.locator("#app h2").click()
        play_round(page)
        page.get_by_role("button", name="Play another round").press("Enter")
        wait_for_fragment(page, "seed=8")
        expect(page.locator(".game-progress")).to_have_text("Image 1 of 20")
        expect(page.get_by_role("button", name="Real (R)")).to_be_focused()


def test_a_loss_without_probabilities_can_play(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.old, "#discriminator") as visited:
        page = visited.page
        expect(page.get_by_label("Images from").locator("option")).to_have_count(1)
        play_round(page)
        expect(page.get_by_text("a number without a unit")).to_be_visible()


# Curves and facts


def test_the_reader_tells_the_values(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#facts") as visited:
        page = visited.page
        chart = page.locator(".chart").first
        reader = chart.get_by_label("Move to read values")
        reader.press("End")
        expect(reader).to_have_attribute(
            "aria-valuetext", re.compile(r"^epoch 4: generator G \S+, discriminator D \S+, ")
        )
        expect(chart.locator(".chart-tooltip")).to_be_visible()
        reader.press("ArrowLeft")
        expect(reader).to_have_attribute("aria-valuetext", re.compile(r"^epoch 3\.33"))
        reader.press("Home")
        reader.press("PageUp")
        expect(reader).to_have_attribute("aria-valuetext", re.compile(r"^epoch 1\.33"))
        reader.blur()
        expect(chart.locator(".chart-tooltip")).to_be_hidden()
        box = reader.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + box["width"] - 12, box["y"] + box["height"] / 2)
        expect(reader).to_have_attribute("aria-valuetext", re.compile("^epoch 4:"))


def test_the_pointer_shows_a_tooltip(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#facts") as visited:
        chart = visited.page.locator(".chart").first
        chart.locator("svg[role=img]").first.hover()
        expect(chart.locator(".chart-tooltip")).to_contain_text(re.compile(r"epoch .*generator G .*discriminator D"))
        visited.page.mouse.move(0, 0)
        expect(chart.locator(".chart-tooltip")).to_be_hidden()


def test_the_table_has_the_values(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#facts") as visited:
        chart = visited.page.locator(".chart").first
        chart.get_by_text("Values as a table").press("Enter")
        expect(chart.locator("tbody tr")).to_have_count(UPDATES // 2)
        expect(chart.locator("thead")).to_contain_text("generator G")
        chart.get_by_text("Values as a table").click()
        expect(chart.locator("tbody")).to_have_count(0)


def test_two_runs_stand_side_by_side(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#facts") as visited:
        page = visited.page
        page.get_by_label("Compare with").select_option("gan-1")
        wait_for_fragment(page, "with=gan-1")
        label = page.locator(".chart svg[role=img]").first.get_attribute("aria-label") or ""
        assert "gan-a:" in label
        assert "gan-b:" in label
        settings = page.get_by_role("region", name="Settings of both runs").locator("tbody tr")
        assert {row.split()[0] for row in settings.all_inner_texts()} == {"seed", "r1"}
        page.get_by_label("Only different settings").click()
        assert settings.count() > 20
        wait_for_fragment(page, "settings=all")
        page.get_by_label("Run", exact=True).select_option("lstm-0")
        wait_for_fragment(page, "run=lstm-0")
        options = page.get_by_label("Compare with").locator("option").all_inner_texts()
        assert options == ["no other run", "lstm-1"]
        page.get_by_label("Horizontal axis").select_option("step-log")
        expect(page.locator(".chart-x-label").first).to_have_text("update")


def test_only_changed_settings(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#facts?run=gan-1") as visited:
        page = visited.page
        rows = page.get_by_role("region", name="Settings").locator("tbody tr")
        assert rows.count() > 0
        assert all("changed" in row for row in rows.all_inner_texts())
        changed = rows.count()
        page.get_by_label("Only changed settings").press("Space")
        assert rows.count() > changed


def test_two_generators_on_the_same_latents(browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#facts") as visited:
        page = visited.page
        expect(page.locator(".pair-grid canvas")).to_have_count(50)
        page.get_by_label("Left").select_option("gan-0.12")
        page.get_by_label("Right").select_option("gan-0")
        wait_for_fragment(page, "left=gan-0.12&right=gan-0")
        # The pictures that training saved are those of the embedded network, up to its rounding.
        page.wait_for_timeout(200)
        difference = page.evaluate("""() => {
            const all = [...document.querySelectorAll(".pair-grid canvas")].map((canvas) =>
                canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);
            return Math.max(...all.slice(0, 25).flatMap((data, n) => [...data].map((v, i) => Math.abs(v - all[n + 25][i]))));
        }""")
        assert difference <= 2
        page.get_by_label("Right").select_option("gan-1")
        wait_for_fragment(page, "right=gan-1")


@pytest.mark.parametrize("allowed", [True, False], ids=["clipboard", "no clipboard"])
def test_the_command_is_copied_or_selected(allowed: bool, browser: Browser, pages: Pages) -> None:
    options: dict[str, Any] = {"permissions": ["clipboard-read", "clipboard-write"]} if allowed else {}
    with visit(browser, pages.all, "#facts", **options) as visited:
        page = visited.page
        if not allowed:
            page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        command = page.locator(".copy-field code").inner_text()
        page.get_by_role("button", name="Copy the command").press("Enter")
        expect(page.locator(".copy-field")).to_contain_text("Copied" if allowed else "Selected")
        copied = page.evaluate("navigator.clipboard.readText()" if allowed else "String(getSelection())")
        assert copied == command


def test_facts_ignore_what_is_wrong(browser: Browser, pages: Pages) -> None:
    hostile = "#facts?run=<b>&with=lstm-0&axis=toString&settings=1&left=gan-0.99&right=__proto__"
    with visit(browser, pages.all, hostile) as visited:
        expect(visited.page.get_by_label("Run", exact=True)).to_have_value("gan-0")
        expect(visited.page.get_by_label("Compare with")).to_have_value("none")
        expect(visited.page.locator(".pair-grid canvas")).to_have_count(50)


# All of them


@needs_axe
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_results_and_comparisons_are_accessible(dark: bool, browser: Browser, pages: Pages) -> None:
    with visit(browser, pages.all, "#training?image=2", dark=dark) as visited:
        visited.page.locator("summary", has_text="Values as a table").first.click()
        assert find_violations(visited.page) == []
    with visit(browser, pages.all, "#discriminator", dark=dark) as visited:
        play_round(visited.page)
        assert find_violations(visited.page) == []
    with visit(browser, pages.all, "#facts?run=gan-0&with=gan-1", dark=dark) as visited:
        visited.page.locator(".chart").first.get_by_label("Move to read values").focus()
        assert find_violations(visited.page) == []
