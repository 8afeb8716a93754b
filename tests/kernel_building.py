"""Short hands to write kernel graphs in tests: `load(x, i, j)`, `with parallel(N, D) as (i, j)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from sley.ir import dtypes
from sley.ir.builder import Recording
from sley.ir.dims import Dim, Slot, Var, atoms, of_atom, substitute
from sley.ir.graph import Graph, Value
from sley.ir.literal import Literal
from sley.ir.ops import OPS, active
from sley.ir.ops.kernel import INDEX
from sley.ir.types import tensor_type

op = dict(OPS)


def kernel(
    inputs: Sequence[tuple[str, tuple[Dim, ...]]],
    outputs: Sequence[tuple[str, tuple[Dim, ...]]],
    body: Callable[..., None],
    name: str = "k",
) -> Graph:
    """The kernel whose nodes `body(*buffers)` emits; buffers are (dtype name, shape)."""
    builder = Recording()
    with builder:
        buffers = [
            builder.param(tensor_type(dtypes.by_name(dtype), tuple(shape)))
            for dtype, shape in (*inputs, *outputs)
        ]
        body(*buffers)
    return builder.finish(name, level="kernel", outs=len(outputs))


def _index(index: Sequence[Any], first: int) -> tuple[tuple[Value, ...], tuple[Dim, ...]]:
    """Operands and slot expressions for indices: ints, values, or expressions made by `e`."""
    dims = [of_atom(Var(i)) if isinstance(i, Value) else i for i in index]
    position: dict[Value, int] = {}
    for dim in dims:
        for atom in atoms(dim):
            if isinstance(atom, Var):
                position.setdefault(atom.value, first + len(position))

    def replace(atom: Any) -> Any:
        return of_atom(Slot(position[atom.value]) if isinstance(atom, Var) else atom)

    return tuple(position), tuple(substitute(d, replace) for d in dims)


def e(value: Value) -> Any:
    """An axis variable as an expression, for arithmetic in indices."""
    return of_atom(Var(value))


def load(buffer: Value, *index: Any, guard: Value | None = None) -> Value:
    operands, dims = _index(index, 1)
    if guard is None:
        return op["load"](buffer, *operands, index=dims)
    return op["load"](buffer, *operands, guard, index=dims, guarded=True)


def store(buffer: Value, value: Value, *index: Any, guard: Value | None = None) -> None:
    operands, dims = _index(index, 2)
    if guard is None:
        op["store"](buffer, value, *operands, index=dims)
    else:
        op["store"](buffer, value, *operands, guard, index=dims, guarded=True)


def atomic(buffer: Value, value: Value, *index: Any, combine: str = "add") -> None:
    operands, dims = _index(index, 2)
    op["atomic"](buffer, value, *operands, index=dims, combine=combine)


def index(expr: Any) -> Value:
    """The number that an index expression has."""
    operands, (dim,) = _index((expr,), 0)
    return op["index"](*operands, expr=dim)


def constant(dtype: str, number: Any) -> Value:
    array = np.asarray(number).astype(dtypes.by_name(dtype).numpy)
    return op["constant"](value=Literal(array))


@contextmanager
def parallel(*extents: Dim) -> Iterator[tuple[Value, ...]]:
    with active().region([INDEX] * len(extents)) as opened:
        yield opened.params
    op["parallel"](extents=extents, regions=(opened.closed,))


def row(extents: Sequence[Dim], body: Callable[..., Any]) -> Any:
    with active().region([INDEX] * len(extents)) as opened:
        result = body(*opened.params)
        opened.yield_(*(result if isinstance(result, tuple) else (result,)))
    return op["row"](extents=tuple(extents), regions=(opened.closed,))


def reduce(
    extents: Sequence[Dim],
    neutral: Sequence[Value],
    body: Callable[..., Any],
    combine: Callable[..., Any],
    name: str = "reduce",
    **attrs: Any,
) -> Any:
    """A `reduce` (or `cumulate`) from Python functions of the axes and of the accumulators."""
    with active().region([INDEX] * len(extents)) as inner:
        result = body(*inner.params)
        inner.yield_(*(result if isinstance(result, tuple) else (result,)))
    with active().region([v.type for v in neutral] * 2) as join:
        result = combine(*join.params)
        join.yield_(*(result if isinstance(result, tuple) else (result,)))
    regions = (inner.closed, join.closed)
    return op[name](*neutral, extents=tuple(extents), regions=regions, **attrs)


def total(extents: Sequence[Dim], body: Callable[..., Any], dtype: str = "f32") -> Value:
    return reduce(extents, [constant(dtype, 0)], body, op["add"])


def highest(extents: Sequence[Dim], body: Callable[..., Any], dtype: str = "f32") -> Value:
    return reduce(extents, [constant(dtype, -np.inf)], body, op["maximum"])


def cumulate(
    extent: Dim, neutral: Value, body: Callable[..., Any], combine: Callable[..., Any],
    reverse: bool = False,
) -> Value:  # fmt: skip
    return reduce([extent], [neutral], body, combine, "cumulate", reverse=reverse)


def index_as_float(expr: Any) -> Value:
    return op["cast"](index(expr), dtype=dtypes.f32)
