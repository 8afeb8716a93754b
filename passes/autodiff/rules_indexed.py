"""Gradients of reads and writes at indices that are data. Indices carry none."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.dims import product
from ...ir.dtypes import i64
from ...ir.graph import Node, Value, full
from ...ir.ops.elementwise import CAST, EQ, WHERE
from ...ir.ops.indexed import GATHER, SCATTER
from ...ir.ops.source import IOTA
from ...ir.ops.view import BROADCAST
from ...ir.types import tensor_type
from .rule import Cotangent, NotDifferentiable, Rule, conj, reshaped, sole, zeros

Cotangents = Sequence[Value | None]


def _gather(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g, (x, indices) = sole(cotangents), node.operands
    axis = node.attrs["axis"]
    return (lambda: SCATTER(zeros(x.type), indices, g, axis=axis, combine="add"), None)


def _scatter(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    g, (base, indices, updates) = sole(cotangents), node.operands
    axis = node.attrs["axis"]
    if node.attrs["combine"] == "add":
        return (g, None, lambda: GATHER(g, indices, axis=axis))

    if node.attrs["combine"] in ("maximum", "minimum"):
        return _scatter_extreme(node, g)
    if node.attrs["combine"] == "mul":
        return _scatter_product(node, g)

    def of_updates() -> Value:
        read = GATHER(g, indices, axis=axis)
        wins = _last_writers(indices, base, axis)
        dims = tuple(range(axis, axis + indices.type.ndim))
        wins = BROADCAST(wins, shape=read.type.shape, dims=dims)
        return WHERE(wins, read, zeros(read.type))

    return (
        lambda: SCATTER(g, indices, zeros(updates.type), axis=axis, combine="set"),
        None,
        of_updates,
    )


def _scatter_extreme(node: Node, g: Value) -> Sequence[Cotangent]:
    """Base and updates that equal the extreme of a place share its cotangent evenly."""
    (base, indices, updates), (y,) = node.operands, node.results
    axis, dtype = node.attrs["axis"], base.type.dtype
    kept = EQ(base, y)
    hits = EQ(updates, GATHER(y, indices, axis=axis))
    counted = SCATTER(
        CAST(kept, dtype=dtype), indices, CAST(hits, dtype=dtype), axis=axis, combine="add"
    )
    # A NaN equals nothing: 0 hits.
    share = g / WHERE(EQ(counted, zeros(counted.type)), full(counted.type, 1), counted)
    return (
        lambda: WHERE(kept, share, zeros(base.type)),
        None,
        lambda: WHERE(hits, GATHER(share, indices, axis=axis), zeros(updates.type)),
    )


def _scatter_product(node: Node, g: Value) -> Sequence[Cotangent]:
    """Each factor gets the product of the others, exact where some are 0: the product of those
    that are not 0, and how many are. (Second derivatives are exact only where no factor is 0.)"""
    base, indices, updates = node.operands
    axis = node.attrs["axis"]

    def zero_of(x: Value) -> Value:
        return EQ(x, zeros(x.type))

    def factor(x: Value) -> Value:
        return WHERE(zero_of(x), full(x.type, 1), x)

    def counted(x: Value) -> Value:
        return CAST(zero_of(x), dtype=i64)

    rest = SCATTER(factor(base), indices, factor(updates), axis=axis, combine="mul")
    nought = SCATTER(counted(base), indices, counted(updates), axis=axis, combine="add")

    def others(x: Value, rest: Value, nought: Value) -> Value:
        none_else = EQ(nought, counted(x))
        return WHERE(none_else, rest / factor(x), zeros(x.type))

    def of_updates() -> Value:
        at = [GATHER(v, indices, axis=axis) for v in (g, rest, nought)]
        return at[0] * conj(others(updates, at[1], at[2]))

    return (lambda: g * conj(others(base, rest, nought)), None, of_updates)


def _last_writers(indices: Value, base: Value, axis: int) -> Value:
    """Which of `indices` are the last of those equal to them, as bools: each writes its number
    to the place it names, and looks whether the number stayed."""
    shape = indices.type.shape
    number = reshaped(IOTA(shape=(product(shape),), axis=0, dtype=i64), shape)
    nobody = full(tensor_type(i64, (base.type.shape[axis],)), -1)
    written = SCATTER(nobody, indices, number, axis=0, combine="set")
    return EQ(GATHER(written, indices, axis=0), number)


INDEXED: dict[str, Rule | NotDifferentiable] = {"gather": _gather, "scatter": _scatter}
