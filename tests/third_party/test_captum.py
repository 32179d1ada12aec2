"""captum: attributions of the logits to the inputs and to the layer."""

from collections.abc import Callable
from typing import Any

import pytest
from captum.attr import FeatureAblation, IntegratedGradients, LayerActivation, LayerIntegratedGradients
from scripts import Build, Classifier, compare, make_data
from torch import Tensor

METHODS: dict[str, Callable[[Classifier, Tensor], Any]] = {
    # What the LSTM gives to the next layer; captum does not take the tuples that an LSTM itself returns.
    "layer input": lambda m, x: LayerActivation(m, m.lstm).attribute(x, attribute_to_layer_input=True),
    "layer gradients": lambda m, x: LayerIntegratedGradients(m, m.linear).attribute(x, target=1, n_steps=20),
    "integrated gradients": lambda m, x: IntegratedGradients(m).attribute(
        x, target=1, n_steps=20, return_convergence_delta=True
    ),
    "ablation": lambda m, x: FeatureAblation(m).attribute(x, target=0),
}


def flatten(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [tensor for part in value for tensor in flatten(part)]


@pytest.mark.parametrize("method", METHODS)
def test_attributions(method: str) -> None:
    def script(build: Build) -> list[Tensor]:
        model, (x, _) = Classifier(build).eval(), make_data(8)
        return [tensor.detach() for tensor in flatten(METHODS[method](model, x))]

    compare(script)
