"""Paths of views as programs know them: without the sizes that the operand's shape tells, so that
one program serves operands of other shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..ir.dims import Dim
from ..ir.graph import Value
from ..ir.ops import OPS
from .views import Emit, Path, Step

_TRANSPOSE, _SLICE = OPS["transpose"], OPS["slice"]


class _Transposed(NamedTuple):
    perm: tuple[int, ...]


class _Sliced(NamedTuple):
    """A size is None where an axis stays whole."""

    starts: tuple[Dim, ...]
    sizes: tuple[Dim | None, ...]
    steps: tuple[Dim, ...]


GeneralPath = tuple[_Transposed | _Sliced | Step, ...]


def general(path: Path) -> GeneralPath:
    """What `path` does, as far as the shape that it begins with does not tell."""
    return tuple(map(_general, path))


def _general(step: Step) -> _Transposed | _Sliced | Step:
    if type(step) is not Step:
        return step
    attrs = step.attrs
    if step.op is _TRANSPOSE:
        return _Transposed(tuple(attrs["perm"]))
    if step.op is _SLICE:
        sizes = [
            None if size == whole else size
            for size, whole in zip(attrs["sizes"], step.source, strict=True)
        ]
        return _Sliced(tuple(attrs["starts"]), tuple(sizes), tuple(attrs["steps"]))
    return step


def follow(path: Sequence[_Transposed | _Sliced | Step], value: Value, emit: Emit) -> Value:
    """What `path` shows of `value`."""
    for step in path:
        if isinstance(step, _Transposed):
            value = emit(_TRANSPOSE, (value,), {"perm": step.perm})
        elif isinstance(step, _Sliced):
            whole = value.type.shape
            sizes = tuple(
                n if size is None else size for size, n in zip(step.sizes, whole, strict=True)
            )
            value = emit(
                _SLICE, (value,), {"starts": step.starts, "sizes": sizes, "steps": step.steps}
            )
        else:
            value = step.emit(value, emit)
    return value
