"""Where each value of a program of launches lies: the result of `passes/plan_memory`.

A plan fixes the order of the launches, which values share a buffer, and when each block of
the arena is in use. Sizes are expressions; `assign_offsets` places the blocks for one binding of
the size symbols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from .dims import Dim, evaluate
from .graph import Graph, Node, Value

ALIGNMENT = 64  # bytes, of every block of the arena
_GOOD_ENOUGH = 1.05  # of the lower bound: then no second placement is tried
_MAX_QUADRATIC = 2000  # blocks that the placement by size is tried for


class Place(NamedTuple):
    """A buffer: parameter, result or block of the arena number `number`."""

    kind: Literal["input", "output", "arena"]
    number: int

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"


@dataclass(frozen=True, slots=True, eq=False)
class Launch:
    """Runs the kernel of `node` on the buffers `args`: its operands, then its results."""

    node: Node
    args: tuple[Place, ...]


@dataclass(frozen=True, slots=True, eq=False)
class HostCall:
    """Evaluates `node` by numpy on the buffers `args`: its operands, then its results.

    It may fail. What it leaves then in the results' buffers is unknown.
    """

    node: Node
    args: tuple[Place, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Copy:
    """Copies `nbytes` bytes from one buffer to another."""

    source: Place
    target: Place
    nbytes: Dim


Step = Launch | HostCall | Copy


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A piece of the arena, in use from step number `first` to step `last`, both included."""

    nbytes: Dim
    first: int
    last: int


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The plan of a program.

    Attributes:
        graph: the program; its nodes are launches and calls of the host.
        steps: what runs, in order.
        places: the buffer of every value of the program.
        blocks: the arena's.
        donated: result number -> number of the input whose buffer holds it in the end. Every other
            result has a buffer of its own.
    """

    graph: Graph
    steps: tuple[Step, ...]
    places: Mapping[Value, Place]
    blocks: tuple[Block, ...]
    donated: Mapping[int, int]

    @property
    def fresh(self) -> tuple[int, ...]:
        """The numbers of the results that a call allocates."""
        return tuple(k for k in range(len(self.graph.yields)) if k not in self.donated)

    def __str__(self) -> str:
        return format_plan(self)


def format_plan(plan: Plan) -> str:
    """The plan as text: one line for each step, then the blocks of the arena."""
    lines = [f"plan @{plan.graph.name} {{"]
    for number, step in enumerate(plan.steps):
        lines.append(f"  {number}: {_format_step(step)}")
    for number, block in enumerate(plan.blocks):
        lines.append(f"  arena {number}: {block.nbytes} bytes, steps {block.first} to {block.last}")
    for result, source in plan.donated.items():
        lines.append(f"  result {result} in input {source}")
    return "\n".join([*lines, "}"])


def _format_step(step: Step) -> str:
    if isinstance(step, Copy):
        return f"copy {step.source} -> {step.target}, {step.nbytes} bytes"
    count = len(step.node.operands)
    read, written = (", ".join(map(str, a)) for a in (step.args[:count], step.args[count:]))
    where = f"    // {step.node.line}" if step.node.line else ""
    what = f"@{step.node.attrs['kernel'].name}" if isinstance(step, Launch) else step.node.op.name
    return f"{what}({read}) -> {written}{where}"


# ------------------------------------------------------------------------------------ placement


class Interval(NamedTuple):
    """A block whose size is known."""

    nbytes: int
    first: int
    last: int


def intervals(plan: Plan, sizes: Mapping[str, int]) -> list[Interval]:
    """The blocks of `plan` for one binding of the symbols."""
    return [Interval(evaluate(b.nbytes, sizes), b.first, b.last) for b in plan.blocks]


def peak_live_bytes(blocks: Sequence[Interval], align: int = 1) -> int:
    """The largest sum of the sizes of blocks that are in use at one step: no placement needs less.

    With `align`, each size is rounded up to a multiple of it.
    """
    change: dict[int, int] = {}
    for nbytes, first, last in blocks:
        rounded = -(-nbytes // align) * align
        change[first] = change.get(first, 0) + rounded
        change[last + 1] = change.get(last + 1, 0) - rounded
    live = peak = 0
    for step in sorted(change):
        live += change[step]
        peak = max(peak, live)
    return peak


def assign_offsets(plan: Plan, sizes: Mapping[str, int]) -> tuple[list[int], int]:
    """(the offset of each block in the arena, bytes of the arena) for one binding of the symbols.

    Offsets are multiples of `ALIGNMENT`; blocks whose lifetimes meet do not overlap.
    """
    return place(intervals(plan, sizes))


def place(blocks: Sequence[Interval]) -> tuple[list[int], int]:
    """Offsets and total for blocks of known size: best fit in the order of time; where that wastes
    memory, the largest block first."""
    offsets, total = _place_by_time(blocks)
    bound = peak_live_bytes(blocks, ALIGNMENT)
    if total <= bound * _GOOD_ENOUGH or len(blocks) > _MAX_QUADRATIC:
        return offsets, total
    by_size = _place_by_size(blocks)
    return by_size if by_size[1] < total else (offsets, total)


def _round(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _place_by_time(blocks: Sequence[Interval]) -> tuple[list[int], int]:
    """Each block, in the order of first use, goes to the smallest gap that holds it."""
    offsets = [0] * len(blocks)
    order = sorted(range(len(blocks)), key=lambda b: (blocks[b].first, -blocks[b].nbytes))
    ends = sorted(range(len(blocks)), key=lambda b: blocks[b].last)
    gaps: list[tuple[int, int]] = []  # (start, size), by start; never adjacent
    total = 0
    done = 0
    for block in order:
        while done < len(ends) and blocks[ends[done]].last < blocks[block].first:
            gone = ends[done]
            _give_back(gaps, offsets[gone], _round(blocks[gone].nbytes))
            done += 1
        need = _round(blocks[block].nbytes)
        offsets[block], total = _take(gaps, need, total)
    return offsets, total


def _take(gaps: list[tuple[int, int]], need: int, total: int) -> tuple[int, int]:
    """Cuts `need` bytes out of the best gap, or off the end. Gives (offset, new total)."""
    best = -1
    for number, (_, size) in enumerate(gaps):
        if size >= need and (best < 0 or size < gaps[best][1]):
            best = number
    if best >= 0:
        start, size = gaps[best]
        if size == need:
            del gaps[best]
        else:
            gaps[best] = (start + need, size - need)
        return start, total
    if gaps and sum(gaps[-1]) == total:  # the last gap reaches the end: stretch it
        start = gaps.pop()[0]
        return start, start + need
    return total, total + need


def _give_back(gaps: list[tuple[int, int]], start: int, size: int) -> None:
    """Adds a gap and joins it with its neighbours."""
    if not size:
        return
    position = len(gaps)
    while position and gaps[position - 1][0] > start:
        position -= 1
    if position < len(gaps) and start + size == gaps[position][0]:
        size += gaps.pop(position)[1]
    if position and sum(gaps[position - 1]) == start:
        start, before = gaps[position - 1][0], gaps[position - 1][1]
        gaps[position - 1] = (start, before + size)
        return
    gaps.insert(position, (start, size))


def _place_by_size(blocks: Sequence[Interval]) -> tuple[list[int], int]:
    """Each block, the largest first, goes to the lowest offset where none is in the way."""
    offsets = [0] * len(blocks)
    placed: list[tuple[int, int, Interval]] = []  # (start, end, block), by start
    for number in sorted(range(len(blocks)), key=lambda b: -blocks[b].nbytes):
        block = blocks[number]
        need, at = _round(block.nbytes), 0
        for start, end, other in placed:
            if other.last < block.first or block.last < other.first:
                continue
            if start - at >= need:
                break
            at = max(at, end)
        offsets[number] = at
        placed.append((at, at + need, block))
        placed.sort(key=lambda p: p[0])
    return offsets, max((end for _, end, _ in placed), default=0)
