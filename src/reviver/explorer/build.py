"""Build the explorer from run folders."""

from collections.abc import Sequence
from pathlib import Path

import reviver
from reviver.explorer.blocks import Blocks
from reviver.explorer.gan import collect_gan
from reviver.explorer.lstm import collect_lstm
from reviver.explorer.manifest import GanContent, LstmContent, Manifest
from reviver.explorer.networks import Format
from reviver.explorer.page import render_page
from reviver.explorer.static import static_part
from reviver.gan.run import GANRun
from reviver.io.atomic import atomic_write
from reviver.lstm.run import LSTMRun

NUM_TRAINING = 2000
"""Training images that a page has by default."""


def explorer_page(runs: Sequence[LSTMRun | GANRun], *, light: bool = False, num_training: int = NUM_TRAINING) -> str:
    """Return the explorer of some runs as one HTML page.

    Args:
        runs: the runs, in the order in which the page offers them.
        light: whether to make the page small: weights in 8 bits and fewer images.
        num_training: training images to embed for each GAN, among which the page finds the nearest; 0 for none.
    """
    blocks = Blocks()
    gans: list[GanContent] = []
    lstms: list[LstmContent] = []
    for run in runs:
        if isinstance(run, GANRun):
            kind: Format = "i8" if light else "f16"
            gans.append(collect_gan(run, blocks, f"gan-{len(gans)}", kind=kind, num_training=num_training))
        else:
            lstms.append(collect_lstm(run, blocks, f"lstm-{len(lstms)}"))
    names = ", ".join([*(gan.name for gan in gans), *(lstm.name for lstm in lstms)])
    manifest = Manifest(version=reviver.__version__, title=f"Explorer of {names}", light=light, gans=gans, lstms=lstms)
    return render_page(manifest, blocks, static=static_part(runs))


def write_explorer(runs: Sequence[LSTMRun | GANRun], out: Path, **options: bool | int) -> int:
    """Write the explorer of some runs to `out`; return its size in bytes. See `explorer_page` for the options.

    Raises:
        RunFolderError: if the file cannot be written.
    """
    content = explorer_page(runs, **options).encode()  # type: ignore[arg-type]
    with atomic_write(out) as temporary:
        temporary.write_bytes(content)
    return len(content)
