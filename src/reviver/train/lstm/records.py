"""What the files of an LSTM's run folder hold, see `reviver.runs.schema`."""

from typing import Any

from reviver.runs.schema import ABSENT, Best, Count, Epoch, Extra, Fraction, Kind, Line, RunRecord, Seconds, Step
from reviver.settings.validation import Record

SequencesSeen = Count  # training sequences seen so far
Length = Count  # time steps of the epoch's sequences
Accuracy = Fraction  # fraction of correct predictions
Loss = float  # mean loss: cross-entropy in nats, or squared error


class Measured(Record):
    """Accuracy of a run of the recall curve on new sequences."""

    sequences: Count = ABSENT
    accuracy: Accuracy


class LSTMRecord(RunRecord):
    """Content of run.json."""

    data: dict[str, Any] | None = None  # custom data, see `reviver.data.sequences.custom`
    measured: Measured = ABSENT  # of a run of the recall curve


class _Validated(Line):
    """Line of metrics.jsonl: an epoch. Training metrics are with dropout, validation metrics without."""

    compared = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")

    step: Step
    epoch: Epoch
    sequences: SequencesSeen
    validation_loss: Loss
    validation_accuracy: Accuracy
    seconds: Seconds


class LSTMMetrics(_Validated):
    """Line of metrics.jsonl of a run without a length curriculum."""

    train_loss: Loss
    train_accuracy: Accuracy


class CurriculumMetrics(_Validated):
    """Line of metrics.jsonl of a run with a length curriculum: an epoch, or a validation without training."""

    length: Length
    validation_sequences: Count = ABSENT  # number of validation sequences
    train_loss: Loss | None  # null for a validation without training
    train_accuracy: Accuracy | None  # the same


class BestEpoch(Best):
    """An epoch with its validation."""

    epoch: Epoch
    length: Length
    validation_accuracy: Accuracy
    validation_loss: Loss


class LSTMExtra(Extra):
    """State of the training loop."""

    stage: Count = ABSENT  # number of lengths of the curriculum that have passed
    broken: Count | None = ABSENT  # index of the shortest length known to break, see `reviver.train.lstm.curriculum`
    sequences: SequencesSeen = ABSENT
    best: BestEpoch = ABSENT
    improved: BestEpoch = ABSENT  # last improvement, with early stopping


KIND = Kind("lstm", LSTMRecord, lambda _, config: CurriculumMetrics if config.get("curriculum") else LSTMMetrics)
