"""Emitting the nodes of a loop graph: values, accesses at flat offsets, loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ....ir.builder import Recording, make_node
from ....ir.dims import Atom, Dim, Expr, Slot, Var, atoms, of_atom, substitute
from ....ir.dtypes import DType
from ....ir.graph import Node, Region, Value
from ....ir.literal import Literal
from ....ir.ops import OPS
from ....ir.ops.kernel import INDEX
from ....ir.target import Target


class Emitter:
    """Appends nodes to a loop graph. `allocs` go to its begin."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.builder = Recording()
        self.allocs: list[Node] = []
        self._reads: dict[Region, set[Value]] = {}  # what a region and those inside of it read

    def emit(self, name: str, *operands: Value, **attrs: Any) -> Any:
        return self.builder.emit(OPS[name], operands, attrs)

    def integer(self, number: int) -> Value:
        return self.emit("constant", value=Literal(np.int64(number)))

    def materialise(self, dim: Dim) -> Value:
        """The i64 (scalar or vector) that an expression over loop-level values has."""
        if isinstance(dim, int):
            return self.integer(dim)
        (monomial, c), *more = dim.terms
        if not more and c == 1 and len(monomial) == 1 and isinstance(monomial[0], Var):
            return monomial[0].value
        operands, (expr,) = slots((dim,), 0)
        return self.builder.emit(OPS["index"], operands, {"expr": expr})

    def same_lanes(self, values: Sequence[Value]) -> list[Value]:
        """The values, scalars among vectors splatted."""
        lanes = [v.type.shape[0] for v in values if v.type.shape]
        return [self.widen(v, lanes[0]) for v in values] if lanes else list(values)

    def widen(self, value: Value, lanes: Any) -> Value:
        return value if value.type.shape else self.emit("splat", value, lanes=lanes)

    def alloc(self, shape: tuple[Dim, ...], dtype: DType) -> Value:
        node = make_node(OPS["alloc"], (), {"shape": shape, "dtype": dtype})
        self.allocs.append(node)
        return node.results[0]

    def access(
        self,
        name: str,
        operands: tuple[Value, ...],
        offset: Dim,
        *,
        lanes: int | None = None,
        guard: Value | None = None,
        **others: Any,
    ) -> Any:
        """Emits a load, store or prefetch at a flat offset; `others` are further attributes."""
        rank = len(operands[0].type.shape)
        more, index = slots((0,) * (rank - 1) + (offset,) if rank else (), len(operands))
        attrs: dict[str, Any] = {"index": index, **others}
        if lanes is not None:
            attrs["lanes"] = lanes
            guard = guard and self.widen(guard, lanes)
        if guard is not None:
            attrs["guarded"] = True
            more = (*more, guard)
        return self.builder.emit(OPS[name], (*operands, *more), attrs)

    def reverse(self, value: Value) -> Value:
        lanes = value.type.shape[0]
        assert isinstance(lanes, int)
        return self.emit("shuffle", value, value, lanes=tuple(reversed(range(lanes))))

    # ------------------------------------------------------------------ loops

    @contextmanager
    def region(self, *types: Any) -> Iterator[Any]:
        with self.builder.region(types) as opened:
            yield opened
            self.builder.nodes, read = self._alive(opened.yields)
        self._reads[opened.closed] = read

    def nodes(self) -> list[Node]:
        """The nodes so far, but for those that compute what nobody uses."""
        return self._alive(())[0]

    def _alive(self, yields: Sequence[Value]) -> tuple[list[Node], set[Value]]:
        """(the nodes of the region under construction that are used, what they read)."""
        used = set(yields)
        kept: list[Node] = []
        for node in reversed(self.builder.nodes):
            if node.regions or not node.results or any(v in used for v in node.results):
                kept.append(node)
                used.update(node.operands)
                for region in node.regions:
                    used |= self._reads[region]
        return kept[::-1], used

    def loop(
        self,
        lo: Dim,
        hi: Dim,
        step: int,
        carried: Sequence[Value],
        body: Callable[[Value, list[Value]], Sequence[Value]],
        *,
        parallel: bool = False,
        unroll: int | None = None,
    ) -> list[Value]:
        """`for i in lo, lo + step .. hi`: body(i, carried) -> carried. Gives the last carried.
        `unroll=1`: the body stays there once."""
        with self.region(INDEX, *(v.type for v in carried)) as opened:
            variable, *inside = opened.params
            opened.yield_(*body(variable, inside))
        operands, (lo, hi) = slots((lo, hi), len(carried))
        attrs = {"lo": lo, "hi": hi, "step": step, "carries": len(carried)}
        if parallel:
            attrs["parallel"] = True
        if unroll is not None:
            attrs["unroll"] = unroll
        self.builder.emit(OPS["for"], (*carried, *operands), attrs, (opened.closed,))
        return list(self.builder.nodes[-1].results)


def slots(dims: Sequence[Dim], first: int) -> tuple[tuple[Value, ...], tuple[Dim, ...]]:
    """Operands and expressions over `Slot`s from number `first` on, for expressions over `Var`s."""
    position: dict[Value, int] = {}
    for dim in dims:
        for atom in atoms(dim):
            if isinstance(atom, Var):
                position.setdefault(atom.value, first + len(position))

    def replace(atom: Atom) -> Expr:
        if isinstance(atom, Var):
            return of_atom(Slot(position[atom.value], atom.extent))
        return of_atom(atom)

    return tuple(position), tuple(substitute(dim, replace) for dim in dims)
