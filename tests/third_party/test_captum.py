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


def layer_activation(model: Classifier, x: Tensor) -> Any:
    """What the LSTM gives to the next layer; captum does not take the tuples that an LSTM itself returns."""
    return LayerActivation(model, model.linear).attribute(x, attribute_to_layer_input=True)


def layer_input(model: Classifier, x: Tensor) -> Any:
    return LayerActivation(model, model.lstm).attribute(x, attribute_to_layer_input=True)


def layer_gradients(model: Classifier, x: Tensor) -> Any:
    return LayerIntegratedGradients(model, model.linear).attribute(x, target=1, n_steps=20)


def integrated_gradients(model: Classifier, x: Tensor) -> Any:
    return IntegratedGradients(model).attribute(x, target=1, n_steps=20, return_convergence_delta=True)


def gradient_shap(model: Classifier, x: Tensor) -> Any:
    np.random.seed(1)  # noqa: NPY002 - captum draws from it, too
    torch.manual_seed(1)
    return GradientShap(model).attribute(x, baselines=torch.zeros_like(x), target=0)


def saliency(model: Classifier, x: Tensor) -> Any:
    return Saliency(model).attribute(x, target=0)


def ablation(model: Classifier, x: Tensor) -> Any:
    return FeatureAblation(model).attribute(x, target=0)


def neuron(model: Classifier, x: Tensor) -> Any:
    return NeuronGradient(model, model.linear).attribute(x, neuron_selector=0)


METHODS = (
    layer_activation,
    layer_input,
    layer_gradients,
    integrated_gradients,
    gradient_shap,
    saliency,
    ablation,
    neuron,
)


def flatten(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [tensor for part in value for tensor in flatten(part)]


@pytest.mark.parametrize("kind", [Classifier, OutputClassifier])
@pytest.mark.parametrize("method", METHODS)
def test_attributions(method: Callable[[Classifier, Tensor], Any], kind: Callable[[Build], nn.Module]) -> None:
    def script(build: Build) -> list[Tensor]:
        model, (x, _) = kind(build).eval(), make_data(8)
        return [tensor.detach() for tensor in flatten(method(model, x))]

    compare(script)
