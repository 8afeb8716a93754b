"""Covariances and correlations of variables."""

from __future__ import annotations

from typing import Any

from ..apply import elementwise
from ..errors import ShapeError
from ..tensor import Tensor
from .arguments import as_input, cast, count_of, reshaped, shape_of
from .complex import conj
from .math import cast_float, clamp
from .matrix import matmul
from .reduction import mean_over, sum
from .shape import diagonal, transpose, unsqueeze


def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """[n, n]: the covariances of n variables, the rows of `input`, over its columns, which count as
    often as `fweights` (integers) and as much as `aweights` say. Of one variable a number.

    Raises:
        ShapeError: `input` has more than two axes, or the weights another size.
    """
    if input.ndim > 2:
        raise ShapeError(f"cov takes one or two axes, got the shape {list(shape_of(input))}")
    rows = _rows(input)
    weights = _weights(rows, fweights, aweights)
    if weights is None:
        total: Any = count_of(rows, (1,))
        mean = mean_over(rows, (1,), True)
    else:
        total = sum(weights)
        mean = elementwise("div", sum(elementwise("mul", rows, weights), 1, True), total)
    away = elementwise("sub", rows, mean)
    weighted = away if weights is None else elementwise("mul", away, weights)
    lost: Any = correction
    if aweights is not None:
        square = elementwise("mul", weights, aweights)
        lost = elementwise("div", elementwise("mul", sum(square), correction), total)
    freedom = elementwise("maximum", elementwise("sub", as_input(total), lost), 0)
    found = elementwise("div", matmul(weighted, transpose(conj(away), 0, 1)), freedom)
    return found if input.ndim == 2 else reshaped(found, ())


def _rows(input: Tensor) -> Tensor:
    """`input` as floats, one variable a row."""
    floats = cast_float(input)
    return floats if floats.ndim == 2 else reshaped(floats, (1, -1))


def _weights(rows: Tensor, fweights: Tensor | None, aweights: Tensor | None) -> Tensor | None:
    """The weights of the columns of `rows`, in its dtype."""
    given = [w for w in (fweights, aweights) if w is not None]
    for weight in given:
        if shape_of(weight) != shape_of(rows)[1:]:
            raise ShapeError(f"cov: weights {weight.shape} for columns of {rows.shape}")
    if not given:
        return None
    first = cast(given[0], rows.dtype)
    return first if len(given) == 1 else elementwise("mul", first, cast(given[1], rows.dtype))


def corrcoef(input: Tensor) -> Tensor:
    """[n, n]: the correlation coefficients of n variables, the rows of `input`, within -1 and 1."""
    found = cov(input)
    if found.ndim == 0:
        return elementwise("div", found, found)
    deviation = elementwise("sqrt", diagonal(found))
    scaled = elementwise("div", elementwise("div", found, deviation), unsqueeze(deviation, 1))
    return scaled if scaled.dtype.is_complex else clamp(scaled, -1, 1)
