"""The form of kernels whose outermost loop runs over columns that are folded: see `Nest.sweep`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir.dims import Dim
from ..ir.graph import Node, Region
from ..ir.target import Target

ROWS = 8  # most rows that are read for one vector of columns
DEAR = 64  # scalar instructions of a row's element that are not worth repeating in each pass
PAGE = 4096  # bytes of a row below which each pass over a strip waits for the pages of its rows
NARROWEST = 1024  # bytes of a piece of a row that is worth a task
UNKNOWN = 1024  # rows or columns of a symbolic number
SHORTEST = 128  # bytes of a row above which an update takes longer than to see whose it is
TOGETHER = 1 << 16  # bytes of neighbouring rows that one task owns


def repeated_rows(body: Region, repeatable: Callable[[Node], int | None]) -> set[Node] | None:
    """The row values that every pass would compute again, where the loops in `body` can be passes
    over the rows of columns; else None. `repeatable`: what repeating a row value costs, or None
    where that is not allowed."""
    rows: set[Node] = set()
    for node in body.nodes:
        if node.op.name not in ("reduce", "parallel", "row", "store") and node.regions:
            return None
        if any(inner.regions for region in node.regions for inner in region.walk()):
            return None
        if node.op.name == "reduce" and any(v.type.shape for v in node.operands):
            return None
        if node.op.name in ("cumulate", "atomic", "for"):
            return None
        if node.op.name == "row":
            cost = repeatable(node)
            if cost is None or cost > DEAR:
                return None
            rows.add(node)
    return rows


def rows_of_a_turn(cost: int, extents: Sequence[Dim]) -> int:
    """How many rows are read for each vector of columns, where an element costs `cost`."""
    rows = ROWS if cost <= 12 else ROWS // 2 if cost <= 40 else ROWS // 4
    known = [n for n in extents if isinstance(n, int)]
    while rows > 1 and known and rows > max(known):
        rows //= 2
    return rows


def columns_of_a_task(
    target: Target,
    lanes: int,
    columns: Dim,
    others: Dim,
    rows: Dim,
    passes: int,
    itemsize: int,
    accumulators: int,
) -> int:
    """Long pieces of rows: as many columns as the accumulators leave room for in L1. Where several
    passes read the same rows and these are few, they stay in L2; all threads get their share."""
    width = target.l1 // (2 * accumulators * itemsize)
    narrow = max(lanes, NARROWEST // itemsize)
    if passes > 1:
        height = rows if isinstance(rows, int) else UNKNOWN
        cached = target.l2 // (2 * itemsize * max(1, height))
        width = min(width, max(cached, PAGE // itemsize))
    number = columns if isinstance(columns, int) else UNKNOWN
    tasks = 2 * target.threads if target.threads > 1 else 1
    share = -(-tasks // others) if isinstance(others, int) and others else 1
    width = min(width, -(-number // share))
    return -(-max(narrow, width) // lanes) * lanes


def shared_rows(
    target: Target, rows: Dim, columns: Dim, others: Dim, itemsize: int
) -> tuple[int, int]:
    """(tasks that share the rows of a scatter, rows that one owns together). Each goes through all
    updates. Turns are short where there are few rows: some are met more often than others."""
    width = itemsize * (columns if isinstance(columns, int) else UNKNOWN)
    pieces = others if isinstance(others, int) else 1
    tasks = -(-target.threads // max(1, pieces))
    if isinstance(rows, int):
        tasks = min(tasks, rows)
    if tasks <= 1 or width < SHORTEST:
        return 1, 1
    together = max(1, TOGETHER // width)
    if isinstance(rows, int):
        together = max(1, min(together, rows // (8 * tasks)))
    return tasks, together


def whole_rows(columns: Dim, lanes: int) -> int:
    """All columns in one task, where their number is known."""
    return max(1, -(-(columns if isinstance(columns, int) else UNKNOWN) // lanes)) * lanes
