"""The manifest of the explorer: what is in the page, and in which data block.

`web/src/types.js` declares the same keys in camel case and explains them. JSON has a number that is not finite as null.

Shapes: N images, C channels, H height, W width, Z latent size, K classes, S snapshots, T time steps, I input size.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from reviver.data.sequences.standardization import Standardization
from reviver.train.description import Item

SCHEMA = 1

Activation = Literal["leaky-relu", "relu", "tanh", "none"]
Dtype = Literal["f16", "f32", "u8"]
"""Format of the numbers of a tensor, see `TensorSpec` in types.js."""
Columns = Mapping[str, Sequence[float | None]]
"""Columns of numbers by name, of equal length: the records of a run."""


class RunName(NamedTuple):
    """Name of a run in the page, with a number if others before have the same, and what commands to copy call it.

    That is a relative path as it was given; of an absolute one, whose folders may be private, only the name.
    """

    name: str
    argument: str


class ManifestPart(BaseModel):
    """Base of the parts of a manifest."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, frozen=True, extra="forbid")


class TensorSpec(ManifestPart):
    """A tensor inside a data block: see `Encoded` and `TensorSpec` in types.js."""

    dtype: Dtype
    offset: int
    shape: Sequence[int]
    scale: float | None = None


class TensorBlock(ManifestPart):
    """Tensors by name in one data block."""

    block: str
    tensors: Mapping[str, TensorSpec]


class LayerSpec(ManifestPart):
    """A linear layer or a convolution, and its activation."""

    weight: str
    bias: str
    activation: Activation


class MlpSpec(ManifestPart):
    """A multilayer perceptron."""

    weights: TensorBlock
    layers: Sequence[LayerSpec]
    negative_slope: float


class ClassifierSpec(ManifestPart):
    """The classifier of the generated images."""

    weights: TensorBlock
    image_shape: tuple[int, int, int]
    convolutions: Sequence[LayerSpec]
    layers: Sequence[LayerSpec]
    class_names: Sequence[str]


class SnapshotSpec(ManifestPart):
    """One moment of the training."""

    step: int
    epoch: float
    label: str
    real_logits: Sequence[float]
    fake_logits: Sequence[float]


class SnapshotsSpec(ManifestPart):
    """Pictures of the same latents at some moments of the training."""

    data: TensorBlock
    moments: Sequence[SnapshotSpec]


class ScoreRow(ManifestPart):
    """A score beside its baselines, as text."""

    name: str
    value: str
    real: str | None
    noise: str | None


class Rounding(ManifestPart):
    """Difference between the embedded, rounded network and the trained one."""

    network: str
    unit: str
    max: float
    mean: float


class Facts(ManifestPart):
    """What there is to know about a run."""

    run: Sequence[Item]
    config: Sequence[Item]
    command: str
    scores: Sequence[ScoreRow]
    scores_note: str
    rounding: Sequence[Rounding]
    licenses: Sequence[Item]


class LogitContext(ManifestPart):
    """Log-odds of D for many images: the context of one image's log-odds."""

    real: Sequence[float]
    fake: Sequence[float]
    real_source: str


class GanContent(ManifestPart):
    """A GAN run."""

    id: str
    name: str
    run_argument: str
    step: int
    image_shape: tuple[int, int, int]
    noise_size: int
    latent_size: int
    num_classes: int
    class_names: Sequence[str]
    generator: MlpSpec
    discriminator: MlpSpec | None
    is_log_odds: bool
    classifier: ClassifierSpec | None
    latents: TensorBlock
    endpoint_classes: Sequence[int | None]
    logits: LogitContext
    snapshots: SnapshotsSpec | None
    training: TensorBlock | None
    test: TensorBlock | None
    label_names: Sequence[str] | None
    metrics: Columns
    scores: Columns
    facts: Facts


class LstmStage(ManifestPart):
    """Weights of an LSTM at one moment of the training."""

    label: str
    weights: TensorBlock


class Example(ManifestPart):
    """A sequence to look at."""

    values: Sequence[float]
    steps: int
    target: float | Sequence[int]


class LstmContent(ManifestPart):
    """An LSTM run."""

    id: str
    name: str
    run_argument: str
    cell: Literal["lstm", "rnn"]
    task: str
    target: Literal["class", "class at every step", "number"]
    input_kind: Literal["symbols", "numbers"]
    encoding: Literal["scalar", "onehot"]
    symbol_names: Sequence[str] | None
    input_size: int
    channel_names: Sequence[str]
    class_names: Sequence[str] | None
    output_size: int
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
    examples: Sequence[Example]
    metrics: Columns
    facts: Facts


class Manifest(ManifestPart):
    """The manifest of a page."""

    schema_version: int = SCHEMA
    version: str
    title: str
    gans: Sequence[GanContent]
    lstms: Sequence[LstmContent]
