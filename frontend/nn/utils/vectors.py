"""Parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable

from ...context import setting
from ...errors import ShapeError
from ...functions.arguments import reshaped
from ...functions.joining import cat
from ...tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements in one vector, in order."""
    return cat([reshaped(p, (-1,)) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the elements of a vector into parameters, in order.

    Raises:
        ShapeError: the vector has not as many elements.
    """
    given = list(parameters)
    if sum(p.numel() for p in given) != vec.numel():
        raise ShapeError(f"a vector of {vec.numel()} elements does not fit the parameters")
    start = 0
    with setting(grad_enabled=False):
        for parameter in given:
            end = start + parameter.numel()
            parameter.copy_(reshaped(vec[start:end], tuple(parameter.shape)))
            start = end
