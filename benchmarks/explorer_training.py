"""Training in the explorer's page, in headless Chromium: the same losses as Python's, its speed, and how it draws meanwhile."""

import json
import re
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, summary
from reviver.explorer.page import build_page
from reviver.run import train_lstm
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from tools.chromium import open_browser

ROUNDS, SEEDS = 5, 5
DRAWN = {"LSTM": 700, "GAN": 8442}
"""Updates beside the drawing page: the whole of both runs, 100 epochs of the LSTM and 18 of the preset `quick`."""
MAIN_THREAD = "CrRendererMain"
TRAINED = 95
"""Validation accuracy of an LSTM that has learned, percent."""
UPDATES = {"LSTM": 100, "GAN": 20}
"""Updates of a round."""
TRAIN = """async ([kind, settings, updates]) => {
    const trainer = globalThis.trainers?.[kind] ?? reviver.trainer();
    if (!globalThis.trainers?.[kind]) {
        const images = kind === "gan" ? await reviver.images() : undefined;
        await trainer.call("start", { kind, settings, images });
        globalThis.trainers = { ...globalThis.trainers, [kind]: trainer };
    }
    const { milliseconds, lstm } = await trainer.call("run", { updates });
    return { milliseconds, epochs: lstm?.epochs };
}"""
"""Goes on with the training of a network, which begins with the first call."""
ORIGINALS = {"lstm": LSTMConfig(), "gan": GANConfig()}
CELLS = {
    "LSTM": "lstm",
    "GRU": "gru",
    "peephole": "peephole",
    "a text of one's own": "z = sigmoid(W_z @ x + U_z @ h + b_z)\nh = z * h + (1 - z) * tanh(V @ x + U @ (z * h) + u_n)\nu_n: 0.5",
}
PRESS_START = """async ([updates, trained]) => {
    const facts = () => Object.fromEntries([...document.querySelectorAll(".train-facts > div")].map((row) =>
        [row.querySelector("dt").textContent, row.querySelector("dd").textContent]));
    const digits = (text) => Number((text ?? "").replace(/[^0-9.]/g, ""));
    const found = { frames: 0 };
    const count = () => { found.frames += 1; requestAnimationFrame(count); };
    requestAnimationFrame(count);
    const started = performance.now();
    [...document.querySelectorAll("button")].find((one) => one.textContent.trim() === "Start").click();
    for (;;) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        const now = facts();
        if (digits(now.Accuracy) >= trained) found.learned ??= performance.now() / 1000;
        if (digits(now.Update) >= updates) break;
    }
    return { ...found, seconds: (performance.now() - started) / 1000 };
}"""
"""Clicks Start, and waits for so many updates; `learned` counts from the opening of the file."""


def main() -> dict[str, object]:
    """Measure a page without runs."""
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        page = Path(folder) / "explorer.html"
        build_page([]).save(page)
        drawn = {name: draw(browser, page, name.lower(), count) for name, count in DRAWN.items()}
        return {
            "title": "Training in the explorer, in headless Chromium",
            "machine": machine() | {"browser": f"Chromium {browser.version}"},
            "milliseconds_per_update": time_updates(browser, page),
            "beside_the_drawing_page": drawn,
            "differences": differences(browser, page, Path(folder)),
            "megabytes": {"page without runs": page.stat().st_size / 2**20},
        }


def open_tab(browser: Any, page: Path, fragment: str = "") -> Any:
    """Open the page in a tab of its own, and wait until it has started."""
    tab = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    tab.set_default_timeout(600_000)
    tab.goto(page.as_uri() + fragment)
    tab.wait_for_function("() => globalThis.reviver && document.querySelector('.panel-body > *')")
    return tab


def settings(kind: str, seed: int = 0) -> dict[str, Any]:
    """Return the settings of the report's network as the page has them."""
    values = asdict(replace(ORIGINALS[kind], seed=seed)) | {"curriculum": "off", "forget_bias": 1, "labels": "right"}
    return {re.sub(r"_(\w)", lambda match: match[1].upper(), name): value for name, value in values.items()}


def time_updates(browser: Any, page: Path) -> dict[str, Any]:
    """Return the milliseconds of an update by network, after a round that warms up."""
    tab, found = open_tab(browser, page), {}
    for network, updates in UPDATES.items():
        call = [network.lower(), settings(network.lower()), updates]
        _, *rounds = [tab.evaluate(TRAIN, call)["milliseconds"] / updates for _ in range(1 + ROUNDS)]
        found[network] = summary(rounds)
    tab.context.close()
    return found


def draw(browser: Any, page: Path, network: str, updates: int) -> dict[str, float]:
    """Train a network of the report by a click.

    Returns:
        The seconds of so many updates, the frames a second meanwhile, the longest tasks of the page's own thread in
        milliseconds, and the seconds from opening the file until an LSTM has learned.
    """
    tab = open_tab(browser, page, f"#train?net={network}")
    browser.start_tracing(page=tab, categories=["toplevel"])
    found = tab.evaluate(PRESS_START, [updates, TRAINED])
    events = json.loads(browser.stop_tracing())["traceEvents"]
    tab.context.close()
    threads = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name" and e["args"]["name"] == MAIN_THREAD}
    tasks = [e for e in events if e["name"].endswith("RunTask") and (e["pid"], e["tid"]) in threads]
    later = min(task["ts"] for task in tasks) + 1_000_000
    result = {
        f"seconds of {updates} updates": found["seconds"],
        "frames a second": found["frames"] / found["seconds"],
        "longest task, ms": max(task.get("dur", 0) for task in tasks) / 1000,
        "longest task after the first second, ms": max(task.get("dur", 0) for task in tasks if task["ts"] > later)
        / 1000,
    }
    return result | ({f"seconds from opening the file to {TRAINED} %": found["learned"]} if "learned" in found else {})


def differences(browser: Any, page: Path, folder: Path) -> dict[str, float]:
    """Return how far the page's runs of some cells are from Python's, over all epochs of some seeds."""
    found: dict[str, float] = {}
    counts = 0
    for name, cell in CELLS.items():
        losses = 0.0
        for seed in range(SEEDS):
            run = train_lstm(folder / f"{name} {seed}", cell=cell, seed=seed, device="cpu", progress=False)
            tab = open_tab(browser, page)
            epochs = tab.evaluate(TRAIN, ["lstm", settings("lstm", seed) | {"cell": cell}, 10_000])["epochs"]
            tab.context.close()
            for ours, theirs in zip(epochs, run.metrics, strict=True):
                for part in ("train", "validation"):
                    losses = max(losses, abs(ours[f"{part}Loss"] - theirs[f"{part}_loss"]))
                    counts += abs(ours[f"{part}Accuracy"] - theirs[f"{part}_accuracy"]) > 1e-9
        found[f"Largest difference from Python's losses, all epochs of {SEEDS} seeds, {name}"] = losses
    return found | {"accuracies that differ": counts}
