"""The task `custom`: classification of labeled sequences from a file or a packed folder.

Shapes: N sequences, T steps of the longest, I channels per step, C classes.
"""

import copy
import hashlib
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from reviver.data.packed import RECORD_NAME, is_packed
from reviver.data.sequences.examples import Examples, PackedExamples, PackedTable
from reviver.data.sequences.labels import class_indices, stratified_split
from reviver.data.sequences.reader import read_sequences
from reviver.data.sequences.standardization import Standardization
from reviver.data.sequences.table import SequenceTable
from reviver.data.task import DataRecord, Sequences, SplitName, Task
from reviver.errors import DataError
from reviver.files.file_errors import reading
from reviver.settings.lstm import LSTMConfig
from reviver.settings.tasks import DEFINITIONS


class CustomTask(Task):
    """Classification of the sequences in the file or packed folder `config.data`, with a stratified random split.

    The standardization is fitted on the training set alone. With a `record`, the entry `data` in run.json of an existing
    run, the file is read only if a split is used; without one it is read at once. A malformed file is a DataError.
    """

    data: DataRecord

    def __init__(self, config: LSTMConfig, record: Mapping[str, Any] | None = None) -> None:
        self._splits: dict[SplitName, Sequences] | None = None
        if record is None:
            self.data, self._splits = _load(config)
        else:
            self.data = DataRecord.model_validate(record)
        definition, size = copy.copy(DEFINITIONS[config.task]), len(self.data.standardization.mean)
        definition.classes = self.data.classes
        definition.channels = tuple(f"channel {index + 1}" for index in range(size)) if size > 1 else ("value",)
        super().__init__(config, definition)
        self.chance = max(self.data.class_fractions)

    def examples(self, table: SequenceTable) -> Examples:
        """Return the sequences of a table, standardized, with the indices of their classes, all 0 without labels."""
        classes = torch.zeros(len(table), dtype=torch.int64)
        if table.labels is not None:
            classes = class_indices(table, self.data.classes)
        return Examples(self.data.standardization.apply(table.x, table.lengths), table.lengths, classes)

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
