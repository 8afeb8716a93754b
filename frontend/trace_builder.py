"""The builder of a trace: a recording one that knows where gradients may be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..ir.builder import Recording
from ..ir.dims import Dim
from ..ir.graph import Location, Region, Value
from ..ir.ops import OPS
from ..ir.ops.base import Op
from .context import ambient
from .errors import user_location

_STOP = OPS["stop_gradient"]


class IndexCheck(NamedTuple):
    """Integers that must lie in [0, size), or be `ignored`, when the program runs; `name` is what
    reads by them."""

    indices: Value
    size: Dim
    name: str
    line: Location | None
    ignored: int | None = None


class TraceBuilder(Recording):
    """Records every op with the user's line, which values a gradient may be asked through, and
    which indices must be in range.

    Attributes:
        is_region: what is recorded will be a region, differentiated by what its nodes say alone:
            there, what `no_grad` computes reads values whose gradient is stopped.
    """

    def __init__(self) -> None:
        super().__init__(locate=user_location)
        self.tracked: set[Value] = set()
        self.is_region = False
        self.checks: list[IndexCheck] = []
        self._checked: set[tuple[Value, Dim]] = set()
        self._in_range: set[Value] = set()

    def check(self, indices: Value, size: Dim, name: str, ignored: int | None = None) -> None:
        """Note that `indices` must be in range; once is enough."""
        if (indices, size) not in self._checked:
            self._checked.add((indices, size))
            self.checks.append(IndexCheck(indices, size, name, user_location(), ignored))

    def take_for_granted(self, indices: Value) -> None:
        """Note that `indices` need no look: they follow from others that were looked at, or cannot
        be out of range."""
        self._in_range.add(indices)

    def emit(
        self,
        op: Op,
        operands: Sequence[Value],
        attrs: Mapping[str, Any] | None = None,
        regions: tuple[Region, ...] = (),
    ) -> Any:
        if self.is_region and op is not _STOP and not ambient.context.grad_enabled:
            operands = [self._without_history(v) for v in operands]
        result = super().emit(op, operands, attrs, regions)
        if op.indexed_map is not None and operands[1] not in self._in_range:
            assert attrs is not None
            self.check(operands[1], operands[0].type.shape[attrs["axis"]], op.name)
        if self.tracked and op is not _STOP and ambient.context.grad_enabled:
            self._track(operands, result)
        return result

    def _without_history(self, value: Value) -> Value:
        # Each time anew: who sets recorded nodes aside and drops some must not drop a shared one.
        return super().emit(_STOP, (value,)) if value in self.tracked else value

    def emit_view(self, op: Op, operands: Sequence[Value], attrs: Mapping[str, Any]) -> Any:
        """As `emit`; the result is tracked also under `no_grad`. For a view that was made while
        gradients were on and whose value is asked for later."""
        result = super().emit(op, operands, attrs)
        self._track(operands, result)
        return result

    def _track(self, operands: Sequence[Value], result: Any) -> None:
        if any(v in self.tracked for v in operands):
            results = result if type(result) is tuple else (result,)
            self.tracked.update(v for v in results if v.type.dtype.is_inexact)
