"""Attention on blocks: softmax(query keyᵀ scale + mask) factor value, block of keys by block.

Forward, a program has a block of queries and walks over the keys with a running maximum and sum
(Rabe and Staats, 2021; Dao et al., 2022). Backward, some programs have a block of queries and walk
over the keys, the others a block of keys and walk over the queries of all groups: so each result is
added up by one program, in one order.
"""

from __future__ import annotations

from ....ir.block_schedule import BlockSchedule
from ....ir.dims import Dim, product
from ....ir.graph import Node
from .attend_parts import Parts
from .emitter import Emitter
from .grid import Programs
from .scope import Scope


def spread_attend(e: Emitter, scope: Scope, node: Node, schedule: BlockSchedule) -> Programs:
    """A block of queries for each program; gives the grid."""
    parts = Parts(e, scope, node, schedule.wide)
    queries, keys, width = parts.block("l"), parts.block("s"), parts.block("v")
    points, blocks = parts.points("bg"), _count(parts.extent("l"), queries)
    program = e.w.let("program", f"tl.program_id(0){'.to(tl.int64)' if schedule.wide else ''}")
    bound = e.number(blocks, scope).text
    parts.at("bg", e.w.let("point", f"{program} // {bound}"))
    parts.open("l", e.w.let("l0", f"({program} % {bound}) * {queries}"))
    parts.open("e", "0")
    parts.open("v", "0")
    query = parts.operand("query")
    top = e.w.let("top", f"tl.full([{queries}], float('-inf'), {parts.acc})")
    total = e.w.let("total", f"tl.zeros([{queries}], {parts.acc})")
    acc = e.w.let("acc", f"tl.zeros([{queries}, {width}], {parts.acc})")
    with e.w.indented(f"for s0 in range(0, {parts.last_key(queries)}, {keys})"):
        parts.open("s", "s0")
        scores = parts.scores(query, parts.operand("key"))
        higher = e.w.let("higher", f"tl.maximum({top}, tl.max({scores}, 1))")
        shift = e.w.let("shift", f"tl.where({higher} == float('-inf'), 0.0, {higher})")
        weights = e.w.let("weights", f"tl.exp({scores} - {shift}[:, None])")
        kept = e.w.let("kept", f"tl.exp({top} - {shift})")
        e.w.line(f"{total} = {total} * {kept} + tl.sum({weights}, 1)")
        if node.attrs["factored"]:
            weights = e.w.let("weights", f"{weights} * {parts.operand('factor')}")
        value = parts.operand("value")
        product_ = f"tl.dot({parts.narrow(weights)}, {value}{parts.how})"
        e.w.line(f"{acc} = {acc} * {kept}[:, None] + {product_}")
        e.w.line(f"{top} = {higher}")
    result = e.w.let("result", f"{acc} / {total}[:, None]")
    sums = e.w.let("sums", f"{top} + tl.log({total})")
    nothing, empty = ("0.0", "float('inf')") if node.attrs["safe"] else ("float('nan')",) * 2
    result = e.w.let("result", f"tl.where({total}[:, None] == 0, {nothing}, {result})")
    sums = e.w.let("sums", f"tl.where({total} == 0, {empty}, {sums})")
    parts.use("out", result)
    parts.use("sums", sums)
    return points * blocks, 1, 1


def spread_attend_gradient(
    e: Emitter, scope: Scope, node: Node, schedule: BlockSchedule
) -> Programs:
    """A block of queries, or one of keys, for each program; gives the grid."""
    parts = Parts(e, scope, node, schedule.wide)
    first = parts.points("bg") * _count(parts.extent("l"), parts.block("l"))
    second = parts.points("b") * _count(parts.extent("s"), parts.block("s"))
    program = e.w.let("program", f"tl.program_id(0){'.to(tl.int64)' if schedule.wide else ''}")
    with e.w.indented(f"if program < {e.number(first, scope).text}"):
        _of_query(e, scope, parts, program)
    rest = Parts(e, scope, node, schedule.wide)
    with e.w.indented("else"):
        number = e.w.let("number", f"{program} - {e.number(first, scope).text}")
        _of_keys(e, scope, rest, number)
    return first + second, 1, 1


