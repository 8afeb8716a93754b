"""What loops carry and functions return: trees whose leaves are tensors, and their types."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import optree

from ...ir.types import TensorType
from ..apply import equal_dims
from ..construct import as_tensor
from ..context import ambient
from ..errors import DTypeError, TraceError
from ..functions.arguments import cast
from ..storage import Storage
from ..tensor import Tensor, here
from ..trees import flatten_tree

Structure = optree.PyTreeSpec


def tensors_of(tree: Any, what: str) -> tuple[list[Tensor], Structure]:
    """The leaves of a tree as tensors of the current mode (numbers become some), and its structure.

    Raises:
        DTypeError: a leaf is neither a tensor nor a number.
    """
    leaves, structure = flatten_tree(tree)
    return [_as_tensor(leaf, what) for leaf in leaves], structure


def _as_tensor(leaf: Any, what: str) -> Tensor:
    if not isinstance(leaf, Tensor):
        try:
            return as_tensor(leaf)
        except DTypeError as error:
            raise DTypeError(
                f"{what} is made of tensors and numbers, not of a {type(leaf).__name__}",
                hint="let the function take other things from around it",
            ) from error
    if not leaf._weak:
        return here(leaf)
    dtype = leaf.spec.dtype
    strong = cast(leaf, ambient.context.default_dtype if dtype.is_float else dtype).clone()
    strong._weak = False
    return strong


def types_of(tensors: Sequence[Tensor]) -> list[TensorType]:
    return [t.spec for t in tensors]


def named(function: Callable[..., Any]) -> str:
    """The name of a function and where it is defined."""
    inner = getattr(function, "__wrapped__", function)
    code = getattr(inner, "__code__", None)
    name = getattr(function, "__name__", type(function).__name__)
    if code is None:
        return str(name)
    return f"{name} ({code.co_filename}:{code.co_firstlineno})"


def check_equal(
    what: str,
    wanted: tuple[Sequence[TensorType], Structure],
    found: tuple[Sequence[TensorType], Structure],
    hint: str,
) -> None:
    """Raise unless two trees have one structure and leaves of equal types.

    Args:
        what: begins the message: "the carry that f returns", say.

    Raises:
        DTypeError: they differ; the message has the place and both types.
    """
    (types, structure), (others, other) = wanted, found
    if structure == other and all(map(operator.is_, types, others)):
        return
    if structure != other:
        raise DTypeError(f"{what} is {_shape(other)}, expected {_shape(structure)}", hint=hint)
    for path, type, now in zip(structure.paths(), types, others, strict=True):
        if not _same(type, now):
            place = "".join(f"[{entry!r}]" for entry in path)
            raise DTypeError(
                f"{what} is {now}{f' at {place}' if place else ''}, expected {type}", hint=hint
            )


def _same(a: TensorType, b: TensorType) -> bool:
    if a is b:
        return True
    if a.dtype is not b.dtype or a.ndim != b.ndim:
        return False
    return all(equal_dims(x, y) for x, y in zip(a.shape, b.shape, strict=True))


def _shape(structure: Structure) -> str:
    """`(*, {'a': *})`."""
    return str(optree.tree_unflatten(structure, [_Star()] * structure.num_leaves))


class _Star:
    def __repr__(self) -> str:
        return "*"


@contextmanager
def unwritten(tensors: Sequence[Tensor], what: str) -> Iterator[None]:
    """Raise where the body of the `with` has written to the memory of one of `tensors`, as a
    recorded function would.

    Raises:
        TraceError: it has.
    """
    before = {t.storage: t.storage.version for t in tensors}
    yield
    for storage, version in before.items():
        if storage.version != version:
            raise _written(storage, what)


def _written(storage: Storage, what: str) -> TraceError:
    return TraceError(
        f"an argument {storage.type} is written in place inside {what} (at {storage.written})",
        hint="write to a clone(), and return the new value",
    )
