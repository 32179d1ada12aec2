"""Static part of the explorer: what a reader sees with scripts off, and until they have started.

It has the most important results of each run: samples, an interpolation, curves and scores. Everything that comes from
a run is escaped. The content security policy allows no inline styles, so figures are images in data URIs. The same runs
give the same bytes.

Shapes: N images, C channels, H height, W width.
"""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.nn import functional

from reviver.explorer.gan_facts import score_rows
from reviver.figures import styled
from reviver.gan.evaluation.monitor import find_collapses
from reviver.gan.figures import loss_curves, score_curves
from reviver.gan.grids import tile
from reviver.gan.interpolation import choose_distant_endpoints, interpolate
from reviver.gan.run import GANRun
from reviver.gan.sampling import generate
from reviver.gan.training import GRID_SIZE
from reviver.lstm.describe import SequenceData
from reviver.lstm.figures import learning_curves
from reviver.lstm.run import LSTMRun
from reviver.runs.rng import make_rng

Run = LSTMRun | GANRun
Records = Sequence[Mapping[str, Any]]

STRIP_STEPS = 7
"""Images between the ends of the interpolation."""
MAX_SIDE = 48
"""Pixels. Larger images are reduced, so that the page stays small."""
MAX_POINTS = 200
"""Points of a curve; of more, every k-th and the last are drawn."""
GRID_WIDTH, STRIP_WIDTH = 450, 820
"""CSS pixels, about. Images are enlarged by an integer factor."""
FIGURE_DPI = 192
"""Twice the 96 of CSS, for sharp screens."""
INTRODUCTION = (
    "<p>This file contains trained networks that run in your browser. They are loading; if this text stays, scripts are "
    "off here, and you see the results below without the parts that you can operate.</p>"
)


def static_part(runs: Sequence[Run], names: Sequence[str] | None = None) -> str:
    """Return the static part of the page of some runs, as HTML.

    Args:
        runs: the runs, in the order of the page.
        names: of the runs; by default those of their folders.
    """
    names = [run.folder.path.resolve().name for run in runs] if names is None else names
    sections = [
        _section(index, name, _gan_content(run) if isinstance(run, GANRun) else _lstm_content(run), run)
        for index, (run, name) in enumerate(zip(runs, names, strict=True))
    ]
    return "\n".join(
        [
            '<main class="static">',
            f"<h1>Explorer of {_escape(', '.join(names))}</h1>",
            INTRODUCTION,
            *sections,
            "</main>",
        ]
    )


def _section(index: int, name: str, content: Sequence[str], run: Run) -> str:
    kind = "GAN" if isinstance(run, GANRun) else "LSTM"
    title = f'<h2 id="static-{index}">{kind}: {_escape(name)}</h2>'
    return "\n".join([f'<section aria-labelledby="static-{index}">', title, *content, "</section>"])


def _gan_content(run: GANRun) -> list[str]:
    data = str(run.folder.record["data"]["name"])
    training = f"{run.step:,} updates, seed {run.config.seed}"
    content = [
        f"<p>A generator and a discriminator, trained on {_escape(data)}: {training}.</p>",
        "<h3>Samples</h3>",
        _pixels(_samples(run), 5, GRID_WIDTH, f"Grid of {GRID_SIZE} images that the generator made", "Random samples."),
        "<h3>Interpolation</h3>",
        _pixels(
            _strip(run),
            STRIP_STEPS + 2,
            STRIP_WIDTH,
            f"Row of {STRIP_STEPS + 2} images that change from one sample into another",
            "From one sample to another on a straight line through latent space.",
        ),
    ]
    if metrics := thin(run.metrics):
        alt = "Curves of the loss of both networks and of the mean output of the discriminator over the epochs"
        content += ["<h3>Training</h3>", _figure(loss_curves(metrics), alt, _last_losses(metrics))]
    if scores := thin(run.scores):
        collapsed = [warning is not None for warning in find_collapses(scores)]
        alt = "Curves of FID, precision, recall and coverage over the epochs, with the values of real images"
        content.append(_figure(score_curves(scores, collapsed), alt, "Scores while training; the table has the last."))
    if known := [record for record in run.scores if record["step"] <= run.step]:
        content += ["<h3>Scores</h3>", _score_table(known[-1])]
    return content


