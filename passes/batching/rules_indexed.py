"""Batching of reads and writes at indices, and of random bits."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.dims import Dim, product
from ...ir.dtypes import i64
from ...ir.graph import Node, Value, full
from ...ir.ops.elementwise import ADD, BIT_AND, CAST, GE, LT, RANDOM_BITS, WHERE
from ...ir.ops.indexed import GATHER, SCATTER
from ...ir.ops.source import IOTA, RNG_BITS
from ...ir.ops.view import BROADCAST, TRANSPOSE
from ..autodiff.rule import size_value
from .rule import Arrived, Lanes, Rule, batched, moved_axis, to_shape


def _gather(node: Node, operands: Sequence[Arrived], lanes: Lanes) -> Value:
    (x, indices), axis = operands, node.attrs["axis"]
    if not indices.is_batched:
        return GATHER(x.value, indices.value, axis=axis + 1)
    if not x.is_batched:
        return moved_axis(GATHER(x.value, indices.value, axis=axis), axis, 0)
    # The rows of all examples in one axis, and in front the number of the example's first row.
    count = node.operands[1].type.ndim
    rows = _as_rows(x.value, axis)
    made = GATHER(rows, _row_numbers(indices.value, x.value.type.shape[axis + 1]), axis=0)
    before = 1 + count + axis
    order = (0, *range(1 + count, before), *range(1, 1 + count), *range(before, made.type.ndim))
    return TRANSPOSE(made, perm=order)


def _scatter(node: Node, operands: Sequence[Arrived], lanes: Lanes) -> Value:
    base, indices, updates = operands
    axis, combine = node.attrs["axis"], node.attrs["combine"]
    base_value, new = batched(base, lanes), batched(updates, lanes)
    if not indices.is_batched:
        return SCATTER(base_value, indices.value, new, axis=axis + 1, combine=combine)
    count = node.operands[1].type.ndim
    shape = base_value.type.shape
    numbers = _row_numbers(indices.value, shape[axis + 1])
    # The axes that the indices have in the updates go to the front, behind the example.
    order = new
    for k in range(count):
        order = moved_axis(order, axis + 1 + k, 1 + k)
    made = SCATTER(_as_rows(base_value, axis), numbers, order, axis=0, combine=combine)
    split = to_shape(made, (shape[0], shape[axis + 1], *made.type.shape[1:]))
    return moved_axis(split, 1, axis + 1)


def _as_rows(x: Value, axis: int) -> Value:
    """x[example, .., row, ..] as [example * rows + row, .., ..]."""
    moved = moved_axis(x, axis + 1, 1)
    examples, rows, *rest = moved.type.shape
    return to_shape(moved, (examples * rows, *rest))


def _row_numbers(indices: Value, rows: Dim) -> Value:
    """Indices of each example's own rows as numbers among the rows of all.

    One that is out of range for its example is out of range for all, so that it is not the row of
    a neighbour.
    """
    shape = indices.type.shape
    wide = indices if indices.type.dtype is i64 else CAST(indices, dtype=i64)
    of_example = IOTA(shape=shape, axis=0, dtype=i64) * size_value(rows, i64, shape)
    inside = BIT_AND(GE(wide, full(wide.type, 0)), LT(wide, size_value(rows, i64, shape)))
    return WHERE(inside, ADD(of_example, wide), full(wide.type, -1))


def _rng_bits(node: Node, operands: Sequence[Arrived], lanes: Lanes) -> Value:
    """Of one state, the examples are more elements of the draw; of many, each is its own draw."""
    shape, bits = tuple(node.attrs["shape"]), node.attrs["bits"]
    if not any(operand.is_batched for operand in operands):
        seed, offset = (operand.value for operand in operands)
        return RNG_BITS(seed, offset, shape=(lanes.size, *shape), bits=bits)
    line = (lanes.size, product(shape))
    seed, offset = (
        BROADCAST(operand.value, shape=line, dims=(0,) if operand.is_batched else ())
        for operand in operands
    )
    element = IOTA(shape=line, axis=1, dtype=i64)
    return to_shape(RANDOM_BITS(seed, offset, element, bits=bits), (lanes.size, *shape))


INDEXED: dict[str, Rule] = {"gather": _gather, "scatter": _scatter, "rng_bits": _rng_bits}
