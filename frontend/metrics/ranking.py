"""How well scores order examples."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.dtypes import f64
from ..construct import as_tensor
from ..context import no_grad
from ..errors import ArgumentError, ShapeError, TraceError
from ..functions.counting import unique
from ..functions.creation import full
from ..functions.joining import cat, flip, stack
from ..functions.math import where
from ..functions.ordering import sort
from ..functions.reduction import amax, cummax, cummin, cumsum, sum
from ..tensor import Tensor
from .arguments import averaged, chosen, inputs, recorded, warn_if


@no_grad()
def roc_auc(
    y_true: Any,
    y_score: Any,
    *,
    average: str | None = "macro",
    sample_weight: Any = None,
    multi_class: str = "raise",
    labels: Any = None,
) -> Any:
    """The area under the ROC curve: how probable it is that an example of the class has a higher
    score than one that is not of it (equal scores count half). NaN where one kind is missing.

    Args:
        y_true: classes. Of two, the larger one is positive.
        y_score: [n], higher for the positive class; for more classes their probabilities [n, k].
        average: of the classes: "macro", "weighted" (by their examples), None (one for each; "ovr"
            alone).
        multi_class: for more than two classes "ovr" (each against the rest) or "ovo" (each against
            each).
        labels: the classes of the columns, ascending; those that occur unless given. A function
            that is recorded needs them for more than two classes.

    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    name = "roc_auc"
    chosen(name, "multi_class", multi_class, ("raise", "ovr", "ovo"))
    chosen(name, "average", average, ("macro", "weighted", None))
    given = inputs(name, y_true, y_score, sample_weight, axes=2)
    if given.true.ndim != 1:
        raise ShapeError(f"roc_auc of classes {given.true.spec}", hint="one class for each example")
    scores = given.pred.double()
    if given.pred.ndim == 1:
        if not recorded() and len(unique(given.true)) > 2:
            raise ShapeError("roc_auc of more than two classes", hint="give the scores as [n, k]")
        positive = given.true == amax(given.true)
        area = _area(positive, scores, given.weights)
        # Of one class, all are "the larger": a curve needs both kinds.
        warn_if(area.isnan(), "roc_auc of one class only is not defined; it is NaN")
        return given.give(area)
    classes = _columns(given.true, scores, labels)
    if multi_class == "raise":
        raise ArgumentError("roc_auc of several classes", hint="choose multi_class='ovr' or 'ovo'")
    kinds = [given.true == label for label in classes]
    if multi_class == "ovr":
        areas = stack([_area(k, scores[:, i], given.weights) for i, k in enumerate(kinds)])
        shares = stack([sum(where(kind, given.weights, 0.0)) for kind in kinds])
    elif average is None or sample_weight is not None:
        raise ArgumentError("roc_auc: 'ovo' has an average, and takes no sample_weight")
    else:
        areas, shares = _pairs(kinds, scores)
    warn_if(areas.isnan(), "roc_auc of a class without examples is not defined; it is NaN")
    if average is None:
        return given.give(areas)
    mean = averaged(areas, shares if average == "weighted" else None)
    return given.give(where(areas.isnan().any(), float("nan"), mean))


def _columns(true: Tensor, scores: Tensor, labels: Any) -> list[Any]:
    if labels is None:
        if recorded():
            raise TraceError(
                "roc_auc: which classes there are is not known while a function is recorded",
                hint="give labels=range(number of classes)",
            )
        labels = unique(true).tolist()
    classes = np.array(labels.tolist() if isinstance(labels, Tensor) else list(labels)).tolist()
    if len(classes) != scores.shape[1] or classes != sorted(set(classes)):
        raise ShapeError(
            f"roc_auc: {scores.shape[1]} columns for the classes {classes}",
            hint="one column for each class, in ascending order",
        )
    if not recorded() and bool(((sum(scores, 1) - 1).abs() > 1e-5).any()):
        raise ArgumentError("roc_auc: the scores of an example do not add up to 1", hint="softmax")
    return classes


def _pairs(kinds: list[Tensor], scores: Tensor) -> tuple[Tensor, Tensor]:
    """Of each two classes the mean of both areas, and how many examples they have."""
    areas, shares = [], []
    for b in range(len(kinds)):
        for a in range(b):
            both = (kinds[a] | kinds[b]).double()
            first = _area(kinds[a], scores[:, a], both)
            areas.append((first + _area(kinds[b], scores[:, b], both)) / 2)
            shares.append(sum(both))
    return stack(areas), stack(shares)


def _area(positive: Tensor, scores: Tensor, weights: Tensor) -> Tensor:
    """The weight of the pairs (positive, negative) in the right order, of all pairs.

    In ascending order, each positive is above the negatives before the run of its score and counts
    half of those within: the mean of the sums at the ends of that run.
    """
    ascending, order = sort(scores)
    is_positive, weight = positive[order], weights[order]
    negative = where(is_positive, 0.0, weight)
    upto = cumsum(negative, 0)
    edge = as_tensor(np.array([True]), device=scores.device)
    new = ascending[1:] != ascending[:-1]
    first, last = cat([edge, new]), cat([new, edge])
    none = full((), float("inf"), dtype=f64, device=scores.device)
    start = cummax(where(first, upto - negative, -none), 0).values
    end = flip(cummin(flip(where(last, upto, none), [0]), 0).values, [0])
    own = where(is_positive, weight, 0.0)
    return sum(own * (start + end) / 2) / (sum(own) * sum(negative))
