"""Functions of integers that are loops: greatest common divisors, places in shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..apply import elementwise
from ..errors import DTypeError
from ..tensor import Tensor, here
from .arguments import cast, promoted, takes_out
from .math import abs, where
from .reduction import any
from .shape import broadcast_tensors


def _integers(input: Any, other: Any, name: str) -> tuple[Tensor, Tensor]:
    """Both in one integer dtype and shape."""
    x, y = promoted(input, other)
    a, b = broadcast_tensors(x, y)
    if here(a).spec.dtype.kind not in ("int", "uint"):
        raise DTypeError(f"{name} takes integers, got {a.dtype.public}")
    return a, b


@takes_out
def gcd(input: Any, other: Any) -> Tensor:
    """The greatest common divisor, 0 of two zeros, by Euclid's algorithm.

    Raises:
        DTypeError: an operand is not of integers.
    """
    a, b = _integers(input, other, "gcd")
    return _gcd(_positive(a), _positive(b))


def _positive(x: Tensor) -> Tensor:
    return abs(x) if here(x).spec.dtype.kind == "int" else x


def _gcd(a: Tensor, b: Tensor) -> Tensor:
    from ..control import while_loop

    def turn(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        larger, smaller = pair
        done = elementwise("eq", smaller, 0)
        rest = elementwise("remainder", larger, where(done, 1, smaller))
        return where(done, larger, smaller), where(done, 0, rest)

    def goes_on(pair: tuple[Tensor, Tensor]) -> Tensor:
        return any(elementwise("ne", pair[1], 0))

    return while_loop(goes_on, turn, (a, b))[0]


@takes_out
def lcm(input: Any, other: Any) -> Tensor:
    """The least common multiple, 0 where one is 0.

    Raises:
        DTypeError: an operand is not of integers.
    """
    a, b = _integers(input, other, "lcm")
    common = _gcd(_positive(a), _positive(b))
    quotient = elementwise("floor_div", a, where(elementwise("eq", common, 0), 1, common))
    return _positive(elementwise("mul", quotient, b))


def unravel_index(indices: Tensor, shape: Sequence[Any]) -> tuple[Tensor, ...]:
    """The coordinates in a tensor of `shape` of places in its flattened elements."""
    sizes = [shape] if isinstance(shape, int) else list(shape)
    places, found = indices, []
    for size in reversed(sizes):
        found.append(elementwise("remainder", places, size))
        places = elementwise("floor_div", places, size)
    return tuple(cast(part, here(indices).spec.dtype) for part in reversed(found))
