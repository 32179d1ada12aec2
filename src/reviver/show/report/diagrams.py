"""Diagrams of the networks, with sizes read from their modules.

Coordinates and sizes are in inches. Shapes: T length of a palindrome.
"""

import itertools
from collections.abc import Mapping, Sequence
from math import log2
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from torch import nn

from reviver.figures import CHANCE_COLOR, FIXED, INK, TRAIN_COLOR, VALIDATION_COLOR, styled
from reviver.gan.networks import Discriminator, Generator
from reviver.recurrent.classifier import LSTMClassifier

WIDTH = 6.3
WEIGHTS_FILL, STATE_FILL, DROPOUT_FILL = (TRAIN_COLOR, 0.14), (VALIDATION_COLOR, 0.17), (INK, 0.06)
"""Colors of boxes, and how much of each is mixed into the background."""
BACKGROUND = (INK, 0.0)
SMALL, MEDIUM, LARGE = 8.0, 9.0, 11.0
"""Font sizes in points."""
RADIUS = 0.12
"""Radius of the circles for operations."""
MAX_STEPS = 6
"""Steps drawn of the unrolled LSTM; longer palindromes omit those in the middle."""
GAP = -1
"""Placeholder for the omitted steps."""

FONTS: Any = {"mathtext.fontset": "stix", "font.family": "sans-serif"}
BOX: Any = {"boxstyle": "round,pad=0,rounding_size=0.06", "edgecolor": INK, "linewidth": 0.9, "zorder": 3}
ARROW: Any = {"mutation_scale": 8, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.1, "capstyle": "round", "zorder": 2}

Point = tuple[float, float]
Fill = tuple[str, float]


def _mix(fill: Fill) -> Any:
    """Return a color mixed into the background of the figure, light or dark."""
    color, fraction = fill
    return fraction * np.array(to_rgb(color)) + (1 - fraction) * np.array(to_rgb(mpl.rcParams["figure.facecolor"]))


class Canvas:
    """A figure with axes whose unit is one inch, and the shapes of the diagrams."""

    def __init__(self, height: float) -> None:
        self.figure = Figure(figsize=(WIDTH, height), layout=FIXED)
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
        self.axes.set_axis_off()

    def text(self, x: float, y: float, text: str, size: float = SMALL, ha: str = "center", **style: Any) -> None:
        """Write `text`, vertically centered at y."""
        defaults: dict[str, Any] = {"va": "center", "color": INK, "linespacing": 1.35, "zorder": 5}
        self.axes.text(x, y, text, fontsize=size, ha=ha, **defaults | style)

    def box(self, x: float, y: float, width: float, height: float, fill: Fill, lines: Mapping[str, float]) -> None:
        """Draw a rounded rectangle centered at (x, y), with `lines` of text and their font sizes."""
        self.axes.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, facecolor=_mix(fill), **BOX))
        # A fixed line height aligns the baselines of neighboring boxes.
        style = {"va": "center_baseline", "linespacing": "normal"}
        for index, (text, size) in enumerate(lines.items()):
            self.text(x, y + 0.1 * (len(lines) - 1 - 2 * index), text, size, **style)

    def circle(self, x: float, y: float, text: str, radius: float = RADIUS, fill: Fill = BACKGROUND) -> None:
        """Draw a circle centered at (x, y) with `text` in it."""
        self.axes.add_patch(Circle((x, y), radius, facecolor=_mix(fill), edgecolor=INK, linewidth=0.9, zorder=3))
        self.text(x, y, text, LARGE)

    def line(self, *points: Point, arrow: bool = True, color: str = INK, dashed: bool = False) -> None:
        """Draw a line through `points`, with an arrowhead at the last one."""
        for start, end in itertools.pairwise(points):
            head = "-|>" if arrow and end == points[-1] else "-"
            dashes = (0, (3, 2)) if dashed else "solid"
            self.axes.add_patch(FancyArrowPatch(start, end, arrowstyle=head, linestyle=dashes, color=color, **ARROW))


