"""Diagrams of the networks, with sizes read from the modules. Coordinates and sizes are inches.

Shapes: T length of a palindrome, I input size, H hidden size, C classes, Z latent size.
"""

import itertools
from collections.abc import Mapping, Sequence
from math import log2
from typing import Any

import matplotlib as mpl
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
RADIUS = 0.12
MAX_STEPS = 6
"""Of a longer palindrome, some steps are left out."""

FONTS: Any = {"mathtext.fontset": "stix", "font.family": "sans-serif"}
BOX: Any = {"boxstyle": "round,pad=0,rounding_size=0.06", "edgecolor": INK, "linewidth": 0.9, "zorder": 3}
ARROW: Any = {"mutation_scale": 8, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.1, "capstyle": "round", "zorder": 2}

Point = tuple[float, float]


class Canvas:
    """Axes on which one unit is one inch, with the few shapes that the diagrams are made of."""

    def __init__(self, height: float) -> None:
        self.figure = Figure(figsize=(WIDTH, height))
        self.figure.set_layout_engine("none")
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
        self.axes.set_axis_off()

    def text(self, x: float, y: float, text: str, size: float = SMALL, ha: str = "center", **style: Any) -> None:
        """Write `text` with its middle at the height y."""
        usual: dict[str, Any] = {"va": "center", "color": INK, "linespacing": 1.35, "zorder": 5}
        self.axes.text(x, y, text, fontsize=size, ha=ha, **usual | style)

    def box(self, x: float, y: float, width: float, height: float, fill: str, lines: Mapping[str, float]) -> None:
        """Draw a rectangle with round corners around (x, y), and in it `lines` of text with their sizes."""
        self.axes.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, facecolor=fill, **BOX))
        # a fixed line height, so that boxes side by side share their baselines
        style = {"va": "center_baseline", "linespacing": "normal"}
        for index, (text, size) in enumerate(lines.items()):
            self.text(x, y + 0.1 * (len(lines) - 1 - 2 * index), text, size, **style)

    def circle(self, x: float, y: float, text: str, radius: float = RADIUS, fill: str = "white") -> None:
        """Draw a circle with a sign in it."""
        self.axes.add_patch(Circle((x, y), radius, facecolor=fill, edgecolor=INK, linewidth=0.9, zorder=3))
        self.text(x, y, text, LARGE)

    def line(self, *corners: Point, arrow: bool = True, color: str = INK, dashed: bool = False) -> None:
        """Draw a line along `corners`, with an arrow at its end."""
        for start, end in itertools.pairwise(corners):
            head = "-|>" if arrow and end == corners[-1] else "-"
            dashes = (0, (3, 2)) if dashed else "solid"
            self.axes.add_patch(FancyArrowPatch(start, end, arrowstyle=head, linestyle=dashes, color=color, **ARROW))


@styled()
@mpl.rc_context(FONTS)
def lstm_cell(network: LSTMClassifier) -> Figure:
    """Draw one step of the LSTM: the gates f, i, g, o, the cell state c, the hidden state h and its dropout mask m."""
    hidden, inputs, dropout = network.lstm.hidden_size, network.lstm.input_size, network.lstm.options.hidden_dropout
    cell_y, product_y, gate_y, bus_y = 2.62, 1.82, 1.08, 0.42
    top, bottom = gate_y + 0.33, gate_y - 0.33
    forget, write, candidate, output = 1.2, 2.2, 3.2, 4.2
    meeting, out, mask, end = 2.7, 4.85, 5.4, 5.82
    canvas = Canvas(3.05)

    for start, stop in ((0.5, forget - RADIUS), (forget + RADIUS, meeting - RADIUS), (meeting + RADIUS, end)):
        canvas.line((start, cell_y), (stop, cell_y), color=VALIDATION_COLOR)
    canvas.text(0.44, cell_y, "$c_{t-1}$", LARGE, "right")
    canvas.text(end + 0.06, cell_y, "$c_t$", LARGE, "left")
    canvas.line((0.5, bus_y), (output, bus_y), arrow=False, color=TRAIN_COLOR)
    canvas.text(0.44, bus_y, "$h_{t-1}$", LARGE, "right")
    canvas.line((0.72, 0.16), (0.72, bus_y), arrow=False, color=TRAIN_COLOR)
    canvas.text(0.82, 0.15, f"$x_t$   ({inputs} number{'s' * (inputs > 1)})", MEDIUM, "left")
    canvas.text(end + 0.38, 0.15, f"$h$ and $c$ have {hidden} numbers each", MEDIUM, "right")

    for x, name, activation, letter, signal, side in (
        (forget, "forget gate", "σ", "f", "f", 1),
        (write, "input gate", "σ", "i", "i", -1),
        (candidate, "candidate", "tanh", "c", "g", 1),
        (output, "output gate", "σ", "o", "o", -1),
    ):
        canvas.line((x, bus_y), (x, bottom), color=TRAIN_COLOR)
        weights = f"$W_{letter}$  $U_{letter}$  $b_{letter}$"
        canvas.box(x, gate_y, 0.84, 0.66, WEIGHTS_FILL, {name: SMALL, activation: MEDIUM, weights: MEDIUM})
        canvas.text(x + 0.07 * side, 1.62, f"${signal}_t$", LARGE, "left" if side > 0 else "right")
    canvas.line((forget, top), (forget, cell_y - RADIUS))
    canvas.line((meeting, product_y + RADIUS), (meeting, cell_y - RADIUS))
    for x, end_x in ((write, meeting - RADIUS), (candidate, meeting + RADIUS), (output, out - RADIUS)):
        canvas.line((x, top), (x, product_y), (end_x, product_y))

    canvas.line((out, cell_y), (out, 2.37), color=VALIDATION_COLOR)
    canvas.box(out, 2.26, 0.5, 0.22, MEMORY_FILL, {"tanh": MEDIUM})
    canvas.line((out, 2.15), (out, product_y + RADIUS))
    canvas.line((out + RADIUS, product_y), (mask - RADIUS, product_y))
    canvas.line((mask + RADIUS, product_y), (end, product_y), color=TRAIN_COLOR)
    canvas.text(end + 0.06, product_y, "$h_t$", LARGE, "left")
    words = {"dropout": SMALL, f"$p$ = {dropout:g}": MEDIUM, "training only": SMALL}
    canvas.box(mask, gate_y, 0.84, 0.66, PLAIN_FILL, words)
    canvas.line((mask, top), (mask, product_y - RADIUS), dashed=True)
    canvas.text(mask + 0.07, 1.58, "$m_t$", LARGE, "left")
    for x in (meeting, out, mask):
        canvas.circle(x, product_y, "×")
    canvas.circle(forget, cell_y, "×")
    canvas.circle(meeting, cell_y, "+")
    return canvas.figure


