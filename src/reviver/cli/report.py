"""`reviver report`: train both networks and write the report."""

from typing import Annotated

from reviver.cli.options import DEFAULTS, FLAG, RUN, CommonOptions, path_word, preparing_training
from reviver.settings.fields import Seed, Text
from reviver.settings.gan_presets import SECONDS
from reviver.text import duration


def report(
    *,
    out: Annotated[Text, RUN] = "report",
    full: Annotated[bool, RUN, FLAG] = False,
    seed: Annotated[Seed, RUN] = 0,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Train both networks, or reuse finished runs, and write report.html, .pdf and .json, and explorer.html.

    Examples:
      reviver report --out report  about 6 minutes on two cores
      reviver report --full        train the GAN as in the original, half an hour

    Args:
        out: Folder for the report and its runs.
        full: Train the GAN with the preset original (200 epochs) instead of best.
        seed: Seed of the GAN, and first of the five seeds of the LSTM.
    """
    from reviver.show.report.build import make_report

    time = f"this takes about {duration(SECONDS['original' if full else 'best'] + 60)} on two cores"
    with preparing_training(time):
        files = make_report(out, full=full, seed=seed, device=common.device, progress=not common.quiet)
    paths = {name: str(path) for name, path in files._asdict().items() if path is not None}
    common.show(paths, *paths.values())
    common.suggest(*(f"open {path_word(paths[name])} in a browser" for name in ("html", "explorer") if name in paths))
