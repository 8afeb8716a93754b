"""How the functions read their arguments: axes, sizes, numbers, numpy's spellings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ...ir.dims import Dim, Expr, product
from ...ir.dtypes import DType
from ..apply import apply, common_dtype
from ..construct import as_tensor
from ..context import ambient
from ..errors import ArgumentError, AutogradError, DTypeError, ShapeError
from ..inplace import update
from ..promotion import as_dtype, note_discarded
from ..symint import SymInt
from ..tensor import Tensor, dims_of, here, normal_axis
from ..viewing import regrouped, reshape_view, resolved_shape

F = TypeVar("F", bound=Callable[..., Any])

_OPERANDS = (Tensor, bool, int, float, complex, SymInt)
# numpy and the array API standard call these arguments by other names.
_SPELLINGS = (("axis", "dim"), ("axes", "dims"), ("keepdims", "keepdim"))


def takes_out(function: F) -> F:
    """Accept `out=`: a tensor (for several results a tuple) that the result is written into."""

    @functools.wraps(function)
    def writing(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        return result if out is None else written_to(out, result, function.__name__)

    return writing  # type: ignore[return-value]


def makes_out(function: F) -> F:
    """As `takes_out`, of a function that makes a tensor: one of the dtype of `out=`."""

    @functools.wraps(function)
    def making(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if isinstance(out, Tensor) and kwargs.get("dtype") is None:
            kwargs["dtype"] = out.dtype
        result = function(*args, **kwargs)
        return result if out is None else written_to(out, result, function.__name__)

    return making  # type: ignore[return-value]


def written_to(out: Any, result: Any, name: str) -> Any:
    """`out`, with the result of the function `name` written into it.

    Raises:
        DTypeError: `out` is no tensor, or its dtype cannot hold the result.
        ShapeError: it has another shape.
        AutogradError: the result has a history, which a write would not carry over.
    """
    if isinstance(result, tuple):
        if not isinstance(out, (tuple, list)) or len(out) != len(result):
            raise ArgumentError(f"{name}: out= takes a tuple of {len(result)} tensors")
        parts = [written_to(o, r, name) for o, r in zip(out, result, strict=True)]
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    if not isinstance(out, Tensor):
        raise DTypeError(f"{name}: out= takes a tensor, not a {type(out).__name__}")
    if result.requires_grad:
        raise AutogradError(
            f"{name}: no gradient flows through out=", hint="leave out= away, or use no_grad()"
        )
    return update(out, result, f"{name}(out=...)")


def array_names(function: F) -> F:
    """Accept `axis=` for `dim=`, `keepdims=` for `keepdim=`, and `out=` (see `takes_out`)."""

    @functools.wraps(function)
    def named(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            out = kwargs.pop("out", None)
            if out is not None:
                return written_to(out, named(*args, **kwargs), function.__name__)
            for other, name in _SPELLINGS:
                if other not in kwargs:
                    continue
                if name in kwargs:
                    raise ArgumentError(f"{function.__name__}: both {name}= and {other}= are given")
                kwargs[name] = kwargs.pop(other)
        return function(*args, **kwargs)

    return named  # type: ignore[return-value]


def operand(value: Any) -> Any:
    """`value` as what `elementwise` takes: tensors, numbers and sizes as they are, arrays wrapped.

    Raises:
        DTypeError: it is none of these.
    """
    return value if isinstance(value, _OPERANDS) else as_input(value)


def as_input(value: Any) -> Tensor:
    """`value` as a tensor: a tensor itself, a numpy array or scalar wrapped, a number as 0-d.

    Raises:
        DTypeError: it is something else, such as a list.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (bool, int, float, complex, SymInt)) or hasattr(value, "__array__"):
        return as_tensor(value)
    raise DTypeError(
        f"a {type(value).__name__} is neither a tensor nor a number",
        hint="make one with sley.tensor(...)",
    )


