"""The task `custom`: classification of labelled sequences from a file.

Shapes: N sequences, T steps of the longest, I channels per step, C classes.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor

from reviver.config import Count
from reviver.errors import ConfigError, DataError
from reviver.io.files import open_file
from reviver.lstm.config import LSTMConfig
from reviver.lstm.tasks.custom.labels import class_indices, class_names, stratified_split
from reviver.lstm.tasks.custom.reader import read_sequences
from reviver.lstm.tasks.custom.standardisation import Standardisation
from reviver.lstm.tasks.custom.table import SequenceTable
from reviver.lstm.tasks.task import Sequences, SplitName, Task
from reviver.validation import JSON_LIST, Record, find_problem


@dataclass(frozen=True)
class Examples(Sequences):
    """Standardised sequences with their classes.

    Attributes:
        x: [N, T, I] float32, padded with 0.
        lengths: number of steps of each sequence, [N] int64.
        targets: index of the class of each sequence, [N] int64.
    """

    x: Tensor
    lengths: Tensor
    targets: Tensor

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        """Return the values of the steps begin ≤ t < end, [N, end - begin, I]."""
        return self.x[:, begin:end]

    def __getitem__(self, index: Tensor | slice) -> "Examples":
        """Return some of the sequences, padded to the longest of them."""
        lengths = self.lengths[index]
        longest = int(lengths.max()) if len(lengths) else self.steps
        return Examples(self.x[index][:, :longest], lengths, self.targets[index])


class DataRecord(Record):
    """Description of custom data in run.json. With it a trained network can be used without the file."""

    name: str
    """Name of the file."""
    sha256: str
    """SHA-256 of the file."""
    num_sequences: Count
    """N."""
    max_length: Count
    """T, number of steps of the longest sequence."""
    classes: Annotated[tuple[str, ...], JSON_LIST, Field(min_length=2)]
    """Names of the C classes, in the order of their indices."""
    class_fractions: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], JSON_LIST]
    """Fraction of each class among the training sequences, [C]."""
    standardisation: Standardisation
    """Standardisation of the channels, fitted on the training set."""

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        if not len(self.classes) == len(set(self.classes)) == len(self.class_fractions):
            raise ValueError("must have distinct classes, and as many class_fractions")
        return self

    def examples(self, table: SequenceTable) -> Examples:
        """Return the sequences of a table, standardised, with the indices of their classes.

        Without labels in the table all targets are 0, and have no meaning.

        Raises:
            DataError: if a label is unknown, or the number of channels is not that of the training data.
        """
        classes = torch.zeros(len(table), dtype=torch.int64)
        if table.labels is not None:
            classes = class_indices(table, self.classes)
        return Examples(self.standardisation.apply(table.x, table.lengths), table.lengths, classes)

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Return the record of the entry `data` of a run.json.

        Raises:
            DataError: if a key is wrong; the message names the first one.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            problem = find_problem(error, tuple(cls.model_fields))
            path = ".".join(filter(None, ("data", problem.field)))
            raise DataError(f"{path} {problem.text}; restore run.json or train again") from error


class CustomTask(Task):
    """Classification of the sequences in the file `config.data`, with a stratified random split.

    The standardisation is fitted on the training set alone.

    Args:
        config: settings of the run.
        record: entry `data` of the run.json of an existing run. The file is then read only if a split is used. Without
            a record the file is read at once.

    Attributes:
        data: description of the data.
        examples: function that standardises the sequences of another table, see `DataRecord.examples`.

    Raises:
        DataError: if the record or the file is malformed.
    """

    def __init__(self, config: LSTMConfig, record: Mapping[str, Any] | None = None) -> None:
        self.config = config
        self._splits: dict[SplitName, Examples] | None = None
        if record is None:
            self.data, self._splits = _load(config)
        else:
            self.data = DataRecord.from_json(record)
        self.data_record = self.data.model_dump(mode="json")
        self.input_size = len(self.data.standardisation.mean)
        self.output_size = len(self.data.classes)
        self.chance = max(self.data.class_fractions)
        self.examples = self.data.examples

    def baseline(self, length: int) -> float:
        """Return the loss of predicting the class frequencies: the entropy of the classes, in nats."""
        return -sum(fraction * math.log(fraction) for fraction in self.data.class_fractions)

    def fixed_split(self, name: SplitName, length: int) -> Examples:
        """Return a split of the file, see `Task`; `length` has no effect."""
        if self._splits is None:
            _, self._splits = _load(self.config, self.data.sha256)
        return self._splits[name]

    def evaluation(self, length: int, size: int) -> tuple[Examples, str]:
        """Return the validation set, see `Task`; `length` and `size` have no effect."""
        return self.fixed_split("validation", length), "validation set of the run"


def _load(config: LSTMConfig, sha256: str | None = None) -> tuple[DataRecord, dict[SplitName, Examples]]:
    """Read the file of a run, whose digest must be `sha256` unless that is None; return its record and its splits."""
    assert config.data is not None, "LSTMConfig checks it"
    path = Path(config.data)
    digest = _digest(path)
    if sha256 is not None and digest not in (None, sha256):
        raise DataError(f"{path}: is not the file that this run was trained on; put that one back, or train a new run")
    table = read_sequences(path, sequence_column=config.sequence_column, label_column=config.label_column)
    assert digest is not None, "read_sequences would have raised"
    assert table.labels is not None, "read_sequences reads them by default"
    try:
        classes = class_names(table.labels)
        split = stratified_split(table.labels, config.train_fraction, config.seed)
    except (DataError, ConfigError) as error:
        raise type(error)(f"{path}: {error}") from error
    train, validation = table[split.train], table[split.validation]
    counts = Counter(train.labels)
    record = DataRecord(
        name=path.name,
        sha256=digest,
        num_sequences=len(table),
        max_length=table.x.shape[1],
        classes=classes,
        class_fractions=tuple(counts[name] / len(train) for name in classes),
        standardisation=Standardisation.fit(train.x, train.lengths),
    )
    return record, {"train": record.examples(train), "validation": record.examples(validation)}


def _digest(path: Path) -> str | None:
    """Return the SHA-256 of a file, or None if it cannot be read: then its reader raises a better error."""
    try:
        with open_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
