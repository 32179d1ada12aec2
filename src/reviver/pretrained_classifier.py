"""A classifier of sequences with what surrounds it, from a folder in the layout of the Hugging Face Hub.

Shapes: N sequences, T steps of the longest, I channels per step, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from reviver.data.build import SequenceData
from reviver.data.sequences.examples import Examples
from reviver.errors import DataError
from reviver.files.pretrained import CONFIG, load
from reviver.recurrent.classifier import LSTMClassifier, RecurrentClassifier, RNNClassifier
from reviver.train.lstm.scoring import compute_logits


@dataclass(frozen=True)
class PretrainedClassifier:
    """A trained classifier, raw numbers in, names of classes out, that `reviver export --format hub` wrote."""

    network: RecurrentClassifier
    """Network, in eval mode. Its input is standardized."""
    data: SequenceData
    """What the network reads and predicts: its classes and the standardization among others."""

    @classmethod
    def from_pretrained(cls, source: str | Path, **download: Any) -> Self:
        """Return the classifier in a folder or a repository, see `reviver.files.pretrained.find_folder`.

        Raises:
            DataError: if the files are missing or damaged, or do not describe a classifier of sequences.
            ConfigError: if a repository is needed and `huggingface_hub` is not installed.
        """
        network, data = load((LSTMClassifier, RNNClassifier), source, **download)
        if data is None or data.target != "class" or data.classes is None:
            raise DataError(
                f"{source}: {CONFIG} names no classes of sequences; use {type(network).__name__}.from_pretrained"
            )
        return cls(network, data)

    def predict_probabilities(self, sequences: Sequence[Any]) -> Tensor:
        """Return the probability of each class for each of N sequences of raw numbers, [T] or [T, I] each, as [N, C].

        Raises:
            DataError: if a sequence is empty, has another number of channels, or holds anything but finite numbers.
        """
        x, lengths = self._pad(sequences)
        if self.data.standardization is not None:
            x = self.data.standardization.apply(x, lengths)
        return compute_logits(self.network, Examples(x, lengths, torch.zeros_like(lengths))).softmax(1)

    def predict(self, sequences: Sequence[Any]) -> list[str]:
        """Return the name of the most probable class of each sequence; see `predict_probabilities`."""
        assert self.data.classes is not None, "from_pretrained checks it"
        return [self.data.classes[index] for index in self.predict_probabilities(sequences).argmax(1).tolist()]

    def _pad(self, sequences: Sequence[Any]) -> tuple[Tensor, Tensor]:
        channels = self.network.input_size
        tensors = []
        for index, sequence in enumerate(sequences):
            tensor = torch.from_numpy(np.array(sequence, dtype=np.float32))
            tensor = tensor.unsqueeze(1) if tensor.dim() == 1 else tensor
            if tensor.dim() != 2 or len(tensor) == 0 or tensor.shape[1] != channels or not tensor.isfinite().all():
                shape = f"[T, {channels}]" if channels > 1 else "[T] or [T, 1]"
                problem = f"must be finite numbers of the shape {shape} with T at least 1"
                raise DataError(f"sequences[{index}] {problem}, got shape {list(np.shape(sequence))}")
            tensors.append(tensor)
        lengths = torch.tensor([len(tensor) for tensor in tensors])
        return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True), lengths
