"""Scores of a classifier on labeled sequences: accuracy, precision, recall, F1, log loss and the confusion matrix.

Shapes: N sequences, C classes.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class ClassScore(NamedTuple):
    """Scores of one class, from 0 to 1. A score whose denominator is 0 is None."""

    name: str
    support: int
    """Number of sequences of the class."""
    precision: float | None
    """Fraction of the predictions of the class that are correct; None if it was never predicted."""
    recall: float | None
    """Fraction of the sequences of the class that are correct; None if it does not occur."""
    f1: float | None
    """Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN); None if the class neither occurs nor is predicted."""


@dataclass(frozen=True)
class ClassificationReport:
    """Scores of a classifier on N labeled sequences; the names are those of scikit-learn."""

    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Confusion matrix [C, C]: `confusion[i][j]` sequences of class i were predicted as class j."""
    log_loss: float
    """Mean negative log-probability of the true class, in nats."""
    baseline: float
    """Log loss of predicting the class frequencies of the training set for every sequence, in nats."""

    @property
    def size(self) -> int:
        """N."""
        return sum(self.supports)

    @property
    def supports(self) -> list[int]:
        """Number of sequences of each class, [C]."""
        return [sum(row) for row in self.confusion]

    @property
    def num_correct(self) -> int:
        """Number of sequences whose class was predicted."""
        return sum(row[index] for index, row in enumerate(self.confusion))

    @property
    def accuracy(self) -> float:
        """Fraction of correct predictions."""
        return self.num_correct / self.size

    @property
    def chance(self) -> float:
        """Accuracy of always predicting the most frequent class of these sequences."""
        return max(self.supports) / self.size

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that occur."""
        recalls = [score.recall for score in self.scores if score.recall is not None]
        return sum(recalls) / len(recalls)

    @property
    def balanced_chance(self) -> float:
        """Balanced accuracy of always predicting the same class."""
        return 1 / sum(support > 0 for support in self.supports)

    @property
    def scores(self) -> list[ClassScore]:
        """Scores of each class, [C]."""

        def ratio(hits: int, count: int) -> float | None:
            return hits / count if count else None

        predicted = [sum(column) for column in zip(*self.confusion, strict=True)]
        hits = [row[index] for index, row in enumerate(self.confusion)]
        return [
            ClassScore(name, support, ratio(hit, count), ratio(hit, support), ratio(2 * hit, support + count))
            for name, support, count, hit in zip(self.classes, self.supports, predicted, hits, strict=True)
        ]

    def confusions(self) -> list[tuple[str, str, int]]:
        """Return the pairs (true class, predicted class, sequences) of wrong predictions, the most frequent first."""
        pairs = [
            (self.classes[i], self.classes[j], count)
            for i, row in enumerate(self.confusion)
            for j, count in enumerate(row)
            if count and i != j
        ]
        return sorted(pairs, key=lambda pair: -pair[2])

    def to_json(self) -> dict[str, Any]:
        """Return all scores, ready for JSON."""
        names = ("accuracy", "chance", "balanced_accuracy", "balanced_chance", "log_loss", "baseline")
        return {
            "sequences": self.size,
            "correct": self.num_correct,
            **{name: getattr(self, name) for name in names},
            "classes": [score._asdict() for score in self.scores],
            "confusion": [list(row) for row in self.confusion],
        }


def classification_report(
    logits: Tensor, targets: Tensor, classes: tuple[str, ...], class_fractions: tuple[float, ...]
) -> ClassificationReport:
    """Return the scores of the logits [N, C] of N ≥ 1 sequences with the class indices `targets` [N].

    `class_fractions`, the fractions of the C classes in the training set, are for the baseline of the log loss.
    """
    count = len(classes)
    predicted = logits.argmax(1)
    confusion = (targets * count + predicted).bincount(minlength=count * count).view(count, count)
    fractions = torch.tensor(class_fractions, dtype=torch.float64)
    return ClassificationReport(
        classes,
        tuple(tuple(row) for row in confusion.tolist()),
        log_loss=functional.cross_entropy(logits.double(), targets).item(),
        baseline=-fractions.log()[targets].mean().item(),
    )
