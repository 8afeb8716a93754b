"""What is known inside one body of a kernel: the axes that are open, and values as blocks.

The axes that are open are the dimensions of blocks, outermost first, as in `ir.evaluate_grid`: a
value has one of size 1 for an axis along which it does not change, and a value of an outer region
gets dimensions of size 1 behind its own where it is used further in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ....ir.dims import Dim
from ....ir.graph import Node, Value
from .text import Block


@dataclass(frozen=True, slots=True)
class Axis:
    """An open dimension of blocks.

    Attributes:
        variable: stands for its index in expressions.
        size: elements of a block.
        mask: which of them are within the axis; None where all are.
        whole: there is one block, which begins at 0.
    """

    variable: Value
    size: int
    mask: Block | None
    whole: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """A row value in registers: `block` has a last dimension for the row, as `axis` says."""

    block: Block
    node: Node
    axis: Axis


@dataclass(frozen=True, slots=True)
class Inline:
    """A row value that is computed where it is read."""

    node: Node
    result: int


@dataclass(frozen=True, slots=True)
class Here:
    """A row value of which one element is at hand, that at the point of the scope."""

    block: Block


@dataclass(frozen=True, slots=True)
class Late:
    """Prefixes that are computed block by block along with the loop that reads them."""

    node: Node


Row = Kept | Inline | Here | Late


class Scope:
    """What the values of a kernel are inside one body: blocks, or for an i64 expressions over
    `Var`s of values that are. In a loop that is masked, `running` says where it goes on."""

    def __init__(self, parent: Scope | None, open: tuple[Axis, ...]) -> None:
        self.parent = parent
        self.open = open
        self.values: dict[Value, Block] = {}
        self.exprs: dict[Value, Dim] = {}
        self.rows: dict[Value, Row] = {}
        self.buffers: dict[Value, str] = {}
        self.lines: dict[tuple[Dim, int, int], tuple[Axis, Block]] = {}  # extent, size, depth
        self.running: Block | None = None if parent is None else parent.running
        self.point: Dim = 0  # the flat index of the node whose body this is

    @property
    def depth(self) -> int:
        return len(self.open)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a block that changes along all open axes."""
        return tuple(axis.size for axis in self.open)

    def inner(self, *opened: Axis) -> Scope:
        """A scope inside this one, with more axes."""
        return Scope(self, (*self.open, *opened))

    def find(self, table: str, value: Any) -> Any:
        """What `table` says of a kernel's value here or further out, or None."""
        scope: Scope | None = self
        while scope is not None:
            found = getattr(scope, table).get(value)
            if found is not None:
                return found
            scope = scope.parent
        return None
