"""Tensors that a transformation differentiates by: where its histories begin, and whether they go
on to something that is differentiated around it.

A transformation calls the function with *fresh* tensors. A fresh tensor is a value of its own, so a
derivative with respect to it is never mixed up with one of an outer transformation, even where both
stand for the same number; its history goes on to the tensor that it was made from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...ir.graph import Value
from ..apply import builder, is_tracked, value_of, wrap
from ..context import ambient, setting
from ..errors import AutogradError, UnsupportedError
from ..tape import EagerValue, TapeNode
from ..tensor import Tensor
from ..views import RESHAPE


@contextmanager
def differentiating() -> Iterator[None]:
    """Inside, a function runs whose derivative will be taken: results remember how they were made,
    those of compiled functions as well."""
    before = ambient.differentiates
    ambient.differentiates = True
    try:
        with setting(grad_enabled=True):
            yield
    finally:
        ambient.differentiates = before


def fresh(tensor: Tensor) -> Tensor:
    """A tensor with memory of its own that holds what `tensor` does, to differentiate by.

    Raises:
        AutogradError: it is of integers or bools.
    """
    value = value_of(tensor)
    if not value.type.dtype.is_inexact:
        raise AutogradError(
            f"a derivative with respect to a tensor {value.type}",
            hint="only floating point and complex tensors have one: cast it with .float(), or "
            "choose other arguments by `argnums`",
        )
    made = builder().emit(RESHAPE, (value,), {"shape": value.type.shape})
    if isinstance(made, EagerValue):
        made.tracked = True
    else:
        assert ambient.trace is not None
        ambient.trace.tracked.add(made)
    return wrap(made, (value,))


def check_unwritten(tensors: Sequence[Tensor], what: str) -> None:
    """Raise where one of the fresh tensors was written in place: the caller's would not change.

    Raises:
        UnsupportedError: one was.
    """
    for tensor in tensors:
        if tensor.storage.version:
            raise UnsupportedError(
                f"an argument {tensor.spec} is written in place inside {what} "
                f"(at {tensor.storage.written})",
                hint="write to a clone(), and return the new value",
            )


def goes_on(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> bool:
    """Whether `outputs` depend on anything differentiable besides the fresh `inputs`, or these on
    anything themselves: then derivatives of them have a history, too."""
    own = {value_of(t) for t in inputs}
    starts = [value_of(t) for t in (*outputs, *inputs)]
    return any(value not in own and begins for value, begins in _walk(starts))


def beginnings(outputs: Sequence[Tensor]) -> list[Value]:
    """The values where the histories of `outputs` begin: leaves, and fresh tensors."""
    return [value for value, begins in _walk([value_of(t) for t in outputs]) if begins]


def _walk(starts: Sequence[Value]) -> Iterator[tuple[Value, bool]]:
    """Every tracked value that `starts` depend on, and whether a history begins there."""
    seen: set[Value] = set()
    pending = [value for value in starts if is_tracked(value)]
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        seen.add(value)
        operands: list[Value] = []
        if value.node is not None:
            operands = [v for v in value.node.operands if is_tracked(v)]
        yield value, not operands
        pending += operands


def depends_on(output: Tensor, tensor: Tensor) -> bool:
    """Whether `output` was computed from `tensor`, along a way that has a gradient."""
    wanted = value_of(tensor)
    return any(value is wanted for value, _ in _walk([value_of(output)]))


def closed_again(tensor: Any) -> Any:
    """A result of a transformation without the history that was made for it alone."""
    return tensor.detach() if isinstance(tensor, Tensor) else tensor


def is_recordable(outputs: Sequence[Tensor]) -> bool:
    """Whether the way to `outputs` can be written down as a program: without what was computed
    elsewhere (compiled calls, functions with a backward() of their own) and without hooks."""
    for value, _ in _walk([value_of(t) for t in outputs]):
        node = value.node
        if isinstance(node, TapeNode) and node.op.name == "opaque":
            return False
        owner = value.leaf() if isinstance(value, EagerValue) and value.leaf is not None else None
        if owner is not None and owner._hooks:
            return False
    return True
