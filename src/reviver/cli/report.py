"""`reviver report`: train both networks and write the report."""

from typing import Annotated

from reviver.cli.grouping import RUN
from reviver.cli.options import DEFAULTS, FLAG, CommonOptions
from reviver.settings.fields import Seed, Text


def report(
    *,
    out: Annotated[Text, RUN] = "report",
    full: Annotated[bool, RUN, FLAG] = False,
    seed: Annotated[Seed, RUN] = 0,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Train both networks, or reuse finished runs, and write report.html, .pdf and .json, and explorer.html.

    Examples:
      reviver report --out report
      reviver report --full        train the GAN as in the original, about an hour

    Args:
        out: Folder for the report and its runs.
        full: Train the GAN with the preset report (200 epochs, as the original) instead of best.
        seed: Seed of the GAN, and first of the five seeds of the LSTM.
    """
    from reviver.show.report.build import make_report

    files = make_report(out, full=full, seed=seed, device=common.device, progress=not common.quiet)
    paths = {name: str(path) for name, path in files._asdict().items() if path is not None}
    common.show(paths, *paths.values())
