"""The way back through a region: recorded once, whatever builder runs it later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir.builder import Recording
from ...ir.dims import add_all, nonnegative
from ...ir.graph import Node, Region, Value
from ...ir.ops.base import Kind
from ..inline import repeat
from .rule import zeros

# Computed again where it is needed rather than kept: at most a pass over memory.
_CHEAP = (Kind.ELEMENTWISE, Kind.VIEW, Kind.SOURCE)


class Pull:
    """A copy of a region, and the nodes that lead from cotangents of its yields back.

    Attributes:
        params: the copies of the region's parameters.
        copies: for each value of the region, its copy.
        forward, backward: the copied nodes, and those that the gradient adds.
        cotangents: for each yield, the value that stands for its cotangent, or None.
        found: for each parameter, its cotangent; None where it is not wanted, or there is none.
    """

    def __init__(self, region: Region, has: Sequence[bool], wanted: Sequence[bool]) -> None:
        """`has`: which yields have a cotangent; `wanted`: of which parameters one is wanted."""
        from .backward import backward  # it reads the table that reads the rules that read this

        builder = Recording()
        self.params = [Value(p.type, name=p.name) for p in region.params]
        self.copies: dict[Value, Value] = dict(zip(region.params, self.params, strict=True))
        yields = region.yields
        with builder:
            repeat(region.nodes, self.copies)
            self.forward = tuple(builder.nodes)
            self.cotangents = [
                Value(y.type) if given and y.type.dtype.is_inexact else None
                for y, given in zip(yields, has, strict=True)
            ]
            sources = [p for p, is_wanted in zip(self.params, wanted, strict=True) if is_wanted]
            outputs = [self.copies[y] for y in yields]
            found = iter(backward(outputs, self.cotangents, sources))
        self.found = [next(found) if is_wanted else None for is_wanted in wanted]
        self.backward = tuple(builder.nodes[len(self.forward) :])

    def arriving(self, place: int) -> Value:
        """What stands for the cotangent of yield number `place`, which has one."""
        value = self.cotangents[place]
        assert value is not None
        return value

    def given(self, cotangents: Sequence[Value | None]) -> list[Value]:
        """Of the cotangents of all yields those that count, the operands of `closed`."""
        pairs = zip(cotangents, self.cotangents, strict=True)
        return [c for c, stand_in in pairs if c is not None and stand_in is not None]

    def read(self) -> list[Value]:
        """The copies that the way back reads, in the order of their definition."""
        reads = {v for node in self.backward for v in node.operands}
        reads.update(v for v in self.found if v is not None)
        return [v for v in self.defined() if v in reads]

    def defined(self) -> list[Value]:
        """The parameters, then the results of the copied nodes."""
        return [*self.params, *(v for node in self.forward for v in node.results)]

    def closed(self, wanted: Sequence[bool]) -> Region:
        """parameters, cotangents -> the cotangents of the parameters that are wanted, zeros where
        there are none; the copied nodes run again."""
        builder = Recording()
        builder.nodes = [*self.forward, *self.backward]
        pairs = zip(self.params, self.found, wanted, strict=True)
        with builder:
            yields = [zeros(p.type) if g is None else g for p, g, is_wanted in pairs if is_wanted]
        given = [c for c in self.cotangents if c is not None]
        return Region((*self.params, *given), tuple(builder.nodes), tuple(yields))


class Kept:
    """What of a region must be kept for its way back, and what can be computed again.

    Attributes:
        values: the copies to keep, parameters among them.
        again: the copied nodes to run again, given `values` and the parameters that are free.
    """

    def __init__(self, pull: Pull, free: set[Value], known: set[Value]) -> None:
        """`free`: parameters that are at hand; `known`: values that are kept anyway."""
        needed = set(pull.read())
        self.values: list[Value] = []
        at_hand = set(free) | known
        for param in pull.params:
            # A number is kept rather than what follows from it: an offset for its random bits.
            if param not in at_hand and (param in needed or not param.type.shape):
                at_hand.add(param)
        params = set(pull.params)
        for node in pull.forward:
            cheap = node.op.kind in _CHEAP
            missing = {v for v in node.operands if v not in at_hand}
            if cheap and missing <= params and _no_larger(missing, needed & {*node.results}):
                at_hand |= missing
            elif missing:
                cheap = False
            at_hand.update(v for v in node.results if cheap or v in needed)
            if not cheap:
                self.values += [v for v in node.results if v in needed and v not in known]
        kept = {*self.values, *known}
        again: list[Node] = []
        for node in reversed(pull.forward):
            if any(v in needed and v not in kept for v in node.results):
                again.append(node)
                needed.update(node.operands)
        self.again = again[::-1]
        self.values = [v for v in pull.defined() if v in needed and (v in kept or v in pull.params)]
        self.values = [v for v in self.values if v not in free]


def _no_larger(values: set[Value], others: set[Value]) -> bool:
    """Whether `values` have not more elements than `others`, whatever the sizes."""
    return nonnegative(add_all(v.type.size for v in others) - add_all(v.type.size for v in values))


def results_of(found: Any) -> tuple[Value, ...]:
    """What an op call gives, as a tuple."""
    return found if isinstance(found, tuple) else (found,)
