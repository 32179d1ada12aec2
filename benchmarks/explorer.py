"""Size and speed of the explorer of a GAN run on MNIST, in headless Chromium.

    reviver explore report/runs/gan-seed0 report/runs/lstm-seed0 --out explorer.html
    EXPLORER=explorer.html python -m benchmarks explorer

Processor time does not count the waits of a busy machine.
"""

import os
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.measure import machine, summary
from tests.explorer.edits import read_page, read_tensors
from tools.chromium import open_browser

DEFAULT = "report/explorer.html"
SCRIPT = Path(__file__).with_suffix(".js")
FIRST_IMAGE = """{
  const { putImageData } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.putImageData = function (...values) {
    putImageData.apply(this, values);
    globalThis.firstImage ??= new Promise((resolve) => requestAnimationFrame(() => resolve(performance.now())));
  };
}"""
"""Notes when the first image is shown: in the frame after it was drawn."""
LOADS, ROUNDS, WARMUP, BATCHES, BATCH, NUM_PROJECTED, TRACED = 10, 100, 20, 20, 20, 20, 200


def main() -> dict[str, object]:
    """Measure the page that EXPLORER names."""
    path = Path(os.environ.get("EXPLORER", DEFAULT)).resolve()
    page = read_page(path.read_text(encoding="utf-8"))
    gan = page.manifest["gans"][0]
    images = read_tensors(page.blocks, gan["test"])["images"][:NUM_PROJECTED] / 127.5 - 1
    with open_browser() as browser:
        first_images = []
        for _ in range(LOADS):
            tab, seconds = load(browser, path)
            first_images.append(seconds)
            tab.context.close()
        measured, version = measure_networks(browser, path, images), f"Chromium {browser.version}"
    times = {"first image after load": first_images, **measured}
    return {
        "title": "The explorer in headless Chromium",
        "machine": machine() | {"browser": version},
        "milliseconds_per_call": {
            name: summary([1000 * value for value in seconds]) for name, seconds in times.items() if seconds
        },
        "rounding": gan["facts"]["rounding"],
        "megabytes": path.stat().st_size / 2**20,
    }


def measure_networks(browser: Any, path: Path, images: Tensor) -> dict[str, list[float]]:
    """Return the seconds of what the page computes in a tab of its own, with images [N, C, H, W] to project.

    A drawn frame is one of the interpolation on the screen.
    """
    tab, _ = load(browser, path)
    session = tab.context.new_cdp_session(tab)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def cpu_seconds() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))

    def call(function: str, *arguments: object) -> tuple[Any, float]:
        started = cpu_seconds()
        result = tab.evaluate(f"(values) => bench.{function}(...values)", list(arguments))
        return result, cpu_seconds() - started

    frames, _ = call("frames", ROUNDS, WARMUP)
    call("draw", WARMUP)
    cpu_drawn = [call("draw", BATCH)[1] / BATCH for _ in range(BATCHES)]
    traces, _ = call("traces", TRACED, ROUNDS, WARMUP)
    call("project", images[0].flatten().tolist())  # the compiler of the browser is still at work
    projected = [call("project", image.flatten().tolist())[0] for image in images]
    tab.context.close()
    return {
        "G, D and classifier of an image": frames,
        "processor time of a drawn frame of the interpolation": cpu_drawn,
        f"LSTM trace of {TRACED} steps": traces,
        "projection": projected,
    }


def load(browser: Any, path: Path) -> tuple[Any, float]:
    """Open the page; return its tab and the seconds until the first image."""
    tab = browser.new_context().new_page()
    tab.add_init_script(FIRST_IMAGE)
    tab.goto(path.as_uri() + "#latent")
    tab.wait_for_function("() => globalThis.firstImage && globalThis.reviver")
    tab.evaluate(f"() => {{ globalThis.bench = {SCRIPT.read_text(encoding='utf-8').rstrip().rstrip(';')}; }}")
    return tab, tab.evaluate("() => firstImage") / 1000