def _of_query(e: Emitter, scope: Scope, parts: Parts, program: str) -> None:
    queries, keys = parts.block("l"), parts.block("s")
    bound = e.number(_count(parts.extent("l"), queries), scope).text
    parts.at("bg", e.w.let("point", f"{program} // {bound}"))
    parts.open("l", e.w.let("l0", f"({program} % {bound}) * {queries}"))
    parts.open("e", "0")
    parts.open("v", "0")
    query, cotangent = parts.operand("query"), parts.operand("cotangent")
    sums, mean = parts.operand("sums"), parts.operand("mean")
    acc = e.w.let("of_query", f"tl.zeros([{queries}, {parts.block('e')}], {parts.acc})")
    with e.w.indented(f"for s0 in range(0, {parts.last_key(queries)}, {keys})"):
        parts.open("s", "s0")
        key = parts.operand("key")
        _, inner = _inner(e, parts, (query, key, parts.operand("value"), cotangent, sums, mean))
        e.w.line(f"{acc} += tl.dot({parts.narrow(inner)}, {key}{parts.how})")
    parts.use("of_query", acc)


def _of_keys(e: Emitter, scope: Scope, parts: Parts, number: str) -> None:
    queries, keys = parts.block("l"), parts.block("s")
    bound = e.number(_count(parts.extent("s"), keys), scope).text
    parts.at("b", e.w.let("point", f"{number} // {bound}"))
    parts.open("s", e.w.let("s0", f"({number} % {bound}) * {keys}"))
    parts.open("e", "0")
    parts.open("v", "0")
    key, value = parts.operand("key"), parts.operand("value")
    of_key = e.w.let("of_key", f"tl.zeros([{keys}, {parts.block('e')}], {parts.acc})")
    of_value = e.w.let("of_value", f"tl.zeros([{keys}, {parts.block('v')}], {parts.acc})")
    groups = e.number(parts.points("g"), scope).text
    with e.w.indented(f"for group in range(0, {groups})"):
        parts.at("g", "group")
        with e.w.indented(f"for l0 in range({parts.first_query()}, {parts.end('l')}, {queries})"):
            parts.open("l", "l0")
            query, cotangent = parts.operand("query"), parts.operand("cotangent")
            sums, mean = parts.operand("sums"), parts.operand("mean")
            dropped, inner = _inner(e, parts, (query, key, value, cotangent, sums, mean))
            turned = f"tl.trans({parts.narrow(dropped)})"
            e.w.line(f"{of_value} += tl.dot({turned}, {cotangent}{parts.how})")
            turned = f"tl.trans({parts.narrow(inner)})"
            e.w.line(f"{of_key} += tl.dot({turned}, {query}{parts.how})")
    parts.use("of_key", of_key)
    parts.use("of_value", of_value)


def _inner(e: Emitter, parts: Parts, operands: tuple[str, ...]) -> tuple[str, str]:
    """The weights times the factor, and the cotangent of query keyᵀ, of two blocks."""
    query, key, value, cotangent, sums, mean = operands
    scores = parts.scores(query, key)
    weights = e.w.let("weights", f"tl.exp({scores} - {sums}[:, None])")
    within = parts.mask("l")
    if within is not None:
        weights = e.w.let("weights", f"tl.where({within}[:, None], {weights}, 0.0)")
    inner = e.w.let("inner", f"tl.dot({cotangent}, tl.trans({value}){parts.how})")
    dropped = weights
    if parts.node.attrs["factored"]:
        factor = parts.operand("factor")
        inner = e.w.let("inner", f"{inner} * {factor}")
        dropped = e.w.let("dropped", f"{weights} * {factor}")
    inner = e.w.let("inner", f"{weights} * ({inner} - {mean}[:, None]) * {parts.scale}")
    if parts.hides:
        inner = e.w.let("inner", f"tl.where({parts.operand('mask')}, {inner}, 0.0)")
    return dropped, inner


def _count(extent: Dim, block: int) -> Dim:
    return product(((extent + block - 1) // block,))
