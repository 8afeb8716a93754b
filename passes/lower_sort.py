"""Lower sort: a stable sort becomes one of plain numbers, which has neither places nor ties.

Before: `%values, %places = sort(%x) {axis=1, descending=true}`, of which `%x[:, :k]` are read
After: each element's rank and its place as one i64, `order` of these {limit=k}, and the elements
gathered at the places that come out; `order(%x)` alone where nobody reads the places. Of long rows
of which few elements are read only the pieces that hold them are sorted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.dims import Dim, product
from ..ir.dtypes import DType, f32, i32, i64, u8, u32
from ..ir.graph import Graph, Node, Region, Value, full
from ..ir.ops import elementwise as ew
from ..ir.ops.indexed import GATHER
from ..ir.ops.reduction import REDUCE_MIN
from ..ir.ops.sorting import ORDER
from ..ir.ops.source import IOTA
from ..ir.ops.view import BROADCAST, CONCAT, SLICE
from ..ir.types import tensor_type
from .autodiff.rule import inverse, reshaped, size_value, transposed
from .dead import prune
from .rewrite import rewrite

_LOW = 32  # bits of a place beside its rank


def lower_sort(graph: Graph) -> Graph:
    """`graph` without those `sort`s that are faster as `order`s; itself where it has none."""
    if all(node.op.name != "sort" for node in graph.walk()):
        return graph
    readers = _readers(graph)

    def rule(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
        if node.op.name != "sort":
            return None
        return _lowered(node, operands[0], [readers.get(v, []) for v in node.results])

    return prune(rewrite(graph, rule))


def _readers(graph: Graph) -> dict[Value, list[Node | None]]:
    """The nodes that read each value, None for what a region yields."""
    found: dict[Value, list[Node | None]] = {}
    regions: list[Region] = [graph]
    for node in graph.walk():
        regions += node.regions
        for value in node.operands:
            found.setdefault(value, []).append(node)
    for region in regions:
        for value in region.yields:
            found.setdefault(value, []).append(None)
    return found


def _lowered(
    node: Node, x: Value, readers: Sequence[Sequence[Node | None]]
) -> Sequence[Value] | None:
    """(values, places) of the sort of `x`; None where the op itself serves best."""
    narrow = _ranked_dtype(x.type.dtype) is not None
    if (readers[1] and not narrow) or 0 in x.type.shape:
        return None
    axis = node.attrs["axis"]
    needed = [_needed(reader, axis) for part in readers for reader in part]
    size = x.type.shape[axis]
    limit = size if None in needed else max((n for n in needed if n is not None), default=0)
    perm = (*(a for a in range(x.type.ndim) if a != axis), axis)
    moved = tuple(x.type.shape[a] for a in perm)
    rows = (product(moved[:-1]), size)
    turned = transposed(x, perm)

    def back(value: Value) -> Value:
        return transposed(reshaped(value, (*moved[:-1], limit)), inverse(perm))

    cut: dict[str, Any] = {} if limit == size else {"limit": limit}
    chunk = _chunk(size, limit) if narrow else 0
    if not readers[1] and not chunk:
        # As it lies: no kernel stands between the memory of a reshape and what runs on the host.
        values = transposed(_values(turned, node.attrs["descending"], cut), inverse(perm))
        return values, values  # nobody reads the places
    matrix = reshaped(turned, rows)
    if chunk:
        found = _first_by_chunks(matrix, node.attrs["descending"], limit, chunk)
    else:
        key = _packed(matrix, IOTA(shape=rows, axis=1, dtype=i64), node.attrs["descending"])
        found = ORDER(key, descending=False, **cut)
    places = place_of(found)
    return back(elements_at(matrix, places)), back(places)


def _chunk(size: Dim, limit: Dim) -> int:
    """The length of the pieces of a row of which only those with the best elements are sorted; 0
    where that does not pay. About as many elements are left as there are pieces."""
    if not (isinstance(size, int) and isinstance(limit, int)) or not 0 < limit < size:
        return 0
    chunk = 1 << max(2, (math.isqrt(size // limit)).bit_length() - 1)
    pieces = size // chunk
    return chunk if limit < pieces and 4 * (pieces + limit * chunk) <= size else 0


def _first_by_chunks(x: Value, descending: bool, limit: int, chunk: int) -> Value:
    """The first `limit` packed numbers of each row. They lie in the `limit` pieces of the row whose
    smallest numbers are the smallest, since no two numbers are equal."""
    rows, size = x.type.shape
    assert isinstance(size, int)
    pieces, rest = divmod(size, chunk)
    whole = SLICE(x, starts=(0, 0), sizes=(rows, pieces * chunk), steps=(1, 1)) if rest else x
    key = _packed(whole, IOTA(shape=whole.type.shape, axis=1, dtype=i64), descending)
    best = REDUCE_MIN(reshaped(key, (rows, pieces, chunk)), axes=(2,), ties="first")
    piece = place_of(ORDER(best, descending=False, limit=limit))
    shape = (rows, limit, chunk)
    begin = ew.BIT_AND(piece, full(piece.type, -chunk))
    places = BROADCAST(begin, shape=shape, dims=(0, 1)) + IOTA(shape=shape, axis=2, dtype=i64)
    places = reshaped(places, (rows, limit * chunk))
    if rest:  # what fills no piece is always looked at
        last = IOTA(shape=(rows, rest), axis=1, dtype=i64)
        places = CONCAT(places, last + full(last.type, pieces * chunk), axis=1)
    return ORDER(_packed(elements_at(x, places), places, descending), descending=False, limit=limit)


def place_of(packed: Value) -> Value:
    """The places of packed numbers."""
    return ew.BIT_AND(packed, full(packed.type, (1 << _LOW) - 1))


def elements_at(x: Value, places: Value) -> Value:
    """The elements of each row at `places` of it."""
    first = IOTA(shape=places.type.shape, axis=0, dtype=i64)
    linear = first * size_value(x.type.shape[1], i64, places.type.shape) + places
    return GATHER(reshaped(x, (product(x.type.shape),)), linear, axis=0)


def _needed(reader: Node | None, axis: int) -> int | None:
    """How many of the first elements along `axis` a reader looks at; None: perhaps all."""
    if reader is None or reader.op.name != "slice":
        return None
    start, size, step = (reader.attrs[name][axis] for name in ("starts", "sizes", "steps"))
    if not all(isinstance(n, int) for n in (start, size, step)) or step < 1:
        return None
    return int(start + (size - 1) * step + 1)


def _values(x: Value, descending: bool, cut: dict[str, Any]) -> Value:
    """The sorted rows alone, of which equal elements are the same."""
    dtype = x.type.dtype
    wide = f32 if dtype.is_low_precision else u8 if dtype.kind == "bool" else dtype
    found = ORDER(cast(x, wide), descending=descending, **cut)
    return cast(found, dtype)


def _packed(x: Value, places: Value, descending: bool) -> Value:
    """Different i64 numbers in the order of the elements: rank, then place."""
    rank = _rank(x)
    if descending:
        rank = ew.BIT_NOT(rank)
    high = ew.SHIFT_LEFT(cast(rank, i64), full(tensor_type(i64, x.type.shape), _LOW))
    return ew.BIT_OR(high, places)


def _ranked_dtype(dtype: DType) -> DType | None:
    """The float or integer of at most 32 bits as which elements of `dtype` are ranked."""
    if dtype.is_low_precision:
        return f32
    if dtype.kind != "float" and dtype.itemsize < 4:
        return i32
    return dtype if dtype.itemsize == 4 else None


def _rank(x: Value) -> Value:
    """i32 in the order of the elements; NaN is the largest."""
    ranked = _ranked_dtype(x.type.dtype)
    assert ranked is not None
    x = cast(x, ranked)
    if ranked is u32:
        lowest = full(tensor_type(i32, x.type.shape), np.iinfo(np.int32).min)
        return ew.BIT_XOR(ew.BITCAST(x, dtype=i32), lowest)
    if ranked is i32:
        return x
    zero = full(x.type, 0)
    bits = ew.BITCAST(ew.WHERE(ew.EQ(x, zero), zero, x), dtype=i32)
    most = full(bits.type, np.iinfo(np.int32).max)
    sign = ew.SHIFT_RIGHT(bits, full(bits.type, 31))
    return ew.WHERE(ew.NE(x, x), most, ew.BIT_XOR(bits, ew.BIT_AND(sign, most)))


def cast(x: Value, dtype: DType) -> Value:
    """`x` as that dtype."""
    return x if x.type.dtype is dtype else ew.CAST(x, dtype=dtype)
