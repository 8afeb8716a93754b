"""What a trace notes beside its program: captures, arguments, guards of sizes, Python state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..ir import dims
from ..ir.dims import Dim
from ..ir.graph import Location, Value
from .storage import Storage
from .tensor import Tensor


class Capture(NamedTuple):
    """A concrete storage that the program reads or writes.

    Attributes:
        storage: the concrete one.
        param: the parameter that stands for what it holds when the call begins.
        shadow: the traced storage; `shadow.value` is what it holds at the end.
        line: the user's line that captured it.
    """

    storage: Storage
    param: Value
    shadow: Storage
    line: Location | None

    @property
    def is_written(self) -> bool:
        return self.shadow.value is not self.param


class Input(NamedTuple):
    """An argument: its shadow and its parameter. A write goes to `shadow.storage.value`."""

    tensor: Tensor | None
    param: Value
    shadow: Tensor

    @property
    def is_written(self) -> bool:
        return self.shadow.storage.value is not self.param


class SizeGuard(NamedTuple):
    """`left relation right` ("==", "<", ">") had this outcome for the sizes of the example."""

    left: Dim
    relation: str
    right: Dim
    outcome: bool
    line: Location | None

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether it has the same outcome for these sizes."""
        left, right = dims.evaluate(self.left, sizes), dims.evaluate(self.right, sizes)
        return compare(left, self.relation, right) == self.outcome

    def __str__(self) -> str:
        return f"({self.left} {self.relation} {self.right}) is {self.outcome}"


class Read(NamedTuple):
    """Python state that the trace has read: `kind` says how to read it again."""

    kind: str
    owner: Any
    name: str
    value: Any
    line: Location | None


class AttributeWrite(NamedTuple):
    """An attribute that the traced call has set; `old` is what it was, or `MISSING`. `table` is
    the dict in which it lies."""

    owner: Any
    name: str
    old: Any
    table: dict[str, Any]


MISSING = object()


def compare(left: int, relation: str, right: int) -> bool:
    """The outcome of `left relation right`; the relation is "==", "<" or ">"."""
    if relation == "==":
        return left == right
    return left < right if relation == "<" else left > right
