"""The panels of the latent space in a real browser: every control by mouse and by keyboard, files, and Python's images."""

import io
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from reviver.explorer.build import write_explorer
from reviver.gan.interpolation import interpolate
from reviver.gan.sampling import generate
from reviver.gan.view import parse_view
from reviver.settings.gan import GANConfig
from reviver.train.gan.run import GANRun
from reviver.train.gan.training import train
from reviver.train.loading import load
from tests.explorer.browser import PHONE, Show, check_fits, pixels, poll, text, view_of, wait_for_start, wait_view

SVG = "{http://www.w3.org/2000/svg}"


def is_near(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether images are the same but for the half precision of end points."""
    return bool(np.abs(a.astype(int) - b).max() <= 2)


def announced(page: Page) -> Locator:
    """Return the element whose text a screen reader says."""
    return page.locator("[role=status]")


def slider(page: Page, label: str = "Position t") -> Locator:
    return page.get_by_role("slider", name=label)


def current(page: Page) -> np.ndarray:
    return pixels(page.locator(".current > canvas"))


def end_image(page: Page, index: int) -> np.ndarray:
    return pixels(page.locator(".end > canvas").nth(index))


def command(page: Page) -> str:
    return page.get_by_label("Command that makes this strip as a PDF").input_value()


def view_code(page: Page) -> str:
    match = re.search(r" --view (\S+) --out interpolation\.pdf$", command(page))
    assert match
    return match[1]


# Latent interpolation


def test_slider_strip_and_player_show_what_they_say(show: Show) -> None:
    page = show("#latent")
    control, frames = slider(page), page.locator(".strip .frame")
    control.focus()
    middle = current(page)
    page.keyboard.press("ArrowRight")
    assert control.input_value() == "0.505"
    page.keyboard.press("End")
    expect(announced(page)).to_contain_text("t = 1. Class")
    poll(lambda: not np.array_equal(current(page), middle))
    assert np.array_equal(current(page), end_image(page, 1))
    page.keyboard.press("Home")
    assert np.array_equal(current(page), end_image(page, 0))
    wait_view(page, t="0")
    caption = text(page.locator(".current-caption"))
    assert re.fullmatch(r"Class \d, [<>]? ?\d+ % · D: [<>]? ?\d+ % real", caption)
    assert (control.get_attribute("aria-valuetext") or "").replace("\xa0", " ") == f"t = 0. {caption}"
    assert page.locator(".class-bars .top").inner_text().split()[0] == caption.split()[1].rstrip(",")
    assert re.fullmatch(
        r"Log-odds -?\d\.\d\d\. Higher than for .+ % of real \(test images\) and .+ % of samples of G\.",
        text(page.locator(".distribution .rank")),
    )
    assert frames.count() == 9
    frames.nth(2).click()
    assert control.input_value() == "0.25"
    image, end = current(page), end_image(page, 1)
    assert np.array_equal(image, pixels(frames.nth(2).locator("canvas")))
    page.get_by_role("button", name="Swap start and end").click()
    wait_view(page, t="0.75")  # the path backwards
    assert is_near(current(page), image)
    assert np.array_equal(end_image(page, 0), end)
    frames.nth(2).press("ArrowRight")
    assert control.input_value() == "0.375"
    page.keyboard.press("End")
    assert frames.nth(8).get_attribute("aria-current") == "true"
    assert frames.evaluate_all("all => all.filter((one) => one.tabIndex === 0).length") == 1
    linear = pixels(frames.nth(4).locator("canvas"))
    page.get_by_role("combobox", name="Path").select_option("spherical")
    wait_view(page, path="spherical")
    assert not np.array_equal(pixels(frames.nth(4).locator("canvas")), linear)
    slider(page, "Images between the ends").press("ArrowRight")
    wait_view(page, steps="8")
    for key, count in (("Home", 2), ("End", 50)):
        page.keyboard.press(key)
        expect(frames).to_have_count(count)


def test_play_goes_forth_and_back_until_paused(show: Show) -> None:
    page = show("#latent?t=0.97")
    page.get_by_role("button", name="Play").click()
    poll(lambda: float(slider(page).input_value()) > 0.98)
    poll(lambda: float(slider(page).input_value()) < 0.9)
    page.get_by_role("button", name="Pause").press("Space")
    stopped = slider(page).input_value()
    page.wait_for_timeout(300)
    assert slider(page).input_value() == stopped
    page = show("#latent?t=0", reduced_motion="reduce")
    page.get_by_role("button", name="Play").click()
    poll(lambda: slider(page).input_value() != "0")
    assert slider(page).input_value() == "0.125"  # it jumps from image to image
    page.locator("nav [data-panel='facts']").click()  # ends it
    page.wait_for_selector(".facts-body")
    page.wait_for_timeout(700)
    assert page.evaluate("location.hash").startswith("#facts")


def test_ends_by_class_at_random_and_from_the_grid(show: Show) -> None:
    page = show("#latent")
    start, end = page.locator(".end").nth(0), page.locator(".end").nth(1)
    before = end_image(page, 0)
    start.get_by_role("button", name="Next example").click()
    second = end_image(page, 0)
    assert not np.array_equal(second, before)
    page.keyboard.press("Enter")  # the button has the focus
    start.get_by_role("button", name="Previous example").press("Space")
    assert np.array_equal(end_image(page, 0), second)
    classes = start.get_by_label("Class")
    classes.press("End")
    wait_view(page, start=f"class-{classes.input_value()}-0")
    expect(announced(page)).to_contain_text(f"Start: class {classes.input_value()}, example 1")
    end.get_by_label("Choose").select_option("random")
    seed = end.get_by_label("Seed")
    seed.fill("17")
    seeded = end_image(page, 1)
    seed.fill("18")
    assert not np.array_equal(end_image(page, 1), seeded)
    seed.fill("-3")  # no seed: ignored
    wait_view(page, end="random-18")
    end.get_by_role("button", name="New seed").click()
    wait_view(page, end=f"random-{seed.input_value()}")
    seed.fill("17")
    assert np.array_equal(end_image(page, 1), seeded)
    end.get_by_label("Choose").select_option("grid")
    samples = end.get_by_role("radio")
    assert samples.count() == 25
    samples.nth(7).click()
    assert is_near(end_image(page, 1), pixels(samples.nth(7).locator("canvas")))
    for key, index in (("ArrowDown", 12), ("ArrowLeft", 11), ("End", 24), ("ArrowRight", 24), ("Home", 0)):
        page.keyboard.press(key)
        assert samples.nth(index).get_attribute("aria-checked") == "true"
        assert samples.nth(index).evaluate("one => one === document.activeElement")
    wait_view(page, end="grid-0")


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_python_makes_the_same_strip_of_the_code(path: str, show: Show, explorer_page: Path) -> None:
    run = load(explorer_page.parent / "gan")
    assert isinstance(run, GANRun)
    page = show(f"#latent?start=random-5&end=grid-3&path={path}&steps=4")
    assert command(page).startswith(f"reviver gan interpolate {run.folder.path.name} --view ")
    start, end, code_path, steps = parse_view(view_code(page), 100)
    assert (code_path, steps) == (path, 4)
    expected = ((generate(run.generator, interpolate(start, end, steps, path))[:, 0] + 1) * 127.5).numpy()
    shown = np.stack([pixels(page.locator(".strip canvas").nth(n)) for n in range(6)])
    assert np.abs(shown - expected).max() < 2  # rounding of the weights and to bytes
    assert np.abs(shown - expected).mean() < 0.55


def test_the_command_is_copied_or_selected_and_images_are_saved(show: Show) -> None:
    page = show("#latent?t=0.5&steps=5", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy command").click()
    expect(page.locator(".copied")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == command(page)
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
    page.get_by_role("button", name="Copy command").press("Enter")
    expect(announced(page)).to_have_text("The command is selected. Press Ctrl+C to copy it.")
    assert page.evaluate("String(getSelection()) || document.activeElement.value") == command(page)
    content = {}
    for name in ("Save image as PNG", "Save strip as PNG", "Save strip as SVG"):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=name).click()
        content[waiting.value.suggested_filename] = Path(waiting.value.path()).read_bytes()
    assert list(content) == ["gan-t0.5.png", "gan-interpolation.png", "gan-interpolation.svg"]
    image = np.asarray(Image.open(io.BytesIO(content["gan-t0.5.png"])).convert("L"))
    assert np.array_equal(image, current(page).repeat(20, 0).repeat(20, 1))  # enlarged without smoothing
    assert Image.open(io.BytesIO(content["gan-interpolation.png"])).width > 7 * 280
    root = ET.fromstring(content["gan-interpolation.svg"])
    assert root[0].text == "Latent interpolation of gan"
    images = root.findall(f"{SVG}image")
    assert len(images) == 7
    assert all(one.attrib["href"].startswith("data:image/png;base64,") for one in images)
    texts = [(one.text or "").replace("\xa0", " ") for one in root.findall(f"{SVG}text")]
    assert {"t = 0", "t = 0.5", "t = 1"} <= set(texts)
    assert sum(line.startswith("D: ") and line.endswith(" real") for line in texts) == 7
    expect(announced(page)).to_have_text("Saved gan-interpolation.svg")


def test_the_address_gives_ends_or_the_default(show: Show) -> None:
    page = show("#latent?start=grid-1&end=grid-2&path=spherical&steps=3")
    code = view_code(page)

    def reopen(view: str) -> None:
        page.evaluate("view => { location.hash = `#latent?${view}`; location.reload(); }", view)
        page.wait_for_load_state()
        wait_for_start(page)

    reopen(f"code={code}")
    assert view_code(page) == code
    wait_view(page, start="code", end="code", path="spherical", steps="3", code=code)
    page.locator(".end").nth(0).get_by_label("Choose").select_option("grid")
    view = wait_view(page, start="grid-0", end="code")
    assert torch.equal(parse_view(view["code"], 100).end, parse_view(code, 100).end)
    reopen("")
    default = wait_view(page, t="0.5", steps="7")
    assert "code" not in default
    for wrong in (
        f"code={code[:-1]}",
        "start=class-3-99&end=random-9999999",
        "start=grid-25&t=2&steps=1.5",
        "start=code&end=grid--1&path=x",
    ):
        reopen(wrong)
        assert wait_view(page, t="0.5", steps="7") == default


# Map


def map_view(page: Page) -> Locator:
    """Return the map, once all of its images are there."""
    view = page.get_by_role("application")
    expect(view).to_have_attribute("aria-busy", "false")
    return view


def wait_center(page: Page, x: float, y: float) -> None:
    """Wait until the middle of the map has these coordinates."""
    poll(lambda: [float(view_of(page)[axis]) for axis in "xy"] == pytest.approx([x, y], abs=1e-5))


def test_the_map_moves_and_zooms_with_keys_and_buttons(show: Show) -> None:
    page = show("#map")
    map_view(page).focus()
    start = wait_view(page, x="0.5", y="0.5", extent="1.5", count="9")
    step = 1.5 / 9
    for key, x, y in (("ArrowRight", step, 0), ("ArrowUp", step, step), ("ArrowLeft", 0, step), ("ArrowDown", 0, 0)):
        page.keyboard.press(key)
        wait_center(page, 0.5 + x, 0.5 + y)
    for key, extent in (("+", "1.2"), ("-", "1.5")):
        page.keyboard.press(key)
        wait_view(page, extent=extent)
    for name in ("Move left", "Move up", "Zoom in", "Move right", "Move down", "Zoom out", "Zoom out"):
        page.get_by_role("button", name=name).click()
    wait_view(page, extent="1.875")
    page.get_by_role("button", name="Reset").press("Enter")
    poll(lambda: view_of(page) == start)
    map_view(page).press("ArrowRight")
    expect(page.locator(".map-detail .note").first).to_contain_text("x = 0.67, y = 0.50.")
    image, first = current(page), end_image(page, 0)
    page.get_by_role("link", name="Interpolate from A to this image").click()
    page.wait_for_selector(".strip .frame")
    assert is_near(end_image(page, 0), first)
    assert is_near(end_image(page, 1), image)


def test_the_map_follows_the_pointer(show: Show) -> None:
    page = show("#map")
    view = map_view(page)
    view.scroll_into_view_if_needed()
    box = view.bounding_box()
    assert box
    cell = box["width"] / 9
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    image = current(page)
    page.mouse.move(x + 2 * cell, y)  # hovering enlarges
    poll(lambda: not np.array_equal(current(page), image))
    page.mouse.wheel(0, -10)  # the wheel zooms only with the focus
    page.wait_for_timeout(300)
    assert view_of(page)["extent"] == "1.5"
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 1.2 * cell, y + 0.9 * cell, steps=6)
    page.mouse.up()
    wait_center(page, 0.5 + 1.5 / 9, 0.5 + 1.5 / 9)
    coordinates = page.locator(".map-detail .note").first
    expect(coordinates).to_contain_text("x = 0.67, y = 0.67.")
    page.mouse.click(x + cell, y)  # keeps an image
    page.mouse.move(10, 10)
    expect(coordinates).to_contain_text("x = 0.83, y = 0.67.")
    view.focus()
    for key, place in (("Shift+ArrowLeft", "x = 0.67, y = 0.67."), ("Shift+ArrowDown", "x = 0.67, y = 0.50.")):
        page.keyboard.press(key)
        expect(coordinates).to_contain_text(place)
    view.hover()
    page.mouse.wheel(0, -120)
    wait_view(page, extent="1.2")


def test_what_the_map_shows(show: Show) -> None:
    page = show("#map")
    shown = pixels(map_view(page).locator("canvas"))
    for value in ("plain", "regions"):
        page.get_by_label("Show").select_option(value)
        wait_view(page, show=value)
        now = pixels(map_view(page).locator("canvas"))
        assert not np.array_equal(now, shown)
        shown = now
    page.get_by_label("Show").select_option("classes")
    slider(page, "Images in a row").press("ArrowRight")
    wait_view(page, count="11")
    page.get_by_label("Plane").select_option("directions")
    wait_view(page, plane="directions", x="0", y="0", extent="9")
    assert page.locator(".end").count() == 1
    page.locator(".end").get_by_label("Choose").select_option("grid")
    page.locator(".end").get_by_role("radio").nth(4).click()
    wait_view(page, a="grid-4")
    map_view(page)
    poll(lambda: np.array_equal(current(page), end_image(page, 0)))  # the origin, in the middle
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save map as PNG").click()
    assert waiting.value.suggested_filename == "gan-map.png"
    with Image.open(waiting.value.path()) as saved:
        assert saved.width == saved.height


# Other runs


@pytest.fixture(scope="module")
def other_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the page of a conditional run with a packed D, and of one of color images with the Wasserstein loss."""
    folder = tmp_path_factory.mktemp("latent")
    labels = np.arange(96) % 3
    images = np.zeros((96, 8, 8), np.uint8)
    images[np.arange(96), 1 + 2 * labels] = 255
    np.savez(folder / "bars.npz", images=images, labels=labels, test_images=images, test_labels=labels)
    colors = np.random.default_rng(0).integers(0, 256, (64, 12, 12, 3), np.uint8)
    np.savez(folder / "color.npz", images=colors, test_images=colors)
    small = GANConfig(latent_size=8, epochs=1, batch_size=32, eval_every=0)
    configs = {
        "bars of 'three'": replace(small, data=str(folder / "bars.npz"), image_size=8, conditional=True, packing=2),
        "color": replace(small, data=str(folder / "color.npz"), image_size=12, loss="wasserstein"),
    }
    runs = [load(train(config, folder / name, device="cpu").path) for name, config in configs.items()]
    write_explorer(runs, folder / "explorer.html")
    return folder / "explorer.html"


def test_a_conditional_run_with_a_packed_discriminator(show: Show, other_page: Path) -> None:
    page = show("#latent", other_page)
    assert "This D sees 2 images at once." in text(page.locator(".readings"))
    assert re.fullmatch(r"D: .+ % real", text(page.locator(".current-caption")))
    start = page.locator(".end").nth(0)
    start.get_by_label("Choose").select_option("random")
    images = []
    for index in range(3):
        start.get_by_label("Class given to G").select_option(str(index))
        wait_view(page, start=f"random-0-as-{index}")
        assert parse_view(view_code(page), 11).start[8:].tolist() == [float(k == index) for k in range(3)]
        images.append(end_image(page, 0))
    assert not np.array_equal(images[0], images[1])
    assert command(page).startswith("reviver gan interpolate 'bars of '\\''three'\\''' ")


@pytest.mark.parametrize("panel", ["latent", "map"])
def test_a_choice_of_runs_on_a_phone(panel: str, show: Show, other_page: Path) -> None:
    page = show(f"#{panel}", other_page, width=PHONE)
    poll(lambda: bool(current(page).any()))
    check_fits(page)
    page.get_by_label("Run", exact=True).press("ArrowDown")
    expect(page.locator(".current > canvas")).to_have_attribute("width", "12")
    wait_view(page, run="gan-1")
    notes = text(page.locator(".readings"))
    assert "No classifier knows the images of this run." in notes
    assert "a number without a unit" in notes
    assert re.fullmatch(r"D: -?\d+\.\d\d", text(page.locator(".current-caption")))
    check_fits(page)
