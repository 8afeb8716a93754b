"""Gradients of loops, branches and calls.

A loop is pulled back by a loop in the other direction over what each turn kept. What a turn must
keep is yielded as ys: by the loop itself where whoever made it has foreseen a gradient
(`with_kept`), else by running it once more. Cheap values are computed again instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.builder import Recording
from ...ir.graph import Node, Region, Value
from ...ir.ops.control_flow import BARRIER, COND, SCAN
from ...ir.ops.elementwise import ADD
from ..inline import copied, inline, repeat
from .pulling import Kept, Pull, results_of
from .rule import NotDifferentiable, RegionRule, zeros
from .summing import Sums, leading_to

Cotangents = Sequence[Value | None]


def _cond(node: Node, cotangents: Cotangents, wanted: Sequence[bool]) -> Cotangents:
    """The same branch, back: it runs again to know what it computed."""
    has = [c is not None for c in cotangents]
    pulls = [Pull(region, has, wanted[1:]) for region in node.regions]
    reached = [any(p.found[k] is not None for p in pulls) for k in range(len(wanted) - 1)]
    if not any(reached):
        return [None] * len(wanted)
    given = pulls[0].given(cotangents)
    regions = tuple(pull.closed(reached) for pull in pulls)
    found = iter(results_of(COND(*node.operands, *given, regions=regions)))
    return [None, *(next(found) if is_reached else None for is_reached in reached)]


def _call(node: Node, cotangents: Cotangents, wanted: Sequence[bool]) -> Cotangents:
    """The body again, and back. With `recompute` behind a barrier that waits for the cotangents."""
    pull = Pull(node.regions[0], [c is not None for c in cotangents], wanted)
    reached = [g is not None for g in pull.found]
    if not any(reached):
        return [None] * len(wanted)
    operands = [*node.operands, *pull.given(cotangents)]
    if node.attrs["recompute"]:
        operands = list(results_of(BARRIER(*operands)))
    found = iter(inline(pull.closed(reached), operands))
    return [next(found) if is_reached else None for is_reached in reached]


def _scan(node: Node, cotangents: Cotangents, wanted: Sequence[bool]) -> Cotangents:
    consts, carries = node.attrs["consts"], node.attrs["carries"]
    has = [c is not None for c in cotangents]
    pull = _pull_scan(node.regions[0], consts, carries, has, wanted)
    if not any(g is not None for g in pull.found):
        return [None] * len(wanted)
    kept = _Kept(node, pull)
    # Cotangents: of the carries from turn to turn, of the consts summed, of the xs turn by turn.
    moving = [k for k in range(carries) if pull.cotangents[k] is not None]
    stacked = [k for k in range(carries, len(cotangents)) if pull.cotangents[k] is not None]
    summed = {k: g for k, g in enumerate(pull.found[:consts]) if g is not None}
    sliced = {k: g for k, g in enumerate(pull.found) if k >= consts + carries and g is not None}
    arriving = {pull.arriving(k): _given(cotangents[k], node.results[k]) for k in moving + stacked}
    known = {**kept.turned, **{pull.arriving(k): arriving[pull.arriving(k)] for k in stacked}}
    sums = Sums(list(summed.values()), (*kept.again, *pull.backward), known)
    totals = {v: Value(v.type) for v in sums.carried}
    reads = (
        *kept.free,
        *(pull.arriving(k) for k in moving),
        *kept.turned,
        *(pull.arriving(k) for k in stacked),
    )
    values = {v: Value(v.type, name=v.name) for v in reads}
    first = len(kept.free) + len(moving)
    params = [values[v] for v in reads]
    params[first:first] = totals.values()
    given = {**kept.free, **kept.turned, **arriving}
    operands = [given[v] for v in reads]
    operands[first:first] = [zeros(v.type) for v in sums.carried]
    moved = [pull.found[consts + k] for k in moving]
    builder = Recording()
    with builder:
        results = [v for v in (*moved, *sums.carried, *sliced.values(), *sums.stacked) if v]
        repeat(leading_to((*kept.again, *pull.backward), results), values)
        yields = (
            *(
                zeros(node.results[k].type) if v is None else values[v]
                for k, v in zip(moving, moved, strict=True)
            ),
            *(ADD(total, values[v]) for v, total in totals.items()),
            *(values[v] for v in (*sliced.values(), *sums.stacked)),
        )
    attrs = {
        "length": node.attrs["length"],
        "consts": len(kept.free),
        "carries": len(moving) + len(totals),
        "reverse": not node.attrs["reverse"],
    }
    region = Region(tuple(params), tuple(builder.nodes), yields)
    made = iter(results_of(SCAN(*operands, regions=(region,), **attrs)))
    found: dict[int, Value] = {consts + k: next(made) for k in moving}
    carried = {v: next(made) for v in totals}
    found.update((k, next(made)) for k in sliced)
    whole = dict(zip(sums.stacked, made, strict=True))
    for k, value in summed.items():
        found[k] = sums.total(value, carried, whole)
    return [found.get(k) if is_wanted else None for k, is_wanted in enumerate(wanted)]


def _given(cotangent: Value | None, result: Value) -> Value:
    return zeros(result.type) if cotangent is None else cotangent


def _pull_scan(
    body: Region, consts: int, carries: int, has: Sequence[bool], wanted: Sequence[bool]
) -> Pull:
    """The way back through a turn. A carry has a cotangent where a later turn gives it one."""
    has = list(has)
    wanted = [
        is_wanted or (consts <= k < consts + carries and p.type.dtype.is_inexact)
        for k, (p, is_wanted) in enumerate(zip(body.params, wanted, strict=True))
    ]
    while True:
        pull = Pull(body, has, wanted)
        more = [k for k in range(carries) if pull.found[consts + k] is not None and not has[k]]
        if not more:
            return pull
        for k in more:
            has[k] = True


class _Kept:
    """What the turns of a scan kept for the way back.

    Attributes:
        free: copies of consts that are read, each with the operand that holds it.
        turned: copies that differ from turn to turn, each with what holds them stacked.
        again: nodes to run again.
    """

    def __init__(self, node: Node, pull: Pull) -> None:
        (body,), consts, carries = node.regions, node.attrs["consts"], node.attrs["carries"]
        first = consts + carries
        free = set(pull.params[:consts]) | set(pull.params[first:])
        known: dict[Value, Value] = {}
        for inner, whole in zip(body.yields[carries:], node.results[carries:], strict=True):
            known.setdefault(pull.copies[inner], whole)
        kept = Kept(pull, free, set(known))
        missing = [v for v in kept.values if v not in known]
        if missing:
            known.update(zip(missing, _run_again(node, pull, missing), strict=True))
        reads = set(pull.read()) | {v for n in kept.again for v in n.operands}
        operands = dict(zip(pull.params, node.operands, strict=True))
        self.free = {p: operands[p] for p in pull.params[:consts] if p in reads}
        self.turned = {p: operands[p] for p in pull.params[first:] if p in reads}
        self.turned.update((v, known[v]) for v in kept.values)
        self.again = kept.again


def _run_again(node: Node, pull: Pull, missing: Sequence[Value]) -> tuple[Value, ...]:
    """The loop once more, for values of its turns (copies) that it did not keep: each stacked."""
    originals = {copy: value for value, copy in pull.copies.items()}
    body, carries = node.regions[0], node.attrs["carries"]
    extended = Region(
        body.params, body.nodes, (*body.yields[:carries], *(originals[v] for v in missing))
    )
    made = results_of(SCAN(*node.operands, regions=(copied(extended),), **node.attrs))
    return made[carries:]


def with_kept(
    body: Region, consts: int, carries: int, has: Sequence[bool], wanted: Sequence[bool]
) -> Region:
    """The body of a scan with what its gradient will read as further ys.

    Args:
        has: which results of the scan may get a cotangent.
        wanted: of which operands a cotangent may be wanted.
    """
    pull = _pull_scan(body, consts, carries, has, wanted)
    first = consts + carries
    free = set(pull.params[:consts]) | set(pull.params[first:])
    known = {pull.copies[v] for v in body.yields[carries:]}
    kept = Kept(pull, free, known)
    originals = {copy: value for value, copy in pull.copies.items()}
    more = tuple(originals[v] for v in kept.values if v not in known)
    return Region(body.params, body.nodes, (*body.yields, *more))


CONTROL: dict[str, RegionRule | NotDifferentiable] = {
    "scan": RegionRule(_scan),
    "while": NotDifferentiable(
        "the number of its turns is not known; use sley.scan or sley.fori_loop with a known length"
    ),
    "cond": RegionRule(_cond),
    "call": RegionRule(_call),
    "barrier": RegionRule(lambda node, cotangents, wanted: cotangents),
}
