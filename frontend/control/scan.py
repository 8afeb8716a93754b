"""`scan`: a loop over the leading axis of tensors that hands a carry from turn to turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import optree

from ...ir.dims import Dim
from ...ir.graph import Region
from ...ir.ops.control_flow import SCAN
from ...ir.types import TensorType
from ...passes.autodiff.rule import GradientError
from ...passes.autodiff.rules_control import with_kept
from ..apply import equal_dims, value_of
from ..autograd.function import Function, FunctionCtx
from ..context import ambient
from ..errors import ArgumentError, DTypeError, ShapeError
from ..functions.creation import zeros
from ..functions.joining import stack, unbind
from ..random_state import set_state
from ..subtrace import Param, Recorded, emit_regions, has_history, record
from ..symint import dim_or_none
from ..tensor import Tensor
from .checks import check_turns
from .trees import Structure, check_equal, named, tensors_of, types_of, unwritten

_HINT = (
    "the carry has the same structure, shapes and dtypes at every turn: begin with what f returns"
)


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: Any = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Call `carry, y = f(carry, x)` for each x of `xs` in turn; the last carry, and all ys stacked.

    `init`, `xs`, and what f returns may be trees (tuples, lists, dicts, dataclasses) of tensors,
    or None. A compiled program holds f once, whatever the number of turns. Gradients flow through
    the carry, the xs and all that f uses from around it, such as the parameters of a module.

    Args:
        f: takes the carry and one slice of `xs`, returns the next carry and a y.
        init: the first carry. Numbers become tensors.
        xs: tensors that are sliced along their first axis; None for none.
        length: the number of turns; follows from `xs` where there are any.
        reverse: from the last x to the first; y of turn t is still at index t.

    Raises:
        DTypeError: f returns no pair, or a carry of another structure, dtype or shape.
        ShapeError: the xs have unequal lengths, or none and there is no `length`.
        TraceError: f writes in place to its arguments.

    Example:
        >>> import sley
        >>> def f(total, x):
        ...     total = total + x
        ...     return total, total * 2
        >>> sley.scan(f, 0, sley.tensor([1, 2, 3]))
        (tensor(6), tensor([ 2,  6, 12]))
    """
    carry, structure = tensors_of(init, "the carry of scan")
    slices, xs_structure = tensors_of(xs, "xs of scan")
    loop = _Loop(f, structure, xs_structure, _length(slices, length), bool(reverse))
    if ambient.trace is None:
        return _run(loop, carry, slices)
    return _emit(loop, carry, slices)


class _Loop(NamedTuple):
    function: Callable[[Any, Any], tuple[Any, Any]]
    carry: Structure
    xs: Structure
    length: Dim
    reverse: bool

    def turn(
        self, carry: Sequence[Tensor], x: Sequence[Tensor], types: Sequence[TensorType]
    ) -> tuple[list[Tensor], list[Tensor], Structure]:
        """One call of the function: the next carry, of these types, the ys and their structure."""
        function = self.function
        found = function(
            optree.tree_unflatten(self.carry, carry), optree.tree_unflatten(self.xs, x)
        )
        if not isinstance(found, tuple) or len(found) != 2:
            raise DTypeError(
                f"{named(function)} returns a {type(found).__name__}, scan needs (carry, y)",
                hint="return carry, None where there is no y",
            )
        after, structure = tensors_of(found[0], "the carry of scan")
        what = f"the carry that {named(function)} returns"
        check_equal(what, (types, self.carry), (types_of(after), structure), _HINT)
        ys, ys_structure = tensors_of(found[1], "the y of scan")
        return after, ys, ys_structure


def _length(xs: Sequence[Tensor], length: Any) -> Dim:
    known = None if length is None else dim_or_none(length)
    if length is not None and (known is None or isinstance(length, bool)):
        raise ArgumentError(
            f"length of scan is an int, not a {type(length).__name__}",
            hint="a number of turns that is data needs sley.while_loop",
        )
    if isinstance(known, int) and known < 0:
        raise ArgumentError(f"length of scan is {known}")
    for x in xs:
        if not x.spec.shape:
            raise ShapeError("scan over a 0-d tensor", hint="xs are sliced along their first axis")
        size = x.spec.shape[0]
        if known is not None and not equal_dims(known, size):
            raise ShapeError(f"scan over {x.spec} where the length is {known}")
        known = size
    if known is None:
        raise ShapeError("scan needs xs or a length")
    return known


