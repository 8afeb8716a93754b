"""Lower order: rows are put in order by kernels (on a GPU), blocks of them first.

Before: `%s = order(%x) {descending=true, limit=64}`, `%v, %p = sort(%y) {axis=1}` of f64
After: the elements as integers in the same order; `order` of rows that fit into a block, which
`fuse` puts into a kernel; then of longer rows
- with a short limit, the first elements of all blocks as a row, which is put in order likewise;
- else runs of blocks, merged in pairs by a launch for each level, of which there are as many as the
  length asks for: a `scan` where that is not known.
A `sort` of 64 bits goes by the lower halves first, then, these being in order, by the upper ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ir.builder import Recording
from ..ir.dims import Dim, Slot, add_all, maximum, minimum, of_atom, product
from ..ir.dtypes import DType, i32, i64
from ..ir.graph import Graph, Node, Value, full
from ..ir.literal import Literal
from ..ir.ops import OPS, active
from ..ir.ops import elementwise as ew
from ..ir.ops.control_flow import SCAN
from ..ir.ops.kernel import INDEX
from ..ir.ops.sorting import ORDER
from ..ir.ops.source import IOTA, SIZE
from ..ir.ops.view import PAD, SLICE
from ..ir.types import TensorType, tensor_type
from .autodiff.rule import inverse, reshaped, transposed
from .dead import prune
from .kernel_pieces import as_tuple
from .lower_sort import cast, elements_at, place_of
from .rewrite import rewrite

BLOCK = 1024  # elements of a row that registers hold; twice as many take twice as long to compile
_HALF = 32  # bits of a place, beside half a key


def lower_order(graph: Graph) -> Graph:
    """`graph` with kernels for what it puts in order; itself where it has nothing of the kind."""
    if not any(_has_kernels(node) for node in graph.walk()):
        return graph

    def rule(node: Node, operands: tuple[Value, ...]) -> Value | Sequence[Value] | None:
        if not _has_kernels(node):
            return None
        (x,), descending = operands, node.attrs["descending"]
        if node.op.name == "order":
            return _ordered(x, descending, node.results[0].type.shape[-1])
        return _sorted(x, node.attrs["axis"], descending)

    return prune(rewrite(graph, rule))


def _has_kernels(node: Node) -> bool:
    """Whether `node` puts rows in order that kernels can have."""
    if node.op.name not in ("order", "sort") or node.attrs.get("block"):
        return False
    axis = node.attrs.get("axis", -1)
    size = node.operands[0].type.shape[axis]
    return not (isinstance(size, int) and size >> _HALF)


def _ordered(x: Value, descending: bool, limit: Dim) -> Value:
    """The first `limit` elements of each row of `x` in order."""
    shape = x.type.shape
    rows = reshaped(x, (product(shape[:-1]), shape[-1]))
    found = _turned(_first(_turned(_keys(rows), descending), limit), descending)
    return reshaped(_elements(found, x.type.dtype), (*shape[:-1], limit))


def _sorted(x: Value, axis: int, descending: bool) -> tuple[Value, Value]:
    """The elements of `x`, of 64 bits, along `axis` in order, and where each stood."""
    if 0 in x.type.shape:
        return x, cast(x, i64)
    perm = (*(a for a in range(x.type.ndim) if a != axis), axis)
    turned = transposed(x, perm)
    shape = turned.type.shape
    rows = reshaped(turned, (product(shape[:-1]), shape[-1]))
    keys = _turned(_keys(_with_one_zero(rows)), descending)
    places = IOTA(shape=rows.type.shape, axis=1, dtype=i64)
    # The lower half is a number without a sign: with the other highest bit it is in order.
    low = ew.SHIFT_LEFT(keys, full(keys.type, _HALF))
    low = ew.BIT_XOR(low, full(keys.type, np.iinfo(np.int64).min))
    first = place_of(_first(ew.BIT_OR(low, places), shape[-1]))
    high = ew.BIT_AND(elements_at(keys, first), full(keys.type, -1 << _HALF))
    second = place_of(_first(ew.BIT_OR(high, places), shape[-1]))
    places = elements_at(first, second)

    def back(value: Value) -> Value:
        return transposed(reshaped(value, shape), inverse(perm))

    return back(elements_at(rows, places)), back(places)


# ---------------------------------------------------------------------------- rows of integers


def _first(keys: Value, limit: Dim) -> Value:
    """The smallest `limit` of each row of integers, in order."""
    rows, size = keys.type.shape
    if size in (0, 1):
        return _cut(keys, limit)
    if isinstance(size, int) and size <= BLOCK:
        return _cut(ORDER(keys, descending=False, block=True), limit)
    blocks = (size + BLOCK - 1) // BLOCK
    found = ORDER(_in_blocks(keys, blocks), descending=False, block=True)
    if isinstance(size, int) and isinstance(limit, int) and 2 * limit <= BLOCK:
        best = SLICE(found, starts=(0, 0, 0), sizes=(rows, blocks, limit), steps=(1, 1, 1))
        return _first(reshaped(best, (rows, blocks * limit)), limit)
    return _cut(_merged(reshaped(found, (rows, blocks * BLOCK)), blocks), limit)


def _cut(x: Value, limit: Dim) -> Value:
    """The first `limit` of each row."""
    rows, size = x.type.shape
    return x if size == limit else SLICE(x, starts=(0, 0), sizes=(rows, limit), steps=(1, 1))


def _in_blocks(keys: Value, blocks: Dim) -> Value:
    """[rows, blocks, BLOCK], the last of which the largest numbers fill up."""
    rows, size = keys.type.shape
    fill = full(tensor_type(keys.type.dtype, ()), np.iinfo(keys.type.dtype.numpy).max)
    if missing := blocks * BLOCK - size:
        keys = PAD(keys, fill, low=(0, 0), high=(0, missing), interior=(0, 0))
    return reshaped(keys, (rows, blocks, BLOCK))


def _merged(runs: Value, blocks: Dim) -> Value:
    """Rows of `blocks` that are in order, in order: level by level the runs are twice as long."""
    if isinstance(blocks, int):
        for level in range((blocks - 1).bit_length()):
            (runs,) = as_tuple(OPS["launch"](runs, kernel=_merging(runs.type, level)))
        return runs
    # One for each power of two below the number of blocks.
    others = maximum(blocks - 1, 0)
    levels = add_all(minimum(others // (1 << level), 1) for level in range(_HALF))
    with active().region([runs.type, INDEX], closed=True) as body:
        (found,) = as_tuple(OPS["launch"](*body.params, kernel=_merging(runs.type, None)))
        body.yield_(found)
    numbers = IOTA(shape=(levels,), axis=0, dtype=i64)
    attrs = {"length": levels, "consts": 0, "carries": 1, "reverse": False}
    (runs,) = as_tuple(SCAN(runs, numbers, **attrs, regions=(body.closed,)))
    return runs


def _merging(type: TensorType, level: int | None) -> Graph:
    """The kernel that merges runs of `BLOCK << level` elements in pairs: each element goes as far
    into the pair as it stands in its own run and as many of the other run come before it. Without
    a level it is a parameter."""
    rows, size = type.shape
    builder = Recording()
    inputs = [builder.param(type, "runs")]
    if level is None:
        inputs.append(builder.param(INDEX, "level"))
    out = builder.param(type, "merged")
    with builder:
        number = OPS["load"](inputs[1], index=()) if level is None else _number(level)
        length = ew.SHIFT_LEFT(_number(BLOCK), number)
        with builder.region([INDEX] * 2) as opened:
            i, k = opened.params
            index = of_atom(Slot(1, rows)), of_atom(Slot(2, size))
            x = OPS["load"](inputs[0], i, k, index=index)
            place = OPS["index"](k, expr=of_atom(Slot(0, size)))
            later = ew.NE(ew.BIT_AND(place, length), _number(0))
            other = ew.BIT_XOR(ew.BIT_AND(place, ew.NEG(length)), length)
            count = ew.MAXIMUM(ew.SUB(SIZE(expr=size), other), _number(0))
            count = ew.MINIMUM(count, length)
            before = _counted(inputs[0], (i, x, later, other, count, number))
            # The pair begins where the earlier of both runs does.
            own = ew.WHERE(later, ew.SUB(place, length), place)
            index = of_atom(Slot(2, rows)), of_atom(Slot(3))
            OPS["store"](out, x, i, ew.ADD(own, before), index=index)
        OPS["parallel"](extents=type.shape, regions=(opened.closed,))
    return builder.finish(f"merge{'' if level is None else level}", level="kernel", outs=1)


def _counted(source: Value, here: tuple[Value, ...]) -> Value:
    """How many of the `count` elements from `other` on come before x: ones that equal it if it
    stands in the later run. Found by halves."""
    i, x, later, other, count, level = here
    with active().region([INDEX] * 3) as body:
        _, low, high = body.params
        open = ew.LT(low, high)
        middle = ew.SHIFT_RIGHT(ew.ADD(low, high), _number(1))
        index = (of_atom(Slot(1)), of_atom(Slot(2)) + of_atom(Slot(3)))
        y = OPS["load"](source, i, other, middle, open, index=index, guarded=True)
        before = ew.BIT_OR(ew.LT(y, x), ew.BIT_AND(later, ew.EQ(y, x)))
        up = ew.BIT_AND(open, before)
        low = ew.WHERE(up, ew.ADD(middle, _number(1)), low)
        high = ew.WHERE(ew.BIT_AND(open, ew.BIT_NOT(before)), middle, high)
        body.yield_(low, high)
    turns = of_atom(Slot(2)) + BLOCK.bit_length()
    attrs = {"lo": 0, "hi": turns, "step": 1, "carries": 2}
    return OPS["for"](_number(0), count, level, **attrs, regions=(body.closed,))[0]


def _number(number: int) -> Value:
    return OPS["constant"](value=Literal(np.asarray(number, np.int64)))


# ---------------------------------------------------------------------------- integers in order


def _keys(x: Value) -> Value:
    """i32 or i64 in the order of the elements; NaN is the largest."""
    dtype = x.type.dtype
    wide = _wide(dtype)
    if dtype.kind == "float":
        return ew.WHERE(ew.NE(x, x), _largest(x.type, wide), _signed(ew.BITCAST(x, dtype=wide)))
    if dtype.kind == "uint" and dtype.itemsize == wide.itemsize:
        bits = ew.BITCAST(x, dtype=wide)
        return ew.BIT_XOR(bits, full(bits.type, np.iinfo(wide.numpy).min))
    return cast(x, wide)


def _elements(keys: Value, dtype: DType) -> Value:
    """The elements of which `keys` are the keys."""
    wide = keys.type.dtype
    if dtype.kind == "float":
        return ew.BITCAST(_signed(keys), dtype=dtype)
    if dtype.kind == "uint" and dtype.itemsize == wide.itemsize:
        bits = ew.BIT_XOR(keys, full(keys.type, np.iinfo(wide.numpy).min))
        return ew.BITCAST(bits, dtype=dtype)
    return cast(keys, dtype)


def _wide(dtype: DType) -> DType:
    return i64 if dtype.itemsize == 8 else i32


def _largest(like: TensorType, dtype: DType) -> Value:
    return full(tensor_type(dtype, like.shape), np.iinfo(dtype.numpy).max)


def _signed(bits: Value) -> Value:
    """The bits of floats as numbers that are in order, and the bits of these."""
    sign = ew.SHIFT_RIGHT(bits, full(bits.type, bits.type.dtype.bits - 1))
    return ew.BIT_XOR(bits, ew.BIT_AND(sign, _largest(bits.type, bits.type.dtype)))


def _with_one_zero(x: Value) -> Value:
    zero = full(x.type, 0)
    return ew.WHERE(ew.EQ(x, zero), zero, x) if x.type.dtype.is_float else x


def _turned(keys: Value, descending: bool) -> Value:
    return ew.BIT_NOT(keys) if descending else keys
