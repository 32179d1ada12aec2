"""The network of an estimator: its architecture as a record, and its weights as bytes.

A fitted estimator is pickled as this record and the bytes of a safetensors file.
"""

import torch
from torch import Tensor

from reviver.config import Count, Probability
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.options import DropoutKind, Pooling
from reviver.validation import Record


class Architecture(Record):
    """Arguments of an `LSTMClassifier`, see there."""

    input_size: Count
    hidden_size: Count
    num_classes: Count
    num_layers: Count
    dropout: Probability
    bidirectional: bool
    pooling: Pooling
    patch_size: Count
    hidden_dropout: Probability
    hidden_dropout_kind: DropoutKind


def meta_network(architecture: Architecture) -> LSTMClassifier:
    """Return a network without memory for its parameters, in eval mode."""
    arguments = architecture.model_dump()
    return LSTMClassifier(**arguments, device="meta", dtype=torch.float32).eval()


def new_network(architecture: Architecture, rng: torch.Generator) -> LSTMClassifier:
    """Return a network with weights sampled from `rng`; torch's default generator is not used."""
    network = meta_network(architecture).to_empty(device="cpu")
    network.reset_parameters(rng)
    return network


def trained_network(architecture: Architecture, weights: dict[str, Tensor]) -> LSTMClassifier:
    """Return a network with trained weights, in eval mode.

    Raises:
        ValueError: if the weights have other names, shapes or dtypes; nothing is allocated before.
    """
    check_shapes(architecture, {name: tuple(tensor.shape) for name, tensor in weights.items()})
    for name, tensor in weights.items():
        if tensor.dtype != torch.float32 or not tensor.isfinite().all():
            raise ValueError(f"{name} must be finite numbers of float32")
    network = meta_network(architecture).to_empty(device="cpu")
    network.load_state_dict(weights)
    return network


def check_shapes(architecture: Architecture, shapes: dict[str, tuple[int, ...]]) -> None:
    """Raise if tensors of `shapes` are not those of the architecture.

    Raises:
        ValueError: naming the first tensor that is missing, unknown or of another shape.
    """
    if architecture.num_layers > len(shapes):  # before layers are built
        raise ValueError(f"it has {len(shapes)} tensors for {architecture.num_layers} layers")
    try:
        expected = {name: tuple(tensor.shape) for name, tensor in meta_network(architecture).state_dict().items()}
    except (RuntimeError, OverflowError, TypeError) as error:  # a size beyond the integers of torch
        raise ValueError("its sizes are too large") from error
    for name in sorted({*expected, *shapes}):
        if expected.get(name) != shapes.get(name):
            found = list(shapes[name]) if name in shapes else "none"
            wanted = list(expected[name]) if name in expected else "none"
            raise ValueError(f"tensor {name} has the shape {found}, and the architecture has {wanted}")


def cpu_weights(network: LSTMClassifier) -> dict[str, Tensor]:
    """Return the weights of a network by name, as tensors that safetensors can write."""
    return {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
