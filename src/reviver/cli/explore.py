"""`reviver explore`: write trained runs as one HTML page in which they can be tried out."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from reviver.cli import options
from reviver.errors import ConfigError
from reviver.settings.fields import CountOrZero, Text

SUFFIXES = (".html", ".htm")


def explore(
    *runs: Annotated[str, Parameter(name="RUN", required=True)],
    out: Text = "explorer.html",
    training_images: CountOrZero | None = None,
    no_data: Annotated[bool, options.FLAG] = False,
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Write runs as one HTML page, in which their networks run in the browser.

    The page needs no server and no network. It holds the weights and some real images of the runs, so think before you
    share it. The same runs give the same file.

    Examples:
      reviver explore runs/gan runs/lstm --out explorer.html
      reviver explore runs/gan --training-images 0
      reviver explore runs/patients --no-data

    Args:
        runs: Run folders of trained LSTMs and GANs; not of one that is still training.
        out: Page to write, .html; it is replaced if it exists.
        training_images: Training images to embed for each GAN, among which the page finds the nearest; 0 for none. By
            default 2000, and fewer if they are large.
        no_data: Embed no real images, and no sequences of your own, since the page shows them to everybody who has it.
    """
    path = Path(out)
    if path.suffix.lower() not in SUFFIXES and not path.is_dir():
        raise ConfigError(f"out must end in .html, got {out}", field="out")

    from reviver.explorer.build import write_explorer
    from reviver.figures import check_writable
    from reviver.train.loading import load

    check_writable(path)
    page = write_explorer([load(run) for run in runs], path, num_training=training_images, with_data=not no_data)
    sizes, size = dict(page.block_sizes), path.stat().st_size
    result = {"out": out, "bytes": size, "blocks": {"page": size - sum(sizes.values()), **sizes}}
    common.show(result, f"{out}: {size / 1e6:.1f} MB")
