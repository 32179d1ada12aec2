"""The panel that trains, in a real browser: an LSTM of few palindromes."""

import io
import json
import re
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Locator, Page, expect

from reviver.explorer.blocks import Blocks
from reviver.explorer.manifest import Manifest
from reviver.explorer.page import render_page
from reviver.run import load
from reviver.settings.lstm import LSTMConfig
from tests.explorer.browser import Show, check_accessible, check_fits, poll, view_of, wait_for_panel, wait_view
from tests.explorer.node import WEB

SMALL = "#train?data=300&units=16&epochs=4000&seed=3"
"""Two updates an epoch."""


def fact(page: Page, name: str) -> str:
    facts = page.locator(".train-facts > div")
    return facts.filter(has=page.locator("dt", has_text=re.compile(f"^{name}$"))).locator("dd").inner_text()


def update(page: Page) -> int:
    return int(fact(page, "Update").replace(",", ""))


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def choose(page: Page, name: str) -> None:
    """Press a button of the menu."""
    page.locator(".train-bar summary").click()
    press(page, name)


def one_update(page: Page) -> None:
    last = update(page)
    press(page, "One update")
    poll(lambda: update(page) == last + 1)


def epoch(page: Page) -> None:
    """Train for an epoch."""
    choose(page, "One epoch")


def exact(page: Page, name: str) -> Locator:
    """Return the field of a setting, for which the settings below those in the first view are opened."""
    page.locator("details:has(> summary:text-is('More settings'))").evaluate("all => { all.open = true; }")
    return page.get_by_role("textbox", name=name, exact=True)


def enter(field: Locator, value: str) -> None:
    field.fill(value)
    field.press("Tab")


def rows(page: Page) -> int:
    """Return how many moments the table of the losses has."""
    return page.get_by_role("region", name="Loss, table").locator("tbody tr").count()


def test_an_lstm_trains_pauses_forks_and_goes_back(show: Show) -> None:
    page = show(SMALL)
    expect(page.locator(".train-curves .chart-name").first).to_have_text("guessing")
    epoch(page)
    poll(lambda: fact(page, "Epoch") == "1 of 4000")
    page.get_by_text("Values as a table").first.click()
    before = rows(page)
    epoch(page)
    poll(lambda: fact(page, "Epoch") == "2 of 4000" and rows(page) > before)
    assert update(page) == 4
    one_update(page)
    check_accessible(page)

    press(page, "Go on")
    poll(lambda: update(page) > 20)
    press(page, "Pause")
    expect(page.get_by_role("button", name="One update")).to_be_enabled()  # once the worker has answered
    stopped = update(page)
    page.wait_for_timeout(400)
    assert update(page) == stopped

    enter(exact(page, "Learning rate"), "0.01")
    wait_view(page, rate="0.01")
    expect(page.locator(".train-curves")).to_contain_text("learning rate 0.001: validation")
    expect(page.locator(".train-curves")).to_contain_text("learning rate 0.01: validation")
    epoch(page)
    poll(lambda: update(page) > stopped)
    python = page.get_by_label("Compare with a run of Python")
    python.select_option(index=1)
    expect(page.locator(".train-curves")).to_contain_text("Python: validation")
    wait_view(page, **{"with": python.input_value()})
    page.locator(".train-bar summary").click()
    page.get_by_label("Rewind to").select_option("the start")
    press(page, "Rewind")
    poll(lambda: fact(page, "Epoch") == "0 of 4000")
    expect(page.locator(".train-curves")).not_to_contain_text("learning rate")
    assert page.locator("pre[tabindex]").inner_text() == (
        "reviver lstm train --preset original --seed 3 --data-size 300 --hidden-size 16 --learning-rate 0.01 --epochs 4000"
        " --out run"
    )


