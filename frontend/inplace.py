"""Writes: a storage's content is replaced through the inverse of the view path.

Eager, the elements go into the buffer; in a trace, the storage gets a new pure value. The history
of gradients follows in both: the root of a chain of views gets the value that `updated` makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.dtypes import bool_
from ..ir.graph import Value
from ..ir.ops import OPS
from ..ir.types import tensor_type
from .apply import (
    broadcast_shapes,
    builder,
    detached_value,
    elementwise,
    expanded,
    is_tracked,
    number_value,
    value_of,
    wrap,
)
from .context import ambient
from .epoch import epoch
from .errors import (
    AutogradError,
    DTypeError,
    ShapeError,
    TraceError,
    UnsupportedError,
)
from .moves import to_device
from .promotion import can_cast, note_discarded
from .tape import TRACKING, DeviceValue, EagerValue
from .tensor import Tensor, here, make
from .unwatched import user_line
from .values import at
from .views import RESHAPE, Path, updated, writable


def write(tensor: Tensor, new: Value) -> Tensor:
    """Make `tensor` hold `new`, a value of its type; every view of the storage sees it.

    Raises:
        AutogradError: a leaf that requires grad, outside of `no_grad`.
        UnsupportedError: an expanded view, whose elements share memory.
    """
    target = here(tensor)
    root = target.root()
    check_writable(target, root)
    if not ambient.context.grad_enabled:
        new = detached_value(new)
    if ambient.trace is None:
        _write_eager(target, root, new)
    else:
        _write_traced(target, root, new)
    return tensor


def check_writable(target: Tensor, root: Tensor) -> None:
    """Raise where a write to `target` is refused."""
    if not writable(target.path):
        raise UnsupportedError(
            f"in-place write to an expanded view {target.spec}: several of its elements are one",
            hint="write to a clone()",
        )
    if ambient.context.grad_enabled and root._requires:
        what = "a leaf that requires grad" if root is target else "a view of such a leaf"
        raise AutogradError(
            f"in-place write to {what} would lose what its gradient means",
            hint="wrap it in `with sley.no_grad():`, or write to a clone()",
        )
    if not ambient.context.grad_enabled and root._tracked:
        raise UnsupportedError(
            "in-place write under no_grad() to a tensor with a history",
            hint="write to its detach().clone(), or inside enable_grad()",
        )


def _chain(target: Tensor, root: Tensor) -> Path:
    """The steps from `root` to `target`."""
    return target.path[len(root.path) :]


def _covers(chain: Path) -> bool:
    """Whether a write through `chain` leaves nothing of what was there, so that it is not read."""
    return all(step.bijective for step in chain)


def _write_eager(target: Tensor, root: Tensor, new: Value) -> None:
    assert isinstance(new, EagerValue)
    storage, line = target.storage, user_line()
    history: Value | None = None
    if ambient.context.grad_enabled and (root._tracked or new.tracked):
        chain = _chain(target, root)
        old = new if _covers(chain) else value_of(root)
        history = updated(old, chain, new, TRACKING.emit)
        if history is new and new.storage is not None:
            # The value of another tensor: a node of its own, that lies in this memory.
            history = TRACKING.emit(RESHAPE, (new,), {"shape": new.type.shape})
    _put(target, new)
    storage.touch(line)
    if history is None:
        return
    history = at(history, root)
    root._value, root._version, root._tracked = history, storage.version, history.tracked


def _put(target: Tensor, new: EagerValue) -> None:
    """Write the elements of `new` into the memory of `target`."""
    if target._array is None:
        from .device_ops import write_elements  # what runs GPUs: most programs need none

        write_elements(target.storage, target.path, new)
    elif isinstance(new, DeviceValue):
        assert new.storage.place is not None
        target._array[...] = new.storage.place.get(new.storage, new.path, new.type)
    else:
        target._array[...] = new.array


def _write_traced(target: Tensor, root: Tensor, new: Value) -> None:
    trace, storage = ambient.trace, target.storage
    assert trace is not None
    emit = trace.builder.emit
    chain = _chain(target, root)
    if _covers(chain):
        old = new
    elif root._requires:
        old = trace.current(storage)
        for step in root.path:
            old = step.emit(old, emit)
        old = trace.untracked(old)
    else:
        old = value_of(root)
    history = updated(old, chain, new, emit)
    trace.set_current(storage, updated(trace.current(storage), root.path, history, emit))
    root._tracked = is_tracked(history)
    # A leaf gets a new value of its own when it is next read.
    root._value, root._version = history, -1 if root._requires else storage.version


def _fitting(target: Tensor, source: Any, name: str) -> Value:
    """The value of `source`, cast and broadcast to the type of `target`."""
    type = here(target).spec
    if isinstance(source, Tensor):
        shape = here(source).spec.shape
        note_discarded(here(source).spec.dtype, type.dtype)
        if broadcast_shapes([type.shape, shape], name) != type.shape:
            raise ShapeError(
                f"{name}: {list(shape)} does not fit into a tensor of shape {list(type.shape)}"
            )
    return expanded(source, type)


def copy_(self: Tensor, source: Any, non_blocking: bool = False) -> Tensor:
    """Write the elements of `source` (a tensor or number, broadcast and cast) into this tensor.

    Raises:
        ShapeError: `source` does not broadcast to this shape.
    """
    if isinstance(source, Tensor):
        if _same_place(self, source):
            return self
        source = to_device(source, self.device)
        if source.spec is here(self).spec:
            return write(self, value_of(source))
    return write(self, _fitting(self, source, "copy_"))


def _same_place(a: Tensor, b: Tensor) -> bool:
    """Whether both are the same elements of the same memory, with the same history."""
    x, y = here(a), here(b)
    same = x.storage is y.storage and x.path == y.path and x.spec is y.spec
    return same and (x.root() is y.root() or not (x.requires_grad or y.requires_grad))


def fill_(self: Tensor, value: Any) -> Tensor:
    """Write one number (or 0-d tensor) into every element. What had a history keeps one: its
    gradient is 0."""
    filled = _fitting(self, value, "fill_")
    if ambient.context.grad_enabled and self.requires_grad:
        never = number_value(False, tensor_type(bool_, here(self).spec.shape))
        filled = builder().emit(OPS["where"], (never, value_of(self), filled))
    return write(self, filled)


def zero_(self: Tensor) -> Tensor:
    """Write 0 into every element."""
    return fill_(self, 0)


def update(self: Tensor, result: Tensor, name: str) -> Tensor:
    """Write the result of an op of `self` back into it.

    Raises:
        DTypeError: the result is of a higher category than this tensor's dtype.
        ShapeError: the result has another shape.
    """
    type = here(self).spec
    if not can_cast(result.spec.dtype, type.dtype):
        raise DTypeError(
            f"{name}: a result of {result.spec.dtype.public} cannot be stored as "
            f"{type.dtype.public}",
            hint="use the form without the underscore, or cast first",
        )
    if result.spec.shape != type.shape:
        raise ShapeError(
            f"{name}: the result has the shape {list(result.spec.shape)}, "
            f"the tensor {list(type.shape)}",
            hint="memory cannot grow: use the form without underscore",
        )
    return write(self, expanded(result, type))


def before(self: Tensor, operands: Sequence[Any]) -> Tensor:
    """What `self` holds before it is written, for an op whose gradient reads it. Eager, and with a
    gradient to come, that takes a copy."""
    if ambient.trace is not None or not ambient.context.grad_enabled:
        return self
    for tensor in (self, *operands):
        if isinstance(tensor, Tensor) and tensor.requires_grad:
            return clone(self)
    return self


def _scaled(other: Any, alpha: Any) -> Any:
    return other if isinstance(alpha, int) and alpha == 1 else elementwise("mul", other, alpha)


def add_(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """self += alpha * other."""
    return update(self, elementwise("add", self, _scaled(other, alpha)), "add_")


def sub_(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """self -= alpha * other."""
    return update(self, elementwise("sub", self, _scaled(other, alpha)), "sub_")


def mul_(self: Tensor, other: Any) -> Tensor:
    """self *= other."""
    return update(self, elementwise("mul", before(self, (other,)), other), "mul_")


def div_(self: Tensor, other: Any) -> Tensor:
    """self /= other."""
    return update(self, elementwise("div", before(self, (other,)), other, promote="float"), "div_")


def floor_divide_(self: Tensor, other: Any) -> Tensor:
    """self //= other."""
    return update(self, elementwise("floor_div", before(self, (other,)), other), "floor_divide_")


