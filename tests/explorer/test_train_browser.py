"""The training in browsers: in a worker, under the policy of the page, with the same bits in each."""

import base64
import socket
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from reviver.data.images.named import read_small_mnist
from reviver.explorer.page import build_page
from reviver.run import load
from reviver.settings.lstm import LSTMConfig
from tests.explorer.browser import Show, poll
from tests.explorer.firefox import Firefox, find_firefox, open_firefox
from tests.explorer.node import compute, needs_node
from tests.explorer.webkit import WebKit, find_webkit, open_webkit

TRAIN = """async (kind, settings, updates) => {
    while (!window.reviver) await new Promise((resolve) => setTimeout(resolve, 50));
    const trainer = window.reviver.trainer();
    const images = kind === "gan" ? await window.reviver.images() : undefined;
    const failed = await trainer.call("start", {kind, settings: {...settings, seed: -1}, images}).catch(String);
    await trainer.call("start", {kind, settings, images});
    const progress = await trainer.call("run", { updates, trace: [1, 2, 3, 2], grid: true, classes: 16 });
    const saved = await trainer.call("save");
    trainer.stop();
    const digests = async (weights) => {
        const found = {};
        for (const [name, values] of Object.entries(weights)) {
            const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", values));
            found[name] = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
        }
        return found;
    };
    return kind === "lstm"
        ? { failed, losses: progress.lstm.updates.map(({ loss }) => loss), steps: progress.lstm.trace.digits.length,
            epochs: progress.lstm.epochs, last: await digests(saved.weights.w) }
        : { failed, losses: progress.gan.updates.map((u) => [u.generatorLoss, u.discriminatorLoss]),
            pixels: progress.gan.grid.length, classes: progress.gan.classes.length,
            last: { G: await digests(saved.G.w), D: await digests(saved.D.w) } };
}"""
TEXT = "z = sigmoid(W_z @ x + U_z @ h + b_z)\nh = z * h + (1 - z) * tanh(normalize(V @ x + U @ h))"
NETWORKS: dict[str, dict[str, Any]] = {
    "lstm": {"dataSize": 1000},
    "text": {"dataSize": 1000, "cell": TEXT},
    "gan": {"epochs": 2},
}
"""Settings that differ from the original's."""
UPDATES, MORE_UPDATES = {"lstm": 140, "text": 140, "gan": 20}, {"lstm": 700, "text": 700, "gan": 200}
"""20 epochs of a recurrent network, and a part of one of the GAN; what the long test trains."""


