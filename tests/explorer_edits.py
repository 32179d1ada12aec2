"""Changes of a page of the explorer, to test what is rare: other manifests, and damage."""

import base64
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _block(name: str) -> re.Pattern[str]:
    return re.compile(rf'(<script type="text/plain" id="{name}">)([^<]*)(</script>)')


def read_block(page: Path, name: str) -> bytes:
    """Return the inflated bytes of a data block."""
    found = _block(name).search(page.read_text(encoding="utf-8"))
    assert found is not None, f"{page.name} has no block {name}"
    return zlib.decompress(base64.b64decode(found[2]))


def block_names(page: Path) -> set[str]:
    """Return the ids of the data blocks."""
    return set(re.findall(r'<script type="text/plain" id="([^"]+)">', page.read_text(encoding="utf-8")))


def write_block(page: Path, out: Path, name: str, data: bytes) -> Path:
    """Write a copy of a page in which a data block has other bytes."""
    text = base64.b64encode(zlib.compress(data)).decode("ascii")
    html, count = _block(name).subn(rf"\g<1>{text}\g<3>", page.read_text(encoding="utf-8"))
    assert count == 1
    out.write_text(html, encoding="utf-8")
    return out


def edit_manifest(page: Path, out: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """Write a copy of a page with another manifest."""
    manifest = json.loads(read_block(page, "manifest"))
    edit(manifest)
    return write_block(page, out, "manifest", json.dumps(manifest).encode())
