"""Drawings of the networks, with sizes read from the modules. Coordinates and sizes are inches.

Shapes: T length of a palindrome, I input size, H hidden size, C classes, Z latent size.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import log2
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from torch import nn

from reviver.figures import CHANCE_COLOR, TRAIN_COLOR, VALIDATION_COLOR, styled
from reviver.gan.networks import Discriminator, Generator
from reviver.lstm.network import LSTMClassifier
from reviver.report.records import Layer

WIDTH = 6.3
INK = "#222222"
WEIGHTS_FILL, MEMORY_FILL, PLAIN_FILL = "#dcebf5", "#fbe6d4", "#f2f2f2"
SMALL, MEDIUM, LARGE = 8.0, 9.0, 11.0
MAX_STEPS = 6
"""More steps than this are not all drawn."""

BOX: Any = {"boxstyle": "round,pad=0,rounding_size=0.06", "edgecolor": INK, "linewidth": 0.9, "zorder": 3}
ARROW: Any = {"mutation_scale": 8, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.1, "capstyle": "round", "zorder": 2}

Point = tuple[float, float]


@contextmanager
def _drawing() -> Iterator[None]:
    with styled(), mpl.rc_context({"mathtext.fontset": "stix", "font.family": "sans-serif"}):
        yield


class Canvas:
    """Axes on which one unit is one inch, with the few shapes that the drawings are made of."""

    def __init__(self, height: float) -> None:
        self.figure = Figure(figsize=(WIDTH, height))
        self.figure.set_layout_engine("none")
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, WIDTH), ylim=(0, height))
        self.axes.set_axis_off()

    def text(
        self, x: float, y: float, text: str, size: float = SMALL, *, align: str = "center", color: str = INK
    ) -> None:
        """Write `text` with its middle at the height y."""
        self.axes.text(x, y, text, fontsize=size, ha=align, va="center", color=color, linespacing=1.35, zorder=5)

    def label(self, x: float, y: float, text: str, size: float = MEDIUM) -> None:
        """Write `text` so that texts at one height share their baseline."""
        self.axes.text(x, y, text, fontsize=size, ha="center", va="center_baseline", color=INK, zorder=5)

    def box(self, center: Point, width: float, height: float, fill: str) -> None:
        """Draw a rectangle with round corners."""
        corner = (center[0] - width / 2, center[1] - height / 2)
        self.axes.add_patch(FancyBboxPatch(corner, width, height, facecolor=fill, **BOX))

    def circle(self, center: Point, text: str, radius: float = 0.12, fill: str = "white") -> None:
        """Draw a circle with a sign in it."""
        self.axes.add_patch(Circle(center, radius, facecolor=fill, edgecolor=INK, linewidth=0.9, zorder=3))
        self.text(*center, text, LARGE)

    def line(self, *corners: Point, arrow: bool = True, color: str = INK, dashed: bool = False) -> None:
        """Draw a line along `corners`, with an arrow at its end."""
        for start, end in itertools.pairwise(corners):
            head = "-|>" if arrow and end == corners[-1] else "-"
            dashes = (0, (3, 2)) if dashed else "solid"
            self.axes.add_patch(FancyArrowPatch(start, end, arrowstyle=head, linestyle=dashes, color=color, **ARROW))


@_drawing()
def lstm_cell(network: LSTMClassifier) -> Figure:
    """One step of the LSTM: the gates f, i, g, o, the cell state c, the hidden state h and its dropout mask m."""
    hidden, inputs = network.lstm.hidden_size, network.lstm.input_size
    cell_y, product_y, gate_y, bus_y = 2.62, 1.82, 1.08, 0.42
    forget, write, candidate, output = 1.2, 2.2, 3.2, 4.2
    meeting, out, mask, end = 2.7, 4.85, 5.4, 5.82
    gate_height, radius = 0.66, 0.12
    canvas = Canvas(3.05)

    canvas.line((0.5, cell_y), (forget - radius, cell_y), color=VALIDATION_COLOR)
    canvas.line((forget + radius, cell_y), (meeting - radius, cell_y), color=VALIDATION_COLOR)
    canvas.line((meeting + radius, cell_y), (end, cell_y), color=VALIDATION_COLOR)
    canvas.text(0.44, cell_y, "$c_{t-1}$", LARGE, align="right")
    canvas.text(end + 0.06, cell_y, "$c_t$", LARGE, align="left")

    canvas.line((0.5, bus_y), (output, bus_y), arrow=False, color=TRAIN_COLOR)
    canvas.text(0.44, bus_y, "$h_{t-1}$", LARGE, align="right")
    canvas.line((0.72, 0.16), (0.72, bus_y), arrow=False, color=TRAIN_COLOR)
    canvas.text(0.82, 0.15, f"$x_t$   ({inputs} number{'s' * (inputs > 1)})", MEDIUM, align="left")
    canvas.text(end + 0.38, 0.15, f"$h$ and $c$ have {hidden} numbers each", MEDIUM, align="right")

    gates = (
        (forget, "forget gate", "σ", "f"),
        (write, "input gate", "σ", "i"),
        (candidate, "candidate", "tanh", "c"),
        (output, "output gate", "σ", "o"),
    )
    for x, name, activation, letter in gates:
        canvas.line((x, bus_y), (x, gate_y - gate_height / 2), color=TRAIN_COLOR)
        canvas.box((x, gate_y), 0.84, gate_height, WEIGHTS_FILL)
        canvas.label(x, gate_y + 0.2, name, SMALL)
        canvas.label(x, gate_y, activation, MEDIUM)
        canvas.label(x, gate_y - 0.2, f"$W_{letter}$  $U_{letter}$  $b_{letter}$", MEDIUM)

    top = gate_y + gate_height / 2
    canvas.line((forget, top), (forget, cell_y - radius))
    canvas.text(forget + 0.07, 1.62, "$f_t$", LARGE, align="left")
    canvas.line((write, top), (write, product_y), (meeting - radius, product_y))
    canvas.text(write - 0.07, 1.62, "$i_t$", LARGE, align="right")
    canvas.line((candidate, top), (candidate, product_y), (meeting + radius, product_y))
    canvas.text(candidate + 0.07, 1.62, "$g_t$", LARGE, align="left")
    canvas.line((meeting, product_y + radius), (meeting, cell_y - radius))
    canvas.line((output, top), (output, product_y), (out - radius, product_y))
    canvas.text(output - 0.07, 1.62, "$o_t$", LARGE, align="right")

    canvas.line((out, cell_y), (out, 2.37), color=VALIDATION_COLOR)
    canvas.box((out, 2.26), 0.5, 0.22, MEMORY_FILL)
    canvas.label(out, 2.26, "tanh", MEDIUM)
    canvas.line((out, 2.15), (out, product_y + radius))
    canvas.line((out + radius, product_y), (mask - radius, product_y))
    canvas.line((mask + radius, product_y), (end, product_y), color=TRAIN_COLOR)
    canvas.text(end + 0.06, product_y, "$h_t$", LARGE, align="left")
    canvas.box((mask, gate_y), 0.84, gate_height, PLAIN_FILL)
    canvas.label(mask, gate_y + 0.2, "dropout", SMALL)
    canvas.label(mask, gate_y, f"$p$ = {network.lstm.hidden_dropout:g}", MEDIUM)
    canvas.label(mask, gate_y - 0.2, "training only", SMALL)
    canvas.line((mask, top), (mask, product_y - radius), dashed=True)
    canvas.text(mask + 0.07, 1.58, "$m_t$", LARGE, align="left")
    for center, sign in (
        ((forget, cell_y), "×"),
        ((meeting, cell_y), "+"),
        ((meeting, product_y), "×"),
        ((out, product_y), "×"),
        ((mask, product_y), "×"),
    ):
        canvas.circle(center, sign)
    return canvas.figure


@_drawing()
def unrolled(network: LSTMClassifier, digits: Sequence[int]) -> Figure:
    """The classifier over the T - 1 steps of the palindrome `digits` [T], whose last digit is the class."""
    steps = len(digits) - 1
    shown = list(range(steps)) if steps <= MAX_STEPS else [0, 1, 2, -1, steps - 1]  # -1 stands for those left out
    canvas = Canvas(2.0)
    y, height, top, low = 1.12, 0.62, 1.29, 0.97
    left, right = 0.98, 4.02
    gap = (right - left) / max(len(shown) - 1, 1)
    width = min(0.5, gap * 0.62)
    canvas.text(0.3, top, "$c_0 = 0$", MEDIUM)
    canvas.text(0.3, low, "$h_0 = 0$", MEDIUM)
    previous = 0.58
    for place, step in enumerate(shown):
        x = left + place * gap
        canvas.line((previous, top), (x - width / 2, top), color=VALIDATION_COLOR)
        canvas.line((previous, low), (x - width / 2, low), color=TRAIN_COLOR, dashed=place > 0)
        previous = x + width / 2
        if step < 0:
            canvas.text(x, y, "· · ·", LARGE)
            continue
        canvas.box((x, y), width, height, WEIGHTS_FILL)
        canvas.label(x, y, "LSTM", SMALL)
        canvas.line((x, 0.6), (x, y - height / 2))
        canvas.circle((x, 0.45), str(digits[step]), 0.15)
        canvas.text(x, 0.16, f"$x_{{{step + 1}}}$", MEDIUM)
    name = str(steps)
    canvas.line((previous, low), (4.78, low), color=TRAIN_COLOR, dashed=True)
    canvas.text((previous + 4.78) / 2, low - 0.15, f"$h_{{{name}}}$", MEDIUM)
    classes, features = network.W_out.shape
    canvas.box((5.05, low), 0.54, 0.5, WEIGHTS_FILL)
    canvas.label(5.05, low + 0.1, "linear", SMALL)
    canvas.label(5.05, low - 0.1, "$W_{out}$ $b_{out}$", SMALL)
    canvas.line((5.32, low), (5.62, low))
    canvas.text(5.94, low, f"{classes} logits,\none a digit", SMALL)
    canvas.text(5.05, 0.56, f"{features} → {classes}", SMALL)
    canvas.circle((5.94, 1.62), str(digits[-1]), 0.15, MEMORY_FILL)
    canvas.text(5.74, 1.62, f"class $x_{{{steps + 1}}}$", MEDIUM, align="right")
    canvas.line((5.94, 1.17), (5.94, 1.47), arrow=False, color=CHANCE_COLOR, dashed=True)
    canvas.text(5.88, 1.34, "cross-entropy", SMALL, align="right", color=CHANCE_COLOR)
    canvas.text((left + right) / 2, 1.83, f"the same weights at each of the {steps} steps", SMALL)
    canvas.line((left - width / 2, 1.68), (left - width / 2, 1.62), arrow=False)
    canvas.line((left - width / 2, 1.68), (right + width / 2, 1.68), arrow=False)
    canvas.line((right + width / 2, 1.68), (right + width / 2, 1.62), arrow=False)
    return canvas.figure


def read_layers(network: Generator | Discriminator) -> list[Layer]:
    """Read the layers of a network of the GAN from its modules, the discriminator's final sigmoid included."""
    layers: list[tuple[nn.Linear, list[str]]] = []
    for module in network.layers:
        if isinstance(module, nn.Linear):
            layers.append((module, []))
            continue
        slope = f" {module.negative_slope:g}" if isinstance(module, nn.LeakyReLU) else ""
        layers[-1][1].append(type(module).__name__.removesuffix("1d") + slope)
    if isinstance(network, Discriminator):
        layers[-1][1].append("Sigmoid")
    return [
        Layer(inputs=linear.in_features, outputs=linear.out_features, followers=tuple(followers))
        for linear, followers in layers
    ]


