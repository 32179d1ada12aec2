"""Facts about a run in words: its settings, seed, scores beside their baselines, rounding and licences."""

import dataclasses
from collections.abc import Sequence

from reviver.explorer.manifest import Fact, Facts, Rounding
from reviver.gan.run import GANRun
from reviver.lstm.run import LSTMRun
from reviver.validation import show_value


def gan_facts(run: GANRun, rounding: Sequence[Rounding]) -> Facts:
    """Return the facts about a GAN run."""
    return _facts(run, rounding)


def lstm_facts(run: LSTMRun, rounding: Sequence[Rounding]) -> Facts:
    """Return the facts about an LSTM run."""
    return _facts(run, rounding)


def _facts(run: GANRun | LSTMRun, rounding: Sequence[Rounding]) -> Facts:
    defaults = dataclasses.asdict(type(run.config)())
    config = [
        Fact(label=name, value=show_value(value), note="changed" if value != defaults[name] else None)
        for name, value in dataclasses.asdict(run.config).items()
    ]
    return Facts(
        run=[Fact(label="seed", value=str(run.config.seed))],
        config=config,
        command=str(run.folder.record["command"]),
        scores=[],
        scores_note="",
        rounding=rounding,
        licences=[Fact(label="code", value="MIT")],
    )
