"""The one place where a function becomes an op: promotion, broadcasting, emission, results.

Eager and traced run the same lines; `values` says in what they differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.builder import Builder
from ..ir.dims import Dim
from ..ir.dtypes import DType, bool_
from ..ir.graph import Value
from ..ir.literal import Literal
from ..ir.ops import OPS
from ..ir.ops.base import Op, TypeRuleError
from ..ir.types import TensorType, tensor_type
from .context import ambient
from .errors import (
    DTypeError,
    IndexingError,
    ShapeError,
    SleyError,
    computation_error,
)
from .promotion import result_type
from .scalars import number_array, stretched
from .symint import SymInt
from .tape import PLAIN, TRACKING, DeviceValue, EagerValue
from .tensor import Tensor, here, of_array
from .values import builder, detached_value, is_tracked, over, value_of, wrap

_BROADCAST, _CAST, _RESHAPE = OPS["broadcast"], OPS["cast"], OPS["reshape"]
_CONSTANT, _SIZE = OPS["constant"], OPS["size"]


def apply(op: Op | str, tensors: Sequence[Tensor], **attrs: Any) -> Any:
    """The result of `op`, a Tensor (or a tuple of them), without promotion or broadcasting.

    Raises:
        ShapeError, DTypeError: the tensors do not fit the op.
        IndexingError: an index among the data is out of range (eager only).
    """
    if isinstance(op, str):
        op = OPS[op]
    return emit(op, [value_of(t) for t in tensors], attrs)


def emit(op: Op, values: Sequence[Value], attrs: dict[str, Any] | None = None) -> Any:
    """As `apply`, from values of the current mode."""
    trace = ambient.trace
    try:
        if trace is not None:
            result = trace.builder.emit(op, values, attrs)
        else:
            tape = TRACKING if ambient.context.grad_enabled else PLAIN
            result = tape.emit(op, values, attrs)
    except TypeRuleError as error:
        if trace is not None:
            trace.reconcile(op, [v.type for v in values], attrs or {})
        raise _failure(op, values, error) from None
    except IndexError as error:
        raise IndexingError(str(error)) from None
    except np.linalg.LinAlgError as error:
        raise computation_error(op.name, error) from None
    if type(result) is tuple:
        return tuple(wrap(r, values) for r in result)
    made = wrap(result, values)
    if not values:
        made.storage.is_constant = True
    return made


def _failure(op: Op, values: Sequence[Value], error: TypeRuleError) -> SleyError:
    dtypes = {v.type.dtype for v in values}
    kind = DTypeError if len(dtypes) > 1 or "does not take" in str(error) else ShapeError
    got = ", ".join(str(v.type) for v in values)
    if kind is DTypeError:
        hint = "cast with .to(dtype)"
        if any(d.is_float8 for d in dtypes):
            hint = "cast it first, as in x.to(sley.bfloat16)"
        if any(d.is_complex for d in dtypes) and "does not take" in str(error):
            hint = "take abs(), .real or .imag first: complex numbers have no order"
        return kind(f"{op.name}({got}): {error}", hint=hint)
    return kind(
        f"{op.name}({got}): {error}",
        hint="bring the axes into line with reshape(), unsqueeze(), permute() or a slice",
    )


def elementwise(op: Op | str, *args: Any, promote: str = "default", conditions: int = 0) -> Tensor:
    """`op` of tensors and Python numbers, with PyTorch's promotion and broadcasting.

    Args:
        promote: "default" (`result_type`), "float" (integers become the default float dtype),
            or "none" (the tensors must have one dtype).
        conditions: so many leading arguments are bool and take no part in the promotion.

    Raises:
        DTypeError: an argument is no tensor or number, or the op does not take its dtype.
        ShapeError: the shapes do not broadcast.
    """
    if isinstance(op, str):
        op = OPS[op]
    if ambient.trace is not None:
        types = _operand_types(op, args, promote, conditions)
        result = emit(op, [expanded(a, type) for a, type in zip(args, types, strict=True)])
        result._weak = all(not isinstance(a, Tensor) or a._weak for a in args)
        return result
    # Eager, types are decided once for arguments of these types; numbers count by their class.
    key: Any = [op, promote, conditions, ambient.context.default_dtype]
    for arg in args:
        key.append(arg.spec if isinstance(arg, Tensor) else arg.__class__)
    known = _decided.get(key := tuple(key))
    if known is None:
        known = _operand_types(op, args, promote, conditions)
        _remember(key, args, known)
    values = []
    for arg, given, type in zip(args, key[_LEADING:], known, strict=True):
        # A tensor of this very type, of which it is known what it holds, needs no call.
        if given is type:
            storage = arg.storage
            if arg._version == storage.version and storage.trace is None:
                values.append(arg._value)
                continue
        values.append(expanded(arg, type))
    return emit(op, values)


_LEADING = 4  # what the keys of `_decided` begin with, before the arguments
_MOST_DECIDED = 4096
_decided: dict[tuple, Sequence[TensorType]] = {}
_NUMBERS = frozenset((bool, int, float, complex))


def _remember(key: tuple, args: Sequence[Any], types: Sequence[TensorType]) -> None:
    if not all(isinstance(arg, Tensor) or type(arg) in _NUMBERS for arg in args):
        return  # what others are is not told by their class
    if len(_decided) >= _MOST_DECIDED:
        _decided.clear()
    _decided[key] = types


def _operand_types(
    op: Op, args: Sequence[Any], promote: str, conditions: int
) -> Sequence[TensorType]:
    """What each argument of an elementwise op is cast and broadcast to."""
    rest = args[conditions:]
    dtype = _shared_dtype(rest) or common_dtype(rest, promote, op.name)
    for arg in args[:conditions]:
        if isinstance(arg, Tensor) and arg.spec.dtype.kind != "bool":
            raise DTypeError(
                f"{op.name}: the condition is {arg.spec.dtype.public}, not bool",
                hint="compare first, as in x != 0",
            )
    shapes = [a.spec.shape for a in args if isinstance(a, Tensor)]
    shape = shapes[0] if shapes else ()
    if len(shapes) > 1 and shapes.count(shape) < len(shapes):
        shape = broadcast_shapes(shapes, op.name)
    condition, type = tensor_type(bool_, shape), tensor_type(dtype, shape)
    return (*[condition] * conditions, *[type] * len(rest))


def _shared_dtype(args: Sequence[Any]) -> DType | None:
    """The one inexact dtype of all tensors among `args`, if no number raises it: the common case,
    where nothing is promoted."""
    shared: DType | None = None
    for arg in args:
        if isinstance(arg, Tensor):
            dtype = arg.spec.dtype
            if arg._weak or not dtype.is_inexact or (shared is not None and dtype is not shared):
                return None
            shared = dtype
        elif type(arg) is not float and type(arg) is not int:
            return None
    return shared


def common_dtype(args: Sequence[Any], promote: str, name: str) -> DType:
    """The dtype that the arguments of op `name` are cast to."""
    first = args[0]
    if len(args) == 1 and isinstance(first, Tensor):
        dtype = first.spec.dtype
    elif promote == "none":
        dtypes = {a.spec.dtype for a in args if isinstance(a, Tensor)}
        if len(dtypes) > 1:
            names = ", ".join(sorted(d.public for d in dtypes))
            raise DTypeError(f"{name} needs one dtype, got {names}", hint="cast one with .to()")
        dtype = next(iter(dtypes)) if dtypes else result_type(*args)
    else:
        dtype = result_type(*args)
    if promote == "float" and not dtype.is_inexact:
        return ambient.context.default_dtype
    return dtype


def broadcast_shapes(shapes: Sequence[tuple[Dim, ...]], name: str = "broadcast") -> tuple[Dim, ...]:
    """The shape that all `shapes` broadcast to: aligned at the end, 1 stretches.

    In a trace two sizes that must be equal and are not known to be are unified.

    Raises:
        ShapeError: they do not broadcast.
    """
    ndim = max(map(len, shapes), default=0)
    result: list[Dim] = [1] * ndim
    for shape in shapes:
        for axis, size in enumerate(shape, ndim - len(shape)):
            current = result[axis]
            if size == current or _is_one(size):
                continue
            if not _is_one(current):
                if isinstance(size, int) and isinstance(current, int):
                    raise _misfit(shapes, axis - ndim, name)
                if not equal_dims(current, size):
                    raise _misfit(shapes, axis - ndim, name)
                continue
            result[axis] = size
    return tuple(result)


def _is_one(size: Dim) -> bool:
    return isinstance(size, int) and size == 1


def equal_dims(a: Dim, b: Dim) -> bool:
    """Whether two sizes are equal; in a trace this may make them equal (see `Trace.unify`)."""
    if a == b:
        return True
    trace = ambient.trace
    if trace is None or (isinstance(a, int) and isinstance(b, int)):
        return False
    return trace.unify(a, b)


def _misfit(shapes: Sequence[tuple[Dim, ...]], axis: int, name: str) -> ShapeError:
    text = " and ".join(f"[{', '.join(map(str, s))}]" for s in shapes)
    return ShapeError(
        f"{name}: the shapes {text} do not broadcast: they differ in axis {axis}",
        hint="sizes must be equal or 1; use reshape() or unsqueeze() to line the axes up",
    )


def expanded(arg: Any, type: TensorType) -> Value:
    """The value of a tensor or number, cast and broadcast to `type`."""
    if not isinstance(arg, Tensor):
        return number_value(arg, type)
    value = value_of(arg)
    if value.type is type:
        return value
    build = builder()
    if value.type.dtype is not type.dtype:
        value = build.emit(_CAST, (value,), {"dtype": type.dtype})
    if value.type.shape == type.shape:
        return value
    if not isinstance(value, EagerValue):
        return broadcast_value(value, type, build)
    if value.tracked or isinstance(value, DeviceValue):
        repeated = broadcast_value(value, type, build)
    else:
        repeated = EagerValue(stretched(value.array, type.shape), type)
    # It lies in the memory of `value`: a rule that reads it later must see that this was written.
    repeated.storage, repeated.version = value.storage, value.version  # type: ignore[attr-defined]
    return repeated


def as_type(arg: Any, type: TensorType) -> Tensor:
    """A tensor or number, cast and broadcast to `type`.

    Raises:
        ShapeError: the tensor does not broadcast to it.
    """
    if not isinstance(arg, Tensor):
        value = expanded(arg, type)
        if ambient.trace is None and ambient.context.device is not None:
            from .device_ops import on_default_device  # what runs GPUs: most programs need none

            value = on_default_device(value)
        made = wrap(value, ())
        made.storage.is_constant = True
        return made
    own = here(arg).spec
    if own is type:
        return arg
    if broadcast_shapes([type.shape, own.shape]) != type.shape:
        raise ShapeError(f"{own} does not broadcast to {type}")
    return wrap(expanded(arg, type), [value_of(arg)])


def broadcast_value(value: Value, type: TensorType, build: Builder) -> Value:
    """`value` with its axes aligned at the end of `type` and those of size 1 stretched."""
    offset = type.ndim - value.type.ndim
    keep = [
        axis
        for axis, size in enumerate(value.type.shape)
        if not _is_one(size) or _is_one(type.shape[axis + offset])
    ]
    if len(keep) < value.type.ndim:
        shape = tuple(value.type.shape[axis] for axis in keep)
        value = build.emit(_RESHAPE, (value,), {"shape": shape})
    dims = tuple(axis + offset for axis in keep)
    if value.type.shape == type.shape:
        return value
    # A size that `unify` found equal is written as the result spells it.
    return build.emit(_BROADCAST, (value,), {"shape": type.shape, "dims": dims})


def number_value(number: Any, type: TensorType) -> Value:
    """A Python number (or size) as a value of `type`."""
    trace = ambient.trace
    if trace is None:
        if isinstance(number, SymInt):
            raise DTypeError(f"the size {number} belongs to a trace that has ended")
        return EagerValue(_filled(number, type), type)
    scalar = tensor_type(type.dtype, ())
    if isinstance(number, SymInt):
        value = trace.builder.emit(_SIZE, (), {"expr": number.expr})
        if value.type is not scalar:
            value = trace.builder.emit(_CAST, (value,), {"dtype": type.dtype})
    else:
        literal = Literal(number_array(number, type.dtype))
        value = trace.builder.emit(_CONSTANT, (), {"value": literal})
    return value if not type.shape else broadcast_value(value, type, trace.builder)


_MOST_NUMBERS = 1024
_numbers: dict[tuple, np.ndarray] = {}


def _filled(number: Any, type: TensorType) -> np.ndarray:
    """A number as an array of `type`, to be read only; made once for each type."""
    key = (number, number.__class__, type)
    try:
        found = _numbers.get(key)
    except TypeError:  # not hashable, so no number
        found = None
    if found is not None and (number or number.__class__ is int):  # 0.0 equals -0.0
        return found
    array = number_array(number, type.dtype)
    array.flags.writeable = False
    found = stretched(array, type.shape) if type.shape else array
    if len(_numbers) >= _MOST_NUMBERS:
        _numbers.clear()
    _numbers[key] = found
    return found


def constant(array: np.ndarray) -> Tensor:
    """A tensor with the elements of `array` (copied): in a trace a constant of the program."""
    if ambient.trace is None:
        made = of_array(np.array(array, order="C"))
        made.storage.is_constant = True
        return made
    return wrap(ambient.trace.builder.emit(_CONSTANT, (), {"value": Literal(np.array(array))}))


__all__ = [
    "apply",
    "as_type",
    "broadcast_shapes",
    "builder",
    "constant",
    "detached_value",
    "elementwise",
    "emit",
    "expanded",
    "is_tracked",
    "over",
    "value_of",
    "wrap",
]
