"""`reviver explore`: write trained runs as one HTML page in which they can be tried out."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from reviver.cli import options
from reviver.config import CountOrZero, Text
from reviver.errors import ConfigError


def explore(
    *runs: Annotated[str, Parameter(name="RUN")],
    out: Text = "explorer.html",
    light: Annotated[bool, options.FLAG] = False,
    training_images: CountOrZero = 2000,
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Write runs as one HTML page, in which their networks run in the browser.

    The page needs no server and no network.

    Examples:
      reviver explore runs/gan runs/lstm --out explorer.html

    Args:
        runs: Run folders of trained LSTMs and GANs.
        out: Page to write; it is replaced if it exists.
        light: Make the page small, as for a notebook: weights in 8 bits, fewer images.
        training_images: Training images to embed for each GAN, among which the page finds the nearest; 0 for none.
    """
    if not runs:
        raise ConfigError("RUN is missing; see reviver explore --help")

    from reviver.explorer.build import write_explorer
    from reviver.figures import check_writable
    from reviver.loading import load

    path = Path(out)
    check_writable(path)
    size = write_explorer([load(run) for run in runs], path, light=light, num_training=training_images)
    common.show({"out": out, "bytes": size}, f"{out}: {size / 1e6:.1f} MB")