def test_a_click_on_start_counts_before_the_network_has_begun(show: Show) -> None:
    page = show("#facts")
    page.evaluate("""() => new MutationObserver((_, observer) => {
        const start = document.querySelector(".train-bar .play");  // in the task in which it appears
        if (start) [observer.disconnect(), start.click()];
    }).observe(document.body, { childList: true, subtree: true })""")
    page.click("nav [data-panel='train']")
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    poll(lambda: update(page) > 5)


def test_the_network_reads_typed_digits_and_leaving_the_panel_pauses(show: Show) -> None:
    page = show(SMALL + "&digits=907")
    press(page, "One update")
    answer = page.get_by_text("The answer is")
    expect(answer).to_contain_text("the first digit is 9")
    expect(page.locator(".panel-train .heatmap")).to_have_count(6)
    page.locator(".heatmap").first.hover()
    expect(page.locator(".heatmap-hover")).to_have_count(6)  # all follow
    page.get_by_label("Read these digits").fill("12")
    expect(answer).to_contain_text("the first digit is 1")
    assert wait_view(page, digits="12")["data"] == "300"
    page.get_by_label("Read these digits").fill("1x")
    expect(page.get_by_text("Type 1 to 60 digits")).to_be_visible()
    press(page, "Go on")
    page.click("nav [data-panel='facts']")
    wait_for_panel(page, "facts")
    page.click("nav [data-panel='train']")
    wait_for_panel(page, "train")
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    assert update(page) >= 1
    assert view_of(page)["digits"] == "12"
    page.click("nav [data-panel='train']")  # the link of the panel on show begins anew
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_visible()
    assert wait_view(page, digits="4171") | {"lesson": ""} == {"digits": "4171", "lesson": ""}  # a first visit is led
    press(page, "Undo")
    assert wait_view(page, data="300", units="16")
    assert update(page) >= 1


def test_a_wrong_setting_gets_a_sentence_beside_it(show: Show) -> None:
    page = show("#train?rate=50&units=16&data=300&optimizer=sgd", width=320)
    rate = exact(page, "Learning rate")
    assert rate.input_value() == "0.001"
    expect(rate).to_have_accessible_description(re.compile("link has another value.*from 1e-9 to 10"))
    optimizer = page.get_by_text("The link has another value. Optimizer must be rmsprop or adam.")
    expect(optimizer).to_be_visible()
    page.get_by_label("Adam", exact=True).check()
    expect(optimizer).not_to_be_attached()
    batch = exact(page, "Batch")
    enter(batch, "5000")
    expect(batch).to_have_accessible_description("Batch must be an integer from 1 to 1024.")
    press(page, "Start")  # which must not train with another number than that on show
    expect(page.get_by_text("Not started. Batch must be an integer from 1 to 1024.")).to_be_visible()
    assert update(page) == 0
    enter(batch, "64")
    clip = exact(page, "Clip gradient norm at")
    enter(clip, "off")
    wait_view(page, batch="64", clip="1000000000")
    assert clip.input_value() == "off"
    press(page, "One update")
    expect(page.get_by_text("The answer is")).to_be_visible()
    check_fits(page)
    check_accessible(page)


LAYOUTS = {"laptop": (1366, 768), "small laptop": (1280, 720), "phone": (390, 844)}


def check_in_view(page: Page, part: str, height: int) -> None:
    def is_in_view() -> bool:
        box = page.locator(part).first.bounding_box()
        return box is not None and 0 <= box["y"] < box["y"] + box["height"] <= height

    poll(is_in_view)  # what a training shows comes in turn, and for a moment may move another part


@pytest.mark.parametrize("screen", LAYOUTS)
def test_what_a_trained_network_computes_is_in_the_first_view(screen: str, show: Show) -> None:
    width, height = LAYOUTS[screen]
    page = show("#lstm", width=width)
    page.set_viewport_size({"width": width, "height": height})
    parts = [".lstm-main input", ".lstm-result", ".lstm-main .heatmap"]
    for part in parts if screen == "phone" else [*parts, ".heatmap >> nth=2", "[type=range]", ".heatmap >> nth=4"]:
        check_in_view(page, part, height)


