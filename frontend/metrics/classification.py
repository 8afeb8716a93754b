"""How often classes are named rightly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...ir.dtypes import f64, i64
from ..construct import as_tensor
from ..context import no_grad
from ..errors import ArgumentError, TraceError
from ..functions.counting import searchsorted, unique
from ..functions.creation import arange, zeros
from ..functions.joining import cat
from ..functions.math import where
from ..functions.reduction import sum
from ..functions.select import index_add
from ..tensor import Tensor
from .arguments import Inputs, averaged, chosen, inputs, recorded, share, warn_if

AVERAGES = ("binary", "micro", "macro", "weighted", None)


@no_grad()
def accuracy(y_true: Any, y_pred: Any, *, normalize: bool = True, sample_weight: Any = None) -> Any:
    """The share of examples whose class is named rightly; with `normalize=False` how many.

    >>> accuracy([0, 1, 2, 2], [0, 1, 1, 2])
    0.75
    """
    given = inputs("accuracy", y_true, y_pred, sample_weight)
    right = sum(where(given.true == given.pred, given.weights, 0.0))
    return given.give(right / sum(given.weights) if normalize else right)


def precision(
    y_true: Any,
    y_pred: Any,
    *,
    labels: Any = None,
    pos_label: int = 1,
    average: str | None = "binary",
    sample_weight: Any = None,
    zero_division: Any = "warn",
) -> Any:
    """Of the examples that are said to be of a class, the share that is.

    Args:
        labels: the classes, in the order of the result; all that occur unless given. A function
            that is recorded needs them for the averages "macro", "weighted" and None.
        pos_label: the class that "binary" is about.
        average: "binary" (of `pos_label`), "micro" (of all examples together), "macro" (the mean of
            the classes), "weighted" (by how many examples a class has), None (one for each class).
        zero_division: what a share of nothing is: 0, 1, NaN (left out of means), or "warn": 0 with
            a warning.

    >>> precision([0, 1, 1, 0, 1], [1, 1, 0, 0, 1]).__round__(4)
    0.6667
    """
    return _of_classes(
        "precision", y_true, y_pred, labels, pos_label, average, sample_weight, zero_division
    )


def recall(
    y_true: Any,
    y_pred: Any,
    *,
    labels: Any = None,
    pos_label: int = 1,
    average: str | None = "binary",
    sample_weight: Any = None,
    zero_division: Any = "warn",
) -> Any:
    """Of the examples of a class, the share that is named so. Arguments as of `precision`.

    >>> recall([0, 1, 2, 2], [0, 1, 1, 2], average=None).tolist()
    [1.0, 1.0, 0.5]
    """
    return _of_classes(
        "recall", y_true, y_pred, labels, pos_label, average, sample_weight, zero_division
    )


def f1_score(
    y_true: Any,
    y_pred: Any,
    *,
    labels: Any = None,
    pos_label: int = 1,
    average: str | None = "binary",
    sample_weight: Any = None,
    zero_division: Any = "warn",
) -> Any:
    """The harmonic mean of precision and recall. Arguments as of `precision`.

    >>> f1_score([0, 1, 2, 2], [0, 1, 1, 2], average="micro")
    0.75
    """
    return _of_classes(
        "f1_score", y_true, y_pred, labels, pos_label, average, sample_weight, zero_division
    )


@no_grad()
def confusion_matrix(
    y_true: Any,
    y_pred: Any,
    *,
    labels: Any = None,
    sample_weight: Any = None,
    normalize: str | None = None,
) -> Any:
    """How many examples of each class (row) are said to be of each class (column): int64, or
    float64 with weights; with `normalize` "true", "pred" or "all" as shares of rows, of columns, of
    all. `labels` as of `precision`.

    >>> confusion_matrix([0, 1, 2, 2], [0, 1, 1, 2]).tolist()
    [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    """
    name = "confusion_matrix"
    chosen(name, "normalize", normalize, ("true", "pred", "all", None))
    given = inputs(name, y_true, y_pred, sample_weight)
    classes = _Classes.of(name, given, labels)
    count = classes.count
    true, pred = classes.number(given.true), classes.number(given.pred)
    place = where((true < count) & (pred < count), true * count + pred, count * count)
    cells = zeros(count * count + 1, dtype=f64, device=given.true.device)
    matrix = index_add(cells, 0, place, given.weights)[:-1].reshape(count, count)
    if normalize is not None:
        axis = {"true": 1, "pred": 0, "all": (0, 1)}[normalize]
        matrix = share(matrix, sum(matrix, axis, keepdim=True), 0.0)
    elif sample_weight is None:
        matrix = matrix.to(i64)
    return given.give(matrix)


@dataclass(frozen=True)
class _Classes:
    """The classes of a result. `ascending` holds them sorted, `order` the place of each in it."""

    ascending: Tensor
    order: Tensor
    count: int

    @classmethod
    def of(cls, name: str, given: Inputs, labels: Any) -> _Classes:
        if labels is None:
            if recorded():
                raise TraceError(
                    f"{name}: which classes there are is not known while a function is recorded",
                    hint="give labels=range(number of classes)",
                )
            found = unique(cat([given.true, given.pred]))
            return cls(found, arange(len(found), device=found.device), len(found))
        wanted = np.array(labels.tolist() if isinstance(labels, Tensor) else list(labels))
        if wanted.ndim != 1 or not wanted.size or len(set(wanted.tolist())) < wanted.size:
            raise ArgumentError(f"{name}: labels={labels!r} are no different numbers")
        order = np.argsort(wanted)
        place = given.true.device
        return cls(
            as_tensor(wanted[order], device=place), as_tensor(order, device=place), wanted.size
        )

    def number(self, values: Tensor) -> Tensor:
        """Which of the classes each value is; their count for others."""
        place = searchsorted(self.ascending, values).clamp(max=self.count - 1)
        return where(self.ascending[place] == values, self.order[place], self.count)


class _Counts(NamedTuple):
    """By class, the weights of the examples that are of it and said to be, said to be, and are."""

    right: Tensor
    pred: Tensor
    true: Tensor


@no_grad()
def _of_classes(
    name: str,
    y_true: Any,
    y_pred: Any,
    labels: Any,
    pos_label: int,
    average: str | None,
    sample_weight: Any,
    zero_division: Any,
) -> Any:
    chosen(name, "average", average, AVERAGES)
    if zero_division not in ("warn", 0, 1) and zero_division == zero_division:
        raise ArgumentError(f"{name}: zero_division={zero_division!r} is none of 0, 1, NaN, 'warn'")
    given = inputs(name, y_true, y_pred, sample_weight)
    counts = _counted(name, given, labels, pos_label, average)
    if average in ("micro", "binary"):
        counts = _Counts(*(sum(part) for part in counts))
    part, whole = {
        "precision": (counts.right, counts.pred),
        "recall": (counts.right, counts.true),
        "f1_score": (2 * counts.right, counts.pred + counts.true),
    }[name]
    if zero_division == "warn":
        warn_if(whole == 0, f"{name} of a class without examples is not defined; it is set to 0")
    values = share(part, whole, 0.0 if zero_division == "warn" else float(zero_division))
    if average in ("macro", "weighted"):
        values = averaged(values, counts.true if average == "weighted" else None)
    return given.give(values)


def _counted(name: str, given: Inputs, labels: Any, pos_label: int, average: str | None) -> _Counts:
    if average == "binary":
        _check_binary(name, given, pos_label)
        labels = [pos_label]
    elif average == "micro" and labels is None:
        right = sum(where(given.true == given.pred, given.weights, 0.0))
        return _Counts(right, sum(given.weights), sum(given.weights))
    classes = _Classes.of(name, given, labels)
    true, pred = classes.number(given.true), classes.number(given.pred)
    right = where(true == pred, true, classes.count)
    empty = zeros(classes.count + 1, dtype=f64, device=given.true.device)
    return _Counts(*(index_add(empty, 0, n, given.weights)[:-1] for n in (right, pred, true)))


def _check_binary(name: str, given: Inputs, pos_label: int) -> None:
    if recorded():
        return
    found: Sequence[Any] = unique(cat([given.true, given.pred])).tolist()
    if len(found) > 2:
        raise ArgumentError(
            f"{name}: {len(found)} classes", hint="choose average='macro', 'micro' or 'weighted'"
        )
    if len(found) == 2 and pos_label not in found:
        raise ArgumentError(f"{name}: pos_label={pos_label} is none of the classes {found}")
