"""fastai: the layers of its AWD-LSTM around the LSTM, and a Learner that trains them."""

from pathlib import Path
from typing import Any

import torch
from fastai.callback import progress, schedule  # noqa: F401 - they add methods to Learner
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.text.models.awdlstm import AWD_LSTM, WeightDropout
from fastai.text.models.core import LinearDecoder, SequentialRNN
from scripts import Build, compare, with_weights_of_torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from reviver import LSTM

WORDS = 20


def test_dropped_weights() -> None:
    def script(build: Build) -> dict[str, Any]:
        module = WeightDropout(build(5, 7, batch_first=True), 0.5)
        x = torch.randn(4, 6, 5)
        output, state = module(x)
        output.sum().backward()
        gradients = {
            name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None
        }
        module.reset()
        return {"output": output, "state": state, "gradients": gradients, "eval": module.eval()(x)[0]}

    compare(script)


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


def train(build: Build, folder: Path, epochs: int, count: int = 64) -> tuple[SequentialRNN, list[float]]:
    """Train a language model with fastai's Learner."""
    text = make_text(count)
    loaders = DataLoaders(DataLoader(text, 16, shuffle=True), DataLoader(text, 16), device="cpu")
    learner = Learner(loaders, make_language_model(build), loss_func=loss_of, path=folder)
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(epochs, 0.02)
    return learner.model, [float(values[0]) for values in learner.recorder.values]


def test_language_model(tmp_path: Path) -> None:
    def script(build: Build) -> dict[str, Any]:
        model, losses = train(build, tmp_path, 2)
        return {"losses": losses, "state": {name: value.detach() for name, value in model.state_dict().items()}}

    compare(script)


def test_language_model_learns_with_hidden_dropout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, losses = train(with_weights_of_torch(LSTM, hidden_dropout=0.1), tmp_path, 10, 512)
    assert losses[-1] < 0.5 * losses[0]
    x = torch.stack([words for words, _ in make_text(8)])
    model.eval()
    model.reset()
    assert (model(x)[0].argmax(2) == (x + 3) % WORDS).float().mean() > 0.9
