"""What PyTorch also has outside of `linalg`, under older names."""

from __future__ import annotations

from typing import Any

from ..apply import elementwise
from ..errors import ShapeError
from ..functions.arguments import shape_of, takes_out
from ..functions.complex import angle
from ..functions.complex import complex as make_complex
from ..functions.creation import eye
from ..functions.joining import flip
from ..functions.math import where
from ..functions.matrix import bmm
from ..functions.reduction import sum
from ..tensor import Tensor, here
from . import decompositions, products, systems

inverse = systems.inv


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """`linalg.pinv`, with singular values up to rcond times the largest taken as 0."""
    return decompositions.pinv(input, rtol=rcond)


@takes_out
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """`linalg.cholesky`."""
    return decompositions.cholesky(input, upper=upper)


def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of each A, from its factor: L L^H, or with `upper` L^H L."""
    return systems.cholesky_solve(
        eye(L.shape[-1], dtype=L.dtype, device=L.device).expand(L.shape), L, upper
    )


def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant: -inf where it is 0, NaN where it is negative; of complex
    matrices the one with an imaginary part in (-pi, pi]."""
    sign, size = systems.slogdet(input)
    if sign.dtype.is_complex:
        return make_complex(size, angle(sign))
    return where(elementwise("lt", sign, 0), float("nan"), size)


def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of matrices, in the order that takes the fewest multiplications."""
    return products.multi_dot(list(matrices))


@takes_out
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """`linalg.cross`: the vector products along `dim`, by default the first axis of size 3.

    Raises:
        ShapeError: an operand has not three elements there, or no axis has.
    """
    if dim is None:
        threes = [a for a, n in enumerate(shape_of(input)) if isinstance(n, int) and n == 3]
        if not threes:
            raise ShapeError(f"cross: no axis of {here(input).spec} has 3 elements")
        dim = threes[0]
    return products.cross(input, other, dim=dim)


def vander(x: Tensor, N: Any = None, increasing: bool = False) -> Tensor:
    """The powers of the elements of a 1-d tensor, from N - 1 down to 0, or from 0 up.

    Raises:
        ShapeError: `x` is not 1-d.
    """
    if x.ndim != 1:
        raise ShapeError(f"vander of {here(x).spec}", hint="linalg.vander takes several vectors")
    made = products.vander(x, N=N)
    return made if increasing else flip(made, 1)


@takes_out
def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """beta * input + alpha * (the sum over the batch of the products of matrices)."""
    total = elementwise("mul", sum(bmm(batch1, batch2), 0), alpha)
    return elementwise("add", elementwise("mul", input, beta), total)
