"""The training in browsers: in a worker, under the policy of the page, with the same bits in each."""

import base64
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from reviver.data.images.named import read_small_mnist
from reviver.explorer.page import build_page
from tests.explorer.browser import Show, poll
from tests.explorer.firefox import Firefox, find_firefox, open_firefox
from tests.explorer.node import compute, needs_node

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
    "gan": {"epochs": 2, "inputCentering": "auto", "r1": 0.2, "penaltyInterval": 2, "ema": 0.9},
}
"""Settings that differ from the original's."""
UPDATES = {"lstm": 140, "text": 140, "gan": 20}
"""20 epochs of a recurrent network, and a part of one of the GAN."""


@pytest.fixture(scope="module")
def train_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page without runs."""
    page = tmp_path_factory.mktemp("page") / "train.html"
    build_page([]).save(page)
    assert page.stat().st_size <= 3e6
    return page


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """Return what Node.js computes: hashes of the weights, and losses."""
    images = base64.b64encode(read_small_mnist().images.numpy().tobytes()).decode("ascii")
    requests = [
        {kind_of(name): settings, "updates": UPDATES[name], "images": images} for name, settings in NETWORKS.items()
    ]
    return dict(zip(NETWORKS, compute("train", requests), strict=True))


def kind_of(name: str) -> str:
    return "gan" if name == "gan" else "lstm"


def train(browser: Page | Firefox, name: str) -> dict[str, Any]:
    """Return what a page trains."""
    arguments = [kind_of(name), NETWORKS[name], UPDATES[name]]
    if isinstance(browser, Firefox):
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
    check(train(show(file=train_page), name), expected[name])


def test_a_loss_that_is_not_finite_stops_the_training_with_a_sentence(show: Show, train_page: Path) -> None:
    page = show(file=train_page)
    failed = page.evaluate("""async () => {
        const trainer = window.reviver.trainer();
        await trainer.call("start", { kind: "lstm", settings: { hiddenSize: 8 } });
        const saved = await trainer.call("save");
        saved.weights.w.W_i.fill(NaN);
        await trainer.call("start", { kind: saved.kind, settings: saved.settings, saved });
        return trainer.call("run", { updates: 1 }).catch(String);
    }""")
    assert "the loss is not finite at update 1; rewind, or start again with a lower learning rate" in failed


@contextmanager
def open_other(home: Path) -> Iterator[Firefox]:
    """Open Firefox, or skip."""
    executable = find_firefox()
    if executable is None:
        pytest.skip("no Firefox; install it to compare its bits")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with open_firefox(executable, home, port) as browser:
        yield browser


@needs_node
def test_firefox_trains_with_the_same_bits(train_page: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    with open_other(tmp_path) as browser:
        browser.open(train_page.as_uri())
        for network in NETWORKS:
            check(train(browser, network), expected[network])


def test_training_goes_on_in_a_hidden_tab(train_page: Path, tmp_path: Path) -> None:
    state = """async () => ({ tab: document.visibilityState,
        updates: Number(/Update\\s+([\\d,]+)/.exec(document.querySelector(".train-facts")?.innerText)?.[1].replace(",", "")) })"""
    click = """async () => {
        const find = () => /0 of/.test(document.querySelector(".train-facts")?.innerText)  // once the network has begun
            && [...document.querySelectorAll("button")].find((one) => one.textContent.trim() === "Start");
        while (!find()) await new Promise((resolve) => setTimeout(resolve, 50));
        find().click();
    }"""
    with open_other(tmp_path) as browser:
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
