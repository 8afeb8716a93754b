"""`sley.metrics`: how good predictions are, as scikit-learn defines it.

All take tensors, arrays or lists, and weights of examples. Given tensors they give tensors and work
in compiled functions; given arrays or lists they give numbers and arrays.
"""

from .arguments import UndefinedMetricWarning
from .classification import accuracy, confusion_matrix, f1_score, precision, recall
from .ranking import roc_auc
from .regression import mean_absolute_error, mean_squared_error, r2_score

__all__ = [
    "UndefinedMetricWarning",
    "accuracy",
    "confusion_matrix",
    "f1_score",
    "mean_absolute_error",
    "mean_squared_error",
    "precision",
    "r2_score",
    "recall",
    "roc_auc",
]