def promoted(*values: Any, promote: str = "default") -> tuple[Tensor, ...]:
    """`values` (tensors, numbers, arrays) as tensors of the dtype that an elementwise op of them
    computes in; what is made of several ops begins with it, so that no step of it promotes."""
    operands = [operand(value) for value in values]
    dtype = common_dtype(operands, promote, "promoted")
    made = [value if isinstance(value, Tensor) else as_tensor(value, dtype) for value in operands]
    return tuple(cast(value, dtype) for value in made)


def shape_of(tensor: Tensor) -> tuple[Dim, ...]:
    """The sizes as the current mode has them."""
    return here(tensor).spec.shape


def spelled(dim: Dim) -> Any:
    """A size as users see it: an int, or in a trace a `SymInt`."""
    if not isinstance(dim, Expr):
        return dim
    assert ambient.trace is not None, "a symbolic size outside of a trace"
    return SymInt(dim, ambient.trace)


def spelled_shape(tensor: Tensor) -> list[Any]:
    """The sizes as users see them."""
    return [spelled(size) for size in shape_of(tensor)]


def plain_size(value: Any) -> Any:
    """A size or place that a user gave, as an int (of numpy's too) or a `SymInt`.

    Raises:
        DTypeError: it is no integer.
    """
    (dim,) = dims_of((value,))
    return spelled(dim)


def count_of(tensor: Tensor, axes: Sequence[int]) -> Any:
    """How many elements a reduction over `axes` joins, as users see it."""
    shape = shape_of(tensor)
    return spelled(product(shape[a] for a in axes))


def axes_of(tensor: Tensor, dim: Any) -> tuple[int, ...]:
    """The axes that `dim` (an int, several, or None for all) names, ascending.

    Raises:
        IndexingError: one is out of range.
        ArgumentError: one is named twice.
    """
    ndim = tensor.ndim
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return tuple(range(ndim))
    named = dim if isinstance(dim, (tuple, list)) else (dim,)
    axes = sorted(normal_axis(d, ndim) for d in named)
    if len(set(axes)) < len(axes):
        raise ArgumentError(f"dim {dim} names an axis twice")
    return tuple(axes) if ndim else ()


def sizes_of(sizes: Sequence[Any]) -> tuple[Any, ...]:
    """The sizes of `f(2, 3)` and of `f((2, 3))`."""
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        return tuple(sizes[0])
    return tuple(sizes)


def new_dims(sizes: Sequence[Any]) -> tuple[Dim, ...]:
    """The sizes of a tensor that is to be made.

    Raises:
        ShapeError: one is negative.
    """
    dims = dims_of(sizes)
    if any(isinstance(d, int) and d < 0 for d in dims):
        raise ShapeError(f"a size is negative: {list(dims)}", hint="sizes are 0 or more")
    return dims


def cast(tensor: Tensor, dtype: DType | None) -> Tensor:
    """`tensor` in another dtype; itself where it has that one (or where dtype is None)."""
    if dtype is None or here(tensor).spec.dtype is dtype:
        return tensor
    wanted = as_dtype(dtype)
    note_discarded(here(tensor).spec.dtype, wanted)
    return apply("cast", [tensor], dtype=wanted)


def reshaped(tensor: Tensor, shape: Sequence[Any]) -> Tensor:
    """The same elements under another shape: a view where that is one, else a copy."""
    view = reshape_view(tensor, shape, name="reshape")
    if view is not None:
        return view
    return apply("reshape", [tensor], shape=resolved_shape(here(tensor), shape))


def with_ones(tensor: Tensor, axes: Sequence[int]) -> Tensor:
    """A reduced tensor with its `axes` (numbered in the result) back, of size 1."""
    if not axes:
        return tensor
    tensor = here(tensor)
    sizes = list(tensor.spec.shape)
    for axis in axes:
        sizes.insert(axis, 1)
    view = regrouped(tensor, tuple(sizes))
    return view if view is not None else apply("reshape", [tensor], shape=tuple(sizes))
