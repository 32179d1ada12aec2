"""captum: attributions of the logits to the inputs and to the layer."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import (
    FeatureAblation,
    GradientShap,
    IntegratedGradients,
    LayerActivation,
    LayerIntegratedGradients,
    NeuronGradient,
    Saliency,
)
from scripts import Build, Classifier, compare, make_data
from torch import Tensor, nn


class OutputClassifier(Classifier):
    """The same by the output of the last step."""

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.lstm(x)[0][:, -1])


METHODS: dict[str, Callable[[Classifier, Tensor], Any]] = {
    # What the LSTM gives to the next layer; captum does not take the tuples that an LSTM itself returns.
    "layer activation": lambda m, x: LayerActivation(m, m.linear).attribute(x, attribute_to_layer_input=True),
    "layer input": lambda m, x: LayerActivation(m, m.lstm).attribute(x, attribute_to_layer_input=True),
    "layer gradients": lambda m, x: LayerIntegratedGradients(m, m.linear).attribute(x, target=1, n_steps=20),
    "integrated gradients": lambda m, x: IntegratedGradients(m).attribute(
        x, target=1, n_steps=20, return_convergence_delta=True
    ),
    "gradient SHAP": lambda m, x: GradientShap(m).attribute(x, baselines=torch.zeros_like(x), target=0),
    "saliency": lambda m, x: Saliency(m).attribute(x, target=0),
    "ablation": lambda m, x: FeatureAblation(m).attribute(x, target=0),
    "neuron": lambda m, x: NeuronGradient(m, m.linear).attribute(x, neuron_selector=0),
}


def flatten(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [tensor for part in value for tensor in flatten(part)]


@pytest.mark.parametrize("kind", [Classifier, OutputClassifier])
@pytest.mark.parametrize("method", METHODS)
def test_attributions(method: str, kind: Callable[[Build], nn.Module]) -> None:
    def script(build: Build) -> list[Tensor]:
        model, (x, _) = kind(build).eval(), make_data(8)
        np.random.seed(1)  # noqa: NPY002 - gradient SHAP draws from both
        torch.manual_seed(1)
        return [tensor.detach() for tensor in flatten(METHODS[method](model, x))]

    compare(script)