class _Turns(Function):
    """The slices of x along its first axis as one operation: its gradient is put together once,
    where that of each slice alone would be as large as x."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> tuple[Tensor, ...]:
        return unbind(x)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        return stack(gradients)


def _run(loop: _Loop, carry: list[Tensor], xs: list[Tensor]) -> tuple[Any, Any]:
    """As a Python loop."""
    assert isinstance(loop.length, int)
    types, what = types_of(carry), f"{named(loop.function)}, the body of scan"
    columns_of_xs = [_Turns.apply(x) if x.requires_grad else x for x in xs]
    rows: list[list[Tensor]] = []
    structure: Structure | None = None
    turns = range(loop.length)
    for t in reversed(turns) if loop.reverse else turns:
        with unwritten([*carry, *xs], what):
            carry, ys, found = loop.turn(carry, [column[t] for column in columns_of_xs], types)
        if rows:
            wanted = (types_of(rows[0]), structure)
            check_equal(f"y of {named(loop.function)}", wanted, (types_of(ys), found), _HINT)  # type: ignore[arg-type]
        rows.append(ys)
        structure = found
    if structure is None:
        params = _params(carry, xs)
        none = _record(loop, params, types)
        structure, types = none.ys, none.recorded.result_types[len(carry) :]
        columns = [zeros(0, *t.shape, dtype=t.dtype) for t in types]
    else:
        ordered = rows[::-1] if loop.reverse else rows
        columns = [stack(column) for column in zip(*ordered, strict=True)]
    return optree.tree_unflatten(loop.carry, carry), optree.tree_unflatten(structure, columns)


def _params(carry: Sequence[Tensor], xs: Sequence[Tensor]) -> list[Param]:
    """What the body is recorded with."""
    found = [Param(t.spec, has_history(t)) for t in carry]
    return found + [Param(x.spec.with_shape(x.spec.shape[1:]), has_history(x)) for x in xs]


class _Body(NamedTuple):
    recorded: Recorded
    ys: Structure


def _record(loop: _Loop, params: list[Param], types: Sequence[TensorType]) -> _Body:
    """The body; the carry counts as one with a history where any turn gives it one."""
    count = len(types)
    structures: list[Structure] = []

    def body(*leaves: Tensor) -> list[Tensor]:
        after, ys, structure = loop.turn(leaves[:count], leaves[count:], types)
        structures.append(structure)
        return [*after, *ys]

    while True:
        recorded = record(body, params, f"{named(loop.function)}, the body of scan")
        grown = [
            param._replace(tracked=param.tracked or more)
            for param, more in zip(params, recorded.tracked[:count], strict=False)
        ]
        if grown == params[:count]:
            return _Body(recorded, structures[-1])
        params[:count] = grown


def _emit(loop: _Loop, carry: list[Tensor], xs: list[Tensor]) -> tuple[Any, Any]:
    """As one node of the program."""
    params = _params(carry, xs)
    recorded, structure = _record(loop, params, types_of(carry))
    count, states = len(carry), recorded.states
    region, consts = carried_region(recorded, count)
    operands = [value_of(t) for t in (*consts, *carry, *states, *xs)]
    attrs = {
        "length": loop.length,
        "consts": len(consts),
        "carries": count + len(states),
        "reverse": loop.reverse,
    }
    tracked = [p.tracked for p in params[:count]] + [False] * len(states)
    tracked += recorded.tracked[count:]
    region = _keeping(
        region, attrs, tracked, [has_history(t) for t in (*consts, *carry, *states, *xs)]
    )
    first = len(region.params) - len(xs)
    known = dict(zip(region.params[: len(consts)], operands, strict=False))
    turned = dict(zip(region.params[first:], operands[first:], strict=True))
    check_turns(recorded.checks, known, turned, loop.length)
    kept = len(region.yields) - len(tracked)
    found = emit_regions(SCAN, operands, attrs, (region,), [*tracked, *[True] * kept])
    results = found[: len(tracked)]
    last, moved = results[:count], results[count : count + len(states)]
    ys = results[count + len(states) :]
    for (state, draws), new in zip(recorded.draws.items(), moved, strict=True):
        set_state(state, new, None if draws is None else draws * loop.length)
    return optree.tree_unflatten(loop.carry, last), optree.tree_unflatten(structure, ys)


def _keeping(
    body: Region, attrs: dict[str, Any], tracked: Sequence[bool], wanted: Sequence[bool]
) -> Region:
    """The body with what its gradient will read as further ys, where one may be asked for."""
    if not ambient.context.grad_enabled or not any(tracked):
        return body
    carries = attrs["carries"]
    try:
        return with_kept(body, attrs["consts"], carries, tracked, wanted)
    except GradientError:
        return body  # without a gradient; whoever asks for it is told


def carried_region(recorded: Recorded, carries: int) -> tuple[Region, list[Tensor]]:
    """The region of a loop: consts, carries, random states, the other parameters -> carries,
    states, ys. And the tensors that are its consts."""
    graph = recorded.graph
    arguments = len(graph.params) - len(recorded.captures)
    by_tensor = dict(zip(recorded.captures, graph.params[arguments:], strict=True))
    consts = [t for t in recorded.captures if t not in recorded.draws]
    params = (
        *(by_tensor[t] for t in consts),
        *graph.params[:carries],
        *(by_tensor[t] for t in recorded.states),
        *graph.params[carries:arguments],
    )
    results = len(recorded.tracked)
    yields = (
        *graph.yields[:carries],
        *graph.yields[results:],
        *graph.yields[carries:results],
    )
    return Region(params, graph.nodes, yields), consts
