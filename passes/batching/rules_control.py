"""Batching of control flow: regions become regions for many examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir.builder import Recording
from ...ir.graph import Node, Region, Value
from ...ir.ops.control_flow import BARRIER, CALL, COND, SCAN, WHILE
from ...ir.ops.custom import CUSTOM_GRADIENT
from ...ir.ops.elementwise import WHERE
from ...ir.ops.reduction import REDUCE_MAX
from ...ir.ops.view import BROADCAST
from ...ir.types import TensorType
from .rule import Arrived, Lanes, Rule, all_batched, batched, moved_axis, results_of
from .walk import batched_values


def _params(region: Region, flags: Sequence[bool], lanes: Lanes) -> list[Arrived]:
    """New parameters for a region, those that `flags` names with the axis of examples."""
    made = []
    for param, is_batched in zip(region.params, flags, strict=True):
        type = _wide(param.type, lanes) if is_batched else param.type
        made.append(Arrived(Value(type, name=param.name), is_batched))
    return made


def _wide(type: TensorType, lanes: Lanes) -> TensorType:
    return type.with_shape((lanes.size, *type.shape))


def _closed(params: Sequence[Arrived], builder: Recording, yields: Sequence[Value]) -> Region:
    return Region(tuple(p.value for p in params), tuple(builder.nodes), tuple(yields))


def _reached(region: Region, flags: Sequence[bool], lanes: Lanes) -> list[bool]:
    """Which yields of a region depend on the example."""
    with Recording():
        found = batched_values(region, _params(region, flags, lanes), lanes)
    return [value.is_batched for value in found]


def _carried(body: Region, consts: Sequence[bool], carries: Sequence[bool], rest: Sequence[bool],
             lanes: Lanes) -> list[bool]:  # fmt: skip
    """Which carries of a loop depend on the example, once it has run for long enough."""
    flags = list(carries)
    while True:
        found = _reached(body, [*consts, *flags, *rest], lanes)[: len(flags)]
        more = [a or b for a, b in zip(flags, found, strict=True)]
        if more == flags:
            return flags
        flags = more


def _as_flagged(operands: Sequence[Arrived], flags: Sequence[bool], lanes: Lanes) -> list[Value]:
    return [
        batched(operand, lanes) if is_batched else operand.value
        for operand, is_batched in zip(operands, flags, strict=True)
    ]


def _scan(node: Node, operands: Sequence[Arrived], lanes: Lanes) -> Any:
    """The slices of xs and ys have the axis of examples in front, so it is their second axis."""
    (body,), attrs = node.regions, node.attrs
    consts, first = attrs["consts"], attrs["consts"] + attrs["carries"]
    flags = [operand.is_batched for operand in operands]
    carried = _carried(body, flags[:consts], flags[consts:first], flags[first:], lanes)
    flags[consts:first] = carried
    builder, params = Recording(), _params(body, flags, lanes)
    with builder:
        found = batched_values(body, params, lanes)
        ys = all_batched(found[attrs["carries"] :], lanes)
        last = _as_flagged(found[: attrs["carries"]], carried, lanes)
    region = _closed(params, builder, [*last, *ys])
    given = _as_flagged(operands, flags, lanes)
    for k in range(first, len(given)):
        if flags[k]:
            given[k] = moved_axis(given[k], 0, 1)
    made = results_of(SCAN(*given, regions=(region,), **attrs))
    ends = _arrived(made[: attrs["carries"]], carried)
    return (*ends, *(moved_axis(y, 1, 0) for y in made[attrs["carries"] :]))


def _arrived(values: Sequence[Value], flags: Sequence[bool]) -> tuple[Arrived, ...]:
    return tuple(Arrived(value, flag) for value, flag in zip(values, flags, strict=True))


def _while(node: Node, operands: Sequence[Arrived], lanes: Lanes) -> Any:
    """Where the condition depends on the example, the loop goes on while it holds for any, and
    those that have ended keep what they carry."""
    (condition, body), consts = node.regions, node.attrs["consts"]
    flags = [operand.is_batched for operand in operands]
    flags[consts:] = _carried(body, flags[:consts], flags[consts:], [], lanes)
    each = _reached(condition, flags, lanes)[0]
    if each:
        flags[consts:] = [True] * len(flags[consts:])
    regions = (
        _any_goes_on(condition, flags, lanes) if each else _as_one(condition, flags, lanes),
        _those_that_go_on(condition, body, flags, lanes) if each else
        _as_carried(body, flags, flags[consts:], lanes),
    )  # fmt: skip
    made = results_of(WHILE(*_as_flagged(operands, flags, lanes), regions=regions, consts=consts))
    return _arrived(made, flags[consts:])


def _as_one(region: Region, flags: Sequence[bool], lanes: Lanes) -> Region:
    """A region whose yields do not depend on the example."""
    return _as_carried(region, flags, [False] * len(region.yields), lanes)


def _as_carried(
    region: Region, flags: Sequence[bool], yields: Sequence[bool], lanes: Lanes
) -> Region:
    builder, params = Recording(), _params(region, flags, lanes)
    with builder:
        found = _as_flagged(batched_values(region, params, lanes), yields, lanes)
    return _closed(params, builder, found)


def _any_goes_on(condition: Region, flags: Sequence[bool], lanes: Lanes) -> Region:
    builder, params = Recording(), _params(condition, flags, lanes)
    with builder:
        (goes_on,) = all_batched(batched_values(condition, params, lanes), lanes)
        found = REDUCE_MAX(goes_on, axes=(0,), ties="first")
    return _closed(params, builder, [found])


def _those_that_go_on(
    condition: Region, body: Region, flags: Sequence[bool], lanes: Lanes
) -> Region:
    builder, params = Recording(), _params(body, flags, lanes)
    with builder:
        (goes_on,) = all_batched(batched_values(condition, params, lanes), lanes)
        new = all_batched(batched_values(body, params, lanes), lanes)
        old = [p.value for p in params[len(params) - len(new) :]]
        found = [_chosen(goes_on, a, b) for a, b in zip(new, old, strict=True)]
    return _closed(params, builder, found)


def _chosen(flags: Value, then: Value, otherwise: Value) -> Value:
    """Of each example what its flag says."""
    shape = then.type.shape
    spread = flags if shape == flags.type.shape else BROADCAST(flags, shape=shape, dims=(0,))
    return WHERE(spread, then, otherwise)


def _cond(node: Node, operands: Sequence[Arrived], lanes: Lanes) -> Any:
    """One decision for all stays one; where each example has its own, both branches run."""
    decides, *given = operands
    flags = [operand.is_batched for operand in given]
    if not decides.is_batched:
        reached = (_reached(region, flags, lanes) for region in node.regions)
        yields = [a or b for a, b in zip(*reached, strict=True)]
        regions = tuple(_as_carried(region, flags, yields, lanes) for region in node.regions)
        made = COND(decides.value, *(operand.value for operand in given), regions=regions)
        return _arrived(results_of(made), yields)
    then, otherwise = (
        all_batched(batched_values(region, given, lanes), lanes) for region in node.regions
    )
    return tuple(_chosen(decides.value, a, b) for a, b in zip(then, otherwise, strict=True))


def _call(node: Node, operands: Sequence[Arrived], lanes: Lanes) -> Any:
    flags = [operand.is_batched for operand in operands]
    yields = _reached(node.regions[0], flags, lanes)
    region = _as_carried(node.regions[0], flags, yields, lanes)
    made = CALL(*(operand.value for operand in operands), regions=(region,), **node.attrs)
    return _arrived(results_of(made), yields)


def _barrier(node: Node, operands: Sequence[Arrived], lanes: Lanes) -> Any:
    made = results_of(BARRIER(*(operand.value for operand in operands)))
    return _arrived(made, [operand.is_batched for operand in operands])


def _custom_gradient(node: Node, operands: Sequence[Arrived], lanes: Lanes) -> Any:
    """Inputs and results with the axis of examples, so that each has a cotangent of its own."""
    first, saved = len(node.attrs["wanted"]), node.attrs["saved"]
    kept = operands[first : first + saved]
    flags = [operand.is_batched for operand in kept] + [True] * (2 * len(node.results))
    return CUSTOM_GRADIENT(
        *all_batched(operands[:first], lanes),
        *(operand.value for operand in kept),
        *all_batched(operands[first + saved :], lanes),
        regions=(_as_carried(node.regions[0], flags, [True] * sum(node.attrs["wanted"]), lanes),),
        **node.attrs,
    )


CONTROL: dict[str, Rule] = {
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "call": _call,
    "barrier": _barrier,
    "custom_gradient": _custom_gradient,
}