def remainder_(self: Tensor, other: Any) -> Tensor:
    """self %= other."""
    return update(self, elementwise("remainder", before(self, (other,)), other), "remainder_")


def pow_(self: Tensor, exponent: Any) -> Tensor:
    """self **= exponent."""
    return update(self, elementwise("pow", before(self, (exponent,)), exponent), "pow_")


def bitwise_and_(self: Tensor, other: Any) -> Tensor:
    """self &= other."""
    return update(self, elementwise("bit_and", self, other), "bitwise_and_")


def bitwise_or_(self: Tensor, other: Any) -> Tensor:
    """self |= other."""
    return update(self, elementwise("bit_or", self, other), "bitwise_or_")


def bitwise_xor_(self: Tensor, other: Any) -> Tensor:
    """self ^= other."""
    return update(self, elementwise("bit_xor", self, other), "bitwise_xor_")


def shift_left_(self: Tensor, other: Any) -> Tensor:
    """self <<= other."""
    return update(self, elementwise("shift_left", self, other), "bitwise_left_shift_")


def shift_right_(self: Tensor, other: Any) -> Tensor:
    """self >>= other."""
    return update(self, elementwise("shift_right", self, other), "bitwise_right_shift_")


def addcmul_(self: Tensor, a: Any, b: Any, *, value: Any = 1) -> Tensor:
    """self += value * a * b."""
    return add_(self, elementwise("mul", a, b), alpha=value)


