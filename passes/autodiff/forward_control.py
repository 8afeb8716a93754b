"""Forward forms of control flow: a region becomes one that computes tangents beside its values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...ir.builder import Recording
from ...ir.graph import Node, Region, Value
from ...ir.ops.control_flow import CALL, COND, SCAN, WHILE
from ..inline import inline
from .forward import ForwardRule, Tangents, forward
from .rule import zeros

Arrange = Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]]


class _Moving:
    """A region that also computes tangents, under construction.

    Attributes:
        moved: for each yield, whether it has a tangent.
    """

    def __init__(self, region: Region, has_tangent: Sequence[bool], arrange: Arrange) -> None:
        """`has_tangent`: the parameters that come with a tangent; `arrange`: (parameters, tangents
        or None for each) -> the order of the new parameters."""
        self._builder = Recording()
        params = [Value(p.type, name=p.name) for p in region.params]
        pairs = zip(region.params, has_tangent, strict=True)
        moving = [Value(p.type) if has else None for p, has in pairs]
        with self._builder:
            self._yields = inline(region, params)
            self._found = forward(params, moving, self._yields)
        self._params = tuple(arrange(params, moving))
        self.moved = [tangent is not None for tangent in self._found]

    def closed(self, wanted: Sequence[bool]) -> Region:
        """The region that yields what it did, then the tangents of the yields that are wanted,
        zeros for those that do not move."""
        with self._builder:
            tangents = [
                zeros(value.type) if tangent is None else tangent
                for value, tangent, is_wanted in zip(self._yields, self._found, wanted, strict=True)
                if is_wanted
            ]
        return Region(self._params, tuple(self._builder.nodes), (*self._yields, *tangents))


def _given(tangents: Sequence[Any]) -> list[Any]:
    return [tangent for tangent in tangents if tangent is not None]


def _results(found: Any) -> tuple[Value, ...]:
    return found if isinstance(found, tuple) else (found,)


def _filled(values: Sequence[Value], tangents: Tangents) -> list[Value | None]:
    """Every float with a tangent, zeros where it has none."""
    return [
        zeros(value.type) if tangent is None and value.type.dtype.is_inexact else tangent
        for value, tangent in zip(values, tangents, strict=True)
    ]


def _spread_over(results: Sequence[Value], wanted: Sequence[bool], found: Sequence[Value]) -> list:
    tangents = iter(found)
    return [next(tangents) if has else None for has in wanted]


def _scan(node: Node, tangents: Tangents) -> Tangents:
    """One loop over values and tangents; every carry that is a float has a tangent."""
    (body,), attrs = node.regions, node.attrs
    consts, carries = attrs["consts"], attrs["carries"]
    first = consts + carries
    moving = [
        *tangents[:consts],
        *_filled(node.operands[consts:first], tangents[consts:first]),
        *tangents[first:],
    ]

    def arrange(values: Sequence[Any], beside: Sequence[Any]) -> list[Any]:
        parts = (slice(consts), slice(consts, first), slice(first, None))
        return [x for part in parts for x in (*values[part], *_given(beside[part]))]

    has = [tangent is not None for tangent in moving]
    carried = has[consts:first]
    moving_body = _Moving(body, has, arrange)
    wanted = [*carried, *moving_body.moved[carries:]]
    region = moving_body.closed(wanted)
    region = Region(region.params, region.nodes, _interleaved(region.yields, carries, wanted))
    made = _results(
        SCAN(
            *arrange(node.operands, moving),
            regions=(region,),
            length=attrs["length"],
            consts=consts + len(_given(moving[:consts])),
            carries=carries + sum(carried),
            reverse=attrs["reverse"],
        )
    )
    last = made[carries : carries + sum(carried)]
    stacked = made[carries + sum(carried) + len(node.results) - carries :]
    return _spread_over(node.results, wanted, (*last, *stacked))


def _interleaved(
    yields: Sequence[Value], carries: int, wanted: Sequence[bool]
) -> tuple[Value, ...]:
    """Values and then tangents, as carries with their tangents and ys with theirs."""
    values, tangents = yields[: len(wanted)], yields[len(wanted) :]
    count = sum(wanted[:carries])
    return (*values[:carries], *tangents[:count], *values[carries:], *tangents[count:])


def _while(node: Node, tangents: Tangents) -> Tangents:
    """The loop goes on as long as it did: tangents take no part in the condition."""
    (condition, body), consts = node.regions, node.attrs["consts"]
    moving = [*tangents[:consts], *_filled(node.operands[consts:], tangents[consts:])]
    has = [tangent is not None for tangent in moving]

    def arrange(values: Sequence[Any], beside: Sequence[Any]) -> list[Any]:
        parts = (slice(consts), slice(consts, None))
        return [x for part in parts for x in (*values[part], *_given(beside[part]))]

    wanted = has[consts:]
    region = _Moving(body, has, arrange).closed(wanted)
    builder = Recording()
    params = [Value(p.type, name=p.name) for p in condition.params]
    beside = [Value(p.type) if h else None for p, h in zip(condition.params, has, strict=True)]
    with builder:
        decides = inline(condition, params)
    again = Region(tuple(arrange(params, beside)), tuple(builder.nodes), tuple(decides))
    made = _results(
        WHILE(
            *arrange(node.operands, moving),
            regions=(again, region),
            consts=consts + len(_given(moving[:consts])),
        )
    )
    return _spread_over(node.results, wanted, made[len(node.results) :])


def _after(values: Sequence[Any], beside: Sequence[Any]) -> list[Any]:
    return [*values, *_given(beside)]


def _cond(node: Node, tangents: Tangents) -> Tangents:
    """Both branches with tangents of the results that move in one of them."""
    moving = tangents[1:]
    has = [tangent is not None for tangent in moving]
    then, otherwise = (_Moving(region, has, _after) for region in node.regions)
    wanted = [a or b for a, b in zip(then.moved, otherwise.moved, strict=True)]
    regions = (then.closed(wanted), otherwise.closed(wanted))
    made = _results(COND(node.operands[0], *_after(node.operands[1:], moving), regions=regions))
    return _spread_over(node.results, wanted, made[len(node.results) :])


def _call(node: Node, tangents: Tangents) -> Tangents:
    (body,) = node.regions
    has = [tangent is not None for tangent in tangents]
    moving = _Moving(body, has, _after)
    region, wanted = moving.closed(moving.moved), moving.moved
    made = _results(CALL(*_after(node.operands, tangents), regions=(region,), **node.attrs))
    return _spread_over(node.results, wanted, made[len(node.results) :])


def _barrier(node: Node, tangents: Tangents) -> Tangents:
    return tangents


FORWARD: dict[str, ForwardRule] = {
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "call": _call,
    "barrier": _barrier,
}