def _lstm_content(run: LSTMRun) -> list[str]:
    description = SequenceData.of_task(run.config, run.task)
    task = f"the task {_escape(run.config.task)}; input: {_escape(description.input_text)}"
    content = [f"<p>A recurrent network for {task}. {run.step:,} updates, seed {run.config.seed}.</p>"]
    if metrics := thin(run.metrics):
        num_classes = None if description.classes is None else len(description.classes)
        alt = "Curves of loss and accuracy over the epochs, for training and validation"
        last = metrics[-1]
        rows = [
            (label, *(f"{last[f'{part}_{key}']:{form}}" for part in ("train", "validation")))
            for key, label, form in (("loss", "Loss", ".4f"), ("accuracy", "Accuracy", ".2%"))
            if last[f"train_{key}"] is not None and last[f"validation_{key}"] is not None
        ]
        caption = f"Metrics after epoch {last['epoch']}."
        content += [
            "<h3>Training</h3>",
            _figure(learning_curves([metrics], num_classes), alt, "Training with dropout, validation without."),
            _table(caption, ("Metric", "Training", "Validation"), rows),
        ]
    return content


def thin(records: Records) -> list[Mapping[str, Any]]:
    """Return at most about MAX_POINTS records, evenly spaced and with the last."""
    stride = -(-len(records) // MAX_POINTS) or 1
    return list(records[::-stride][::-1])


def _samples(run: GANRun) -> Tensor:
    """Return the images of the latents of the sample grids, [N, C, H, W]."""
    generator = run.generator
    classes = torch.arange(GRID_SIZE) % generator.num_classes if generator.num_classes else None
    z = generator.sample_latents(GRID_SIZE, make_rng(run.config.seed, "grid"), classes)
    return generate(generator, z.to(next(generator.parameters()).device)).cpu()


def _strip(run: GANRun) -> Tensor:
    """Return the images of an interpolation between two samples that differ much, [N, C, H, W]."""
    start, end = choose_distant_endpoints(run.generator, run.config.seed)
    latents = interpolate(start, end, STRIP_STEPS)
    return generate(run.generator, latents.to(next(run.generator.parameters()).device)).cpu()


def _last_losses(metrics: Records) -> str:
    last = metrics[-1]
    texts = [
        f"{name} {last[key]:.3f}"
        for key, name in (("generator_loss", "generator"), ("discriminator_loss", "discriminator"))
        if last[key] is not None
    ]
    return f"Last losses: {', '.join(texts)}." if texts else "Losses and outputs while training."


def _score_table(scores: Mapping[str, Any]) -> str:
    rows = [
        [text for text in (row.name, row.value, row.real, row.noise) if text is not None] for row in score_rows(scores)
    ]
    header = ("Score", "Samples", "Real images", "Noise")[: len(rows[0])]
    caption = f"After epoch {scores['epoch']}, of {scores['num_samples']:,} samples. Features: {scores['extractor']}."
    return _table(caption, header, rows)


def _table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column has the names of the rows."""
    head = "".join(f'<th scope="col">{_escape(text)}</th>' for text in header)
    body = "".join(
        f'<tr><th scope="row">{_escape(name)}</th>'
        + "".join(f"<td>{_escape(value)}</td>" for value in values)
        + "</tr>"
        for name, *values in rows
    )
    return f"<table><caption>{_escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _pixels(images: Tensor, columns: int, width: int, alt: str, caption: str) -> str:
    """Return a grid of images [N, C, H, W] in [-1, 1], enlarged without smoothing to about `width` CSS pixels."""
    side = max(images.shape[2:])
    if side > MAX_SIDE:
        images = functional.interpolate(images, scale_factor=MAX_SIDE / side, mode="area")
    pixels = tile(images, columns)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG", optimize=True)
    factor = max(1, round(width / pixels.shape[1]))
    size = factor * pixels.shape[1], factor * pixels.shape[0]
    return _image(content.getvalue(), "pixels", size, alt, caption)


def _figure(figure: Figure, alt: str, caption: str) -> str:
    """Return a figure as an image."""
    content = io.BytesIO()
    with styled():
        figure.savefig(content, format="png", dpi=FIGURE_DPI, metadata={"Software": None})
    image = Image.open(content).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    content = io.BytesIO()
    image.save(content, format="PNG", optimize=True)
    return _image(
        content.getvalue(), "plot", (image.width * 96 // FIGURE_DPI, image.height * 96 // FIGURE_DPI), alt, caption
    )


def _image(png: bytes, kind: str, size: tuple[int, int], alt: str, caption: str) -> str:
    data = base64.b64encode(png).decode("ascii")
    width, height = size
    return (
        f'<figure><img class="{kind}" src="data:image/png;base64,{data}" width="{width}" height="{height}" '
        f'alt="{_escape(alt)}"><figcaption>{_escape(caption)}</figcaption></figure>'
    )


def _escape(text: str) -> str:
    """Return a text as HTML, also for attributes; what UTF-8 cannot hold becomes a question mark."""
    return html.escape(text.encode("utf-8", "replace").decode("utf-8"))
