"""A kernel under construction: nested scopes, and scalars that are emitted where they belong.

Each scalar goes to the outermost scope that defines what it is made of, and once: what does not
depend on an inner axis leaves the inner loop by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np

from ...ir.builder import Recording
from ...ir.dims import (
    Atom,
    Dim,
    Expr,
    Slot,
    Var,
    atoms,
    lower,
    nonnegative,
    of_atom,
    substitute,
    upper,
)
from ...ir.dtypes import DType, i64
from ...ir.graph import Node, Region, Value
from ...ir.literal import Literal
from ...ir.ops import OPS
from ...ir.ops.base import Op
from ...ir.types import tensor_type

Index = tuple[Dim, ...]
INDEX = tensor_type(i64, ())


class Scope:
    """A region under construction, with what was emitted there."""

    __slots__ = ("depth", "memo", "nodes", "serial")

    def __init__(self, depth: int, serial: int) -> None:
        self.depth = depth
        self.serial = serial
        self.nodes: list[Node] = []
        self.memo: dict[tuple, Value] = {}


class Scopes:
    """The regions of one kernel, and what is emitted into them.

    Attributes:
        buffers: for each value that the kernel reads from memory, the parameter for it.
        scopes: the open regions, outermost first.
        depths: for each emitted scalar and axis, the depth of its scope.
    """

    def __init__(self) -> None:
        self.builder = Recording()
        self.buffers: dict[Value, Value] = {}
        self._serials = count()
        self.scopes = [Scope(0, next(self._serials))]
        self.depths: dict[Value, int] = {}
        self._dim_depths: dict[Dim, int] = {}  # of expressions met: axes stay where they are

    # Emission ------------------------------------------------------------------------------

    def emit(
        self,
        op: str | Op,
        operands: Sequence[Value] = (),
        attrs: Mapping | None = None,
        regions: tuple[Region, ...] = (),
        depth: int | None = None,
    ) -> Any:
        """A node in the scope at `depth` (the innermost by default)."""
        scope = self.scopes[-1] if depth is None else self.scopes[depth]
        self.builder.nodes = scope.nodes
        op = OPS[op] if isinstance(op, str) else op
        result = self.builder.emit(op, operands, attrs or {}, regions)
        for value in (result,) if isinstance(result, Value) else result:
            self.depths[value] = scope.depth
        return result

    def depth_of(self, index: Sequence[Dim], *values: Value | None) -> int:
        """The outermost scope that knows the axes in `index` and the values."""
        depth = 0
        for value in values:
            if value is not None:
                depth = max(depth, self.depths.get(value, 0))
        for dim in index:
            if isinstance(dim, int):
                continue
            found = self._dim_depths.get(dim)
            if found is None:
                axes = [atom.value for atom in atoms(dim) if isinstance(atom, Var)]
                found = max([self.depths[axis] for axis in axes], default=0)
                self._dim_depths[dim] = found
            depth = max(depth, found)
        return depth

    @contextmanager
    def scope(
        self, depth: int, extents: Sequence[Dim]
    ) -> Iterator[tuple[Scope, tuple[Value, ...], Index]]:
        """A new region inside the scope at `depth`, with an axis for each extent."""
        outer = self.scopes
        inner = Scope(depth + 1, next(self._serials))
        self.scopes = [*outer[: depth + 1], inner]
        params = tuple(Value(INDEX) for _ in extents)
        for param in params:
            self.depths[param] = inner.depth
        axes = tuple(
            0 if isinstance(n, int) and n == 1 else of_atom(Var(p, n))
            for p, n in zip(params, extents, strict=True)
        )
        try:
            yield inner, params, axes
        finally:
            self.scopes = outer

    def slots(self, dims: Sequence[Dim], first: int) -> tuple[list[Value], Index]:
        """`dims` over slots numbered from `first`, and the values that these stand for."""
        values: list[Value] = []

        def replace(atom: Atom) -> Dim:
            if not isinstance(atom, Var):
                return of_atom(atom)
            if atom.value not in values:
                values.append(atom.value)
            return of_atom(Slot(first + values.index(atom.value), atom.extent))

        return values, tuple(substitute(d, replace) for d in dims)

    # Memory --------------------------------------------------------------------------------

    def buffer(self, value: Value) -> Value:
        """The parameter through which the kernel reads `value`."""
        if value not in self.buffers:
            name = value.name or f"in{len(self.buffers)}"
            self.buffers[value] = Value(value.type, name=name)
        return self.buffers[value]

    def load(self, source: Value, index: Index, guard: Value | None = None) -> Value:
        operands, slotted = self.slots(index, 1)
        attrs: dict = {"index": slotted}
        depth = max(self.depth_of(index, guard), self.depths.get(source, 0))
        operands = [source, *operands]
        if guard is not None:
            operands.append(guard)
            attrs["guarded"] = True
        return self.emit("load", operands, attrs, depth=depth)

    def store(self, target: Value, index: Index, value: Value) -> None:
        operands, slotted = self.slots(index, 2)
        self.emit("store", [target, value, *operands], {"index": slotted})

    def integer(self, expr: Dim, depth: int | None = None) -> Value:
        """An index expression as an i64 scalar."""
        operands, (slotted,) = self.slots((expr,), 0)
        place = self.depth_of((expr,)) if depth is None else depth
        return self.emit("index", operands, {"expr": slotted}, depth=place)

    def constant(self, number: object, dtype: DType, depth: int) -> Value:
        literal = Literal(np.asarray(number).astype(dtype.numpy))
        return self.cached(
            ("constant", literal), depth,
            lambda: self.emit("constant", (), {"value": literal}, depth=depth),
        )  # fmt: skip

    def cached(self, key: tuple, depth: int, make: Callable[[], Value]) -> Value:
        """What `make()` emitted under `key` in a scope that is still open, or emits now."""
        memo = self.scopes[depth].memo
        if key not in memo:
            memo[key] = make()
        return memo[key]

    # Conditions ----------------------------------------------------------------------------

    def condition(self, relation: str, expr: Dim) -> Value | bool:
        """expr >= 0 ("ge") or expr == 0 ("eq") as a bool scalar, or as a bool where it is known."""
        if isinstance(expr, int):
            return expr >= 0 if relation == "ge" else expr == 0
        low, high = lower(expr), upper(expr)
        if high is not None and nonnegative(-1 - high):
            return False
        if low is not None and nonnegative(low if relation == "ge" else low - 1):
            return relation == "ge"
        depth = self.depth_of((expr,))

        def make() -> Value:
            zero = self.constant(0, i64, depth)
            return self.emit(relation, (self.integer(expr, depth), zero), depth=depth)

        return self.cached((relation, expr), depth, make)

    def both(self, a: Value | None, b: Value | None) -> Value | None:
        """The conjunction of two guards, None being true."""
        if a is None or b is None or a is b:
            return a if b is None else b
        depth = self.depth_of((), a, b)
        return self.cached(("and", a, b), depth, lambda: self.emit("bit_and", (a, b), depth=depth))

    def inside(self, position: Expr, size: Dim, guard: Value | None) -> Value:
        """Whether 0 <= position < size, and `guard`."""
        low, high = self.condition("ge", position), self.condition("ge", size - 1 - position)
        assert isinstance(low, Value) and isinstance(high, Value), "the position is data"
        both = self.both(self.both(guard, low), high)
        assert both is not None
        return both

    def negation(self, guard: Value) -> Value:
        depth = self.depth_of((), guard)
        return self.cached(
            ("not", guard), depth, lambda: self.emit("bit_not", (guard,), depth=depth)
        )

    def cast(self, value: Value, dtype: DType) -> Value:
        if value.type.dtype is dtype:
            return value
        depth = self.depth_of((), value)
        return self.emit("cast", (value,), {"dtype": dtype}, depth=depth)

    @contextmanager
    def sequential(self, extents: Sequence[Dim]) -> Iterator[Index]:
        """Nested sequential loops over `extents`; what is emitted inside is their body."""
        outer, axes, opened = self.scopes, [], []
        for extent in extents:
            scope = Scope(len(self.scopes), next(self._serials))
            self.scopes = [*self.scopes, scope]
            param = Value(INDEX)
            self.depths[param] = scope.depth
            axes.append(of_atom(Var(param, extent)))
            opened.append((scope, param, extent))
        yield tuple(axes)
        for scope, param, extent in reversed(opened):
            body = Region((param,), tuple(scope.nodes))
            self.scopes = self.scopes[:-1]
            self.emit("for", (), {"lo": 0, "hi": extent, "step": 1, "carries": 0}, (body,))
        self.scopes = outer

    def fresh_load(self, source: Value, index: Index, guard: Value) -> Value:
        """A load in the innermost scope, of what earlier turns may have written."""
        operands, slotted = self.slots(index, 1)
        return self.emit("load", [source, *operands, guard], {"index": slotted, "guarded": True})
