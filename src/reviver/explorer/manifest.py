"""The manifest of the explorer: what is in the page, and in which data block.

`tools/explorer_types.py` makes the types of the page of it. JSON has a number that is not finite as null.

Shapes: N images, C channels, H height, W width, Z latent size, K classes, T time steps, I input size.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from reviver.data.sequences.standardization import Standardization
from reviver.settings.tasks import Rule
from reviver.train.description import Item

SCHEMA = 1

Activation = Literal["leaky-relu", "relu", "tanh", "none"]
Dtype = Literal["f16", "f32", "u2", "u8"]
"""Format of the numbers of a tensor, see `TensorSpec`."""
Columns = Mapping[str, Sequence[float | None]]
"""Columns of numbers by name, of equal length: the records of a run."""

Settings = Mapping[str, str | int | float | bool | None]
"""Settings by name."""


class RunName(NamedTuple):
    """Name of a run in the page, with a number if others before have the same, and what commands to copy call it.

    That is a relative path as it was given; of an absolute one, whose folders may be private, only the name.
    """

    name: str
    argument: str


class ManifestPart(BaseModel):
    """Base of the parts of a manifest."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, frozen=True, extra="forbid", use_attribute_docstrings=True
    )


class TensorSpec(ManifestPart):
    """A tensor inside a data block.

    - `f16`: n half-precision numbers, first their n low bytes, then their n high bytes; the value is number × `scale`.
    - `f32`: n little-endian single-precision numbers.
    - `u2`: images [N, 1, H, W] of four gray levels, a byte for each 2 × 2 of their pixels, two bits each, the lowest first.
    - `u8`: n bytes; for images the value is byte / 127.5 - 1.
    """

    dtype: Dtype
    offset: int
    """First byte in the inflated block."""
    shape: Sequence[int]
    scale: float | None = None
    """A power of two."""


class TensorBlock(ManifestPart):
    """Tensors by name in one data block."""

    block: str
    """Id of the script element."""
    tensors: Mapping[str, TensorSpec]


class LayerSpec(ManifestPart):
    """A layer and its activation, y = activation(W x + b), W [outputs, inputs], of a convolution [outputs, inputs, 3, 3]."""

    weight: str
    bias: str
    activation: Activation


class MlpSpec(ManifestPart):
    """A multilayer perceptron. BatchNorm in eval mode is part of its weights."""

    weights: TensorBlock
    layers: Sequence[LayerSpec]
    negative_slope: float
    """Of LeakyReLU."""


class ClassifierSpec(ManifestPart):
    """The classifier: (convolution 3 × 3 → ReLU → max pooling 2 × 2) for each convolution, then linear layers."""

    weights: TensorBlock
    image_shape: tuple[int, int, int]
    convolutions: Sequence[LayerSpec]
    layers: Sequence[LayerSpec]
    class_names: Sequence[str]


class ScoreRow(ManifestPart):
    """A score beside its baselines, as text."""

    name: str
    value: str
    real: str | None
    """The same score of real images; null of an LSTM."""
    noise: str | None
    """The same score of noise; of an LSTM, that of the best guess without memory."""


class Rounding(ManifestPart):
    """Difference between the embedded, rounded network and the trained one."""

    network: str
    unit: str
    """What is compared, such as "pixel, from -1 to 1"."""
    max: float
    mean: float


class Facts(ManifestPart):
    """What there is to know about a run."""

    run: Sequence[Item]
    config: Sequence[Item]
    """Every setting; the note is "changed" where it differs from the default."""
    command: str
    scores: Sequence[ScoreRow]
    scores_note: str
    rounding: Sequence[Rounding]
    licenses: Sequence[Item]


class LogitContext(ManifestPart):
    """Log-odds of D for many images: the context of one image's log-odds."""

    real: Sequence[float]
    """Empty without real images."""
    fake: Sequence[float]
    real_source: str
    """What the real images are, such as "test images"."""


