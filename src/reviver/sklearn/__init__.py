"""Scikit-learn estimators for sequences.

They need scikit-learn 1.6 or newer, which the rest of the package does not: `pip install scikit-learn`.
"""

try:
    import sklearn  # noqa: F401 - scikit-learn, not this package: imports are absolute
except ModuleNotFoundError as error:
    if error.name != "sklearn":
        raise
    raise ImportError("reviver.sklearn needs scikit-learn, which is not installed; pip install scikit-learn") from error

from reviver.sklearn.classifier import SequenceClassifier
from reviver.sklearn.regressor import SequenceRegressor

__all__ = ["SequenceClassifier", "SequenceRegressor"]
