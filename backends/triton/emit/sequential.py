"""`for`: turns one after the other, what one stores being there for the next."""

from __future__ import annotations

from ....ir.dims import Var, of_atom
from ....ir.graph import Node, Region, Value
from ....ir.ops.kernel import INDEX
from .emitter import Emitter
from .scope import Scope
from .text import Block, joined_shape


def emit_for(e: Emitter, scope: Scope, node: Node) -> None:
    """A loop from lo to hi in steps; where these differ from element to element of a block, as
    many turns as the longest takes, the others switched off."""
    (body,), depth = node.regions, scope.depth
    state = [
        Block(e.w.let(p.name or "state", _filled(e, scope, v)), scope.shape)
        for p, v in zip(body.params[1:], node.operands[: node.attrs["carries"]], strict=True)
    ]
    low, high = (
        e.number(e.apply(node.attrs[name], node.operands, scope), scope) for name in ("lo", "hi")
    )
    step = node.attrs["step"]
    if not low.shape and not high.shape:
        turn = e.w.fresh(body.params[0].name or "turn")
        with e.w.indented(f"for {turn} in range({low.text}, {high.text}, {step})"):
            _turn(e, scope, body, Block(turn), state, None)
    else:
        both = joined_shape([low.shape_at(depth), high.shape_at(depth)])
        far = f"tl.max(tl.reshape({high.lifted(depth)} - {low.lifted(depth)}, [{_count(both)}]), 0)"
        turn = e.w.fresh(body.params[0].name or "turn")
        with e.w.indented(f"for {turn} in range(0, {far}, {step})"):
            text = f"{low.lifted(depth)} + {turn}"
            place = Block(e.w.let(turn, text), low.shape_at(depth))
            text = f"{place.lifted(depth)} < {high.lifted(depth)}"
            _turn(e, scope, body, place, state, Block(e.w.let("running", text), both))
    scope.values.update(zip(node.results, state, strict=True))


def _turn(
    e: Emitter,
    scope: Scope,
    body: Region,
    place: Block,
    state: list[Block],
    running: Block | None,
) -> None:
    """One turn at `place`; `state` has names that are assigned anew."""
    inner, variable, depth = scope.inner(), Value(INDEX), scope.depth
    inner.values[variable] = place
    inner.exprs[body.params[0]] = of_atom(Var(variable))
    inner.values.update(zip(body.params[1:], state, strict=True))
    if running is not None:
        inner.running = running
        if scope.running is not None:
            text = f"({running.lifted(depth)} & {scope.running.lifted(depth)})"
            shapes = [running.shape_at(depth), scope.running.shape_at(depth)]
            inner.running = Block(text, joined_shape(shapes))
    if any(n.op.name in ("store", "atomic") for n in body.walk()):
        e.w.line("tl.debug_barrier()")
    found = [e.typed(b, v) for b, v in zip(e.run(body, inner), body.yields, strict=True)]
    texts = [b.lifted(depth) for b in found]
    if len(texts) > 1:  # a new value may be made of several old ones
        texts = [e.w.let(None, text) for text in texts]
    for old, text in zip(state, texts, strict=True):
        if running is not None:
            text = f"tl.where({running.lifted(depth)}, {text}, {old.text})"
        e.w.line(f"{old.text} = {text}")


def _filled(e: Emitter, scope: Scope, value: Value) -> str:
    text = e.typed(e.value(value, scope), value).lifted(scope.depth)
    return f"tl.broadcast_to({text}, {list(scope.shape)})" if scope.shape else text


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
