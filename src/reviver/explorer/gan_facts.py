"""Facts about a GAN run in words: its scores beside their baselines, rounding and licences."""

from collections.abc import Sequence

from reviver.explorer.facts import command_of, config_facts, licences, run_facts
from reviver.explorer.manifest import Facts, Rounding
from reviver.gan.run import GANRun


def gan_facts(run: GANRun, rounding: Sequence[Rounding]) -> Facts:
    """Return the facts about a GAN run."""
    return Facts(
        run=run_facts(run),
        config=config_facts(run),
        command=command_of(run),
        scores=[],
        scores_note="",
        rounding=rounding,
        licences=licences(),
    )