class RecordedGan(ManifestPart):
    """What the training of a GAN recorded: all that the page has of a run whose networks it cannot run."""

    id: str
    name: str
    image_shape: tuple[int, int, int]
    is_log_odds: bool
    """Whether the output of D is a log-odds; some losses train D to give a number without a unit."""
    metrics: Columns
    scores: Columns
    facts: Facts


class GanContent(RecordedGan):
    """A GAN run."""

    run_argument: str
    """The run folder as commands to copy name it, before they quote it."""
    noise_size: int
    """Numbers of z that are noise; the K others of a conditional generator are its one-hot class."""
    latent_size: int
    """Z, with the class."""
    num_classes: int
    """K, 0 unless conditional."""
    class_names: Sequence[str]
    generator: MlpSpec
    discriminator: MlpSpec | None
    classifier: ClassifierSpec | None
    """Null where no classifier knows these images."""
    latents: TensorBlock
    """`grid` [25, Z]; `endpoints` [E, Z]; `directions` [2, Z], orthonormal, along which images change most."""
    endpoint_classes: Sequence[int | None]
    """Class of each end point by the classifier or by condition [E]."""
    logits: LogitContext
    training: TensorBlock | None
    """`images` [M, C, H, W] and, with labels, `labels` [M]."""
    test: TensorBlock | None
    """The same of real images to draw after."""
    label_names: Sequence[str] | None
    """Names of the labels of `training` and `test`."""


class LstmStage(ManifestPart):
    """Weights of an LSTM at one moment of the training, named as in its equations."""

    label: str
    weights: TensorBlock


class Example(ManifestPart):
    """A sequence to look at."""

    values: Sequence[float]
    """Symbols [T], or numbers [T · I], row by row, as a user would type them."""
    target: float | Sequence[int]
    """Class, class at every step, or number."""


class RecordedLstm(ManifestPart):
    """What the training of an LSTM recorded, see `RecordedGan`."""

    id: str
    name: str
    target: Literal["class", "class at every step", "number"]
    output_size: int
    metrics: Columns
    facts: Facts


class LstmContent(RecordedLstm):
    """An LSTM run."""

    run_argument: str
    cell: str
    """Name of a built-in cell, or its text."""
    task: str
    rule: Rule | None
    """How a target follows from a sequence; None if a user chooses it."""
    input_kind: Literal["symbols", "numbers"]
    noun: str
    """Of a symbol, or of a number."""
    encoding: Literal["scalar", "onehot"]
    symbol_names: Sequence[str]
    """Empty if the inputs are numbers."""
    input_size: int
    """I of one step, after the encoding and before patches."""
    channel_names: Sequence[str]
    """Of numbers [I]."""
    class_names: Sequence[str]
    """Empty if the target is a number."""
    hidden_size: int
    num_layers: int
    bidirectional: bool
    pooling: Literal["last", "mean", "max", "attention"]
    patch_size: int
    hidden_dropout: float
    hidden_dropout_kind: Literal["step", "variational", "zoneout"]
    length: int
    standardization: Standardization | None
    stages: Sequence[LstmStage]
    """First, middle and last, or fewer."""
    examples: Sequence[Example]


class TrainingImages(ManifestPart):
    """Images on which the page trains a GAN."""

    data: TensorBlock
    """`images` [N, 1, H, W], bytes."""
    source: str
    """Setting `data` of the same training in Python."""
    classifier: ClassifierSpec
    """What tells their classes."""
    license: Item


class Manifest(ManifestPart):
    """The manifest of a page."""

    schema_version: int = SCHEMA
    version: str
    title: str
    gans: Sequence[GanContent]
    lstms: Sequence[LstmContent]
    recorded: Sequence[RecordedGan | RecordedLstm] = ()
    """Runs whose networks the page cannot run."""
    training_images: TrainingImages | None = None
    lstm_config: Settings
    """All settings of an LSTM's run by their names in Python, with their defaults, for the run folders of the page."""
    gan_config: Settings
    """The same of a GAN's."""
