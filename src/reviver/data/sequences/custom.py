"""The task `custom`: classification of labeled sequences from a file, or from a folder of arrays.

Shapes: N sequences, T steps of the longest, I channels per step, C classes.
"""

import copy
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from reviver.data.sequences.examples import Examples, MappedExamples
from reviver.data.sequences.labels import class_indices, class_names, stratified_split
from reviver.data.sequences.reader import FOLDER_FILES, read_sequences
from reviver.data.sequences.standardization import Standardization
from reviver.data.sequences.table import SequenceTable
from reviver.data.task import DataRecord, Sequences, SplitName, Task
from reviver.errors import DataError
from reviver.files.file_errors import reading
from reviver.settings.lstm import LSTMConfig
from reviver.settings.tasks import DEFINITIONS


class CustomTask(Task):
    """Classification of the sequences in the file or folder `config.data`, with a stratified random split.

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
        return Examples(self.data.standardization.apply(table.x.float(), table.lengths), table.lengths, classes)

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
    if path.exists():
        with reading(path):
            digest = _digest(path)
        if known is not None and known.sha256 != digest:
            problem = "is not the file that this run was trained on"
            raise DataError(f"{path}: {problem}; put that one back, or train a new run")
    table = read_sequences(path, sequence_column=config.sequence_column, label_column=config.label_column)
    classes = class_names(table)
    labels = class_indices(table, classes)
    train, validation = stratified_split(labels, config.train_fraction, config.seed, f"{path}: labels")
    record = known or DataRecord(
        name=table.name,
        sha256=digest,
        num_sequences=len(table),
        max_length=table.x.shape[1],
        classes=classes,
        class_fractions=tuple(count / len(train) for count in torch.bincount(labels[train]).tolist()),
        standardization=Standardization.fit(table.x, table.lengths, train),
    )

    def split(rows: torch.Tensor) -> Sequences:
        lengths, targets = table.lengths[rows], labels[rows]
        if path.is_dir():
            return MappedExamples(rows, table.x, lengths, targets, record.standardization)
        return Examples(record.standardization.apply(table.x[rows], lengths), lengths, targets)

    return record, {"train": split(train), "validation": split(validation)}


def _digest(path: Path) -> str:
    if path.is_dir():
        parts = [path / name for name in FOLDER_FILES if (path / name).exists()]
        return hashlib.sha256("".join(map(_digest, parts)).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
