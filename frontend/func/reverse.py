"""`grad`, `value_and_grad` and `vjp`: derivatives in reverse mode."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..context import ambient
from ..errors import ArgumentError, ShapeError, TraceError
from ..functions.creation import ones_like
from ..tensor import Tensor
from .derivatives import PullProgram, pulled
from .history import check_unwritten, closed_again, differentiating, fresh, goes_on, is_recordable
from .trees import Chosen, map_tensors, matching, tensors_of, unflatten, with_aux

if TYPE_CHECKING:
    from ..trace import Trace

Function = Callable[..., Any]


def grad(func: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """A function that gives the gradient of `func`, which returns a single number.

    The gradient has the structure of the argument; where `argnums` is a tuple, it is a tuple of
    these. Transformations may be nested in any order, and compiled.

    Args:
        argnums: which positional arguments to differentiate by: trees of tensors, or floats.
        has_aux: `func` returns (number, aux), and the result is (gradient, aux).

    Raises (from the function):
        ShapeError: `func` returns no single number.
        AutogradError: an argument that is to be differentiated by holds no floats.

    Example:
        >>> import sley
        >>> sley.grad(lambda x: (x**3).sum())(sley.tensor([1.0, 2.0]))
        tensor([ 3., 12.])
        >>> sley.grad(sley.grad(sley.sin))(sley.tensor(0.5)) + sley.sin(sley.tensor(0.5))
        tensor(0.)
    """
    inner = value_and_grad(func, argnums, has_aux)

    @named_after(func, "grad")
    def gradient(*args: Any, **kwargs: Any) -> Any:
        found, value = inner(*args, **kwargs)[::-1]
        return (found, value[1]) if has_aux else found

    return gradient


def value_and_grad(
    func: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Function:
    """As `grad`, with the value: (value, gradient), or ((value, aux), gradient) with `has_aux`.

    Example:
        >>> import sley
        >>> sley.value_and_grad(lambda x: x * x)(sley.tensor(3.0))
        (tensor(9.), tensor(6.))
    """

    @named_after(func, "value_and_grad")
    def both(*args: Any, **kwargs: Any) -> Any:
        chosen = Chosen(args, argnums, "grad")
        inputs = [fresh(t) for t in chosen.tensors]
        with differentiating():
            result, aux = with_aux(func(*chosen.args(inputs), **kwargs), has_aux, "grad")
        check_unwritten(inputs, "a function that grad differentiates")
        if not isinstance(result, Tensor) or result.ndim:
            shown = result.spec if isinstance(result, Tensor) else f"a {type(result).__name__}"
            raise ShapeError(
                f"grad of a function that returns {shown}, not a single number",
                hint="reduce it by .sum() or .mean(); jacrev() gives the derivative of a tensor",
            )
        has_history = ambient.context.grad_enabled and goes_on([result], inputs)
        found = pulled([result], inputs, [ones_like(result)], has_history)
        gradient = chosen.tree(found)
        if not has_history:
            result = closed_again(result)
            aux = map_tensors(closed_again, aux) if has_aux else None
        return ((result, aux) if has_aux else result), gradient

    return both


def grad_and_value(
    func: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Function:
    """As `value_and_grad`, in PyTorch's order: (gradient, value), or (gradient, (value, aux)).

    Example:
        >>> import sley
        >>> sley.func.grad_and_value(lambda x: x * x)(sley.tensor(3.0))
        (tensor(6.), tensor(9.))
    """
    inner = value_and_grad(func, argnums, has_aux)

    @named_after(func, "grad_and_value")
    def both(*args: Any, **kwargs: Any) -> Any:
        value, gradient = inner(*args, **kwargs)
        return gradient, value

    return both


def vjp(func: Function, *primals: Any, has_aux: bool = False) -> Any:
    """(func(*primals), pull): `pull(cotangents)` takes cotangents of the result, in a tree like it,
    and gives a tuple with the cotangent of each primal: their product with the derivative.

    With `has_aux` `func` returns (result, aux), and this (result, pull, aux).

    Raises:
        AutogradError: a primal holds no floats.
        ArgumentError: (from `pull`) the cotangents have not the structure, shapes or dtypes of the
            result.

    Example:
        >>> import sley
        >>> result, pull = sley.vjp(sley.sin, sley.tensor([0.0, 1.0]))
        >>> pull(sley.tensor([1.0, 0.0]))
        (tensor([1., 0.]),)
    """
    chosen = Chosen(primals, tuple(range(len(primals))), "vjp")
    inputs = [fresh(t) for t in chosen.tensors]
    with differentiating():
        result, aux = with_aux(func(*chosen.args(inputs)), has_aux, "vjp")
    check_unwritten(inputs, "a function that vjp differentiates")
    outputs, structure = tensors_of(result, "the result of a function that vjp differentiates")
    has_history = ambient.context.grad_enabled and goes_on(outputs, inputs)
    home = ambient.trace
    programs: list[PullProgram] = []

    def pull(*cotangents: Any) -> Any:
        tree = cotangents[0] if len(cotangents) == 1 else cotangents
        given = matching(tree, structure, outputs, "the cotangents of vjp")
        if ambient.trace is not home:  # in a function that is recorded, by vmap() say
            if not programs:
                programs.append(_pull_program(home, outputs, inputs, has_history))
            return chosen.tree(programs[0](given))
        again = has_history or any(t.requires_grad for t in given)
        return chosen.tree(pulled(outputs, inputs, given, again))

    if not has_history:
        result = unflatten(structure, [closed_again(t) for t in outputs])
        aux = map_tensors(closed_again, aux) if has_aux else None
    return (result, pull, aux) if has_aux else (result, pull)


def _pull_program(
    home: Trace | None, outputs: Sequence[Tensor], inputs: Sequence[Tensor], has_history: bool
) -> PullProgram:
    """The way back as a program, seen from the mode in which the tensors were made.

    Raises:
        TraceError: it cannot be written down as one.
    """
    here, ambient.trace = ambient.trace, home
    try:
        if not is_recordable(outputs):
            raise TraceError(
                "the function that vjp() returned is recorded, but it leads through hooks or "
                "through something that was computed elsewhere",
                hint="call vjp() inside of the recorded function, too",
            )
        return PullProgram(outputs, inputs, has_history)
    finally:
        ambient.trace = here


def named_after(func: Function, what: str) -> Callable[[Function], Function]:
    """Makes a function look like the one that it transforms.

    Raises:
        ArgumentError: `func` cannot be called.
    """
    if not callable(func):
        raise ArgumentError(f"{what} takes a function, not a {type(func).__name__}")
    return functools.wraps(func) if hasattr(func, "__name__") else lambda made: made