def addcdiv_(self: Tensor, a: Any, b: Any, *, value: Any = 1) -> Tensor:
    """self += value * a / b."""
    return add_(self, elementwise("div", a, b, promote="float"), alpha=value)


def detach(self: Tensor) -> Tensor:
    """The same memory without a history; writes to one are seen in the other."""
    source = here(self)
    result = make(source.storage, source.path, source.spec, source._array)
    result._strides, result._weak = source._strides, source._weak
    return result


def detach_(self: Tensor) -> Tensor:
    """Drop the history of this tensor, which becomes a leaf that requires no grad.

    Raises:
        AutogradError: it is a view; detach() it instead.
    """
    tensor = here(self)
    if tensor.base is not None:
        raise AutogradError("detach_() of a view", hint="use detach()")
    tensor._tracked, tensor._requires, tensor._version = False, False, -1
    tensor._value = None
    return self


def become_view(tensor: Tensor, view: Tensor) -> None:
    """Make `tensor` what `view`, a view of it, is. Views of it stay views of what it was.

    Raises:
        AutogradError: it is a leaf that requires grad, or has a history and gradients are off.
        TraceError: it comes from outside of the function that is recorded.
    """
    trace = ambient.trace
    if trace is not None and (tensor.storage.trace is not trace or tensor in trace.concrete):
        raise TraceError(
            "the shape of a tensor from outside cannot change in a compiled function",
            hint="use the form without the underscore",
        )
    if tensor._requires or (tensor.requires_grad and view.base is None):
        raise AutogradError(
            "the shape of a leaf that requires grad cannot change in place",
            hint="use the form without the underscore",
        )
    epoch.count += 1
    before = make(tensor.storage, tensor.path, tensor.spec, tensor._array)
    before.base, before.step, before._strides = tensor.base, tensor.step, tensor._strides
    before._value, before._version = tensor._value, tensor._version
    before._tracked = tensor._tracked
    last = view
    while last.base is not None and last.base is not tensor:
        last = last.base
    if last.base is tensor:
        last.base = before
    tensor.path, tensor.spec, tensor._array = view.path, view.spec, view._array
    tensor.base, tensor.step, tensor._strides = view.base, view.step, view._strides
    tensor._value, tensor._version, tensor._tracked = None, -1, False


def clone(self: Tensor) -> Tensor:
    """A copy with memory of its own; gradients flow through it."""
    value = value_of(self)
    return wrap(builder().emit(RESHAPE, (value,), {"shape": value.type.shape}), (value,))
