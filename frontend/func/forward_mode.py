"""`jvp` and `linearize`: the derivative in a direction, in forward mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..context import ambient
from ..errors import AutogradError, TraceError
from .derivatives import pushed
from .history import check_unwritten, closed_again, differentiating, fresh, goes_on
from .trees import Chosen, map_tensors, matching, tensors_of, unflatten, with_aux


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """(func(*primals), push): `push(*tangents)` gives the derivative of the result along tangents,
    trees like the primals; `func` runs once, however many there are.

    Raises:
        TraceError: (from `push`) it is called in another recorded function than `linearize`.

    Example:
        >>> import sley
        >>> result, push = sley.func.linearize(sley.sin, sley.tensor([0.0, 1.0]))
        >>> push(sley.tensor([2.0, 0.0]))
        tensor([2., 0.])
    """
    chosen = Chosen(tuple(primals), tuple(range(len(primals))), "linearize")
    inputs = [fresh(t) for t in chosen.tensors]
    with differentiating():
        result = func(*chosen.args(inputs))
    check_unwritten(inputs, "a function that linearize differentiates")
    outputs, structure = tensors_of(result, "the result of a function that linearize takes")
    has_history = ambient.context.grad_enabled and goes_on(outputs, inputs)
    home = ambient.trace

    def push(*tangents: Any) -> Any:
        if ambient.trace is not home:
            raise TraceError(
                "the function that linearize() returned is called inside of another recorded "
                "function",
                hint="call linearize() there, too, or take jacfwd()",
            )
        given = matching(list(tangents), chosen.structure, inputs, "the tangents of linearize")
        again = has_history or any(t.requires_grad for t in given)
        return unflatten(structure, pushed(inputs, outputs, given, again))

    if not has_history:
        result = unflatten(structure, [closed_again(t) for t in outputs])
    return result, push


def jvp(
    func: Callable[..., Any],
    primals: tuple[Any, ...],
    tangents: tuple[Any, ...],
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> Any:
    """(func(*primals), its derivative along `tangents`, which are trees like the primals).

    With `has_aux` `func` returns (result, aux), and this (result, tangents, aux).

    Raises:
        AutogradError: a primal holds no floats, or (with `strict`) a result does not depend on any.
        ArgumentError: the tangents have not the structure, shapes or dtypes of the primals.

    Example:
        >>> import sley
        >>> sley.jvp(lambda x: x * x, (sley.tensor(3.0),), (sley.tensor(1.0),))
        (tensor(9.), tensor(6.))
    """
    chosen = Chosen(tuple(primals), tuple(range(len(primals))), "jvp")
    given = matching(list(tangents), chosen.structure, chosen.tensors, "the tangents of jvp")
    inputs = [fresh(t) for t in chosen.tensors]
    with differentiating():
        result, aux = with_aux(func(*chosen.args(inputs)), has_aux, "jvp")
    check_unwritten(inputs, "a function that jvp differentiates")
    outputs, structure = tensors_of(result, "the result of a function that jvp differentiates")
    if strict and not all(t.requires_grad for t in outputs):
        raise AutogradError("jvp with strict=True: a result does not depend on the primals")
    has_history = ambient.context.grad_enabled and (
        goes_on(outputs, inputs) or any(t.requires_grad for t in given)
    )
    moved = unflatten(structure, pushed(inputs, outputs, given, has_history))
    if not has_history:
        result = unflatten(structure, [closed_again(t) for t in outputs])
        aux = map_tensors(closed_again, aux) if has_aux else None
    return (result, moved, aux) if has_aux else (result, moved)
