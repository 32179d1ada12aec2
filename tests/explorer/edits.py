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
from torch import Tensor

from reviver.data.images.image_set import ImageSet, load_images

BLOCK = r'<script type="text/plain" id="([\w-]+)">([A-Za-z0-9+/=]*)</script>'


class Content(NamedTuple):
    """A page as its reader gets it: the manifest and the inflated blocks."""

    manifest: dict[str, Any]
    blocks: dict[str, bytes]


def inflate(text: str) -> bytes:
    """Return the bytes of a block."""
    return zlib.decompress(base64.b64decode(text, validate=True))


def read_page(page: str) -> Content:
    """Read the data of a page, as the script in it does."""
    found = re.findall(BLOCK, page)
    blocks = {name: inflate(text) for name, text in found}
    assert len(blocks) == len(found)
    return Content(json.loads(blocks["manifest"]), blocks)


def read_tensors(blocks: Mapping[str, bytes], block: Mapping[str, Any]) -> dict[str, Tensor]:
    """Decode all tensors of a block as types.js describes them, in float64."""
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


def read_blocks(page: Path) -> dict[str, bytes]:
    """Return the inflated data blocks of a file by their ids."""
    return read_page(page.read_text(encoding="utf-8")).blocks


def write_block(page: Path, out: Path, name: str, data: bytes) -> Path:
    """Write a copy of a page in which a data block has other bytes."""
    text = base64.b64encode(zlib.compress(data)).decode("ascii")
    pattern = rf'(<script type="text/plain" id="{name}">)([^<]*)(</script>)'
    html, count = re.subn(pattern, rf"\g<1>{text}\g<3>", page.read_text(encoding="utf-8"))
    assert count == 1
    out.write_text(html, encoding="utf-8")
    return out


def edit_manifest(page: Path, out: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """Write a copy of a page with another manifest."""
    manifest = json.loads(read_blocks(page)["manifest"])
    edit(manifest)
    return write_block(page, out, "manifest", json.dumps(manifest).encode())


def load_some_images(source: str, image_size: int = 28, count: int = 12_000) -> ImageSet:
    """Load `count` images in place of the 60 000 of MNIST, so that training takes seconds, and other images as they are."""
    found = load_images(source, image_size)
    if source != "mnist" or found.labels is None:
        return found
    return ImageSet(found.images[:count], found.labels[:count], source)
