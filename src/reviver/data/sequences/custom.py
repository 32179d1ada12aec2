"""The task `custom`: classification of labeled sequences from a file or a packed folder.

Shapes: N sequences, T steps of the longest, I channels per step, C classes.
"""

import hashlib
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field

from reviver.data.packed import RECORD_NAME, is_packed
from reviver.data.sequences.examples import Examples, PackedExamples, PackedTable
from reviver.data.sequences.labels import class_indices, stratified_split
from reviver.data.sequences.reader import read_sequences
from reviver.data.sequences.standardization import Standardization
from reviver.data.sequences.table import SequenceTable
from reviver.data.task import Sequences, SplitName, Task
from reviver.errors import DataError
from reviver.files.file_errors import reading
from reviver.settings.fields import Count
from reviver.settings.lstm import LSTMConfig
from reviver.settings.tasks import find_task
from reviver.settings.validation import JSON_LIST, Record


class DataRecord(Record):
    """Description of custom data in run.json. With it a trained network can be used without the file."""

    name: str
    sha256: str
    """SHA-256 of the file, or of the digests of the files of a packed folder."""
    num_sequences: Count
    max_length: Count
    """T, number of steps of the longest sequence."""
    classes: Annotated[tuple[str, ...], JSON_LIST, Field(min_length=2)]
    """Names of the C classes, in the order of their indices."""
    class_fractions: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], JSON_LIST]
    """Fraction of each class among the training sequences, [C]."""
    standardization: Standardization

    def examples(self, table: SequenceTable) -> Examples:
        """Return the sequences of a table, standardized, with the indices of their classes, all 0 without labels."""
        classes = torch.zeros(len(table), dtype=torch.int64)
        if table.labels is not None:
            classes = class_indices(table, self.classes)
        return Examples(self.standardization.apply(table.x, table.lengths), table.lengths, classes)


class CustomTask(Task):
    """Classification of the sequences in the file or packed folder `config.data`, with a stratified random split.

    The standardization is fitted on the training set alone. With a `record`, the entry `data` in run.json of an existing
    run, the file is read only if a split is used; without one it is read at once. A malformed file is a DataError.
    """

    def __init__(self, config: LSTMConfig, record: Mapping[str, Any] | None = None) -> None:
        self.config, self.definition = config, find_task(config.task)
        self._splits: dict[SplitName, Sequences] | None = None
        if record is None:
            self.data, self._splits = _load(config)
        else:
            self.data = DataRecord.model_validate(record)
        self.data_record = self.data.model_dump(mode="json")
        self.input_size = len(self.data.standardization.mean)
        self.output_size = len(self.data.classes)
        self.chance = max(self.data.class_fractions)
        self.examples = self.data.examples

    def baseline(self, length: int) -> float:
        """Return the loss of predicting the class frequencies: the entropy of the classes, in nats."""
        return -sum(fraction * math.log(fraction) for fraction in self.data.class_fractions)

    def fixed_split(self, name: SplitName, length: int) -> Sequences:
        """Return a split of the data, see `Task`; `length` has no effect."""
        if self._splits is None:
            _, self._splits = _load(self.config, self.data)
        return self._splits[name]

    def evaluation(self, length: int, size: int) -> tuple[Sequences, str]:
        """Return the validation set, see `Task`; `length` and `size` have no effect."""
        return self.fixed_split("validation", length), "validation set of the run"


def _load(config: LSTMConfig, known: DataRecord | None = None) -> tuple[DataRecord, dict[SplitName, Sequences]]:
    """Read the data of a run, whose digest must be that of a known record; return the record and the splits."""
    assert config.data is not None, "LSTMConfig checks it"
    path = Path(config.data)
    digest = ""
    if path.is_file() or is_packed(path):
        with reading(path):
            digest = _digest(path)
        if known is not None and known.sha256 != digest:
            problem = "is not the file that this run was trained on"
            raise DataError(f"{path}: {problem}; put that one back, or train a new run")
    if is_packed(path):
        table = PackedTable.open(path)
    else:
        sequence, label = config.sequence_column, config.label_column
        table = PackedTable.of(read_sequences(path, sequence_column=sequence, label_column=label))
    train, validation = stratified_split(table.labels, config.train_fraction, config.seed, f"{path}: labels")
    counts = torch.bincount(table.labels[train], minlength=len(table.classes)).tolist()
    record = known or DataRecord(
        name=table.name,
        sha256=digest,
        num_sequences=len(table.labels),
        max_length=table.max_length,
        classes=table.classes,
        class_fractions=tuple(count / len(train) for count in counts),
        standardization=Standardization.fit_steps(partial(table.chunks, train)),
    )
    parts: list[Sequences] = [PackedExamples(rows, table, record.standardization) for rows in (train, validation)]
    if not is_packed(path):
        parts = [table.load(rows, record.standardization, table.max_length) for rows in (train, validation)]
    return record, {"train": parts[0], "validation": parts[1]}


def _digest(path: Path) -> str:
    if path.is_dir():
        parts = [path / RECORD_NAME, *sorted(path.glob("*.npy"))]
        return hashlib.sha256("".join(map(_digest, parts)).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
