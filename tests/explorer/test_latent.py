"""The panels of the latent space in a real browser: controls by mouse and by keyboard, files, and Python's images."""

import io
import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from reviver.gan.interpolation import interpolate, parse_view
from reviver.gan.sampling import generate
from reviver.run import GANRun, load
from tests.explorer.browser import PHONE, Show, check_fits, pixels, poll, text, view_of, wait_for_start, wait_view


def is_near(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether images are the same but for the half precision of end points."""
    return bool(np.abs(a.astype(int) - b).max() <= 2)


def slider(page: Page, label: str = "Position t") -> Locator:
    return page.get_by_role("slider", name=label)


def current(page: Page) -> np.ndarray:
    return pixels(page.locator(".card.current > canvas"))


def end_image(page: Page, index: int) -> np.ndarray:
    return pixels(page.locator(".end > canvas").nth(index))


def command(page: Page) -> str:
    return page.get_by_label("Command that makes this strip as a PDF").input_value()


def view_code(page: Page) -> str:
    match = re.search(r" --view (\S+) --out interpolation\.pdf$", command(page))
    assert match
    return match[1]


def test_slider_strip_and_player_show_what_they_say(show: Show) -> None:
    page = show("#latent", reduced_motion="reduce")
    control, frames = slider(page), page.locator(".strip .frame")
    control.press("End")
    expect(page.locator("[role=status]")).to_contain_text("t = 1. Class")
    assert np.array_equal(current(page), end_image(page, 1))
    page.keyboard.press("Home")
    assert np.array_equal(current(page), end_image(page, 0))
    caption = text(page.locator(".card.current .current-caption"))
    assert re.fullmatch(r"Class \d, [<>]? ?\d+ % · D: [<>]? ?\d+ % real", caption)
    assert (control.get_attribute("aria-valuetext") or "").replace("\xa0", " ") == f"t = 0. {caption}"
    page.get_by_role("button", name="Play").click()
    poll(lambda: control.input_value() != "0")
    page.get_by_role("button", name="Pause").press("Space")
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


def test_ends_by_class_at_random_and_from_the_grid(show: Show) -> None:
    page = show("#latent")
    start, end = page.locator(".end").nth(0), page.locator(".end").nth(1)
    before = end_image(page, 0)
    start.get_by_role("button", name="Next example").click()
    assert not np.array_equal(end_image(page, 0), before)
    start.get_by_role("button", name="Previous example").press("Space")
    assert np.array_equal(end_image(page, 0), before)
    end.get_by_label("Choose").select_option("random")
    seed = end.get_by_label("Seed")
    seed.fill("17")
    seed.press("Enter")
    seeded = end_image(page, 1)
    end.get_by_role("button", name="New seed").click()
    assert not np.array_equal(end_image(page, 1), seeded)
    seed.fill("17")
    seed.press("Enter")
    assert np.array_equal(end_image(page, 1), seeded)
    end.get_by_label("Choose").select_option("grid")
    samples = end.get_by_role("radio")
    samples.nth(7).click()
    assert is_near(end_image(page, 1), pixels(samples.nth(7).locator("canvas")))
    for key, index in (("ArrowDown", 12), ("ArrowLeft", 11), ("End", 24)):
        page.keyboard.press(key)
        assert samples.nth(index).get_attribute("aria-checked") == "true"
    wait_view(page, end="grid-24")
    end.get_by_label("Choose").select_option("random")
    expect(seed).to_have_value("17")


def test_python_makes_the_same_strip_of_the_code(show: Show, explorer_page: Path) -> None:
    run = load(explorer_page.parent / "gan")
    assert isinstance(run, GANRun)
    page = show("#latent?start=random-5&end=grid-3&steps=4")
    for path in ("linear", "spherical"):
        page.get_by_role("combobox", name="Path").select_option(path)
        wait_view(page, path=path)
        code = view_code(page)
        assert command(page) == f"reviver gan interpolate {run.folder.path.name} --view {code} --out interpolation.pdf"
        start, end, code_path, steps = parse_view(code, 100)
        assert (code_path, steps) == (path, 4)
        expected = ((generate(run.generator, interpolate(start, end, steps, path))[:, 0] + 1) * 127.5).numpy()
        shown = np.stack([pixels(page.locator(".strip canvas").nth(n)) for n in range(6)])
        assert np.abs(shown - expected).max() < 2  # rounding of the weights and to bytes
        assert np.abs(shown - expected).mean() < 0.55
    page.evaluate("code => { location.hash = `#latent?code=${code}`; location.reload(); }", code)
    page.wait_for_load_state()
    wait_for_start(page)
    wait_view(page, start="code", end="code", path="spherical", steps="4", code=code)
    page.locator(".end").nth(0).get_by_label("Choose").select_option("grid")
    view = wait_view(page, start="grid-0", end="code")
    assert torch.equal(parse_view(view["code"], 100).end, end)


def test_the_command_is_copied_and_images_are_saved(show: Show) -> None:
    page = show("#latent?t=0.5&steps=5", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy command").click()
    expect(page.locator(".copied")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == command(page)
    content = []
    for name in ("image as PNG", "strip as PNG"):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=f"Save {name}").click()
        content.append(Path(waiting.value.path()).read_bytes())
    image = np.asarray(Image.open(io.BytesIO(content[0])).convert("L"))
    assert np.array_equal(image, current(page).repeat(20, 0).repeat(20, 1))  # enlarged without smoothing
    assert Image.open(io.BytesIO(content[1])).width > 7 * 280


def test_the_map_moves_zooms_and_gives_an_end(show: Show) -> None:
    page = show("#latent")
    field = page.get_by_role("group", name="Images of the plane")
    caption = page.get_by_label("Chosen image of the map").locator(".note")
    start = wait_view(page, x="0.5", y="0.5", extent="1.5")
    expect(caption).to_contain_text("x = 0.50, y = 0.50.")
    field.locator("[aria-current=true]").press("ArrowRight")
    page.keyboard.press("ArrowUp")
    expect(caption).to_contain_text("x = 0.67, y = 0.67.")
    page.get_by_role("button", name="Zoom out").click()
    wait_view(page, extent="1.875")
    page.get_by_role("button", name="Move left").click()
    wait_view(page, x=f"{0.5 - 1.875 / 9:.6f}")
    page.get_by_role("button", name="Reset").press("Enter")
    poll(lambda: view_of(page) == start)
    image = pixels(page.get_by_label("Chosen image of the map").locator("canvas"))
    page.get_by_role("button", name="Make it the end").click()
    poll(lambda: is_near(end_image(page, 1), image))
    code = wait_view(page, end="code")["code"]
    page.reload()
    poll(lambda: view_of(page).get("code") == code)
    assert is_near(end_image(page, 1), image)
    page = show("#latent?plane=directions&start=grid-4")
    wait_view(page, x="0", y="0", extent="9")
    middle = pixels(page.get_by_role("group", name="Images of the plane").locator("canvas").nth(40))
    assert np.array_equal(middle, end_image(page, 0))  # the start, in the middle


def test_a_conditional_run_and_one_of_colors_on_a_phone(show: Show, small_page: Path) -> None:
    page = show("#latent?run=gan-1", small_page, width=PHONE)
    start = page.locator(".end").nth(0)
    start.get_by_label("Choose").select_option("random")
    for index in range(2):
        start.get_by_label("Class given to G").select_option(str(index))
        wait_view(page, start=f"random-0-as-{index}")
        assert parse_view(view_code(page), 11).start[8:].tolist() == [float(k == index) for k in range(3)]
    assert command(page).startswith("reviver gan interpolate 'with '\\''classes'\\''' ")
    check_fits(page)
    page.get_by_label("Run", exact=True).press("ArrowDown")
    expect(page.locator(".card.current > canvas")).to_have_attribute("width", "12")
    notes = text(page.locator(".readings"))
    assert "No classifier knows the images of this run." in notes
    assert "a number without a unit" in notes
    check_fits(page)
    page = show("#draw?run=gan-1", small_page)
    page.get_by_label("Run", exact=True).select_option("gan-2")
    wait_view(page, run="gan-2")
    expect(page.locator(".pad")).to_have_count(1)
