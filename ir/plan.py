"""Where each value of a program of launches lies: the result of `passes/plan_memory`.

A plan fixes the order of the launches, which values share a buffer, and when each block of
the arena is in use. Sizes are expressions; `assign_offsets` places the blocks for one binding of
the size symbols.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from .dims import Dim, evaluate
from .graph import Graph, Node, Value

ALIGNMENT = 64  # bytes, of every block of the arena
_GOOD_ENOUGH = 1.05  # of the lower bound: then no second placement is tried
_MAX_QUADRATIC = 2000  # blocks that the placement by size is tried for


class Place(NamedTuple):
    """A buffer: parameter, result or block of the arena number `number`; or the one that pointer
    number `number` shows in this turn of a loop."""

    kind: Literal["input", "output", "arena", "pointer"]
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


class Carry(NamedTuple):
    """How a loop hands a value from turn to turn.

    Attributes:
        start: holds it before the first turn; a loop without turns copies it to `home`.
        home: holds it after the last turn.
        spare: None: every turn writes over what `home` holds, where `start` was copied at first.
            Else the turns write to `home` and `spare` by turns.
        current, next: with `spare`, the pointers to what a turn reads and to what it writes.
    """

    start: Place
    home: Place
    nbytes: Dim
    spare: Place | None = None
    current: Place | None = None
    next: Place | None = None


class Slice(NamedTuple):
    """`pointer` shows piece t of the buffer `whole`, of `nbytes` bytes, in turn t of a loop."""

    pointer: Place
    whole: Place
    nbytes: Dim


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """Runs `body` for t = 0 .. length - 1, or backwards: a scan."""

    node: Node
    length: Dim
    reverse: bool
    carries: tuple[Carry, ...]
    slices: tuple[Slice, ...]
    body: tuple[Step, ...]


@dataclass(frozen=True, slots=True, eq=False)
class WhileLoop:
    """Runs `condition`, which leaves a bool at `flag`, and `body` as long as that is true."""

    node: Node
    carries: tuple[Carry, ...]
    condition: tuple[Step, ...]
    flag: Place
    body: tuple[Step, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """Runs `then` where the bool at `flag` is true, else `otherwise`."""

    node: Node
    flag: Place
    then: tuple[Step, ...]
    otherwise: tuple[Step, ...]


Step = Launch | HostCall | Copy | Loop | WhileLoop | Branch


def nested(step: Step) -> tuple[tuple[Step, ...], ...]:
    """The lists of steps inside of a loop or branch."""
    if isinstance(step, Loop):
        return (step.body,)
    if isinstance(step, WhileLoop):
        return (step.condition, step.body)
    if isinstance(step, Branch):
        return (step.then, step.otherwise)
    return ()


def span(step: Step) -> int:
    """How many numbers a step takes: a loop or branch one for its beginning, those of the steps
    inside, in order, and one for its end."""
    lists = nested(step)
    return 1 if not lists else 2 + sum(span(inner) for steps in lists for inner in steps)


def walk(steps: Sequence[Step]) -> Iterator[Step]:
    """All steps, those inside of loops and branches included, outer before inner."""
    for step in steps:
        yield step
        for inner in nested(step):
            yield from walk(inner)


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
        graph: the program; its nodes are launches, calls of the host and control flow.
        steps: what runs, in order.
        places: the buffer of every value of the program.
        blocks: the arena's.
        donated: result number -> number of the input whose buffer holds it in the end. Every other
            result has a buffer of its own.
        pointers: how many there are.
    """

    graph: Graph
    steps: tuple[Step, ...]
    places: Mapping[Value, Place]
    blocks: tuple[Block, ...]
    donated: Mapping[int, int]
    pointers: int = 0

    @property
    def fresh(self) -> tuple[int, ...]:
        """The numbers of the results that a call allocates."""
        return tuple(k for k in range(len(self.graph.yields)) if k not in self.donated)

    def walk(self) -> Iterator[Step]:
        """All steps, outer before inner."""
        return walk(self.steps)

    def __str__(self) -> str:
        return format_plan(self)


def format_plan(plan: Plan) -> str:
    """The plan as text: one line for each step, then the blocks of the arena."""
    lines = [f"plan @{plan.graph.name} {{"]
    _format_steps(plan.steps, 0, "  ", lines)
    for number, block in enumerate(plan.blocks):
        lines.append(f"  arena {number}: {block.nbytes} bytes, steps {block.first} to {block.last}")
    for result, source in plan.donated.items():
        lines.append(f"  result {result} in input {source}")
    return "\n".join([*lines, "}"])


def _format_steps(steps: Sequence[Step], number: int, indent: str, lines: list[str]) -> int:
    """Appends the lines of `steps`; the number after the last one."""
    for step in steps:
        lines.append(f"{indent}{number}: {_format_step(step)}")
        inside = nested(step)
        number += 1
        if not inside:
            continue
        lines += [f"{indent}    {text}" for text in _details(step)]
        for label, inner in zip(_labels(step), inside, strict=True):
            lines.append(f"{indent}  {label}:")
            number = _format_steps(inner, number, f"{indent}    ", lines)
        lines.append(f"{indent}{number}: end")
        number += 1
    return number


def _format_step(step: Step) -> str:
    if isinstance(step, Copy):
        return f"copy {step.source} -> {step.target}, {step.nbytes} bytes"
    where = f"    // {step.node.line}" if step.node.line else ""
    if isinstance(step, Loop):
        return f"scan of {step.length} turns{', backwards' if step.reverse else ''}{where}"
    if isinstance(step, WhileLoop):
        return f"while {step.flag}{where}"
    if isinstance(step, Branch):
        return f"if {step.flag}{where}"
    count = len(step.node.operands)
    read, written = (", ".join(map(str, a)) for a in (step.args[:count], step.args[count:]))
    what = f"@{step.node.attrs['kernel'].name}" if isinstance(step, Launch) else step.node.op.name
    return f"{what}({read}) -> {written}{where}"


def _details(step: Step) -> Iterator[str]:
    """How a loop carries its values, and what its pointers walk over."""
    if not isinstance(step, (Loop, WhileLoop)):
        return
    for c in step.carries:
        how = f"over {c.home}"
        if c.spare is not None:
            how = f"by turns in {c.home} and {c.spare}, {c.current} -> {c.next}"
        yield f"carry {c.start} {how}, {c.nbytes} bytes"
    if isinstance(step, Loop):
        for s in step.slices:
            yield f"{s.pointer} in {s.whole}, {s.nbytes} bytes a turn"


def _labels(step: Step) -> tuple[str, ...]:
    if isinstance(step, WhileLoop):
        return ("condition", "body")
    return ("then", "otherwise") if isinstance(step, Branch) else ("body",)


# ------------------------------------------------------------------------------------ placement


class Interval(NamedTuple):
    """A block whose size is known."""

    nbytes: int
    first: int
    last: int


class HasBlocks(Protocol):
    """A plan, or what is left of it when the program has become machine code."""

    @property
    def blocks(self) -> tuple[Block, ...]: ...


def intervals(plan: HasBlocks, sizes: Mapping[str, int]) -> list[Interval]:
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


def assign_offsets(plan: HasBlocks, sizes: Mapping[str, int]) -> tuple[list[int], int]:
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
