"""Gradients of reads and writes at indices that are data. Indices carry none."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.dims import product
from ...ir.dtypes import i64
from ...ir.graph import Node, Value, full
from ...ir.ops.elementwise import EQ, WHERE
from ...ir.ops.indexed import GATHER, SCATTER
from ...ir.ops.source import IOTA
from ...ir.ops.view import BROADCAST
from ...ir.types import tensor_type
from .rule import Cotangent, NotDifferentiable, Rule, reshaped, sole, zeros

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


def _last_writers(indices: Value, base: Value, axis: int) -> Value:
    """Which of `indices` are the last of those equal to them, as bools: each writes its number
    to the place it names, and looks whether the number stayed."""
    shape = indices.type.shape
    number = reshaped(IOTA(shape=(product(shape),), axis=0, dtype=i64), shape)
    nobody = full(tensor_type(i64, (base.type.shape[axis],)), -1)
    written = SCATTER(nobody, indices, number, axis=0, combine="set")
    return EQ(GATHER(written, indices, axis=0), number)


INDEXED: dict[str, Rule | NotDifferentiable] = {"gather": _gather, "scatter": _scatter}
