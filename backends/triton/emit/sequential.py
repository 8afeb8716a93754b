"""`for`: turns one after the other, what one stores being there for the next."""

from __future__ import annotations

from ....ir.dims import Dim, Var, of_atom
from ....ir.graph import Node, Region, Value
from ....ir.ops.kernel import INDEX
from .scope import Emitter, Scope
from .text import Block, joined_shape


def emit_for(e: Emitter, scope: Scope, node: Node) -> None:
    """A loop from lo to hi in steps; where these differ from element to element of a block, as
    many turns as the longest takes, the others switched off."""
    (body,) = node.regions
    carries = node.attrs["carries"]
    bounds = tuple(e.apply(node.attrs[name], node.operands, scope) for name in ("lo", "hi"))
    low, high = (e.number(dim, scope) for dim in bounds)
    shape = _carried_shape(e, scope, node)
    state = [
        Block(e.w.let(p.name or "state", _filled(e, scope, v, shape)), shape)
        for p, v in zip(body.params[1:], node.operands[:carries], strict=True)
    ]
    step = node.attrs["step"]
    if not low.shape and not high.shape:
        turn = e.w.fresh(body.params[0].name or "turn")
        with e.w.indented(f"for {turn} in range({low.text}, {high.text}, {step})"):
            _turn(e, scope, body, Block(turn), state, None)
    else:
        longest = e.w.let("longest", f"tl.max({_whole(e, scope, high, low)})")
        turn = e.w.fresh("turn")
        with e.w.indented(f"for {turn} in range(0, {longest}, {step})"):
            here = e.w.let(None, f"{low.lifted(scope.depth)} + {turn}")
            place = Block(here, joined_shape([low.shape_at(scope.depth)]))
            text = f"{place.lifted(scope.depth)} < {high.lifted(scope.depth)}"
            running = Block(
                e.w.let("running", text),
                joined_shape([place.shape_at(scope.depth), high.shape_at(scope.depth)]),
            )
            _turn(e, scope, body, place, state, running)
    scope.values.update(zip(node.results, state, strict=True))


def _turn(
    e: Emitter,
    scope: Scope,
    body: Region,
    place: Block,
    state: list[Block],
    running: Block | None,
) -> None:
    inner, variable = scope.inner(), Value(INDEX)
    inner.values[variable] = place
    inner.exprs[body.params[0]] = of_atom(Var(variable))
    inner.values.update(zip(body.params[1:], state, strict=True))
    if running is not None:
        both = running.lifted(scope.depth)
        if scope.running is not None:
            both = f"{both} & {scope.running.lifted(scope.depth)}"
        inner.running = Block(both, running.shape)
    if _stores(body):
        e.w.line("tl.debug_barrier()")
    found = [e.typed(b, v) for b, v in zip(e.run(body, inner), body.yields, strict=True)]
    new = [Block(e.w.let(None, b.lifted(scope.depth)), b.shape) for b in found]
    for old, block in zip(state, new, strict=True):
        text = block.text
        if running is not None:
            text = f"tl.where({running.lifted(scope.depth)}, {text}, {old.text})"
        e.w.line(f"{old.text} = {text}")


def _stores(body: Region) -> bool:
    return any(n.op.name in ("store", "atomic") for n in body.walk())


def _carried_shape(e: Emitter, scope: Scope, node: Node) -> tuple[int, ...]:
    return scope.shape


def _filled(e: Emitter, scope: Scope, value: Value, shape: tuple[int, ...]) -> str:
    text = e.typed(e.value(value, scope), value).lifted(scope.depth)
    return f"tl.broadcast_to({text}, {list(shape)})" if shape else text


def _whole(e: Emitter, scope: Scope, high: Block, low: Block) -> str:
    return f"{high.lifted(scope.depth)} - {low.lifted(scope.depth)}"


_UNUSED: Dim = 0