@pytest.fixture(scope="module")
def train_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page without runs."""
    page = tmp_path_factory.mktemp("page") / "train.html"
    build_page([]).save(page)
    assert page.stat().st_size <= 3e6
    return page


def compute_all(updates: dict[str, int]) -> dict[str, Any]:
    """Return what Node.js computes: hashes of the weights, and losses."""
    images = base64.b64encode(read_small_mnist().images.numpy().tobytes()).decode("ascii")
    requests = [
        {kind_of(name): settings, "updates": updates[name], "images": images} for name, settings in NETWORKS.items()
    ]
    return dict(zip(NETWORKS, compute("train", requests), strict=True))


def kind_of(name: str) -> str:
    return "gan" if name == "gan" else "lstm"


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """Return what Node.js computes in the short tests."""
    return compute_all(UPDATES)


def train(browser: Page | Firefox | WebKit, name: str, updates: dict[str, int]) -> dict[str, Any]:
    """Return what a page trains."""
    arguments = [kind_of(name), NETWORKS[name], updates[name]]
    if isinstance(browser, (Firefox, WebKit)):
        return dict(browser.evaluate(TRAIN, *arguments))
    return dict(browser.evaluate(f"(args) => ({TRAIN})(...args)", arguments))


def check(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found["failed"].endswith("seed must be an integer from 0 to 2147483647, got -1")
    if "hashes" in expected:
        assert found["last"] == expected["hashes"]
        assert found["losses"] == [update["loss"] for update in expected["losses"]]
        assert found["epochs"] == expected["epochs"]
        assert found["steps"] == 4
    else:
        assert found["last"] == {name: expected["last"][name] for name in ("G", "D")}
        assert found["losses"] == expected["losses"]
        assert found["pixels"] == 25 * 28 * 28
        assert found["classes"] == 16


@needs_node
@pytest.mark.parametrize("name", NETWORKS)
def test_chromium_trains_under_the_policy_of_the_page_with_the_bits_of_node(
    name: str, show: Show, train_page: Path, expected: dict[str, Any]
) -> None:
    check(train(show(file=train_page), name, UPDATES), expected[name])


def test_a_loss_that_is_not_finite_stops_the_training_with_a_sentence(show: Show, train_page: Path) -> None:
    page = show(file=train_page)
    failed = page.evaluate("""async () => {
        const trainer = window.reviver.trainer();
        await trainer.call("start", { kind: "lstm", settings: { hiddenSize: 8 } });
        const saved = await trainer.call("save");
        saved.weights.w.W_i.fill(NaN);
        await trainer.call("restore", saved);
        return trainer.call("run", { updates: 1 }).catch(String);
    }""")
    assert "the loss is not finite at update 1; rewind, or start again with a lower learning rate" in failed


def test_the_panel_saves_a_run_that_python_loads(show: Show, train_page: Path, tmp_path: Path) -> None:
    page = show("#train?units=16&seed=4", file=train_page)
    page.locator(".train-bar summary").click()
    page.get_by_role("button", name="One epoch").click()
    expect(page.locator(".train-facts")).to_contain_text("1 of 100")
    with page.expect_download() as download:
        page.locator(".train-bar summary").click()
        page.get_by_role("button", name="Save run").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(tmp_path)
    run = load(tmp_path / "lstm-seed4-step7")
    assert (run.step, run.config) == (7, LSTMConfig(hidden_size=16, seed=4))


@contextmanager
def open_other(name: str, home: Path) -> Iterator[Firefox | WebKit]:
    """Open Firefox or WebKit, or skip."""
    find, start = {"firefox": (find_firefox, open_firefox), "webkit": (find_webkit, open_webkit)}[name]
    executable = find()
    if executable is None:
        pytest.skip(f"no {name}; install it to compare its bits")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with start(executable, home, port) as browser:
        yield browser


@needs_node
@pytest.mark.parametrize("name", ["firefox", pytest.param("webkit", marks=pytest.mark.long)])
def test_other_browsers_train_with_the_same_bits(
    name: str, train_page: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    with open_other(name, tmp_path) as browser:
        browser.open(train_page.as_uri())
        for network in NETWORKS:
            check(train(browser, network, UPDATES), expected[network])


def test_training_goes_on_in_a_hidden_tab(train_page: Path, tmp_path: Path) -> None:
    state = """async () => ({ tab: document.visibilityState,
        updates: Number(/Update\\s+([\\d,]+)/.exec(document.querySelector(".train-facts")?.innerText)?.[1].replace(",", "")) })"""
    click = """async () => {
        const find = () => /0 of/.test(document.querySelector(".train-facts")?.innerText)  // once the network has begun
            && [...document.querySelectorAll("button")].find((one) => one.textContent.trim() === "Start");
        while (!find()) await new Promise((resolve) => setTimeout(resolve, 50));
        find().click();
    }"""
    with open_other("firefox", tmp_path) as browser:
        assert isinstance(browser, Firefox)
        browser.open(train_page.as_uri() + "#train?units=16&epochs=10000")  # it must not end meanwhile
        browser.evaluate(click)
        trained = browser.call("WebDriver:GetWindowHandle")["value"]
        other = browser.call("WebDriver:NewWindow", type="tab")["handle"]
        browser.call("WebDriver:SwitchToWindow", handle=other)
        browser.call("WebDriver:SwitchToWindow", handle=trained, focus=False)
        poll(lambda: browser.evaluate(state)["tab"] == "hidden")
        before = browser.evaluate(state)
        poll(lambda: browser.evaluate(state)["updates"] >= before["updates"] + 5)
        assert browser.evaluate(state)["tab"] == "hidden"


@needs_node
@pytest.mark.long
def test_all_browsers_have_the_same_bits_after_700_updates_of_cells_and_200_of_the_gan(
    show: Show, train_page: Path, tmp_path: Path
) -> None:
    expected, page = compute_all(MORE_UPDATES), show(file=train_page)
    found = {"chromium": {name: train(page, name, MORE_UPDATES) for name in NETWORKS}}
    for browser_name in ("firefox", "webkit"):
        with suppress(pytest.skip.Exception), open_other(browser_name, tmp_path) as browser:
            browser.open(train_page.as_uri())
            found[browser_name] = {name: train(browser, name, MORE_UPDATES) for name in NETWORKS}
    assert len(found) >= 2, "install Firefox or WebKit"
    for results in found.values():
        for name, result in results.items():
            check(result, expected[name])