@styled()
@mpl.rc_context(FONTS)
def lstm_cell(network: LSTMClassifier) -> Figure:
    """Draw one step of the LSTM: gates i, f, o, candidate g, cell state c, hidden state h and dropout mask m."""
    hidden, inputs, dropout = network.lstm.hidden_size, network.lstm.input_size, network.lstm.options.hidden_dropout
    cell_y, multiply_y, gate_y, input_y = 2.62, 1.82, 1.08, 0.42
    top, bottom = gate_y + 0.33, gate_y - 0.33
    forget_x, input_x, candidate_x, output_x = 1.2, 2.2, 3.2, 4.2
    add_x, tanh_x, mask_x, end = 2.7, 4.85, 5.4, 5.82
    canvas = Canvas(3.05)

    for start, stop in ((0.5, forget_x - RADIUS), (forget_x + RADIUS, add_x - RADIUS), (add_x + RADIUS, end)):
        canvas.line((start, cell_y), (stop, cell_y), color=VALIDATION_COLOR)
    canvas.text(0.44, cell_y, "$c_{t-1}$", LARGE, "right")
    canvas.text(end + 0.06, cell_y, "$c_t$", LARGE, "left")
    canvas.line((0.5, input_y), (output_x, input_y), arrow=False, color=TRAIN_COLOR)
    canvas.text(0.44, input_y, "$h_{t-1}$", LARGE, "right")
    canvas.line((0.72, 0.16), (0.72, input_y), arrow=False, color=TRAIN_COLOR)
    canvas.text(0.82, 0.15, f"$x_t$   (size {inputs})", MEDIUM, "left")
    canvas.text(end + 0.38, 0.15, f"$h$ and $c$: size {hidden}", MEDIUM, "right")

    for x, name, activation, letter, signal, side in (
        (forget_x, "forget gate", "σ", "f", "f", 1),
        (input_x, "input gate", "σ", "i", "i", -1),
        (candidate_x, "candidate", "tanh", "c", "g", 1),
        (output_x, "output gate", "σ", "o", "o", -1),
    ):
        canvas.line((x, input_y), (x, bottom), color=TRAIN_COLOR)
        weights = f"$W_{letter}$  $U_{letter}$  $b_{letter}$"
        canvas.box(x, gate_y, 0.84, 0.66, WEIGHTS_FILL, {name: SMALL, activation: MEDIUM, weights: MEDIUM})
        canvas.text(x + 0.07 * side, 1.62, f"${signal}_t$", LARGE, "left" if side > 0 else "right")
    canvas.line((forget_x, top), (forget_x, cell_y - RADIUS))
    canvas.line((add_x, multiply_y + RADIUS), (add_x, cell_y - RADIUS))
    for x, end_x in ((input_x, add_x - RADIUS), (candidate_x, add_x + RADIUS), (output_x, tanh_x - RADIUS)):
        canvas.line((x, top), (x, multiply_y), (end_x, multiply_y))

    canvas.line((tanh_x, cell_y), (tanh_x, 2.37), color=VALIDATION_COLOR)
    canvas.box(tanh_x, 2.26, 0.5, 0.22, STATE_FILL, {"tanh": MEDIUM})
    canvas.line((tanh_x, 2.15), (tanh_x, multiply_y + RADIUS))
    canvas.line((tanh_x + RADIUS, multiply_y), (mask_x - RADIUS, multiply_y))
    canvas.line((mask_x + RADIUS, multiply_y), (end, multiply_y), color=TRAIN_COLOR)
    canvas.text(end + 0.06, multiply_y, "$h_t$", LARGE, "left")
    words = {"dropout": SMALL, f"$p$ = {dropout:g}": MEDIUM, "training only": SMALL}
    canvas.box(mask_x, gate_y, 0.84, 0.66, DROPOUT_FILL, words)
    canvas.line((mask_x, top), (mask_x, multiply_y - RADIUS), dashed=True)
    canvas.text(mask_x + 0.07, 1.58, "$m_t$", LARGE, "left")
    for x in (add_x, tanh_x, mask_x):
        canvas.circle(x, multiply_y, "×")
    canvas.circle(forget_x, cell_y, "×")
    canvas.circle(add_x, cell_y, "+")
    return canvas.figure


