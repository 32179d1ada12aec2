"""What is in a page of the explorer, changes of it to test what is rare, and fewer images to train on."""

import base64
import json
import math
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from reviver.data.images.image_set import ImageSet, load_images

BLOCK = r'<script type="text/plain" id="([\w-]+)">([A-Za-z0-9+/=]*)</script>'


class Content(NamedTuple):
    """A page as its reader gets it: the manifest, and the blocks as they are written and inflated."""

    manifest: dict[str, Any]
    texts: dict[str, str]
    blocks: dict[str, bytes]


def inflate(text: str) -> bytes:
    """Return the bytes of a block."""
    return zlib.decompress(base64.b64decode(text, validate=True))


def read_page(page: str) -> Content:
    """Read the data of a page, as the script in it does."""
    texts = dict(re.findall(BLOCK, page))
    blocks = {name: inflate(text) for name, text in texts.items()}
    return Content(json.loads(blocks["manifest"]), texts, blocks)


def read_tensors(blocks: Mapping[str, bytes], block: Mapping[str, Any]) -> dict[str, Tensor]:
    """Decode all tensors of a block as `TensorSpec` describes them, in float64."""
    data, tensors = blocks[block["block"]], {}
    for name, spec in block["tensors"].items():
        count, offset = math.prod(spec["shape"]), spec["offset"]
        if spec["dtype"] == "f16":
            planes = np.frombuffer(data, np.uint8, 2 * count, offset).reshape(2, count)
            values = planes.T.copy().view("<f2").ravel().astype(np.float64) * float(spec["scale"])
        else:
            assert spec["dtype"] == "u8" or offset % 4 == 0
            kind = {"f32": "<f4", "u8": "u1"}[spec["dtype"]]
            values = np.frombuffer(data, kind, count, offset).astype(np.float64)
        tensors[name] = torch.from_numpy(values.reshape(spec["shape"]))
    return tensors


def read_layers(content: Content, spec: Mapping[str, Any]) -> nn.Sequential:
    """Return a network in a page, in float64."""
    tensors, network = read_tensors(content.blocks, spec["weights"]), nn.Sequential()
    activations = {"leaky-relu": nn.LeakyReLU(spec.get("negativeSlope", 0.0)), "relu": nn.ReLU(), "tanh": nn.Tanh()}
    for layer in [*spec.get("convolutions", []), *spec["layers"]]:
        weight, bias = tensors[layer["weight"]], tensors[layer["bias"]]
        is_convolution = weight.dim() == 4
        outputs, inputs = weight.shape[:2]
        module = nn.Conv2d(inputs, outputs, 3, padding=1) if is_convolution else nn.Linear(inputs, outputs)
        module.load_state_dict({"weight": weight, "bias": bias}, assign=True)
        network.extend(
            [module.requires_grad_(False)] if is_convolution else [nn.Flatten(), module.requires_grad_(False)]
        )
        network.extend([activations[layer["activation"]]] if layer["activation"] != "none" else [])
        network.extend([nn.MaxPool2d(2)] if is_convolution else [])
    return network


def edit_manifest(page: Path, out: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """Write a copy of a page with another manifest."""
    content = read_page(page.read_text(encoding="utf-8"))
    edit(content.manifest)
    text = base64.b64encode(zlib.compress(json.dumps(content.manifest).encode())).decode("ascii")
    out.write_text(page.read_text(encoding="utf-8").replace(content.texts["manifest"], text), encoding="utf-8")
    return out


def load_some_images(source: str, image_size: int = 28, split: str = "train") -> ImageSet:
    """Load 12 000 images in place of the 60 000 of MNIST, so that training takes seconds, and other images as they are."""
    found = load_images(source, image_size, split)
    if source != "mnist" or split == "test" or found.labels is None:
        return found
    return ImageSet(found.images[:12_000], found.labels[:12_000], source)
