"""View codes: an interpolation as text, which the explorer shows for copying.

A code is unpadded base64url of these bytes, with integers in little-endian order:

    1 byte           version, 1
    1 byte           path, its index in PATHS: 0 linear, 1 spherical
    1 byte           steps between the ends, 0 ... MAX_STEPS
    1 byte           0
    2 bytes          latent size Z
    2 Z bytes        z₀ in half precision
    2 Z bytes        z₁ in half precision
    4 bytes          CRC-32 of all bytes before

Shapes: Z latent size.
"""

import base64
import re
import struct
import zlib
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reviver.gan.interpolation import MAX_STEPS, PATHS
from reviver.settings.validation import refuse

VERSION = 1
HEADER = struct.Struct("<BBBBH")
CHECKSUM = struct.Struct("<I")


class View(NamedTuple):
    """An interpolation from z₀ to z₁, [Z] each, with `steps` images between."""

    start: Tensor
    end: Tensor
    path: str
    steps: int


def parse_view(code: str, latent_size: int) -> View:
    """Return the interpolation of an untrusted code for a generator with Z = `latent_size`.

    Raises `ConfigError` if the code is damaged, or of a generator with another latent size.
    """
    if wrong := re.search(r"[^A-Za-z0-9_-]", code):
        refuse("view", f"must have only letters, digits, - and _, got {wrong[0]!r}; copy it again from the explorer")
    damaged = "is damaged; copy it again from the explorer"
    try:
        data = base64.urlsafe_b64decode(code + "=" * (-len(code) % 4))
    except ValueError:  # a length that no bytes have
        refuse("view", damaged)
    content, checksum = data[: -CHECKSUM.size], data[-CHECKSUM.size :]
    if len(content) < HEADER.size or CHECKSUM.pack(zlib.crc32(content)) != checksum:
        refuse("view", damaged)
    version, path, steps, zero, size = HEADER.unpack_from(content)
    if version != VERSION:
        refuse("view", f"is of version {version}, this Reviver reads version {VERSION}; use the Reviver that wrote it")
    if path >= len(PATHS) or steps > MAX_STEPS or zero or len(content) != HEADER.size + 4 * size:
        refuse("view", damaged)
    if size != latent_size:
        problem = f"is of a generator with Z = {size}, this run has {latent_size}"
        refuse("view", f"{problem}; give the run that it was copied for")
    latents = torch.from_numpy(np.frombuffer(content, "<f2", offset=HEADER.size).astype(np.float32)).view(2, size)
    if not bool(latents.isfinite().all()):
        refuse("view", "has numbers that are not finite; copy it again from the explorer")
    return View(latents[0], latents[1], PATHS[path], steps)
