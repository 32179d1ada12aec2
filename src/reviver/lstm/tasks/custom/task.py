"""A person's own sequences with a class each, from a file.

Shapes: N sequences, T steps of the longest, I channels a step, C classes.
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
from reviver.lstm.tasks.custom.reader import read_sequences
from reviver.lstm.tasks.custom.table import SequenceTable, Standardisation, class_indices, class_names, split_rows
from reviver.lstm.tasks.task import Part, Sequences, Task
from reviver.validation import JSON_LIST, Record, find_problem


@dataclass(frozen=True)
class Examples(Sequences):
    """Standardised sequences x [N, T, I] with their `lengths` [N] and classes, `targets` [N]."""

    x: Tensor
    lengths: Tensor
    targets: Tensor

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        """The numbers at the steps begin <= t < end, [N, end - begin, I]."""
        return self.x[:, begin:end]

    def __getitem__(self, index: Tensor | slice) -> "Examples":
        """Some of the sequences; steps beyond the longest of them are left out."""
        lengths = self.lengths[index]
        longest = int(lengths.max()) if len(lengths) else self.steps
        return Examples(self.x[index][:, :longest], lengths, self.targets[index])


class DataRecord(Record):
    """What a run must know of its data to be used without the file. It is kept in run.json."""

    name: str
    sha256: str
    """Of the file."""
    num_sequences: Count
    max_length: Count
    """Steps of the longest sequence."""
    classes: Annotated[tuple[str, ...], JSON_LIST, Field(min_length=2)]
    class_fractions: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], JSON_LIST]
    """The part of the training sequences that each class has."""
    standardisation: Standardisation
    """Fitted on the training part."""

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        if not len(self.classes) == len(set(self.classes)) == len(self.class_fractions):
            raise ValueError("must have classes of different names, and as many class_fractions")
        return self

    def examples(self, table: SequenceTable) -> Examples:
        """Return the sequences of a table with these classes, all of the first if it has no labels, and this scale.

        Raises:
            DataError: if a label or the number of channels is another.
        """
        classes = torch.zeros(len(table), dtype=torch.int64)
        if table.labels is not None:
            classes = class_indices(table, self.classes)
        return Examples(self.standardisation.apply(table.x, table.lengths), table.lengths, classes)

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read the `data` of a run.json.

        Raises:
            DataError: naming the first key that is wrong.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            problem = find_problem(error, tuple(cls.model_fields))
            where = ".".join(filter(None, ("data", problem.field)))
            raise DataError(f"{where} {problem.text}; restore run.json or train again") from error


class CustomTask(Task):
    """Sequences from the file `config.data`, divided at random, each class in its share.

    Standardisation is fitted on the training part alone. `record` are those of an earlier session; without them
    the file is read.

    Attributes:
        known: what must be known of the data.
        examples: makes examples of other sequences, see `DataRecord.examples`.
    """

    def __init__(self, config: LSTMConfig, record: Mapping[str, Any] | None = None) -> None:
        self.config = config
        self._parts: dict[Part, Examples] | None = None
        if record is None:
            self.data, self._parts = _read(config)
        else:
            self.data = DataRecord.from_json(record)
        self.data_record = self.data.model_dump(mode="json")
        self.input_size = len(self.data.standardisation.mean)
        self.output_size = len(self.data.classes)
        self.chance = max(self.data.class_fractions)
        self.examples = self.data.examples

    def baseline(self, length: int) -> float:
        """The entropy of the classes, which is the loss of answering with their shares."""
        return -sum(share * math.log(share) for share in self.data.class_fractions)

    def part(self, part: Part, length: int) -> Examples:
        """A part of the file, see `Task`."""
        if self._parts is None:
            _, self._parts = _read(self.config, self.data.sha256)
        return self._parts[part]

    def evaluation(self, length: int, size: int) -> tuple[Examples, str]:
        """The validation part: own data has one length."""
        return self.part("validation", length), "the run's validation part"


def _read(config: LSTMConfig, sha256: str | None = None) -> tuple[DataRecord, dict[Part, Examples]]:
    """The record of a run's file, which must be that of `sha256`, and its two parts."""
    assert config.data is not None, "the task own has data"
    path = Path(config.data)
    digest = _digest(path)
    if sha256 is not None and digest not in (None, sha256):
        raise DataError(f"{path}: is not the file that this run was trained on; put that one back, or train anew")
    table = read_sequences(path, sequence_column=config.sequence_column, label_column=config.label_column)
    assert digest is not None, "the file was read"
    assert table.labels is not None, "they were asked for"
    try:
        classes = class_names(table.labels)
        split = split_rows(table.labels, config.train_fraction, config.seed)
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
    """SHA-256 of a file; None if it cannot be read, which its reader explains."""
    try:
        with open_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
