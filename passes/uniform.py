"""Values that are one number everywhere, known when the program is compiled."""

from __future__ import annotations

import numpy as np

from ..ir.builder import FOLD_LIMIT
from ..ir.graph import Value
from ..ir.literal import Literal
from ..ir.ops.source import CONSTANT
from ..ir.ops.view import BROADCAST
from ..ir.types import TensorType


def uniform(value: Value) -> np.ndarray | None:
    """The number, as a 0-d array, that every element of `value` is; None if that is not known."""
    node = value.node
    if node is None:
        return None
    if node.op is BROADCAST:
        return uniform(node.operands[0])
    if node.op is not CONSTANT:
        return None
    array = node.attrs["value"].array
    if not array.ndim:
        return array
    # Larger constants of one number are made broadcasts when they are met.
    return one_number(array) if array.size <= FOLD_LIMIT else None


def one_number(array: np.ndarray) -> np.ndarray | None:
    """The element that all of `array` equals bit by bit, as a 0-d array, or None."""
    if not array.size:
        return None
    flat = array.reshape(-1)
    first = flat[:1]
    if flat[:FOLD_LIMIT].tobytes() != first.tobytes() * min(flat.size, FOLD_LIMIT):
        return None  # found without a copy of a large array
    return first.reshape(()) if array.tobytes() == first.tobytes() * array.size else None


def filled(type: TensorType, number: np.ndarray) -> Value:
    """A value of `type` that is `number`, of its dtype, everywhere."""
    scalar = CONSTANT(value=Literal(number))
    return BROADCAST(scalar, shape=type.shape, dims=()) if type.shape else scalar


def is_number(value: Value, number: float, negative_zero: bool = False) -> bool:
    """Whether `value` is `number` everywhere; 0 means +0 unless `negative_zero` is set."""
    found = uniform(value)
    if found is None or found != number:
        return False
    if number != 0 or not value.type.dtype.is_float:
        return True
    return bool(np.signbit(found)) is negative_zero