@pytest.mark.parametrize("net", ["lstm", "gan"])
@pytest.mark.parametrize("screen", LAYOUTS)
def test_what_learns_is_in_the_first_view(net: str, screen: str, show: Show) -> None:
    width, height = LAYOUTS[screen]
    page = show(f"#train?net={net}&batch=8")
    page.set_viewport_size({"width": width, "height": height})
    parts = [".train-bar .play", ".train-picture .heatmap" if net == "lstm" else ".train-picture .pictures"]
    if screen != "phone":
        parts += [".train-curves .chart-plot >> nth=0", ".train-curves > :last-child", ".train-bar"]
    for started in (False, True):
        if started:
            press(page, "Start")
            poll(lambda: update(page) > 5)
            press(page, "Pause")
        for part in parts:
            check_in_view(page, part, height)
        controls = page.locator("main :is(button, input, select, textarea)").evaluate_all(
            """(all, height) => all.filter((one) => one.checkVisibility()).map((one) => one.getBoundingClientRect())
                .filter(({ top, bottom, width }) => width && bottom > 0 && top < height).length""",
            height,
        )
        assert controls <= 10


def test_nothing_is_lost_without_a_word(show: Show) -> None:
    page = show(SMALL)
    one_update(page)
    page.get_by_label("Network", exact=True).select_option("gan")
    expect(page.locator(".pictures")).to_be_visible()
    page.get_by_label("Network", exact=True).select_option("lstm")  # as it was left
    poll(lambda: update(page) == 1)
    slider = page.get_by_role("slider", name="Units")
    slider.press("ArrowRight")
    expect(page.get_by_text("Units changed. Undo returns to your run.")).to_be_visible()
    poll(lambda: update(page) == 0)
    press(page, "Undo")
    poll(lambda: update(page) == 1)
    wait_view(page, units="16")
    page.get_by_role("slider", name="Length T").press("ArrowRight")
    wait_view(page, length="6", digits="41771"[:5])
    expect(page.get_by_label("Read these digits")).to_have_value("41771")
    page.get_by_role("slider", name="Dropout of h").press("ArrowLeft")  # nothing was trained since
    expect(page.locator(".train-curves")).to_contain_text("length T 6, dropout of h 0.4: training")
    one_update(page)
    page.get_by_role("slider", name="Dropout of h").press("ArrowLeft")
    expect(page.locator(".train-curves")).to_contain_text("length T 6, dropout of h 0.3: training")
    expect(page.locator(".train-curves")).to_contain_text("length T 5, dropout of h 0.5: training")
    one_update(page)
    page.get_by_role("slider", name="Dropout of h").press("ArrowLeft")
    expect(page.locator(".train-news")).to_contain_text("so that of length T 5, dropout of h 0.5 has ended.")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.type), dialog.accept()))
    page.reload()
    assert dialogs == ["beforeunload"]


def test_curves_keep_their_start(show: Show) -> None:
    page = show("#train?data=300&units=8&epochs=300&length=2&seed=3")
    press(page, "Start")
    expect(page.get_by_role("button", name="Finished")).to_be_disabled()
    page.get_by_text("Values as a table").first.click()
    first = page.get_by_role("region", name="Loss, table").locator("tbody th").first
    assert float(first.inner_text()) <= 300 / 60


def test_a_phone_begins_with_smaller_networks_unless_a_link_says_otherwise(show: Show) -> None:
    page = show("#train", width=320)
    assert exact(page, "Units").input_value() == "64"
    wait_view(page, units="64")
    page.get_by_label("Network", exact=True).select_option("gan")
    assert exact(page, "Batch").input_value() == "32"
    page = show("#train?digits=4171", width=320)
    assert exact(page, "Units").input_value() == "128"