@_drawing()
def gan_networks(generator: Generator, discriminator: Discriminator) -> Figure:
    """Both networks as rows of layers; the height of a layer grows with the logarithm of its width."""
    canvas = Canvas(3.95)
    image = f"image\n{' × '.join(map(str, generator.image_shape))}"
    noise, probability = f"noise\n$z$\n{generator.latent_size}", "probability\nof being real"
    ours, theirs = read_layers(generator), read_layers(discriminator)
    widest = max(layer.outputs for layer in ours + theirs)
    _layer_row(canvas, 3.02, "Generator $G$", noise, ours, image, widest)
    _layer_row(canvas, 0.95, "Discriminator $D$", image, theirs, probability, widest)
    return canvas.figure


def _layer_row(
    canvas: Canvas, y: float, title: str, source: str, layers: Sequence[Layer], target: str, widest: int
) -> None:
    """Draw one network around the height `y`."""
    canvas.text(0.08, y + 0.78, title, LARGE, align="left")
    first, last, width = 1.22, 5.0, 0.44
    gap = (last - first) / max(len(layers) - 1, 1)
    canvas.text(0.42, y, source, SMALL)
    previous = 0.82
    for index, layer in enumerate(layers):
        x = first + index * gap
        height = max(0.3, 1.2 * (log2(layer.outputs) - 4) / (log2(widest) - 4))
        canvas.line((previous, y), (x - width / 2, y))
        canvas.box((x, y), width, height, WEIGHTS_FILL)
        canvas.label(x, y, str(layer.outputs))
        followers = "\n".join(layer.followers)
        canvas.axes.text(
            x, y - 0.64, f"Linear\n{followers}", fontsize=SMALL, ha="center", va="top", color=INK, linespacing=1.3
        )
        previous = x + width / 2
    canvas.line((previous, y), (5.45, y))
    canvas.text(5.86, y, target, SMALL)