@styled()
@mpl.rc_context(FONTS)
def unrolled(network: LSTMClassifier, digits: Sequence[int]) -> Figure:
    """Draw the classifier over the T - 1 steps of the palindrome `digits` [T], whose last digit is the class."""
    steps = len(digits) - 1
    shown = list(range(steps)) if steps <= MAX_STEPS else [0, 1, 2, -1, steps - 1]  # -1 stands for those left out
    canvas = Canvas(2.0)
    y, top, low, left, right = 1.12, 1.29, 0.97, 0.98, 4.02
    gap = (right - left) / max(len(shown) - 1, 1)
    half = min(0.5, gap * 0.62) / 2
    canvas.text(0.3, top, "$c_0 = 0$", MEDIUM)
    canvas.text(0.3, low, "$h_0 = 0$", MEDIUM)
    previous = 0.58
    for place, step in enumerate(shown):
        x = left + place * gap
        canvas.line((previous, top), (x - half, top), color=VALIDATION_COLOR)
        canvas.line((previous, low), (x - half, low), color=TRAIN_COLOR, dashed=place > 0)
        previous = x + half
        if step < 0:
            canvas.text(x, y, "· · ·", LARGE)
            continue
        canvas.box(x, y, 2 * half, 0.62, WEIGHTS_FILL, {"LSTM": SMALL})
        canvas.line((x, 0.6), (x, y - 0.31))
        canvas.circle(x, 0.45, str(digits[step]), 0.15)
        canvas.text(x, 0.16, f"$x_{{{step + 1}}}$", MEDIUM)
    canvas.line((previous, low), (4.78, low), color=TRAIN_COLOR, dashed=True)
    canvas.text((previous + 4.78) / 2, low - 0.15, f"$h_{{{steps}}}$", MEDIUM)
    classes, features = network.W_out.shape
    canvas.box(5.05, low, 0.54, 0.5, WEIGHTS_FILL, {"linear": SMALL, "$W_{out}$ $b_{out}$": SMALL})
    canvas.line((5.32, low), (5.62, low))
    canvas.text(5.94, low, f"{classes} logits,\none a digit")
    canvas.text(5.05, 0.56, f"{features} → {classes}")
    canvas.circle(5.94, 1.62, str(digits[-1]), 0.15, MEMORY_FILL)
    canvas.text(5.74, 1.62, f"class $x_{{{steps + 1}}}$", MEDIUM, "right")
    canvas.line((5.94, 1.17), (5.94, 1.47), arrow=False, color=CHANCE_COLOR, dashed=True)
    canvas.text(5.88, 1.34, "cross-entropy", ha="right", color=CHANCE_COLOR)
    canvas.text((left + right) / 2, 1.83, f"the same weights at each of the {steps} steps")
    begin, end = left - half, right + half
    canvas.line((begin, 1.62), (begin, 1.68), (end, 1.68), (end, 1.62), arrow=False)
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


@styled()
@mpl.rc_context(FONTS)
def gan_networks(generator: Generator, discriminator: Discriminator) -> Figure:
    """Draw both networks as rows of layers; the height of a layer grows with the logarithm of its width."""
    canvas = Canvas(3.95)
    image = f"image\n{' × '.join(map(str, generator.image_shape))}"
    noise, probability = f"noise\n$z$\n{generator.latent_size}", "probability\nof being real"
    of_generator, of_discriminator = read_layers(generator), read_layers(discriminator)
    widest = max(layer.outputs for layer in of_generator + of_discriminator)
    for y, title, source, layers, target in (
        (3.02, "Generator $G$", noise, of_generator, image),
        (0.95, "Discriminator $D$", image, of_discriminator, probability),
    ):
        canvas.text(0.08, y + 0.78, title, LARGE, "left")
        canvas.text(0.42, y, source)
        previous, first, last, width = 0.82, 1.22, 5.0, 0.44
        for index, layer in enumerate(layers):
            x = first + index * (last - first) / max(len(layers) - 1, 1)
            height = max(0.3, 1.2 * (log2(layer.outputs) - 4) / (log2(widest) - 4))
            canvas.line((previous, y), (x - width / 2, y))
            canvas.box(x, y, width, height, WEIGHTS_FILL, {str(layer.outputs): MEDIUM})
            canvas.text(x, y - 0.64, "\n".join(["Linear", *layer.followers]), va="top", linespacing=1.3)
            previous = x + width / 2
        canvas.line((previous, y), (5.45, y))
        canvas.text(5.86, y, target)
    return canvas.figure
