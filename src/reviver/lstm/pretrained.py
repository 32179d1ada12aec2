"""LSTMs as folders in the layout of the Hugging Face Hub, see `reviver.io.pretrained`."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from torch import nn

from reviver.io.hub import Download, DownloadKeywords
from reviver.io.model_card import PLACEHOLDER, plain_card
from reviver.io.pretrained import Pretrained, Source, architecture_of, load_network, save_network
from reviver.lstm.describe import SequenceData
from reviver.lstm.options import LSTMClassifierSpec, LSTMSpec, RNNClassifierSpec

if TYPE_CHECKING:
    from reviver.lstm.classifier import LSTMClassifier
    from reviver.lstm.layer import LSTM
    from reviver.lstm.rnn import RNNClassifier


Network = TypeVar("Network", bound=nn.Module)
TAGS = ("reviver", "recurrent-neural-network")


SPECS: dict[str, type[Any]] = {
    "LSTM": LSTMSpec,
    "LSTMClassifier": LSTMClassifierSpec,
    "RNNClassifier": RNNClassifierSpec,
}
"""Spec of each class: the arguments of its constructor."""


def save(
    network: "LSTM | LSTMClassifier | RNNClassifier",
    folder: str | Path,
    *,
    card: str | None = None,
    data: SequenceData | None = None,
    run: Source | None = None,
) -> None:
    """Write config.json, model.safetensors and README.md of a network into `folder`.

    Args:
        network: the network. A subclass is saved as the class that it extends.
        folder: where; it is created if it does not exist. A README.md that exists is kept.
        card: text of README.md; by default one without results.
        data: what the network reads and predicts.
        run: the run that it comes from.

    Raises:
        ConfigError: if the weights cannot be saved, see `save_network`.
        RunFolderError: if a file cannot be written.
    """
    name, spec = architecture_of(type(network), SPECS), spec_of(network)
    if card is None:
        card = plain_card(name, TAGS, None, usage_of(name), asdict(spec))
    save_network(network, name, spec, folder, card=card, data=data, run=run)


def load(cls: type[Network], source: str | Path, **download: Unpack[DownloadKeywords]) -> Network:
    """Return a network that `save` wrote, in eval mode.

    Args:
        cls: its class.
        source: a local folder, which comes first, or the id of a repository of the Hugging Face Hub, such as `user/name`.
        **download: fields of `Download`, for a repository.

    Raises:
        DataError: if the files are missing or damaged, or the repository cannot be downloaded.
        ConfigError: if a repository is needed and `huggingface_hub` is not installed.
        TypeError: if an option is unknown.
    """
    return load_with_data(cls, source, **download).network


def load_with_data(
    cls: type[Network], source: str | Path, **download: Unpack[DownloadKeywords]
) -> Pretrained[Network, SequenceData]:
    """Return a network with the description of its data; arguments and errors are those of `load`."""
    name = architecture_of(cls, SPECS)
    return load_network(cls, name, SPECS[name], SequenceData, source, Download(**download))


def spec_of(network: "LSTM | LSTMClassifier | RNNClassifier") -> Any:
    """Return the arguments that construct a network of the same architecture and options."""
    spec, lstm = SPECS[architecture_of(type(network), SPECS)], getattr(network, "lstm", network)
    owners: tuple[Any, ...] = (network, lstm, getattr(lstm, "options", lstm))

    def find(name: str) -> Any:
        if name == "num_classes":
            return len(owners[0].W_out)
        return next(getattr(owner, name) for owner in owners if hasattr(owner, name))

    return spec(**{field.name: find(field.name) for field in fields(spec)})


def usage_of(name: str) -> str:
    """Return Python code that uses a network of the class `name`."""
    call = "output, state = network(x)" if name == "LSTM" else "probabilities = network(x).softmax(-1)"
    module = "reviver.lstm.rnn" if name == "RNNClassifier" else "reviver"
    return "\n".join(
        [f"from {module} import {name}", f'network = {name}.from_pretrained("{PLACEHOLDER}")', f"{call}  # x [B, T, I]"]
    )