def test_a_gan_shows_its_pictures_and_what_d_says(show: Show) -> None:
    page = show("#train?digits=12")
    page.get_by_label("Network", exact=True).select_option("gan")
    wait_view(page, net="gan")
    for name, value in (("Batch", "8"), ("Latent size", "8"), ("Moving average of G", "0.9")):
        enter(exact(page, name), value)
    press(page, "One update")
    grid = page.locator(".pictures")
    expect(grid).to_have_attribute("aria-label", "Images of 25 latents at update 1")
    expect(page.locator(".class-columns")).to_have_count(0)  # a classifier says nothing about noise
    before = grid.locator("canvas").first.evaluate("canvas => canvas.toDataURL()")
    press(page, "Go on")
    poll(lambda: update(page) > 5)
    enter(exact(page, "Penalty on D’s gradient (R1)"), "1")
    expect(grid).to_have_count(2)
    press(page, "Pause")
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    assert grid.first.locator("canvas").first.evaluate("canvas => canvas.toDataURL()") != before
    expect(page.locator(".train-curves")).to_contain_text("penalty on D’s gradient (R1) 0.2: generator G")
    expect(page.locator(".distribution")).to_have_count(2)
    check_accessible(page)
    assert page.locator("pre[tabindex]").inner_text() == (
        "reviver gan train --preset quick --latent-size 8 --r1 1 --ema 0.9 --batch-size 8 --out run"
    )


def test_a_gan_that_goes_wrong_says_so_at_its_curve(show: Show) -> None:
    page = show("#train?net=gan&batch=8&latent=8&rate=0.05&schedule=constant")
    press(page, "Start")
    problem = page.locator(".train-curves .wrong")
    expect(problem).to_contain_text("lower the learning rate", timeout=90_000)
    expect(problem).to_contain_text("Epoch ")
    expect(page.locator(".train-curves .chart-cursor")).to_be_attached()


def test_a_page_without_runs_or_images_trains_an_lstm(show: Show, tmp_path: Path) -> None:
    file = tmp_path / "explorer.html"
    manifest = Manifest(version="1", title="Train", gans=[], lstms=[], lstm_config={}, gan_config={})
    file.write_text(render_page(manifest, Blocks()), encoding="utf-8")
    page = show("#train?units=16&data=300", file)
    expect(page.locator(".runs")).to_have_text("Networks that learn in this page")
    epoch(page)
    expect(page.get_by_text("The answer is")).to_be_visible()
    page.get_by_label("Network", exact=True).select_option("gan")
    press(page, "Start")
    expect(page.get_by_role("alert").filter(has_text="this file has no images to learn from")).to_be_visible()
    page.get_by_label("Network", exact=True).select_option("lstm")
    press(page, "One update")
    expect(page.get_by_text("The answer is")).to_be_visible()


def test_a_lesson_begins_with_a_prepared_experiment(show: Show, tmp_path: Path) -> None:
    question, curves = "Does it matter that the forget gates begin open?", ".train-curves"
    page = show("#train?seed=4&experiment=forget")
    experiments = page.get_by_role("region", name="Experiment", exact=True)
    expect(page.get_by_role("region", name="Verdict")).not_to_be_attached()  # a guess comes first
    press(page, "bias 0")
    expect(page.locator(curves)).to_contain_text("bias 0: training")
    expect(experiments).to_contain_text("You guessed: bias 0.")
    press(page, "Pause")
    wait_view(page, experiment="forget", forget="0", seed="4")
    page.click("nav [data-panel='lesson']")
    page.get_by_label("Start view").select_option("train")
    with page.expect_download() as download:
        press(page, "Save as lesson")
    download.value.save_as(tmp_path / "lesson.html")
    page = show(file=tmp_path / "lesson.html")
    experiments = page.get_by_role("region", name="Experiment", exact=True)
    expect(experiments).to_contain_text(question)
    expect(experiments).to_contain_text("Your guess first")
    check_accessible(page)
    press(page, "Start the experiment")
    expect(page.locator(curves)).to_contain_text("bias 1: training")
    expect(page.locator(".train-compared .heatmap")).to_have_count(2)
    press(page, "Back to my settings")
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_enabled()
    poll(lambda: "experiment" not in view_of(page))


