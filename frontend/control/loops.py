"""`while_loop` and `fori_loop`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import optree

from ...ir import dims
from ...ir.dims import Dim
from ...ir.dtypes import bool_, i64
from ...ir.graph import Region, Value
from ...ir.ops.control_flow import WHILE
from ...ir.types import tensor_type
from ..apply import elementwise, value_of
from ..construct import as_tensor
from ..context import ambient
from ..errors import ArgumentError, DTypeError, TraceError
from ..functions.arguments import cast, spelled
from ..functions.creation import arange
from ..random_state import set_state
from ..subtrace import Param, Recorded, emit_regions, has_history, record
from ..symint import dim_or_none
from ..tensor import Tensor, here
from .scan import carried_region, scan
from .trees import Structure, check_equal, named, tensors_of, types_of, unwritten

_FLAG = tensor_type(bool_)
_HINT = "the value has the same structure, shapes and dtypes at every turn"


def while_loop(cond: Callable[[Any], Any], body: Callable[[Any], Any], init: Any) -> Any:
    """`value = body(value)` as long as `cond(value)` holds, from `value = init` on; the last value.

    The value may be a tree of tensors. In a compiled program the number of turns depends on the
    data, so no gradient can be taken through it there: `scan` and `fori_loop` have one.

    Args:
        cond: takes the value, returns a bool (a 0-d tensor).
        body: takes the value, returns the next one, of the same types.

    Raises:
        DTypeError: `cond` returns no bool, or `body` a value of another structure, dtype or shape.
        TraceError: a function writes in place to its argument, or `cond` draws random numbers.

    Example:
        >>> import sley
        >>> sley.while_loop(lambda n: n < 100, lambda n: n * 2, sley.tensor(3))
        tensor(192)
    """
    carry, structure = tensors_of(init, "the value of while_loop")
    if ambient.trace is None:
        return _run(cond, body, carry, structure)
    return _emit(cond, body, carry, structure)


def _decision(cond: Callable[[Any], Any], value: Any) -> Tensor:
    found = cond(value)
    if isinstance(found, bool):
        found = as_tensor(found)
    if not isinstance(found, Tensor) or here(found).spec is not _FLAG:
        shown = found.spec if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise DTypeError(
            f"{named(cond)} returns {shown}, while_loop needs a bool of shape []",
            hint="compare, and reduce by .any() or .all()",
        )
    return found


def _turn(
    body: Callable[[Any], Any], carry: Sequence[Tensor], structure: Structure
) -> list[Tensor]:
    found = body(optree.tree_unflatten(structure, carry))
    after, after_structure = tensors_of(found, "the value of while_loop")
    what = f"the value that {named(body)} returns"
    check_equal(what, (types_of(carry), structure), (types_of(after), after_structure), _HINT)
    return after


def _run(
    cond: Callable[[Any], Any],
    body: Callable[[Any], Any],
    carry: list[Tensor],
    structure: Structure,
) -> Any:
    """As a Python loop."""
    while True:
        with unwritten(carry, f"{named(cond)}, the condition of while_loop"):
            goes_on = bool(_decision(cond, optree.tree_unflatten(structure, carry)))
        if not goes_on:
            return optree.tree_unflatten(structure, carry)
        with unwritten(carry, f"{named(body)}, the body of while_loop"):
            carry = _turn(body, carry, structure)


def _emit(
    cond: Callable[[Any], Any],
    body: Callable[[Any], Any],
    carry: list[Tensor],
    structure: Structure,
) -> Any:
    """As one node of the program."""
    params = [Param(t.spec, has_history(t)) for t in carry]
    test = record(
        lambda *leaves: _decision(cond, optree.tree_unflatten(structure, leaves)),
        params,
        f"{named(cond)}, the condition of while_loop",
    )
    if test.states:
        raise TraceError(
            f"{named(cond)}, the condition of while_loop, draws random numbers",
            hint="draw them in the body and carry them",
        )
    recorded = _record(body, params, structure)
    region, consts = carried_region(recorded, len(carry))
    region, condition, consts = _joined(region, consts, test, len(carry))
    operands = [value_of(t) for t in (*consts, *carry, *recorded.states)]
    tracked = [p.tracked for p in params] + [False] * len(recorded.states)
    results = emit_regions(WHILE, operands, {"consts": len(consts)}, (condition, region), tracked)
    for state, new in zip(recorded.states, results[len(carry) :], strict=True):
        set_state(state, new, None)
    return optree.tree_unflatten(structure, results[: len(carry)])


def _record(body: Callable[[Any], Any], params: list[Param], structure: Structure) -> Recorded:
    """The body; a value counts as one with a history where any turn gives it one."""
    what = f"{named(body)}, the body of while_loop"
    while True:
        recorded = record(lambda *leaves: _turn(body, leaves, structure), params, what)
        grown = [
            param._replace(tracked=param.tracked or more)
            for param, more in zip(params, recorded.tracked, strict=True)
        ]
        if grown == params:
            return recorded
        params[:] = grown


def _joined(
    body: Region, consts: list[Tensor], test: Recorded, carries: int
) -> tuple[Region, Region, list[Tensor]]:
    """Body and condition with the consts of both, and these."""
    own = dict(zip(test.captures, test.graph.params[carries:], strict=True))
    shared = set(consts)
    more = [t for t in test.captures if t not in shared]
    first = len(consts)
    condition = Region(
        (
            *(own.get(t) or Value(t.spec) for t in consts),
            *(own[t] for t in more),
            *test.graph.params[:carries],
            *(Value(v.type) for v in body.params[first + carries :]),  # random states
        ),
        test.graph.nodes,
        test.graph.yields,
    )
    params = (*body.params[:first], *(Value(t.spec) for t in more), *body.params[first:])
    return Region(params, body.nodes, body.yields), condition, [*consts, *more]


def fori_loop(lower: Any, upper: Any, body: Callable[[Tensor, Any], Any], init: Any) -> Any:
    """`value = body(i, value)` for i = lower .. upper - 1, from `value = init` on; the last value.

    i is an int64 tensor. Where the bounds are numbers or sizes this is a `scan`, so that gradients
    can be taken; where one is a tensor of a compiled function it is a `while_loop`.

    Args:
        lower, upper: ints, sizes, or 0-d integer tensors.
        body: takes i and the value, returns the next value, of the same types.

    Raises:
        DTypeError: a bound is no integer, or `body` returns a value of another structure, dtype or
            shape.

    Example:
        >>> import sley
        >>> sley.fori_loop(0, 5, lambda i, total: total + i, 0)
        tensor(10)
    """
    low, high = _bound(lower), _bound(upper)
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return _counted_by_data(low, high, body, init)
    span = high - low
    length = max(span, 0) if isinstance(span, int) else dims.maximum(span, 0)
    turns = arange(spelled(length))
    if not (isinstance(low, int) and low == 0):
        turns = elementwise("add", turns, spelled(low))
    last, _ = scan(_Indexed(body), init, turns)
    return last


class _Indexed:
    """`body(i, value)` as the function of a scan; errors name the body."""

    def __init__(self, body: Callable[[Tensor, Any], Any]) -> None:
        self.__wrapped__ = body
        self.__name__ = getattr(body, "__name__", type(body).__name__)

    def __call__(self, value: Any, i: Tensor) -> tuple[Any, None]:
        return self.__wrapped__(i, value), None


def _bound(number: Any) -> Dim | Tensor:
    """A bound as a dimension, or as a tensor where it is data of a trace."""
    dim = dim_or_none(number)
    if dim is not None:
        return dim
    if isinstance(number, Tensor) and number.spec.dtype.kind in ("int", "uint"):
        if number.spec.shape:
            raise ArgumentError(f"a bound of fori_loop is {number.spec}, not 0-d")
        if ambient.trace is None or here(number)._weak:
            return operator.index(number)
        return cast(number, i64)
    if not isinstance(number, Tensor) and hasattr(number, "__index__"):
        return operator.index(number)
    shown = number.spec if isinstance(number, Tensor) else f"a {type(number).__name__}"
    raise DTypeError(f"a bound of fori_loop is an integer, not {shown}")


def _counted_by_data(
    low: Dim | Tensor, high: Dim | Tensor, body: Callable[[Tensor, Any], Any], init: Any
) -> Any:
    first, last = (b if isinstance(b, Tensor) else as_tensor(spelled(b)) for b in (low, high))

    def turn(carry: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
        i, value = carry
        return i + 1, body(i, value)

    _, value = while_loop(lambda carry: carry[0] < last, turn, (first, init))
    return value
