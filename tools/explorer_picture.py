"""Picture of the explorer for README: `python -m tools.explorer_picture PAGE` writes docs/pictures/explorer.png."""

import io
import sys
from pathlib import Path

from PIL import Image

from tools.chromium import open_browser

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "explorer.png"
WIDTH, HEIGHT = 1200, 1530
VIEWS = ("#train", "#latent")
TRAINING_MS = 3000
"""How long the panel Train trains before its picture is taken: 100 epochs on an idle machine."""
PALETTE = 128
"""Colors, for a small file."""


def take_picture(page_file: Path) -> Image.Image:
    """Return the top of two panels side by side."""
    pictures = []
    with open_browser() as browser:
        for view in VIEWS:
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
            page.goto(page_file.absolute().as_uri() + view)
            page.wait_for_selector("#app:not([hidden]) .panel-body > *")
            page.wait_for_timeout(1500)
            if view == "#train":
                page.get_by_role("button", name="Start").click()
                page.wait_for_timeout(TRAINING_MS)
            page.evaluate("scrollTo(0, 0)")
            page.wait_for_timeout(300)
            pictures.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
            page.close()
    picture = Image.new("RGB", (WIDTH * len(pictures), HEIGHT))
    for index, one in enumerate(pictures):
        picture.paste(one, (WIDTH * index, 0))
    return picture.quantize(PALETTE)


if __name__ == "__main__":
    take_picture(Path(sys.argv[1])).save(PICTURE, optimize=True)
    print(PICTURE)
