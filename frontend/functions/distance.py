"""Distances between vectors, and what pairs or combines elements of several tensors."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..apply import apply, constant, elementwise
from ..autocast import autocasts
from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor, here
from .arguments import cast, reshaped, shape_of
from .creation import meshgrid
from .joining import stack
from .math import where
from .reduction import amax, sum, wide
from .shape import unsqueeze
from .statistics import norm

_MODES = (
    "use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
)  # fmt: skip


def _order(p: Any, name: str) -> float:
    if not isinstance(p, (int, float)) or not p >= 0:
        raise ArgumentError(f"{name}: p={p!r} is not a number of 0 or more")
    return float(p)


def _length(difference: Tensor, p: float) -> Tensor:
    """The p-norm over the last axis; its gradient at 0 is 0."""
    if p in (0.0, 1.0, 2.0):
        return norm(difference, p, -1)
    size = elementwise("abs", wide(difference))
    if p == float("inf"):
        # Equal ones get sign(0) = 0 where all are 0.
        return cast(amax(size, -1), here(difference).spec.dtype)
    zero = elementwise("eq", size, 0)
    powers = where(zero, 0.0, elementwise("pow", where(zero, 1.0, size), p))
    total = sum(powers, -1)
    nothing = elementwise("eq", total, 0)
    root = elementwise("pow", where(nothing, 1.0, total), 1 / p)
    return cast(where(nothing, 0.0, root), here(difference).spec.dtype)


@autocasts
def cdist(
    x1: Tensor, x2: Tensor, p: float = 2.0,
    compute_mode: str = "use_mm_for_euclid_dist_if_necessary",
) -> Tensor:  # fmt: skip
    """[.., P, R]: the p-norms of the differences between each of P vectors [.., P, M] and each of
    R vectors [.., R, M]; leading axes broadcast. Always computed from the differences, which no
    `compute_mode` makes less exact.

    Raises:
        ShapeError: the vectors have different lengths, or there is no axis of them.
        ArgumentError: p is negative, or an unknown mode.
    """
    order = _order(p, "cdist")
    if compute_mode not in _MODES:
        raise ArgumentError(f"cdist: compute_mode={compute_mode!r} is none of {_MODES}")
    if x1.ndim < 2 or x2.ndim < 2 or shape_of(x1)[-1] != shape_of(x2)[-1]:
        raise ShapeError(
            f"cdist: vectors {list(shape_of(x1))} and {list(shape_of(x2))}",
            hint="the last axes must be equal, and one axis stand before each",
        )
    difference = elementwise("sub", unsqueeze(x1, -2), unsqueeze(x2, -3))
    return _length(difference, order)


@autocasts
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """[n * (n - 1) / 2]: the p-norms of the differences between all pairs of the n vectors [n, m],
    in the order (0, 1), (0, 2), ..., (1, 2), ... In a trace n becomes a part of the program.

    Raises:
        ShapeError: `input` has not two axes.
        ArgumentError: p is negative.
    """
    order = _order(p, "pdist")
    if input.ndim != 2:
        raise ShapeError(f"pdist takes [n, m], got {list(shape_of(input))}")
    first, second = np.triu_indices(int(input.shape[0]), 1)
    parts = [
        apply("gather", [input, constant(places.astype(np.int64))], axis=0)
        for places in (first, second)
    ]
    return _length(elementwise("sub", *parts), order)


@autocasts
def dist(input: Tensor, other: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm of input - other, which broadcast."""
    return norm(elementwise("sub", input, other), float(p))


# Pairs and combinations


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """[n1 * n2 * ..., k]: all combinations of an element of each of the k 1-d tensors, the last one
    changing fastest; of one tensor itself.

    Raises:
        ShapeError: a tensor is not 1-d.
    """
    for tensor in tensors:
        if tensor.ndim != 1:
            raise ShapeError(f"cartesian_prod takes 1-d tensors, got {list(shape_of(tensor))}")
    if len(tensors) == 1:
        return tensors[0]
    grids = meshgrid(*tensors, indexing="ij")
    return stack([reshaped(grid, (-1,)) for grid in grids], -1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """[k, r]: all choices of r elements of a 1-d tensor, as `itertools.combinations` gives them. In
    a trace the size becomes a part of the program.

    Raises:
        ShapeError: `input` is not 1-d.
        ArgumentError: r is negative.
    """
    if input.ndim != 1:
        raise ShapeError(f"combinations takes a 1-d tensor, got {list(shape_of(input))}")
    if r < 0:
        raise ArgumentError(f"combinations of r={r} elements")
    chosen = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(chosen(range(int(input.shape[0])), r)) if r else []
    places = np.array(rows, np.int64).reshape((len(rows), r) if r else (0,))
    return apply("gather", [input, constant(places)], axis=0)
