"""LSTMs as folders in the layout of the Hugging Face Hub, see `reviver.files.pretrained`."""

from dataclasses import fields
from typing import Any

from reviver.data.build import SequenceData
from reviver.files.pretrained import PLACEHOLDER, Family, architecture_of
from reviver.settings.lstm_network import LSTMClassifierSpec, LSTMSpec, RNNClassifierSpec

SPECS: dict[str, type[Any]] = {
    "LSTM": LSTMSpec,
    "LSTMClassifier": LSTMClassifierSpec,
    "RNNClassifier": RNNClassifierSpec,
}
"""Spec of each class: the arguments of its constructor."""


def spec_of(network: Any) -> Any:
    """Return the arguments that construct a network of the same architecture and options."""
    spec, layers = SPECS[architecture_of(type(network), SPECS).__name__], getattr(network, "recurrent", network)
    owners: tuple[Any, ...] = (getattr(layers, "options", layers), network, layers)

    def find(name: str) -> Any:
        if name in ("num_classes", "cell"):
            return len(network.W_out) if name == "num_classes" else layers.cell.text
        return next(getattr(owner, name) for owner in owners if hasattr(owner, name))

    return spec(**{field.name: find(field.name) for field in fields(spec)})


def usage_of(name: str, _: Any) -> str:
    """Return Python code that uses a network of the class `name`."""
    call = "output, state = network(x)" if name == "LSTM" else "probabilities = network(x).softmax(-1)"
    return "\n".join(
        [f"from reviver import {name}", f'network = {name}.from_pretrained("{PLACEHOLDER}")', f"{call}  # x [B, T, I]"]
    )


FAMILY = Family(SPECS, SequenceData, spec_of, usage_of, ("reviver", "recurrent-neural-network"))