def test_python_answers_when_an_experiment_is_over(show: Show) -> None:
    page = show("#train")
    page.get_by_role("link", name="Ten experiments").click()
    card = page.get_by_role("region", name="Does it matter that the forget gates begin open?")
    expect(card).to_be_in_viewport()
    check_accessible(page)
    card.get_by_role("button", name="bias 1").click()  # one click begins both runs
    expect(page.get_by_role("region", name="Experiment", exact=True)).to_contain_text("You guessed: bias 1.")
    expect(page.locator(".train-compared .heatmap")).to_have_count(2)
    verdict = page.get_by_role("region", name="Verdict")
    expect(page.get_by_role("button", name="Finished")).to_be_visible(timeout=300_000)
    expect(verdict).to_contain_text("All 5 seeds in Python say: bias 1. You guessed right.")
    expect(verdict.get_by_role("table")).to_contain_text("Accuracy, validation")


def test_each_experiment_was_measured_with_its_settings_and_is_explained() -> None:
    experiments = json.loads((WEB / "src" / "panels" / "train" / "experiments.json").read_text(encoding="utf-8"))
    docs = WEB.parent / "docs"
    measured = json.loads((docs / "measurements" / "experiments.json").read_text(encoding="utf-8"))
    for kind, of_kind in experiments.items():
        tutorial = (docs / "tutorials" / f"{kind}.md").read_text(encoding="utf-8")
        for one in of_kind:
            found = measured["results"][one["id"]]
            first, second = found["settings"]
            assert (first, second) == (first | one["base"], first | one["change"])
            for lines in found["measures"].values():
                assert [len(values) for values in lines] == [5, 5]
            assert f'<a id="experiment-{one["id"]}"></a>' in tutorial


def drop(page: Page, name: str, content: bytes) -> None:
    """Drop a file on the panel."""
    page.evaluate(
        """([name, content]) => {
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(content)], name));
            document.querySelector(".panel-train h3").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
        }""",
        [name, list(content)],
    )


def save(page: Page) -> bytes:
    with page.expect_download() as download:
        choose(page, "Save run")
    return Path(download.value.path()).read_bytes()


def test_a_saved_lstm_opens_in_python_and_by_drop_and_other_panels_show_it(show: Show, tmp_path: Path) -> None:
    page = show(SMALL)
    epoch(page)
    poll(lambda: fact(page, "Epoch") == "1 of 4000")
    one_update(page)
    content = save(page)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(tmp_path)
    run = load(tmp_path / "lstm-seed3-step3")
    assert (run.step, run.config) == (3, LSTMConfig(data_size=300, hidden_size=16, epochs=4000, seed=3))
    press(page, "Reset")
    drop(page, "other.zip", b"no zip")
    problem = page.locator(".train-bar [role=alert]").last
    expect(problem).to_have_text("The file was not opened: it is not a zip, or only part of one.")
    page.get_by_label("Network", exact=True).select_option("gan")
    drop(page, "run.zip", content)
    poll(lambda: update(page) == 3)
    expect(problem).to_be_empty()
    assert wait_view(page, units="16")["seed"] == "3"
    expect(page.locator(".train-curves")).to_contain_text("validation")
    epoch(page)
    poll(lambda: fact(page, "Epoch") == "2 of 4000")
    check_accessible(page)
    choose(page, "Look inside")
    wait_for_panel(page, "lstm")
    assert wait_view(page, run="trained-lstm")
    expect(page.get_by_role("alert").filter(has_text="could not start")).to_have_count(0)
    page.click("nav [data-panel='train']")
    wait_for_panel(page, "train")
    assert update(page) == 4


