"""Loop programs computed step by step: an interpreter over scalars and vectors. Slow and plain."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .dims import Atom, Dim, Slot, Symbol, substitute
from .dims import evaluate as evaluate_dim
from .evaluate import EvaluationError, concrete, describe
from .graph import Graph, Node, Region, Value
from .ops.base import OPS, Kind
from .ops.matrix import DEEP, SIDE

Result = Sequence[Any]


def evaluate_loop(
    graph: Graph,
    arrays: Sequence[np.ndarray],
    sizes: Mapping[str, int],
    outputs: dict[Value, np.ndarray],
) -> list[np.ndarray]:
    """The buffers that a loop graph writes, for the arrays of its inputs and what the buffers
    hold before.

    Raises:
        EvaluationError: an access is out of range, or an element of an output is never written.
    """
    machine = _Machine(dict(zip(graph.inputs, arrays, strict=True)) | outputs, sizes)
    joined = {node.operands[0] for node in graph.walk() if node.op.name == "atomic"}
    machine.written = {v: np.full(a.size, v in joined) for v, a in outputs.items()}
    with np.errstate(all="ignore"):
        machine.run(graph)
    for value, written in machine.written.items():
        if not written.all():
            raise EvaluationError(
                f"@{graph.name} never stores to %{value.name or '?'} at {int(np.argmin(written))}"
            )
    return [outputs[v] for v in graph.out_params]


class _Machine:
    """Buffers, and the values computed so far: arrays of shape () or (lanes,)."""

    def __init__(self, buffers: dict[Value, np.ndarray], sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.shapes = {v: a.shape for v, a in buffers.items()}
        self.memory = {v: np.ascontiguousarray(a).reshape(-1) for v, a in buffers.items()}
        self.values: dict[Value, np.ndarray] = {}
        self.written: dict[Value, np.ndarray] = {}

    def run(self, region: Region) -> None:
        for node in region.nodes:
            method = METHODS.get(node.op.name)
            if method is not None:
                results = method(self, node)
            elif node.op.kind in (Kind.ELEMENTWISE, Kind.SOURCE):
                arrays = [self.values[v] for v in node.operands]
                results = node.op.evaluate(arrays, concrete(node.attrs, self.sizes))
            else:
                raise EvaluationError(f"{describe(node)} is no op of the loop level")
            for value, result in zip(node.results, results, strict=True):
                self.values[value] = np.asarray(result)

    def value(self, node: Node, position: int) -> np.ndarray:
        return self.values[node.operands[position]]

    def expression(self, dim: Dim, node: Node) -> np.ndarray:
        def value(atom: Atom) -> Any:
            if isinstance(atom, Slot):
                return self.values[node.operands[atom.position]]
            assert isinstance(atom, Symbol)
            return self.sizes[atom.name]

        return np.asarray(substitute(dim, value), np.int64)

    # Memory.

    def places(self, node: Node) -> tuple[np.ndarray, np.ndarray]:
        """The flat offsets of an access, and in which of them it takes place."""
        buffer = node.operands[0]
        shape = self.shapes[buffer]
        offset = np.zeros((), np.int64)
        for axis, dim in enumerate(node.attrs["index"]):
            offset = offset + self.expression(dim, node) * math.prod(shape[axis + 1 :])
        if node.attrs.get("lanes"):
            offset = offset + np.arange(node.attrs["lanes"])
        active = np.asarray(True)
        if node.attrs.get("guarded"):
            active = self.values[node.operands[-1]]
        offset, active = np.broadcast_arrays(offset, active)
        outside = active & ((offset < 0) | (offset >= self.memory[buffer].size))
        if outside.any():
            raise EvaluationError(
                f"{describe(node)}: offset {offset[outside].flat[0]} is out of range for the "
                f"shape {list(shape)}"
            )
        return offset, active

    def load(self, node: Node) -> Result:
        offset, active = self.places(node)
        memory = self.memory[node.operands[0]]
        result = np.zeros(offset.shape, memory.dtype)
        result[active] = memory[offset[active]]
        return [result]

    def store(self, node: Node) -> Result:
        offset, active = self.places(node)
        target, value = node.operands[0], np.broadcast_to(self.value(node, 1), offset.shape)
        self.memory[target][offset[active]] = value[active]
        if target in self.written:
            self.written[target][offset[active]] = True
        return []

    def atomic(self, node: Node) -> Result:
        offset, active = self.places(node)
        target, value = node.operands[0], np.broadcast_to(self.value(node, 1), offset.shape)
        combine = OPS[node.attrs["combine"]]
        memory = self.memory[target]
        for place, element in zip(offset[active], value[active], strict=True):
            (memory[place],) = combine.evaluate([memory[place], element], {})
        return []

    def alloc(self, node: Node) -> Result:
        shape = tuple(evaluate_dim(d, self.sizes) for d in node.attrs["shape"])
        dtype = node.attrs["dtype"]
        self.shapes[node.results[0]] = shape
        filled = np.full(math.prod(shape), math.nan if dtype.is_float else 1, dtype.numpy)
        self.memory[node.results[0]] = filled
        return [filled]

    def pick(self, node: Node) -> Result:
        source, result = node.operands[1 + int(self.value(node, 0))], node.results[0]
        self.memory[result] = self.memory[source]
        self.shapes[result] = self.memory[source].shape
        self.written.pop(result, None)
        if source in self.written:
            self.written[result] = self.written[source]
        return [self.memory[result]]

    # Control.

    def loop(self, node: Node) -> Result:
        (body,) = node.regions
        lo, hi = (int(self.expression(node.attrs[name], node)) for name in ("lo", "hi"))
        state = [self.values[v] for v in node.operands[: node.attrs["carries"]]]
        for turn in range(lo, hi, node.attrs["step"]):
            self.values[body.params[0]] = np.asarray(turn)
            self.values.update(zip(body.params[1:], state, strict=True))
            self.run(body)
            state = [self.values[v] for v in body.yields]
        return state

    def branch(self, node: Node) -> Result:
        if self.value(node, 0):
            self.run(node.regions[0])
        return []

    # Vectors.

    def index(self, node: Node) -> Result:
        return [self.expression(node.attrs["expr"], node)]

    def splat(self, node: Node) -> Result:
        return [np.full(node.attrs["lanes"], self.value(node, 0))]

    def lanes(self, node: Node) -> Result:
        return [self.value(node, 0) + np.arange(node.attrs["lanes"])]

    def mask(self, node: Node) -> Result:
        return [self.value(node, 0) + np.arange(node.attrs["lanes"]) < self.value(node, 1)]

    def extract(self, node: Node) -> Result:
        return [self.value(node, 0)[node.attrs["lane"]]]

    def low(self, node: Node) -> Result:
        vector = self.value(node, 0)
        return [vector[: len(vector) // 2]]

    def high(self, node: Node) -> Result:
        vector = self.value(node, 0)
        return [vector[len(vector) // 2 :]]

    def shuffle(self, node: Node) -> Result:
        joined = np.concatenate([self.value(node, 0), self.value(node, 1)])
        return [joined[list(node.attrs.get("lanes", range(len(joined))))]]

    def fma(self, node: Node) -> Result:
        a, b, c = (self.value(node, k) for k in range(3))
        wide = np.float64 if a.dtype.itemsize < 8 else a.dtype
        return [(a.astype(wide) * b.astype(wide) + c.astype(wide)).astype(a.dtype)]

    def tile_product(self, node: Node) -> Result:
        attrs = node.attrs
        rows, columns, sums = (self.memory[v] for v in node.operands[:3])
        at_rows, at_columns, at_sums, steps = (int(self.value(node, k)) for k in range(3, 7))
        high, wide = (SIDE * count for count in attrs["tiles"])
        i, j, k = np.arange(high)[:, None], np.arange(wide), np.arange(steps * DEEP)
        left = rows[at_rows + i * attrs["row"] + k // DEEP * attrs["next"] + k % DEEP]
        pairs = (k // 2 * 2 * attrs["width"] + k % 2)[:, None]
        right = columns[at_columns + pairs + 2 * j]
        place = at_sums + i * attrs["width"] + j
        product = left.astype(np.float32) @ right.astype(np.float32)
        sums[place] = product if attrs["fresh"] else sums[place] + product
        return []

    def nothing(self, node: Node) -> Result:
        return []


METHODS: dict[str, Callable[[_Machine, Node], Result]] = {
    "load": _Machine.load,
    "store": _Machine.store,
    "atomic": _Machine.atomic,
    "alloc": _Machine.alloc,
    "pick": _Machine.pick,
    "prefetch": _Machine.nothing,
    "for": _Machine.loop,
    "if": _Machine.branch,
    "index": _Machine.index,
    "splat": _Machine.splat,
    "lanes": _Machine.lanes,
    "mask": _Machine.mask,
    "extract": _Machine.extract,
    "low": _Machine.low,
    "high": _Machine.high,
    "join": _Machine.shuffle,
    "shuffle": _Machine.shuffle,
    "fma": _Machine.fma,
    "tile_product": _Machine.tile_product,
}
