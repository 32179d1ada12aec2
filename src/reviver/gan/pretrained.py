"""Generators and discriminators as folders in the layout of the Hugging Face Hub, see `reviver.io.pretrained`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Unpack

from torch import nn

from reviver.config import Count, CountOrZero, Positive, Probability
from reviver.io.hub import Download, DownloadKeywords
from reviver.io.model_card import PLACEHOLDER, plain_card
from reviver.io.pretrained import Source, architecture_of, load_network, save_network
from reviver.runs.schema import ImageData
from reviver.validation import JSON_LIST, settings

if TYPE_CHECKING:
    from reviver.gan.networks import Discriminator, Generator

Network = TypeVar("Network", bound=nn.Module)
ImageShape = Annotated[tuple[Count, Count, Count], JSON_LIST]
TAGS = ("reviver", "gan")
PIPELINE_TAG = "unconditional-image-generation"


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
    packing: Count
    num_classes: CountOrZero


SPECS: dict[str, type[Any]] = {"Generator": GeneratorSpec, "Discriminator": DiscriminatorSpec}
"""Spec of each class: the arguments of its constructor."""


def save(
    network: "Generator | Discriminator",
    folder: str | Path,
    *,
    card: str | None = None,
    data: ImageData | None = None,
    run: Source | None = None,
) -> None:
    """Write config.json, model.safetensors and README.md of a network into `folder`.

    Args:
        network: the network. A subclass is saved as the class that it extends.
        folder: where; it is created if it does not exist. A README.md that exists is kept.
        card: text of README.md; by default one without results.
        data: images that it learned.
        run: the run that it comes from.

    Raises:
        ConfigError: if the weights cannot be saved, see `save_network`.
        RunFolderError: if a file cannot be written.
    """
    name, spec = architecture_of(type(network), SPECS), spec_of(network)
    if card is None:
        tag = PIPELINE_TAG if name == "Generator" else None
        card = plain_card(name, TAGS, tag, usage_of(name, spec), asdict(spec))
    save_network(network, name, spec, folder, card=card, data=data, run=run)


def load(cls: type[Network], source: str | Path, **download: Unpack[DownloadKeywords]) -> Network:
    """Return a network that `save` wrote, in eval mode.

    Args:
        cls: its class.
        source: a local folder, which comes first, or the id of a repository of the Hugging Face Hub, such as `user/name`.
        **download: fields of `Download`, for a repository.

    Raises:
        DataError: if the files are missing or damaged, or the repository cannot be downloaded.
        ConfigError: if a repository is needed and `huggingface_hub` is not installed.
        TypeError: if an option is unknown.
    """
    name = architecture_of(cls, SPECS)
    return load_network(cls, name, SPECS[name], ImageData, source, Download(**download)).network


def spec_of(network: "Generator | Discriminator") -> GeneratorSpec | DiscriminatorSpec:
    """Return the arguments that construct a network of the same architecture and options."""
    found: Any = network
    values: dict[str, Any] = {"image_shape": tuple(network.image_shape), "num_classes": network.num_classes}
    if architecture_of(type(network), SPECS) == "Generator":
        epsilon = next(layer.eps for layer in found.layers if isinstance(layer, nn.BatchNorm1d))
        return GeneratorSpec(**values, latent_size=found.noise_size, batch_norm_eps=epsilon)
    return DiscriminatorSpec(**values, dropout=found.dropout, packing=found.packing)


def usage_of(name: str, spec: GeneratorSpec | DiscriminatorSpec) -> str:
    """Return Python code that uses a network of the class `name`."""
    lines = [f"from reviver import {name}", f'network = {name}.from_pretrained("{PLACEHOLDER}")']
    if name == "Discriminator":
        labels = ", labels" if spec.num_classes else ""
        return "\n".join([*lines, f"probabilities = network(images{labels})  # images [N, C, H, W] in [-1, 1]"])
    call = "images = network(network.sample_latents(25, torch.Generator()))  # [25, C, H, W] in [-1, 1]"
    return "\n".join(["import torch", *lines, call])