def test_a_saved_gan_opens_again_and_other_panels_show_it(show: Show, tmp_path: Path) -> None:
    page = show("#train?net=gan&batch=8&latent=8&ema=0.9")
    one_update(page)
    saved = tmp_path / "gan.zip"
    saved.write_bytes(save(page))
    press(page, "Reset")
    page.locator("input[type=file]").set_input_files(saved)
    poll(lambda: update(page) == 1)
    one_update(page)
    expect(page.locator(".pictures")).to_have_attribute("aria-label", "Images of 25 latents at update 2")
    choose(page, "Look inside")
    wait_for_panel(page, "latent")
    page.click("nav [data-panel='discriminator']")
    wait_for_panel(page, "discriminator")
    expect(page.get_by_role("alert").filter(has_text="could not start")).to_have_count(0)
    assert wait_view(page, run="trained-gan")


def test_an_lstm_learns_dropped_and_typed_sequences(show: Show) -> None:
    page = show("#train?units=16&batch=4&epochs=5")
    lines = [f"{k} {k + 1} {k % 3},{'even' if k % 2 else 'odd'}" for k in range(12)]
    drop(page, "mine.csv", "\n".join(["sequence,label", *lines]).encode())
    expect(page.get_by_text("It learns from 12 sequences of up to 3 numbers, in 2 classes.")).to_be_visible()
    epoch(page)
    expect(page.get_by_text("The answer is")).to_contain_text(re.compile("odd|even"))
    assert page.locator("pre[tabindex]").inner_text() == (
        "reviver lstm train --preset original --data mine.csv --hidden-size 16 --batch-size 4 --epochs 5 --out run"
    )
    page.get_by_text("Type sequences").click()
    typed = page.get_by_label("Numbers, a comma and a label on each line")
    typed.fill("1 2 3, up\n3 x 1, down")
    press(page, "Learn from these")
    problem = page.locator(".train-bar [role=alert]").last
    expect(problem).to_contain_text("It cannot learn from this: line 2: “x” at step 2 is not a number; write numbers")
    check_accessible(page)
    typed.fill("1 2 3, up\n3 2 1, down\n4 5 6, up\n6 5 4, down")
    press(page, "Learn from these")
    expect(problem).to_be_empty()
    expect(page.get_by_text("It learns from 4 sequences")).to_be_visible()
    press(page, "One update")
    expect(page.get_by_text("The answer is")).to_contain_text(re.compile("up|down"))
    press(page, "Learn palindromes again")
    press(page, "One update")
    expect(page.get_by_text("The answer is")).to_contain_text("the first digit is 4")


def test_a_gan_learns_from_image_files_to_its_end(show: Show) -> None:
    page = show("#train?batch=8&latent=8&epochs=1")
    files = []
    for n in range(65):
        image = io.BytesIO()
        Image.new("RGB", (40, 30), (n, 2 * n, 0)).save(image, "PNG")
        files.append(FilePayload(name=f"{n:02}.png", mimeType="image/png", buffer=image.getvalue()))
    chooser = page.locator("input[type=file]")
    problem = page.locator(".train-bar [role=alert]").last
    chooser.set_input_files(files[:63])
    expect(problem).to_have_text("It cannot learn from this: 63 images; choose from 64 to 20,000.")
    damaged = FilePayload(name="07.png", mimeType="image/png", buffer=files[7]["buffer"][:60])
    chooser.set_input_files([*files[:7], damaged, *files[8:]])
    expect(problem).to_contain_text("07.png is damaged, or not an image that this browser reads; remove it")
    chooser.set_input_files(files)
    expect(
        page.get_by_text(
            "It learns from 64 of your images (a multiple of 8), converted to gray and resized to 28 × 28."
        )
    ).to_be_visible()
    expect(problem).to_be_empty()
    press(page, "One update")
    expect(page.locator(".pictures")).to_have_attribute("aria-label", "Images of 25 latents at update 1")
    expect(page.locator("pre[tabindex]")).to_contain_text("reviver gan train --preset quick --data images.npy")
    press(page, "Go on")
    expect(page.get_by_role("button", name="Finished")).to_be_disabled()
    save(page)
    expect(problem).to_be_empty()


