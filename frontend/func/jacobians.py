"""`jacrev`, `jacfwd` and `hessian`: derivatives of tensors by tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...ir.dims import Dim
from ..apply import apply
from ..context import ambient
from ..errors import ArgumentError
from ..functions.joining import concat
from ..tensor import Tensor, here
from ..viewing import narrow_view
from .derivatives import basis, pulled_for_many, pushed_for_many
from .history import check_unwritten, closed_again, differentiating, fresh, goes_on
from .reverse import Function, named_after
from .trees import Chosen, map_tensors, tensors_of, unflatten, with_aux

Rows = Callable[[Tensor, Dim], list[Tensor]]


def jacrev(
    func: Function,
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
) -> Function:
    """A function that gives the Jacobian of `func`, by reverse mode for each element of its result.

    For a result of shape S and an argument of shape A it has the shape (*S, *A). Of trees it is a
    tree of the result whose leaves are trees of the argument (a tuple of these where `argnums` is
    one). Cheaper than `jacfwd` where the result has fewer elements than the argument.

    Args:
        argnums: which positional arguments to differentiate by.
        has_aux: `func` returns (result, aux), and the function (Jacobian, aux).
        chunk_size: how many rows to compute at a time; None: all.

    Example:
        >>> import sley
        >>> sley.jacrev(lambda x: x * x)(sley.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 4.]])
    """
    _check_chunk(chunk_size)

    @named_after(func, "jacrev")
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        call = _Call(func, args, kwargs, argnums, has_aux, "jacrev")
        rows = []
        for number, output in enumerate(call.outputs):

            def part(directions: Tensor, size: Dim, at: int = number) -> list[Tensor]:
                cotangents = [directions if k == at else None for k in range(len(call.outputs))]
                return pulled_for_many(
                    call.outputs, call.inputs, cotangents, size, call.has_history
                )

            found = _by_chunks(part, here(output), chunk_size)
            shape = here(output).spec.shape
            parts = zip(found, call.inputs, strict=True)
            rows.append(call.chosen.tree([_shaped(f, (*shape, *_shape(x))) for f, x in parts]))
        return call.finished(unflatten(call.structure, rows))

    return jacobian


def jacfwd(
    func: Function,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
    randomness: str = "error",
) -> Function:
    """As `jacrev`, by forward mode for each element of the argument: cheaper where the argument has
    fewer elements than the result. (`func` runs once, so `randomness` makes no difference.)

    Example:
        >>> import sley
        >>> sley.jacfwd(lambda x: sley.stack([x, x * x, x**3]))(sley.tensor(2.0))
        tensor([ 1.,  4., 12.])
    """
    _check_chunk(chunk_size)

    @named_after(func, "jacfwd")
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        call = _Call(func, args, kwargs, argnums, has_aux, "jacfwd")
        columns: list[list[Tensor]] = []
        for number, x in enumerate(call.inputs):

            def part(directions: Tensor, size: Dim, at: int = number) -> list[Tensor]:
                tangents = [directions if k == at else None for k in range(len(call.inputs))]
                return pushed_for_many(call.inputs, call.outputs, tangents, size, call.has_history)

            found = _by_chunks(part, here(x), chunk_size)
            columns.append(
                [
                    _shaped(_to_the_end(f), (*_shape(y), *_shape(x)))
                    for f, y in zip(found, call.outputs, strict=True)
                ]
            )
        rows = [call.chosen.tree(list(parts)) for parts in zip(*columns, strict=True)]
        return call.finished(unflatten(call.structure, rows))

    return jacobian


def hessian(func: Function, argnums: int | Sequence[int] = 0) -> Function:
    """A function that gives the second derivatives of `func`: `jacfwd` of `jacrev`.

    Example:
        >>> import sley
        >>> sley.hessian(lambda x: (x**3).sum())(sley.tensor([1.0, 2.0]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)


class _Call:
    """One call of a function with fresh arguments, of which a Jacobian is taken."""

    def __init__(
        self,
        func: Function,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        argnums: int | Sequence[int],
        has_aux: bool,
        what: str,
    ) -> None:
        self.chosen = Chosen(args, argnums, what)
        self.inputs = [fresh(t) for t in self.chosen.tensors]
        self._has_aux = has_aux
        with differentiating():
            result = func(*self.chosen.args(self.inputs), **kwargs)
            result, self._aux = with_aux(result, has_aux, what)
        check_unwritten(self.inputs, f"a function that {what} differentiates")
        name = f"the result of a function that {what} differentiates"
        self.outputs, self.structure = tensors_of(result, name)
        self.has_history = ambient.context.grad_enabled and goes_on(self.outputs, self.inputs)

    def finished(self, jacobian: Any) -> Any:
        if not self._has_aux:
            return jacobian
        aux = self._aux if self.has_history else map_tensors(closed_again, self._aux)
        return jacobian, aux


def _by_chunks(part: Rows, like: Tensor, chunk_size: int | None) -> list[Tensor]:
    """What `part` gives for the unit vectors of a tensor, `chunk_size` of them at a time."""
    directions = basis(like)
    count = like.spec.size
    if chunk_size is None:
        return part(directions, count)
    if not isinstance(count, int):
        raise ArgumentError(f"chunk_size={chunk_size} of {count} rows, whose number is not known")
    pieces = []
    for start in range(0, count, chunk_size):
        size = min(chunk_size, count - start)
        pieces.append(part(narrow_view(directions, 0, start, size), size))
    return [concat(list(parts), 0) for parts in zip(*pieces, strict=True)]


def _check_chunk(chunk_size: int | None) -> None:
    if chunk_size is not None and chunk_size < 1:
        raise ArgumentError(f"chunk_size={chunk_size} is not positive")


def _shape(tensor: Tensor) -> tuple[Dim, ...]:
    return here(tensor).spec.shape


def _shaped(tensor: Tensor, shape: tuple[Dim, ...]) -> Tensor:
    return apply("reshape", [tensor], shape=shape)


def _to_the_end(tensor: Tensor) -> Tensor:
    """The first axis put last."""
    count = len(_shape(tensor))
    return apply("transpose", [tensor], perm=(*range(1, count), 0))
