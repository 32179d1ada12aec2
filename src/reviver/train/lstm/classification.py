"""Scores of a classifier on labeled sequences; the names are those of scikit-learn.

Shapes: N sequences, C classes.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, float64, tensor
from torch.nn import functional


def classification_report(
    logits: Tensor, targets: Tensor, classes: tuple[str, ...], class_fractions: tuple[float, ...]
) -> dict[str, Any]:
    """Return the scores of the logits [N, C] of N ≥ 1 sequences with the class indices `targets` [N].

    sequences, correct    N, and how many of them have the predicted class
    accuracy, chance      fraction of correct predictions, and that of always predicting the most frequent class
    balanced_accuracy     mean recall of the classes that occur; `balanced_chance` is that of always predicting one class
    log_loss, baseline    mean negative log-probability of the true class, in nats, and that of predicting
                          `class_fractions`, those of the C classes in the training set
    classes               name, support (sequences), precision, recall and f1 of each class; None where a denominator is 0
    confusion             [C, C]: `confusion[i][j]` sequences of class i were predicted as class j
    """

    def ratio(hits: int, total: int) -> float | None:
        return hits / total if total else None

    count, size = len(classes), len(targets)
    cells = (targets * count + logits.argmax(1)).bincount(minlength=count * count)
    confusion: list[list[int]] = cells.view(count, count).tolist()
    hits, supports = [row[index] for index, row in enumerate(confusion)], [sum(row) for row in confusion]
    predicted = [sum(column) for column in zip(*confusion, strict=True)]
    scores = [
        {
            "name": name,
            "support": support,
            "precision": ratio(hit, guesses),
            "recall": ratio(hit, support),
            "f1": ratio(2 * hit, support + guesses),
        }
        for name, support, guesses, hit in zip(classes, supports, predicted, hits, strict=True)
    ]
    recalls = [hit / support for hit, support in zip(hits, supports, strict=True) if support]
    return {
        "sequences": size,
        "correct": sum(hits),
        "accuracy": sum(hits) / size,
        "chance": max(supports) / size,
        "balanced_accuracy": sum(recalls) / len(recalls),
        "balanced_chance": 1 / len(recalls),
        "log_loss": functional.cross_entropy(logits.double(), targets).item(),
        "baseline": -tensor(class_fractions, dtype=float64).log()[targets].mean().item(),
        "classes": scores,
        "confusion": confusion,
    }


def confusions(report: Mapping[str, Any]) -> list[tuple[int, int, int]]:
    """Return (true class, predicted class, sequences) of wrong predictions, by index, the most frequent first."""
    pairs = [
        (i, j, count) for i, row in enumerate(report["confusion"]) for j, count in enumerate(row) if count and i != j
    ]
    return sorted(pairs, key=lambda pair: -pair[2])
