"""Accesses whose lanes lie at known distances: a few whole vectors and shuffles instead of a gather
or a scatter, as for windows of stride 2."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from ....ir.dims import (
    Atom,
    Compound,
    Dim,
    Slot,
    Var,
    add_all,
    of_atom,
    product,
    substitute,
    terms_of,
)
from ....ir.graph import Value
from ....ir.literal import Literal
from .emitter import Emitter

PIECES = 4  # vectors of memory that one register may come from or go to

Pattern = tuple[int, ...]  # the distance of each lane from a place that all share


def lane_pattern(offset: Dim, iota: Value, lanes: int) -> tuple[Dim, Pattern] | None:
    """(the part of `offset` that is equal in all lanes, what the lanes add); None where that is
    not known."""
    uniform: list[Dim] = []
    varying: list[Dim] = []
    for monomial, c in terms_of(offset):
        term = product([c, *(of_atom(a) for a in monomial)])
        variables = {v for atom in monomial for v in _variables(atom)}
        if not any(v.type.shape for v in variables):
            uniform.append(term)
        elif variables == {iota} and not any(_has_symbol(atom) for atom in monomial):
            varying.append(term)
        else:
            return None
    return add_all(uniform), _distances(_over_slot(add_all(varying)), lanes)


def _variables(atom: Atom) -> set[Value]:
    if isinstance(atom, Var):
        return {atom.value}
    if not isinstance(atom, Compound):
        return set()
    return {
        v for side in (atom.left, atom.right) for m, _ in terms_of(side) for a in m
        for v in _variables(a)
    }  # fmt: skip


def _has_symbol(atom: Atom) -> bool:
    if isinstance(atom, Compound):
        sides = (atom.left, atom.right)
        return any(_has_symbol(a) for side in sides for m, _ in terms_of(side) for a in m)
    return not isinstance(atom, Var)


def _over_slot(dim: Dim) -> Dim:
    """`dim` with a slot for its one variable."""
    return substitute(dim, lambda a: of_atom(Slot(0)) if isinstance(a, Var) else of_atom(a))


@functools.lru_cache(maxsize=4096)
def _distances(dim: Dim, lanes: int) -> Pattern:
    return tuple(_at(dim, lane) for lane in range(lanes))


def _at(dim: Dim, lane: int) -> int:
    value = substitute(dim, lambda a: lane if isinstance(a, Slot) else of_atom(a))
    assert isinstance(value, int), f"{value} has another variable than the lane"
    return value


def _split(pattern: Pattern, native: int) -> list[Pattern]:
    """The pattern, register by register."""
    return [pattern[k : k + native] for k in range(0, len(pattern), native)]


def _starts(pattern: Pattern, native: int) -> tuple[int, list[int]]:
    """(lanes of a vector of memory, where the vectors begin that together have all lanes); none
    begins before the first lane or ends behind the last."""
    first, last = min(pattern), max(pattern)
    span = last - first + 1
    width = min(native, 1 << (span.bit_length() - 1))
    starts = [first + k * width for k in range((span + width - 1) // width)]
    starts[-1] = last + 1 - width
    return width, starts


def is_close(pattern: Pattern, native: int, distinct: bool) -> bool:
    """Whether each register of lanes lies in few vectors of memory; if `distinct`, also that
    no two lanes are one element."""
    if len(pattern) < 2 or native < 2 or (distinct and len(set(pattern)) < len(pattern)):
        return False
    pieces = [len(_starts(part, native)[1]) for part in _split(pattern, native)]
    return 2 * max(pieces) <= min(2 * PIECES, native)


def read(
    emitter: Emitter, buffer: Value, base: Dim, pattern: Pattern, native: int, guard: Value | None
) -> Value:
    """The elements at base + pattern; 0 in lanes without the guard."""
    registers = []
    for number, part in enumerate(_split(pattern, native)):
        width, starts = _starts(part, native)
        pieces = []
        for start in starts:
            mask = _placed(emitter, guard, number * native, part, start, width)
            pieces.append(emitter.access("load", (buffer,), base + start, lanes=width, guard=mask))
        registers.append(_collect(emitter, part, width, starts, pieces))
    return _joined(emitter, registers)


def write(
    emitter: Emitter,
    buffer: Value,
    base: Dim,
    pattern: Pattern,
    native: int,
    value: Value,
    guard: Value | None,
) -> None:
    """Stores the lanes of `value`, where the guard holds, to base + pattern."""
    if guard is None:
        true = emitter.emit("constant", value=Literal(np.bool_(True)))
        guard = emitter.widen(true, len(pattern))
    for number, part in enumerate(_split(pattern, native)):
        width, starts = _starts(part, native)
        lane_of = {o: number * native + lane for lane, o in enumerate(part)}
        for start in starts:
            picked = tuple(lane_of.get(start + p, 0) for p in range(width))
            placed = emitter.emit("shuffle", value, value, lanes=picked)
            mask = _placed(emitter, guard, number * native, part, start, width)
            emitter.access("store", (buffer, placed), base + start, lanes=width, guard=mask)


def _placed(
    emitter: Emitter, guard: Value | None, first: int, part: Pattern, start: int, width: int
) -> Value | None:
    """The guard of the elements start, start + 1, ...: false for those of no lane."""
    if guard is None:
        return None
    total = guard.type.shape[0]
    assert isinstance(total, int)
    lane_of = {o: first + lane for lane, o in enumerate(part)}
    false = emitter.widen(emitter.emit("constant", value=Literal(np.bool_(False))), total)
    picked = tuple(lane_of.get(start + p, total) for p in range(width))
    return emitter.emit("shuffle", guard, false, lanes=picked)


def _collect(
    emitter: Emitter, part: Pattern, width: int, starts: Sequence[int], pieces: Sequence[Value]
) -> Value:
    """The lanes of a register from the vectors that have them: two by two, then those."""
    where = []  # for each lane the piece that has it, and its place there
    for o in part:
        piece = next(k for k, start in enumerate(starts) if start <= o < start + width)
        where.append((piece, o - starts[piece]))
    found: list[Value] = []
    for k in range(0, len(pieces), 2):
        pair = pieces[k], pieces[min(k + 1, len(pieces) - 1)]
        lanes = tuple((p - k) * width + at if k <= p <= k + 1 else 0 for p, at in where)
        found.append(emitter.emit("shuffle", *pair, lanes=lanes))
    if len(found) == 1:
        return found[0]
    lanes = tuple(lane if p < 2 else len(part) + lane for lane, (p, _) in enumerate(where))
    return emitter.emit("shuffle", *found, lanes=lanes)


def _joined(emitter: Emitter, registers: list[Value]) -> Value:
    while len(registers) > 1:
        pairs = zip(registers[::2], registers[1::2], strict=True)
        registers = [emitter.emit("join", a, b) for a, b in pairs]
    return registers[0]


def holds(buffer: Value, lanes: int) -> bool:
    """Whether a buffer is known to have as many elements."""
    size = buffer.type.size
    return isinstance(size, int) and size >= lanes
