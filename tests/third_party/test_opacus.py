"""opacus: differentially private training, with the gradients of each sample.

It needs a layer that returns one tensor, and then computes the gradients by torch.func; it refuses torch.nn.LSTM itself.
"""

import pytest
import torch
from opacus.grad_sample.utils import wrap_model
from opacus.layers import DPLSTM
from opacus.validators import ModuleValidator
from scripts import Build, Classifier, compare, make_data, with_weights_of_torch
from torch import Tensor, nn
from torch.nn import functional

from reviver import LSTM


class OutputClassifier(nn.Module):
    """A classifier whose LSTM is of a subclass that returns the output alone."""

    def __init__(self, build: Build) -> None:
        super().__init__()
        lstm = build(3, 16, batch_first=True)
        kind = type(lstm)
        lstm.__class__ = type(kind.__name__, (kind,), {"forward": lambda self, x: kind.forward(self, x)[0]})
        self.lstm, self.linear = lstm, nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.lstm(x)[:, -1])


@pytest.mark.parametrize("mode", ["hooks", "functorch"])
def test_gradients_of_each_sample(mode: str) -> None:
    def script(build: Build) -> dict[str, Tensor]:
        model = wrap_model(OutputClassifier(build), mode)
        x, y = make_data(8)
        functional.cross_entropy(model(x), y).backward()
        return {name: parameter.grad_sample for name, parameter in model.named_parameters()}

    compare(script)


def test_the_fixer_replaces_the_layer_after_to_torch() -> None:
    torch.manual_seed(0)
    model = Classifier(with_weights_of_torch(LSTM, hidden_dropout=0.3))
    x, _ = make_data(8)
    expected = model.eval()(x)
    model.lstm = model.lstm.to_torch()
    model = ModuleValidator.fix(model)
    assert type(model.lstm) is DPLSTM
    torch.testing.assert_close(functional.linear(model.lstm(x)[1][0][-1], *model.linear.parameters()), expected)
