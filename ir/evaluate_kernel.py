"""Kernels computed by numpy, all points of the parallel and reduced axes at once.

How a value is held: `ir.evaluate_grid`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .dims import evaluate as evaluate_dim
from .dtypes import is_half
from .evaluate import EvaluationError, bind_sizes, concrete, describe
from .evaluate_attend import evaluate_attend
from .evaluate_grid import Grid, Local
from .graph import Graph, Node, Region, Value
from .ops.base import Kind
from .sugar import NEUTRAL, combine_ops

CHUNK = 1 << 21  # points of a grid that are computed at once
UFUNCS = {"add": np.add, "mul": np.multiply, "maximum": np.maximum, "minimum": np.minimum}


def evaluate_kernel(
    graph: Graph,
    arrays: Sequence[np.ndarray],
    sizes: Mapping[str, int] | None = None,
    outputs: Sequence[np.ndarray] | None = None,
) -> list[np.ndarray]:
    """The buffers that a kernel or loop graph writes.

    Args:
        arrays: one for each of `graph.inputs`.
        sizes: values of size symbols that the shapes of `arrays` do not tell.
        outputs: what the written buffers hold before, instead of what `fresh_outputs` says.

    Raises:
        EvaluationError: an array does not fit its parameter, an access is out of range, two points
            of a parallel axis store to one element, or an element of an output is never stored.
    """
    bound = bind_sizes(graph.inputs, arrays, sizes)
    fresh = fresh_outputs(graph, bound)
    if outputs is not None:
        fresh = {v: np.array(a) for v, a in zip(graph.out_params, outputs, strict=True)}
    if graph.level == "loop":
        from .evaluate_loop import evaluate_loop

        return evaluate_loop(graph, arrays, bound, fresh)
    kernel = _Kernel(graph, arrays, bound, fresh)
    with np.errstate(all="ignore"):
        kernel.run(graph)
    for value in graph.out_params:
        if not kernel.written[value].all():
            place = [int(i) for i in np.argwhere(~kernel.written[value])[0]]
            raise EvaluationError(
                f"kernel @{graph.name} never stores to %{value.name or '?'}{place}"
            )
    return [kernel.buffers[v] for v in graph.out_params]


def fresh_outputs(graph: Graph, sizes: Mapping[str, int]) -> dict[Value, np.ndarray]:
    """The outputs before the kernel runs: full of NaN (or the smallest integer), but those that
    atomics join hold the neutral element."""
    joined = {
        node.operands[0]: node.attrs["combine"] for node in graph.walk() if node.op.name == "atomic"
    }
    result = {}
    for value in graph.out_params:
        dtype, shape = value.type.dtype, tuple(evaluate_dim(d, sizes) for d in value.type.shape)
        fill = math.nan if dtype.is_floating_point else NEUTRAL["maximum"](dtype)
        if value in joined:
            fill = NEUTRAL[joined[value]](dtype)
        result[value] = np.full(shape, fill, dtype.numpy)
    return result


class _Kernel(Grid):
    """The state of one evaluation."""

    def __init__(
        self,
        graph: Graph,
        arrays: Sequence[np.ndarray],
        sizes: Mapping[str, int],
        outputs: dict[Value, np.ndarray],
    ) -> None:
        super().__init__(sizes)
        self.buffers = dict(zip(graph.inputs, arrays, strict=True))
        self.buffers.update(outputs)
        self.written: dict[Value, np.ndarray] = {
            v: np.zeros(a.shape, np.bool_) for v, a in outputs.items()
        }
        for node in graph.walk():
            if node.op.name == "atomic" and node.operands[0] in self.written:
                self.written[node.operands[0]][...] = True
        self.mask: Local | None = None  # points at which a loop still runs

    # Regions and nodes.

    def run(self, region: Region) -> None:
        for node in region.nodes:
            method = METHODS.get(node.op.name)
            if method is not None:
                method(self, node)
            elif node.op.kind in (Kind.ELEMENTWISE, Kind.SOURCE):
                self.pointwise(node)
            else:
                raise EvaluationError(f"{describe(node)} is no op of the kernel level")

    def pointwise(self, node: Node) -> None:
        arrays = [self.scalar(v) for v in node.operands]
        results = node.op.evaluate(arrays, concrete(node.attrs, self.sizes))
        for value, array in zip(node.results, results, strict=True):
            ones = (1,) * (len(self.grid) - np.ndim(array))
            self.values[value] = Local(np.asarray(array).reshape(ones + np.shape(array)))

    def index(self, node: Node) -> None:
        self.values[node.results[0]] = Local(self.expression(node.attrs["expr"], node))

    # Memory.

    def place(self, node: Node, shape: Sequence[int]) -> tuple[list[np.ndarray], np.ndarray | None]:
        """The index arrays of an access to an array of `shape`, clipped into it, and where the
        access takes place (None: everywhere)."""
        index = [self.expression(d, node) for d in node.attrs["index"]]
        valid: np.ndarray | None = None
        if self.mask is not None:
            valid = self.lifted(self.mask)
        if node.attrs.get("guarded"):
            guard = self.scalar(node.operands[-1])
            valid = guard if valid is None else valid & guard
        clipped = []
        for axis, (i, size) in enumerate(zip(index, shape, strict=True)):
            outside = (i < 0) | (i >= size)
            if outside.any():
                bad = outside if valid is None else outside & valid
                if bad.any() and 0 not in self.grid:
                    first = np.broadcast_to(i, bad.shape)[bad].flat[0]
                    raise EvaluationError(
                        f"{describe(node)}: index {first} along axis {axis} is out of range "
                        f"for the shape {list(shape)}"
                    )
                i = np.clip(i, 0, max(size - 1, 0))
            clipped.append(i)
        return clipped, valid

    def load(self, node: Node) -> None:
        source = node.operands[0]
        leading: tuple[np.ndarray, ...] = ()
        if source in self.buffers:
            array = self.buffers[source]
        else:
            array = self.full(source)
            leading = np.ix_(*(np.arange(n) for n in self.grid))
        index, valid = self.place(node, array.shape[len(leading) :])
        if array.size == 0:
            loaded = np.zeros(self.grid, array.dtype)
        else:
            loaded = np.asarray(array[(*leading, *index)])
        if not index:
            loaded = loaded.reshape((1,) * len(self.grid))
        if valid is not None:
            loaded = np.where(valid, loaded, np.zeros((), array.dtype))
        self.values[node.results[0]] = Local(loaded)

    def targets(self, node: Node) -> tuple[np.ndarray, tuple[np.ndarray, ...], np.ndarray]:
        """The buffer, the index of each element to write, and the values."""
        buffer = self.buffers[node.operands[0]]
        index, valid = self.place(node, buffer.shape)
        here = np.broadcast_to(True if valid is None else valid, self.grid)
        places = tuple(np.broadcast_to(i, self.grid)[here] for i in index)
        return buffer, places, self.full(node.operands[1])[here]

    def store(self, node: Node) -> None:
        buffer, places, values = self.targets(node)
        if values.size == 0:
            return
        flat = np.ravel_multi_index(places, buffer.shape) if places else np.zeros(values.size, int)
        if len(np.unique(flat)) != values.size:
            raise EvaluationError(f"{describe(node)}: two points store to the same element")
        buffer.reshape(-1)[flat] = values
        if node.operands[0] in self.written:
            self.written[node.operands[0]].reshape(-1)[flat] = True

    def atomic(self, node: Node) -> None:
        buffer, places, values = self.targets(node)
        UFUNCS[node.attrs["combine"]].at(buffer, places or (), values)

    # Structure.

    def parallel(self, node: Node) -> None:
        (region,) = node.regions
        ranges = self.ranges(node.attrs["extents"])
        if self.grid or not ranges:
            with self.axes(region.params, ranges):
                self.run(region)
            return
        for first in chunks(ranges[0], self.volume(node)):
            with self.axes(region.params, [first, *ranges[1:]]):
                self.run(region)

    def volume(self, node: Node) -> int:
        """The points of the largest grid inside `node`."""
        names = ("extents",) if "extents" in node.attrs else ("batch", "m", "n", "k")
        own = 1
        if node.op.name == "many":
            own = max([self.size(d) for d in node.attrs["extents"]], default=0)
        elif node.op.name != "for":
            own = math.prod(self.size(d) for n in names for d in node.attrs.get(n, ()))
        inner = [self.volume(n) for r in node.regions for n in r.nodes if n.regions]
        return own * max(inner, default=1)

    def reduce(self, node: Node) -> None:
        members = self.members(node)
        count = members[0].shape[len(self.grid)]
        inits = [self.values[v] for v in node.operands]
        if count == 0:
            self.bind(node.results, inits)
            return
        folded = self.fold(node, members, count)
        self.bind(node.results, self.combined(node, inits, folded))

    def members(self, node: Node) -> list[np.ndarray]:
        """What the body yields: dimensions of the grid, one of all folded axes, then own ones."""
        body = node.regions[0]
        ranges = self.ranges(node.attrs["extents"])
        count, depth = math.prod(len(r) for r in ranges), len(self.grid)
        with self.axes(body.params, ranges):
            self.run(body)
            arrays = [self.full(v) for v in body.yields]
        return [
            a.reshape(a.shape[:depth] + (count,) + a.shape[depth + len(ranges) :]) for a in arrays
        ]

    def fold(self, node: Node, members: list[np.ndarray], count: int) -> list[Local]:
        """The members folded along the dimension after the grid, in order."""
        axis = len(self.grid)
        named = combine_ops(node)
        if named is not None and not any(is_half(a.dtype) for a in members):
            return [
                Local(
                    UFUNCS[name].reduce(np.ascontiguousarray(a), axis=axis, dtype=a.dtype),
                    a.ndim - axis - 1,
                )
                for name, a in zip(named, members, strict=True)
            ]
        while count > 1:
            half = count // 2
            pick = (slice(None),) * axis
            left = [a[(*pick, slice(0, 2 * half, 2))] for a in members]
            right = [a[(*pick, slice(1, 2 * half, 2))] for a in members]
            rest = [a[(*pick, slice(2 * half, None))] for a in members]
            joined = self.joined(node, left, right, half)
            members = [np.concatenate([a, b], axis=axis) for a, b in zip(joined, rest, strict=True)]
            count -= half
        return [Local(a.take(0, axis=axis), a.ndim - axis - 1) for a in members]

    def joined(
        self, node: Node, left: list[np.ndarray], right: list[np.ndarray], count: int
    ) -> list[np.ndarray]:
        """The combine region at `count` points of one more axis."""
        combine = node.regions[1]
        with self.axes((), ()):
            self.grid = (*self.grid, count)
            for param, array in zip(combine.params, left + right, strict=True):
                self.values[param] = Local(array, array.ndim - len(self.grid))
            self.run(combine)
            return [self.full(v) for v in combine.yields]

    def combined(self, node: Node, left: list[Local], right: list[Local]) -> list[Local]:
        """The combine region once: two tuples -> tuple."""
        combine = node.regions[1]
        self.bind(combine.params, left + right)
        self.run(combine)
        return [self.values[v] for v in combine.yields]

    def row(self, node: Node) -> None:
        (body,) = node.regions
        ranges = self.ranges(node.attrs["extents"])
        with self.axes(body.params, ranges):
            self.run(body)
            arrays = [self.full(v) for v in body.yields]
        self.bind(node.results, [Local(a, len(ranges)) for a in arrays])

    def cumulate(self, node: Node) -> None:
        members, axis = self.members(node), len(self.grid)
        reverse = bool(node.attrs["reverse"])
        if reverse:
            members = [np.flip(a, axis) for a in members]
        state = [self.values[v] for v in node.operands]
        prefixes: list[list[np.ndarray]] = [[] for _ in members]
        for position in range(members[0].shape[axis]):
            element = [Local(a.take(position, axis=axis)) for a in members]
            state = self.combined(node, state, element)
            for prefix, local in zip(prefixes, state, strict=True):
                prefix.append(np.broadcast_to(self.lifted(local), self.grid))
        results = []
        for prefix, a in zip(prefixes, members, strict=True):
            array = np.stack(prefix, axis=axis) if prefix else a
            results.append(Local(np.flip(array, axis) if reverse else array, 1))
        self.bind(node.results, results)

    def arrange(self, node: Node) -> None:
        (members,) = self.members(node)
        self.bind(node.results, [Local(np.sort(members, axis=len(self.grid)), 1)])

    def contract(self, node: Node) -> None:
        batch, m, n, k = (self.ranges(node.attrs[name]) for name in ("batch", "m", "n", "k"))
        acc = node.attrs["acc"].numpy
        lhs, rhs, out = node.regions
        right = self.operand(rhs, (batch, k, n), acc)
        parts = [m[0]] if self.grid or not m else chunks(m[0], self.volume(node))
        for first in parts:
            rows = [first, *m[1:]] if m else []
            left = self.operand(lhs, (batch, rows, k), acc)
            product = np.matmul(left, right)
            shape = self.grid + tuple(len(r) for r in (*batch, *rows, *n))
            axes = out.params[: len(batch) + len(rows) + len(n)]
            with self.axes(axes, [*batch, *rows, *n]):
                self.values[out.params[-1]] = Local(product.reshape(shape))
                self.run(out)

    def operand(
        self, region: Region, ranges: tuple[list[range], ...], dtype: np.dtype
    ) -> np.ndarray:
        """An operand of a contract: grid, batch, rows, columns."""
        with self.axes(region.params, [r for group in ranges for r in group]):
            self.run(region)
            array = self.full(region.yields[0])
        counts = tuple(math.prod(len(r) for r in group) for group in ranges)
        return array.reshape(self.grid + counts).astype(dtype, copy=False)

    def many(self, node: Node) -> None:
        (body,) = node.regions
        width = len(body.params) - 1
        for position, extent in enumerate(node.attrs["extents"]):
            group = node.operands[position * width : (position + 1) * width]
            for param, operand in zip(body.params[1:], group, strict=True):
                self.buffers[param] = self.buffers[operand].reshape(-1)
                if operand in self.written:
                    self.written[param] = self.written[operand].reshape(-1)
            with self.axes(body.params[:1], [range(self.size(extent))]):
                self.run(body)

    def loop(self, node: Node) -> None:
        """A `for`; where its bounds differ from point to point, with a mask."""
        (body,) = node.regions
        lo, hi = (self.expression(node.attrs[name], node) for name in ("lo", "hi"))
        state = [self.values[v] for v in node.operands[: node.attrs["carries"]]]
        outer, step = self.mask, node.attrs["step"]
        uniform = lo.size == hi.size == 1
        turns = 0 if 0 in self.grid else int(np.max(-(-(hi - lo) // step), initial=0))
        for turn in range(turns):
            here = lo + turn * step
            running: np.ndarray = here < hi
            if not uniform:
                self.mask = Local(running if outer is None else running & self.lifted(outer))
            self.bind(body.params, [Local(here), *state])
            self.run(body)
            new = [self.values[v] for v in body.yields]
            if not uniform:
                new = [self.select(running, a, b) for a, b in zip(new, state, strict=True)]
            state = new
        self.mask = outer
        self.bind(node.results, state)


def chunks(whole: range, volume: int) -> list[range]:
    """`whole` cut so that a grid of `volume` points over all of it keeps below `CHUNK`."""
    each = max(1, len(whole) * CHUNK // max(volume, 1))
    return [range(s, min(s + each, whole.stop)) for s in range(whole.start, whole.stop, each)]


METHODS: dict[str, Callable[[_Kernel, Node], None]] = {
    "index": _Kernel.index,
    "load": _Kernel.load,
    "store": _Kernel.store,
    "atomic": _Kernel.atomic,
    "parallel": _Kernel.parallel,
    "reduce": _Kernel.reduce,
    "row": _Kernel.row,
    "cumulate": _Kernel.cumulate,
    "arrange": _Kernel.arrange,
    "contract": _Kernel.contract,
    "attend": evaluate_attend,
    "attend_gradient": evaluate_attend,
    "many": _Kernel.many,
    "for": _Kernel.loop,
}
