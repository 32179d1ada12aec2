"""Training in the explorer's page, in headless Chromium: the same losses as Python's, its speed, and how it draws meanwhile.

    npm ci --ignore-scripts --prefix web
    npm install --ignore-scripts --no-package-lock --prefix benchmarks/tfjs
    python -m benchmarks explorer_training

TensorFlow.js trains the same networks in the same page, in turn. For that the page runs without its content security policy.
"""

import base64
import json
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, ratio, summary
from reviver.explorer.page import build_page
from reviver.run import train_lstm
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from tools.chromium import open_browser

TFJS = Path(__file__).parent / "tfjs"
ESBUILD = Path(__file__).parents[1] / "web" / "node_modules" / ".bin" / "esbuild"
ROUNDS, SEEDS = 5, 5
DRAWN = {"LSTM": 700, "GAN": 8442}
"""Updates beside the drawing page: the whole of both runs, 100 epochs of the LSTM and 18 of the preset `quick`."""
MAIN_THREAD = "CrRendererMain"
TRAINED = 95
"""Validation accuracy of an LSTM that has learned, percent."""
SIZES: Mapping[str, Mapping[str, Any]] = {
    "lstm": {"length": 5, "hidden": 128, "classes": 10, "batch": 128, "learningRate": 1e-3},
    "gan": {
        "latentSize": 100,
        "widths": [128, 256, 512, 1024],
        "discriminatorWidths": [512, 256],
        "pixels": 784,
        "batch": 64,
        "learningRate": 2e-4,
    },
}
"""The report's networks for TensorFlow.js, see tfjs/training.js."""
PEERS = {
    "TensorFlow.js, WebAssembly, tuned": ("wasm", True),
    "TensorFlow.js, WebAssembly": ("wasm", False),
    "TensorFlow.js, CPU": ("cpu", False),
}
UPDATES = {"lstm": {"page": 100, "wasm": 20, "cpu": 1}, "gan": {"page": 20, "wasm": 4, "cpu": 1}}
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
    if not ESBUILD.exists() or not (TFJS / "node_modules").exists():
        raise SystemExit(
            "there is no esbuild or no TensorFlow.js; run the two npm commands of benchmarks/explorer_training.py"
        )
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        page = Path(folder) / "explorer.html"
        build_page([]).save(page)
        per_update, ratios, version = compare_with_tensorflow(browser, page)
        drawn = {name: draw(browser, page, name.lower(), count) for name, count in DRAWN.items()}
        return {
            "title": "Training in the explorer, in headless Chromium",
            "machine": machine() | {"browser": f"Chromium {browser.version}", "TensorFlow.js": version},
            "milliseconds_per_update": per_update,
            "ratios": ratios,
            "beside_the_drawing_page": drawn,
            "differences": differences(browser, page, Path(folder)),
            "megabytes": {"page without runs": page.stat().st_size / 2**20},
        }


def open_tab(browser: Any, page: Path, fragment: str = "", **options: Any) -> Any:
    """Open the page in a tab of its own, and wait until it has started."""
    tab = browser.new_context(viewport={"width": 1280, "height": 900}, **options).new_page()
    tab.set_default_timeout(600_000)
    tab.goto(page.as_uri() + fragment)
    tab.wait_for_function("() => globalThis.reviver && document.querySelector('.panel-body > *')")
    return tab


def settings(kind: str, seed: int = 0) -> dict[str, Any]:
    """Return the settings of the report's network as the page has them."""
    values = asdict(replace(ORIGINALS[kind], seed=seed)) | {"curriculum": "off", "forget_bias": 1, "labels": "right"}
    return {re.sub(r"_(\w)", lambda match: match[1].upper(), name): value for name, value in values.items()}


def compare_with_tensorflow(browser: Any, page: Path) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Return the milliseconds of an update by network and contender, the ratios to the page's, and the version of TensorFlow.js."""
    tab = open_tab(browser, page, bypass_csp=True)
    options = ["training.js", "--bundle", "--minify", "--format=iife", "--log-level=error"]
    tab.evaluate(subprocess.run([str(ESBUILD), *options], cwd=TFJS, check=True, capture_output=True, text=True).stdout)
    files = (TFJS / "node_modules/@tensorflow/tfjs-backend-wasm/dist").glob("*.wasm")
    head = "data:application/wasm;base64,"
    tab.evaluate("tfjs.useFiles", {file.name: head + base64.b64encode(file.read_bytes()).decode() for file in files})

    def milliseconds(kind: str, peer: str) -> float:
        """Return the milliseconds of an update, after one that warms up; of the page if there is no peer."""
        if not peer:
            updates = UPDATES[kind]["page"]
            return float(tab.evaluate(TRAIN, [kind, settings(kind), updates])["milliseconds"]) / updates
        backend, is_tuned = PEERS[peer]
        tab.evaluate("(values) => tfjs.prepare(...values)", [kind, backend, is_tuned, SIZES[kind]])
        tab.evaluate("tfjs.run(1)")
        updates = UPDATES[kind][backend]
        return float(tab.evaluate("(updates) => tfjs.run(updates)", updates)) / updates

    per_update: dict[str, Any] = {}
    ratios: dict[str, Any] = {}
    for kind, network in (("lstm", "LSTM"), ("gan", "GAN")):
        milliseconds(kind, "")
        rounds = [[milliseconds(kind, peer) for peer in ("", *PEERS)] for _ in range(ROUNDS)]
        ours, *theirs = zip(*rounds, strict=True)
        per_update[f"{network}, page"] = summary(list(ours))
        for peer, times in zip(PEERS, theirs, strict=True):
            per_update[f"{network}, {peer}"] = summary(list(times))
            ratios[f"{network}, {peer}, ratio to the page"] = ratio(list(times), list(ours))
    version = tab.evaluate("tfjs.version")
    tab.context.close()
    return per_update, ratios, version


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
