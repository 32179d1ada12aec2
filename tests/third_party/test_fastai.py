"""fastai: the layers of its AWD-LSTM around the LSTM, and a Learner that trains them."""

from pathlib import Path
from typing import Any

import torch
from fastai.callback import progress, schedule  # noqa: F401 - they add methods to Learner
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.text.models.awdlstm import AWD_LSTM, WeightDropout
from fastai.text.models.core import LinearDecoder, SequentialRNN
from scripts import Build, compare
from torch import Tensor, nn
from torch.utils.data import DataLoader

WORDS = 20


def make_language_model(build: Build) -> SequentialRNN:
    """Return the language model of fastai with LSTM networks of `build`."""

    class Encoder(AWD_LSTM):
        def _one_rnn(self, n_in: int, n_out: int, bidir: bool, weight_p: float, l: int) -> nn.Module:  # noqa: E741
            return WeightDropout(build(n_in, n_out, 1, batch_first=True, bidirectional=bidir), weight_p)

    encoder = Encoder(WORDS, 24, 32, 2, weight_p=0.2, input_p=0.1, hidden_p=0.1)
    return SequentialRNN(encoder, LinearDecoder(WORDS, 24, 0.1, tie_encoder=encoder.encoder, bias=True))


def make_text(count: int) -> list[tuple[Tensor, Tensor]]:
    """Return pieces of a text in which each word follows from the one before."""
    starts = torch.randint(WORDS, (count, 1), generator=torch.Generator().manual_seed(1))
    words = (starts + 3 * torch.arange(9)) % WORDS
    return [(row[:-1], row[1:]) for row in words]


def loss_of(predictions: Any, targets: Tensor) -> Tensor:
    logits = predictions[0] if isinstance(predictions, tuple) else predictions
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def test_language_model(tmp_path: Path) -> None:
    def script(build: Build) -> dict[str, Any]:
        text = make_text(64)
        loaders = DataLoaders(DataLoader(text, 16, shuffle=True), DataLoader(text, 16), device="cpu")
        learner = Learner(loaders, make_language_model(build), loss_func=loss_of, path=tmp_path)
        with learner.no_bar(), learner.no_logging():
            learner.fit_one_cycle(2, 0.02)
        losses = [float(values[0]) for values in learner.recorder.values]
        return {"losses": losses, "state": {name: value.detach() for name, value in learner.model.state_dict().items()}}

    compare(script)