@styled()
@mpl.rc_context(FONTS)
def lstm_unrolled(network: LSTMClassifier, digits: Sequence[int]) -> Figure:
    """Draw the classifier over the T - 1 steps of the palindrome `digits` [T], whose last digit is the class."""
    steps = len(digits) - 1
    columns = list(range(steps)) if steps <= MAX_STEPS else [0, 1, 2, GAP, steps - 1]
    canvas = Canvas(2.0)
    y, top, low, left, right = 1.12, 1.29, 0.97, 0.98, 4.02
    spacing = (right - left) / max(len(columns) - 1, 1)
    half = min(0.5, spacing * 0.62) / 2
    canvas.text(0.3, top, "$c_0 = 0$", MEDIUM)
    canvas.text(0.3, low, "$h_0 = 0$", MEDIUM)
    previous = 0.58
    for index, step in enumerate(columns):
        x = left + index * spacing
        canvas.line((previous, top), (x - half, top), color=VALIDATION_COLOR)
        canvas.line((previous, low), (x - half, low), color=TRAIN_COLOR, dashed=index > 0)
        previous = x + half
        if step == GAP:
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
    canvas.line((5.32, low), (5.54, low))
    canvas.text(5.91, low, f"{classes} logits,\none per digit")
    canvas.text(5.05, 0.56, f"{features} → {classes}")
    canvas.circle(5.94, 1.62, str(digits[-1]), 0.15, STATE_FILL)
    canvas.text(5.74, 1.62, f"class $x_{{{steps + 1}}}$", MEDIUM, "right")
    canvas.line((5.94, 1.17), (5.94, 1.47), arrow=False, color=CHANCE_COLOR, dashed=True)
    canvas.text(5.88, 1.34, "cross-entropy", ha="right", color=CHANCE_COLOR)
    canvas.text((left + right) / 2, 1.83, f"the same weights at each of the {steps} steps")
    begin, end = left - half, right + half
    canvas.line((begin, 1.62), (begin, 1.68), (end, 1.68), (end, 1.62), arrow=False)
    return canvas.figure


def read_layers(network: Generator | Discriminator) -> list[dict[str, Any]]:
    """Return the linear layers of a network of the GAN, each with the modules up to the next, of D with the Sigmoid of its loss."""
    layers: list[tuple[nn.Linear, list[str]]] = []
    for module in network.layers:
        if isinstance(module, nn.Linear):
            layers.append((module, []))
            continue
        negative_slope = f" {module.negative_slope:g}" if isinstance(module, nn.LeakyReLU) else ""
        layers[-1][1].append(type(module).__name__.removesuffix("1d") + negative_slope)
    if isinstance(network, Discriminator):
        layers[-1][1].append("Sigmoid")
    return [
        {"inputs": linear.in_features, "outputs": linear.out_features, "followed_by": names} for linear, names in layers
    ]


@styled()
@mpl.rc_context(FONTS)
def gan_networks(generator: Generator, discriminator: Discriminator) -> Figure:
    """Draw both networks as rows of layers; the height of a layer is linear in the logarithm of its width."""
    canvas = Canvas(3.95)
    image = f"image\n{' × '.join(map(str, generator.image_shape))}"
    latent, probability = f"latent\nvector $z$\n{generator.latent_size}", "probability\nof being real"
    generator_layers, discriminator_layers = read_layers(generator), read_layers(discriminator)
    widest = max(layer["outputs"] for layer in generator_layers + discriminator_layers)
    for y, title, input_text, layers, output_text in (
        (3.02, "Generator $G$", latent, generator_layers, image),
        (0.95, "Discriminator $D$", image, discriminator_layers, probability),
    ):
        canvas.text(0.08, y + 0.78, title, LARGE, "left")
        canvas.text(0.42, y, input_text)
        previous, first, last, width = 0.82, 1.22, 5.0, 0.44
        for index, layer in enumerate(layers):
            x = first + index * (last - first) / max(len(layers) - 1, 1)
            height = max(0.3, 1.2 * (log2(layer["outputs"]) - 4) / (log2(widest) - 4))
            canvas.line((previous, y), (x - width / 2, y))
            canvas.box(x, y, width, height, WEIGHTS_FILL, {str(layer["outputs"]): MEDIUM})
            canvas.text(x, y - 0.64, "\n".join(["Linear", *layer["followed_by"]]), va="top", linespacing=1.3)
            previous = x + width / 2
        canvas.line((previous, y), (5.45, y))
        canvas.text(5.86, y, output_text)
    return canvas.figure
