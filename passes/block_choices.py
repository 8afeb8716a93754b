"""The schedules of blocks that come into question for a kernel: what a tuner tries out.

All are made from the first choice by other sizes of blocks, warps and stages; so each computes the
same. Some may ask for more registers or shared memory than there are: that shows when they are
compiled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..ir.access import axes
from ..ir.block_schedule import AttendBlocks, BlockNest, BlockSchedule, grid_node
from ..ir.dims import product
from ..ir.gpu_target import GpuTarget
from ..ir.graph import Graph, Node
from ..ir.numerics import EXACT, Numerics
from ..ir.schedule import scheduled_nodes
from .schedule_blocks import schedule_blocks
from .schedule_blocks_contract import contract_choices

MOST = 12  # schedules of a kernel

# (elements of a block, warps)
LOOPS = ((2048, 4), (512, 4), (2048, 8), (4096, 8), (1024, 8), (4096, 16))
# (elements along both groups, warps)
TURNED = ((64, 64, 8), (64, 64, 4), (16, 128, 4), (64, 32, 4), (32, 64, 4), (16, 256, 8))
# (factor of the rows of a block, of the warps)
ROWS = ((1, 2), (1, 0.5), (2, 1), (2, 2), (0.5, 1), (0.5, 0.5), (4, 2), (4, 4))
# (elements of a block of a long row, warps)
WALKS = ((4096, 8), (4096, 16), (8192, 16), (2048, 8), (1024, 4), (8192, 32))
# (columns, rows of a block, warps)
COLUMNS = (
    (64, 64, 4), (128, 32, 4), (64, 64, 8), (128, 32, 8), (32, 64, 4), (32, 128, 8), (64, 16, 4),
)  # fmt: skip
# (queries, keys, warps, stages)
ATTEND = (
    (128, 64, 8, 2), (128, 64, 8, 3), (128, 128, 8, 2), (128, 128, 8, 1), (64, 64, 4, 2),
    (64, 64, 4, 3), (128, 32, 4, 3), (64, 128, 4, 2), (64, 32, 4, 1), (32, 32, 4, 2),
)  # fmt: skip
ATTEND_GRADIENT = (
    (64, 64, 8, 2), (64, 64, 4, 1), (64, 64, 4, 2), (64, 128, 8, 1), (128, 64, 8, 1),
    (64, 32, 4, 2), (32, 64, 4, 2), (32, 32, 4, 1), (32, 32, 4, 2),
)  # fmt: skip
_WARPS = (1, 32)  # of a program


def block_choices(
    kernel: Graph, target: GpuTarget, numerics: Numerics = EXACT
) -> list[BlockSchedule]:
    """Schedules of `kernel`, the first choice of the passes in front; no two are equal."""
    first = schedule_blocks(kernel, target, numerics)
    outer = grid_node(kernel)
    if outer is None:
        return [first]
    found = [first]
    at = list(scheduled_nodes(kernel)).index(outer)
    for schedule in _others(outer, at, first, target, numerics):
        if schedule not in found and _within(outer, schedule.nests[at], first.nests[at]):
            found.append(schedule)
    return found[:MOST]


def _within(outer: Node, nest: BlockNest, first: BlockNest) -> bool:
    """Whether no block is longer than what it is of, but for those of the first choice."""
    if outer.op.name != "parallel":
        return True
    extents = axes(outer)[1]
    for group, size, usual in zip(nest.groups, nest.block, first.block, strict=True):
        extent = product(extents[a] for a in group)
        if isinstance(extent, int) and size >= 2 * max(1, extent) and size > usual:
            return False
    return True


def _others(
    outer: Node, at: int, first: BlockSchedule, target: GpuTarget, numerics: Numerics
) -> Iterator[BlockSchedule]:
    """Others than `first`, by kind; `outer` is the node that nest number `at` is of."""
    nest = first.nests[at]
    if nest.contract is not None:
        for blocks, warps, stages in contract_choices(outer, target, numerics):
            changed = _with(first, at, replace(nest, contract=blocks))
            yield replace(changed, warps=warps, stages=stages)
    elif nest.attend is not None:
        forward = outer.op.name == "attend"
        yield from _attend(first, at, nest.attend, ATTEND if forward else ATTEND_GRADIENT)
    elif not nest.block:
        return
    elif any(n.walk and n.block[0] > 1 for n in first.nests):
        yield from _walks(first, at)
    elif any(n.block and n.block[0] > 1 for n in first.nests if n is not nest):
        yield from _rows(first, at)
    elif sum(size > 1 for size in nest.block) == 2:
        yield from _turned(first, at)
    else:
        yield from _loops(first, at)


def _with(schedule: BlockSchedule, at: int, nest: BlockNest) -> BlockSchedule:
    return replace(schedule, nests=(*schedule.nests[:at], nest, *schedule.nests[at + 1 :]))


def _last(nest: BlockNest, size: int) -> BlockNest:
    """`nest` with blocks of `size` along its last group."""
    return replace(nest, block=(*nest.block[:-1], size))


def _warps(first: BlockSchedule) -> Iterator[BlockSchedule]:
    for warps in (2 * first.warps, first.warps // 2):
        if _WARPS[0] <= warps <= _WARPS[1]:
            yield replace(first, warps=warps)


def _loops(first: BlockSchedule, at: int) -> Iterator[BlockSchedule]:
    for size, warps in LOOPS:
        yield replace(_with(first, at, _last(first.nests[at], size)), warps=warps)
    yield from _warps(first)


def _turned(first: BlockSchedule, at: int) -> Iterator[BlockSchedule]:
    nest = first.nests[at]
    position = next(k for k, size in enumerate(nest.block) if size > 1)
    for other, last, warps in TURNED:
        block = list(_last(nest, last).block)
        block[position] = other
        yield replace(_with(first, at, replace(nest, block=tuple(block))), warps=warps)


def _rows(first: BlockSchedule, at: int) -> Iterator[BlockSchedule]:
    nest = first.nests[at]
    for more, threads in ROWS:
        rows, warps = int(nest.block[-1] * more), int(first.warps * threads)
        if rows >= 1 and _WARPS[0] <= warps <= _WARPS[1]:
            yield replace(_with(first, at, _last(nest, rows)), warps=warps)


def _walks(first: BlockSchedule, at: int) -> Iterator[BlockSchedule]:
    """Long rows, of which a block follows the other, or columns that are folded side by side."""
    nest = first.nests[at]
    if nest.block[-1] == 1:
        for size, warps in WALKS:
            yield replace(_walked(first, at, size), warps=warps)
        return
    for columns, rows, warps in COLUMNS:
        wide = _with(_walked(first, at, rows), at, _last(nest, columns))
        yield replace(wide, warps=warps)


def _walked(first: BlockSchedule, at: int, size: int) -> BlockSchedule:
    """Inner nests that are walked over have blocks of `size`."""
    nests = [
        _last(nest, size) if k != at and nest.walk and nest.block[-1] > 1 else nest
        for k, nest in enumerate(first.nests)
    ]
    return replace(first, nests=tuple(nests))


def _attend(
    first: BlockSchedule, at: int, blocks: AttendBlocks, table: tuple[tuple[int, ...], ...]
) -> Iterator[BlockSchedule]:
    for stages in (2, 3):
        yield replace(first, stages=stages)
    for queries, keys, warps, stages in table:
        wanted = replace(blocks, queries=queries, keys=keys)
        changed = _with(first, at, replace(first.nests[at], attend=wanted))
        yield replace(changed, warps=warps, stages=stages)