def test_a_cell_trains_from_its_text_also_beside_another(show: Show) -> None:
    page = show(SMALL)
    card = page.get_by_role("region", name="Cell", exact=True)
    card.get_by_label("Text of a known cell").select_option("gru")
    expect(card).to_contain_text("It learns 864 numbers, and remembers h.")
    text = card.get_by_role("textbox")
    text.fill("z = sigmoid(W_z @ x + U_z @ h + b_z)  # how much to keep\nh = z * h + (1 - z) * tanh(W @ x + b_q")
    expect(text).to_have_accessible_description(re.compile(r"Line 2, column \d+: This \( is never closed"))
    expect(card.get_by_role("button", name="Train this cell")).to_be_disabled()
    text.press("End")
    text.press_sequentially(")")
    expect(card.get_by_role("table")).to_contain_text("b_q")
    check_accessible(page)
    press(page, "Add to compare")
    press(page, "Train side by side")
    expect(page.locator(".train-curves")).to_contain_text("lstm: training")
    expect(page.locator(".train-curves")).to_contain_text("own: training")
    press(page, "Pause")
    expect(page.locator(".train-compared h3")).to_have_text(["lstm", "own"])
    expect(page.locator(".panel-train .heatmap")).to_have_count(2)
    assert "sigmoid(W_z @ x" in view_of(page)["cell"]
    content = save(page)
    press(page, "Reset")
    drop(page, "run.zip", content)
    poll(lambda: update(page) > 0)
    expect(page.locator(".panel-train .steps-title").first).to_have_text("how much to keep z")
    choose(page, "Look inside")
    wait_for_panel(page, "lstm")
    expect(page.get_by_role("heading", name=re.compile("^Unit .*: how much to keep z"))).to_be_visible()


def test_a_projector_gets_only_picture_and_curves_and_dark_maps_mean_the_same(show: Show) -> None:
    page = show(SMALL)
    size = "getComputedStyle(document.querySelector('.train-picture')).fontSize"
    before = float(page.evaluate(size).removesuffix("px"))
    choose(page, "Present")
    expect(page.locator(".masthead, .train-left, .colophon")).to_have_count(3)
    for hidden in (".masthead", ".train-left", ".colophon", ".panel-head"):
        expect(page.locator(hidden)).to_be_hidden()
    for part in (".train-bar", ".train-picture", ".train-curves"):
        expect(page.locator(part)).to_be_visible()
    assert float(page.evaluate(size).removesuffix("px")) > before
    page.keyboard.press("Escape")
    expect(page.locator(".masthead")).to_be_visible()
    map_ = page.locator(".train-picture .heatmap canvas").first
    shown = map_.evaluate("canvas => canvas.toDataURL()")
    page.emulate_media(color_scheme="dark")
    page.get_by_label("Read these digits").fill("4172")
    page.get_by_label("Read these digits").fill("4171")
    poll(lambda: map_.evaluate("canvas => canvas.toDataURL()") == shown)
    page.emulate_media(color_scheme="light")


def test_the_last_run_survives_a_reload(show: Show) -> None:
    page = show(SMALL)
    press(page, "Start")
    poll(lambda: update(page) > 5)
    press(page, "Pause")
    expect(page.get_by_role("button", name="One update")).to_be_enabled()
    stopped = update(page)
    page.wait_for_timeout(500)
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    press(page, "Your last run")
    poll(lambda: update(page) == stopped)
    expect(page.get_by_role("button", name="Reset")).to_be_enabled()


def test_an_unknown_key_of_the_address_is_named_and_the_menu_moves_nothing(show: Show) -> None:
    page = show("#train?units=16&layers=2")
    expect(page.get_by_text("The address has “layers”, which this panel does not know.")).to_be_visible()
    more = page.locator(".train-bar summary")
    before = more.bounding_box()
    more.click()
    assert more.bounding_box() == before
