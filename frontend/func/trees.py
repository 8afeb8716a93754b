"""Arguments and results as trees of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optree

from ..construct import as_tensor
from ..context import ambient
from ..errors import ArgumentError, DTypeError
from ..functions.arguments import cast
from ..tensor import Tensor
from ..trees import flatten_tree

Structure = optree.PyTreeSpec
unflatten = optree.tree_unflatten


def tensors_of(tree: Any, what: str) -> tuple[list[Tensor], Structure]:
    """The leaves of a tree as tensors (floats become some), and its structure.

    Raises:
        DTypeError: a leaf is neither a tensor nor a float.
    """
    leaves, structure = flatten_tree(tree)
    return [_as_tensor(leaf, what) for leaf in leaves], structure


def _as_tensor(leaf: Any, what: str) -> Tensor:
    if isinstance(leaf, Tensor):
        # A Python number that is an input of a compiled function: as it would be eager.
        weak = leaf._weak and leaf.spec.dtype.is_float
        return cast(leaf, ambient.context.default_dtype) if weak else leaf
    if isinstance(leaf, (float, complex)):
        return as_tensor(leaf)
    raise DTypeError(f"{what} holds a {type(leaf).__name__}, which is no tensor")


def map_tensors(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """The tree with `function` of each tensor in the place of it."""
    leaves, structure = flatten_tree(tree)
    return unflatten(structure, [function(x) if isinstance(x, Tensor) else x for x in leaves])


def matching(tree: Any, structure: Structure, like: Sequence[Tensor], what: str) -> list[Tensor]:
    """The leaves of a tree that must be as those of `like`.

    Raises:
        ArgumentError: its structure, or a shape or dtype, differs.
    """
    tensors, found = tensors_of(tree, what)
    if found != structure:
        raise ArgumentError(f"{what} is a tree {found}, expected {structure}")
    for tensor, expected in zip(tensors, like, strict=True):
        if tensor.spec != expected.spec:
            raise ArgumentError(f"{what} holds {tensor.spec} in the place of {expected.spec}")
    return tensors


def numbered(argnums: int | Sequence[int], count: int, what: str) -> tuple[int, ...]:
    """`argnums` as numbers from 0.

    Raises:
        ArgumentError: there is no such argument, or one is named twice.
    """
    given = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    found = tuple(n + count if n < 0 else n for n in given)
    if not found or any(not 0 <= n < count for n in found) or len(set(found)) < len(found):
        raise ArgumentError(f"{what}: argnums={argnums} of {count} positional arguments")
    return found


class Chosen:
    """Those of a call's positional arguments that a derivative is taken of, as tensors.

    Attributes:
        tensors: all leaves of all of them.
    """

    def __init__(self, args: Sequence[Any], argnums: int | Sequence[int], what: str) -> None:
        self._args = args
        self._single = isinstance(argnums, int)
        self._numbers = numbered(argnums, len(args), what)
        chosen = [args[n] for n in self._numbers]
        self.tensors, self.structure = tensors_of(chosen, f"an argument of {what}")

    def args(self, tensors: Sequence[Tensor]) -> list[Any]:
        """All arguments, with `tensors` as the leaves of the chosen ones."""
        found = list(self._args)
        for number, tree in zip(self._numbers, unflatten(self.structure, tensors), strict=True):
            found[number] = tree
        return found

    def tree(self, leaves: Sequence[Any]) -> Any:
        """`leaves` in the places of the tensors: as the argument itself where `argnums` is one
        number, else as a tuple."""
        found = unflatten(self.structure, leaves)
        return found[0] if self._single else tuple(found)


def with_aux(result: Any, has_aux: bool, what: str) -> tuple[Any, Any]:
    """(result, aux) of a function that returns both where `has_aux`.

    Raises:
        ArgumentError: it does not.
    """
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        raise ArgumentError(
            f"{what} with has_aux=True: the function returns {type(result).__name__}, expected "
            "(result, aux)"
        )
    return result
