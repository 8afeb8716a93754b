"""How the functions of linear algebra read their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..apply import broadcast_shapes, equal_dims
from ..errors import DTypeError, ShapeError
from ..functions.arguments import shape_of, spelled
from ..functions.shape import matrix_transpose
from ..tensor import Tensor, here
from ..viewing import expand_view

_LAPACK = ("float32", "float64", "complex64", "complex128")


def matrices(name: str, *inputs: Any) -> None:
    """Check that `inputs` are matrices, or batches of them, of one dtype that LAPACK knows.

    Raises:
        DTypeError, ShapeError: they are not.
    """
    dtypes = set()
    for input in inputs:
        if not isinstance(input, Tensor):
            raise DTypeError(
                f"linalg.{name} takes tensors, got a {type(input).__name__}",
                hint="make one with sley.tensor(...)",
            )
        own = here(input).spec
        if own.dtype.public not in _LAPACK:
            raise DTypeError(
                f"linalg.{name} does not take {own.dtype.public}",
                hint="cast to float32 or float64 with .to()",
            )
        if own.ndim < 2:
            raise ShapeError(
                f"linalg.{name} takes a matrix or a batch of them, got {own}",
                hint="a matrix has two axes; use unsqueeze()",
            )
        dtypes.add(own.dtype.public)
    if len(dtypes) > 1:
        raise DTypeError(
            f"linalg.{name} of {' and '.join(sorted(dtypes))}", hint="cast one of them with .to()"
        )


def square(name: str, input: Any) -> None:
    """As `matrices`, and the matrices must be square."""
    matrices(name, input)
    rows, columns = shape_of(input)[-2:]
    if not equal_dims(rows, columns):
        raise ShapeError(f"linalg.{name} takes square matrices, got {here(input).spec}")


def adjoint(input: Tensor) -> Tensor:
    """The conjugate transpose of each matrix."""
    turned = matrix_transpose(input)
    return turned.conj() if here(input).spec.dtype.is_complex else turned


def with_batch(tensors: Sequence[Tensor], name: str) -> list[Tensor]:
    """The matrices expanded to one batch shape."""
    batch = broadcast_shapes([shape_of(t)[:-2] for t in tensors], f"linalg.{name}")
    return [expand_view(t, [*map(spelled, (*batch, *shape_of(t)[-2:]))]) for t in tensors]
