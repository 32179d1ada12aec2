"""Size, speed and precision of the explorer of a GAN run on MNIST, in headless Chromium.

    reviver explore report/runs/gan-seed0 report/runs/lstm-seed0 --out explorer.html
    EXPLORER=explorer.html python -m benchmarks explorer

Processor time does not count the waits of a busy machine. The projections are compared with those of `reviver gan project`.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.measure import machine, ratio, summary
from reviver.gan.inversion import project
from tests.explorer.edits import Content, read_layers, read_page, read_tensors
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
MEGABYTE = 2**20


class PageGenerator(nn.Module):
    """The generator of a page, as far as `reviver.gan.inversion.project` needs one."""

    def __init__(self, page: Content) -> None:
        super().__init__()
        gan = page.manifest["gans"][0]
        self.image_shape = tuple(gan["imageShape"])
        self.latent_size = gan["latentSize"]
        self.layers = read_layers(page, gan["generator"]).float()

    def sample_latents(self, count: int, rng: torch.Generator) -> Tensor:
        """Sample latents as `Generator.sample_latents`."""
        return torch.randn(count, self.latent_size, generator=rng)

    def forward(self, z: Tensor) -> Tensor:
        """Return the images of latents."""
        images: Tensor = self.layers(z)
        return images.view(-1, *self.image_shape)


def main() -> dict[str, object]:
    """Measure the page that EXPLORER names."""
    path = Path(os.environ.get("EXPLORER", DEFAULT)).resolve()
    if not path.is_file():
        raise SystemExit(f"there is no page {path}; write one with reviver explore, and name it in EXPLORER")
    page = read_page(path.read_text(encoding="utf-8"))
    gan = page.manifest["gans"][0]
    images = read_tensors(page.blocks, gan["test"])["images"][:NUM_PROJECTED] / 127.5 - 1
    sizes = {name: len(text) / MEGABYTE for name, text in page.texts.items()}
    megabytes = path.stat().st_size / MEGABYTE
    with open_browser() as browser:
        first_images = []
        for _ in range(LOADS):
            tab, seconds = load(browser, path)
            first_images.append(seconds)
            tab.context.close()
        measured, version = measure_networks(browser, path, images), f"Chromium {browser.version}"
    theirs = project(PageGenerator(page), images.float()).errors.tolist()  # type: ignore[arg-type]
    times = {"first image after load": first_images, **measured.seconds}
    return {
        "title": "The explorer in headless Chromium",
        "machine": machine() | {"browser": version},
        "milliseconds_per_call": {
            name: summary([1000 * value for value in seconds]) for name, seconds in times.items() if seconds
        },
        "ratios": {"RMSE of a projection: ratio to `reviver gan project`": ratio(measured.errors, theirs)},
        "rounding": gan["facts"]["rounding"],
        "megabytes": {"page": megabytes} | sizes | {"code and style": megabytes - sum(sizes.values())},
    }


class Measured(NamedTuple):
    """What the page computed: seconds by what took them, and results."""

    seconds: dict[str, list[float]]
    errors: list[float]


def measure_networks(browser: Any, path: Path, images: Tensor) -> Measured:
    """Measure what the page computes in a tab of its own, with images [N, C, H, W] to project.

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
    seconds = {
        "G, D and classifier of an image": frames,
        "processor time of a drawn frame of the interpolation": cpu_drawn,
        f"LSTM trace of {TRACED} steps": traces,
        "projection": [result["seconds"] for result in projected],
    }
    return Measured(seconds, [result["error"] for result in projected])


def load(browser: Any, path: Path) -> tuple[Any, float]:
    """Open the page; return its tab and the seconds until the first image."""
    tab = browser.new_context().new_page()
    tab.add_init_script(FIRST_IMAGE)
    tab.goto(path.as_uri() + "#latent")
    tab.wait_for_function("() => globalThis.firstImage && globalThis.reviver")
    tab.evaluate(f"() => {{ globalThis.bench = {SCRIPT.read_text(encoding='utf-8').rstrip().rstrip(';')}; }}")
    return tab, tab.evaluate("() => firstImage") / 1000
