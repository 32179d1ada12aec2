"""The page: the built template, filled with the title and the data blocks.

`web/build.mjs` builds template.html. Its content security policy allows one script and one style, by their hashes; so
nothing that comes from a run may become either.
"""

import html
from importlib.resources import files

from reviver.explorer.blocks import Blocks
from reviver.explorer.manifest import Manifest

TITLE, DATA = "<!--title-->", "<!--data-->"
MANIFEST = "manifest"
"""Id of the data block with the manifest."""


def render_page(manifest: Manifest, blocks: Blocks) -> str:
    """Return the page.

    Args:
        manifest: what is in the data blocks.
        blocks: the data blocks; the manifest is added to them.
    """
    blocks.add(MANIFEST, manifest.model_dump_json(by_alias=True, exclude_none=False).encode())
    data = "\n".join(f'<script type="text/plain" id="{name}">{text}</script>' for name, text in blocks.texts.items())
    page = (files("reviver.explorer") / "template.html").read_text(encoding="utf-8")
    for place, content in ((TITLE, html.escape(manifest.title)), (DATA, data)):
        before, found, after = page.partition(place)
        assert found, f"the template has no {place}"
        page = before + content + after
    return page
