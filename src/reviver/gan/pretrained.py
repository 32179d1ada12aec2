"""Generators and discriminators as folders in the layout of the Hugging Face Hub, see `reviver.files.pretrained`."""

from typing import Annotated, Any

from torch import nn

from reviver.files.pretrained import PLACEHOLDER, Family, architecture_of
from reviver.runs.records import ImageData
from reviver.settings.fields import Count, CountOrZero, Positive, Probability
from reviver.settings.validation import JSON_LIST, settings

ImageShape = Annotated[tuple[Count, Count, Count], JSON_LIST]


@settings
class GeneratorSpec:
    """Arguments of `Generator`."""

    latent_size: Count
    image_shape: ImageShape
    batch_norm_eps: Positive
    num_classes: CountOrZero


@settings
class DiscriminatorSpec:
    """Arguments of `Discriminator`."""

    image_shape: ImageShape
    dropout: Probability
    num_classes: CountOrZero


SPECS: dict[str, type[Any]] = {"Generator": GeneratorSpec, "Discriminator": DiscriminatorSpec}
"""Spec of each class: the arguments of its constructor."""


def spec_of(network: Any) -> GeneratorSpec | DiscriminatorSpec:
    """Return the arguments that construct a `Generator` or `Discriminator` of the same architecture and options."""
    values: dict[str, Any] = {"image_shape": tuple(network.image_shape), "num_classes": network.num_classes}
    if architecture_of(type(network), SPECS).__name__ == "Generator":
        epsilon = next(layer.eps for layer in network.layers if isinstance(layer, nn.BatchNorm1d))
        return GeneratorSpec(**values, latent_size=network.noise_size, batch_norm_eps=epsilon)
    return DiscriminatorSpec(**values, dropout=network.dropout)


def usage_of(name: str, spec: GeneratorSpec | DiscriminatorSpec) -> str:
    """Return Python code that uses a network of the class `name`."""
    lines = [f"from reviver import {name}", f'network = {name}.from_pretrained("{PLACEHOLDER}")']
    if name == "Discriminator":
        labels = ", labels" if spec.num_classes else ""
        return "\n".join([*lines, f"probabilities = network(images{labels})  # images [N, C, H, W] in [-1, 1]"])
    call = "images = network(network.sample_latents(25, torch.Generator()))  # [25, C, H, W] in [-1, 1]"
    return "\n".join(["import torch", *lines, call])


FAMILY = Family(
    SPECS,
    ImageData,
    spec_of,
    usage_of,
    ("reviver", "gan"),
    pipeline_tags={"Generator": "unconditional-image-generation"},
)
