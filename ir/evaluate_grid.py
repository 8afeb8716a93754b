"""The values of a kernel under evaluation, as arrays over the axes that are open.

A scalar of a kernel is an array over the *grid*, the axes that are open where it is defined: one
dimension for each, of size 1 where the value does not change along it. Inner axes come last, so a
value of an outer region is used further in with dimensions of size 1 appended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from .dims import Atom, Dim, Slot, Symbol, substitute
from .dims import evaluate as evaluate_dim
from .graph import Node, Value


class Local(NamedTuple):
    """A scalar (`own` = 0) or row-local value: dimensions of the grid, then `own` of its own."""

    array: np.ndarray
    own: int = 0


class Grid:
    """The sizes of the open axes, and the values known so far."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.values: dict[Value, Local] = {}
        self.grid: tuple[int, ...] = ()

    def lifted(self, local: Local) -> np.ndarray:
        """The array of `local` with a dimension for each axis that is open now."""
        array, own = local
        place = array.ndim - own
        ones = (1,) * (len(self.grid) - place)
        return array.reshape(array.shape[:place] + ones + array.shape[place:])

    def scalar(self, value: Value) -> np.ndarray:
        return self.lifted(self.values[value])

    def full(self, value: Value) -> np.ndarray:
        """The array of `value` with every dimension of the grid at its size."""
        local = self.values[value]
        array = self.lifted(local)
        return np.broadcast_to(array, self.grid + array.shape[array.ndim - local.own :])

    @contextmanager
    def axes(self, params: Sequence[Value], ranges: Sequence[range]) -> Iterator[None]:
        """Opens an axis for each parameter, running over its range."""
        outer = self.grid
        self.grid = outer + tuple(len(r) for r in ranges)
        for position, (param, run) in enumerate(zip(params, ranges, strict=True)):
            shape = [1] * len(self.grid)
            shape[len(outer) + position] = len(run)
            self.values[param] = Local(np.arange(run.start, run.stop).reshape(shape))
        try:
            yield
        finally:
            self.grid = outer

    def size(self, dim: Dim) -> int:
        return evaluate_dim(dim, self.sizes)

    def ranges(self, dims: Sequence[Dim]) -> list[range]:
        return [range(self.size(d)) for d in dims]

    def expression(self, dim: Dim, node: Node) -> np.ndarray:
        def value(atom: Atom) -> Any:
            if isinstance(atom, Slot):
                return self.scalar(node.operands[atom.position])
            assert isinstance(atom, Symbol)
            return self.sizes[atom.name]

        result = np.asarray(substitute(dim, value), np.int64)
        return result.reshape((1,) * (len(self.grid) - result.ndim) + result.shape)

    def bind(self, values: Sequence[Value], locals_: Sequence[Local]) -> None:
        self.values.update(zip(values, locals_, strict=True))

    def select(self, condition: np.ndarray, yes: Local, no: Local) -> Local:
        chosen = condition.reshape(condition.shape + (1,) * yes.own)
        return Local(np.where(chosen, self.lifted(yes), self.lifted(no)), yes.own)
