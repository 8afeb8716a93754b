"""Schedules: how a kernel is turned into loops for one target. Typed data beside the kernel.

A `Schedule` has one `Nest` for each node of `scheduled_nodes(kernel)`, in that order. It prints as
text (`str`) that `parse_schedule` reads back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .block_schedule import BlockSchedule
from .graph import Node, Region
from .schedule_text import Written, read

SCHEDULED = (
    "parallel", "reduce", "row", "cumulate", "arrange", "many", "contract", "attend",
    "attend_gradient",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ContractSchedule(Written):
    """Tiles of a `contract`.

    One operand runs over the lanes of vectors, the *columns*; the other's elements are broadcast,
    the *rows*.

    Attributes:
        mr, nr: rows and columns of the register tile; nr is a multiple of the lanes.
        kc, mc, nc: terms, rows and columns of a block that is packed at once; mc and nc are
            multiples of mr and nr.
        lanes: elements of a vector.
        swap: the rows are rhs and n, the columns lhs and m.
        rows, columns: how an operand is read: "across" copies it into panels by vectors over its
            own axis, "along" by vectors over k that are transposed. Rows may be "rows", copied
            by vectors over k and left so. Both may be "direct", read where they lie. Columns may
            be "dots", read where they lie in vectors over k, which asks for one block of all k and
            axes that collapse; rows that are not "direct" are then copied by vectors over k.
        registers: what is made of the sums is written out for each register of a tile, instead of
            a loop that takes them from scratch; for one block of all k and a known number of rows.
        along_rows: the tiles of a block are computed row by row, not column by column.
        narrow: the last columns have a tile of their own, of fewer vectors.
        prefetch: the lines where the results will lie are brought in before the tile is summed.
        ahead: so many turns of k before they are multiplied, packed columns are brought in.
        matrix: the processor's matrix unit multiplies (`ir/ops/matrix.py`). A tile here is whole
            tiles of the unit; kc is a multiple of the terms that it adds at once, or all of k.
        piece: terms of which a panel of columns stays in the first cache while all rows of a block
            pass by, for the matrix unit; 0: all of a block.
    """

    mr: int
    nr: int
    kc: int
    mc: int
    nc: int
    lanes: int
    swap: bool = False
    rows: str = "across"
    columns: str = "across"
    registers: bool = False
    narrow: bool = False
    along_rows: bool = False
    prefetch: bool = False
    ahead: int = 0
    matrix: bool = False
    piece: int = 0


@dataclass(frozen=True, slots=True)
class AttendSchedule(Written):
    """Tiles of an `attend` or `attend_gradient`.

    Queries run over the lanes of vectors; keys, features and width over the rows of register tiles.

    Attributes:
        mr, nr: rows and lanes of the register tile; nr, the queries of a *panel*, is a multiple of
            `lanes`.
        queries, keys: of a block: multiples of nr and mr.
        lanes: elements of a vector.
        query, mask, factor, cotangent: how panels of these are filled, "across" by vectors over the
            queries or "along" by vectors over the other axis that are transposed.
    """

    mr: int
    nr: int
    queries: int
    keys: int
    lanes: int
    query: str = "across"
    mask: str = "across"
    factor: str = "across"
    cotangent: str = "across"


@dataclass(frozen=True, slots=True)
class Slide(Written):
    """An axis of places of a window, and that of the places in it: both are seen as the one number
    place * stride + tap * dilation, of which stride or dilation is 1.

    Attributes:
        axis, tap: their numbers in n and k, or in k and n where places are summed over; None where
            the window has one place.
        points, taps: their extents.
    """

    axis: int
    tap: int | None
    points: int
    taps: int
    stride: int
    dilation: int

    @property
    def phases(self) -> int:
        """Residues by the stride that are read; each is copied for itself."""
        return min(self.stride, self.taps)

    @property
    def reach(self) -> int:
        """Places of a copy, in one phase."""
        return self.points + (self.taps - 1) * self.dilation // self.stride

    def at_most(self, points: int) -> Slide:
        """The slide over a block of its points."""
        return replace(self, points=points)


@dataclass(frozen=True, slots=True)
class WindowSchedule(Written):
    """Tiles of a `contract` whose rhs reads windows from a copy of the image.

    Attributes:
        mr, nr: rows (m) and columns (n) of the register tile; in the form "channels" points of the
            last slide, and rows. nr is a multiple of the lanes.
        mc: rows of a task, a multiple of mr, or of nr in that form.
        lanes: elements of a vector.
        block: points of the first slide of a task.
        slides: one for each axis of n of more than one point, in order.
        direct: the rows are read where they lie, instead of from panels.
        form: what runs over the lanes: "places", or rows, "channels".
        rows: how these are packed, see `ContractSchedule`.
    """

    mr: int
    nr: int
    mc: int
    lanes: int
    block: int
    slides: tuple[Slide, ...]
    direct: bool = False
    form: str = "places"
    rows: str = "rows"


@dataclass(frozen=True, slots=True)
class TapSchedule(Written):
    """Tiles of a `contract` that sums over the places of windows, whose columns are their taps: the
    gradient of a convolution's weights. rhs is read from a copy of the image, element by element,
    and lhs from panels, whose rows (m) run over the lanes; or places run over the lanes.

    Attributes:
        mr: channels (axes of n that do not slide) of a register tile.
        parts: of its taps, each of which has tiles of its own.
        nr: rows (m) of the register tile, a multiple of the lanes, unless places run over these.
        mc: rows (m) of a task, a multiple of nr.
        lanes: elements of a vector.
        block: points of the first slide that are copied at once.
        slides: one for each axis of k of more than one point from the first one that has taps, or
            whose points are copied together, on.
        form: how lhs is packed, "across" or "along", see `ContractSchedule`; or "places": it is
            read where it lies, and places run over the lanes.
        lines: of places that are written out together in the form "places".
    """

    mr: int
    parts: int
    nr: int
    mc: int
    lanes: int
    block: int
    slides: tuple[Slide, ...]
    form: str = "along"
    lines: int = 1


@dataclass(frozen=True, slots=True)
class Nest(Written):
    """The loops of one node.

    Attributes:
        groups: its axes, those in a group collapsed to one loop, outermost loop first. Axes of
            extent 1 are in none.
        vector: which group is computed in vectors (its loop is the innermost), or None.
        lanes: elements of such a vector; more than a register holds unrolls, and keeps as many
            accumulators of a reduction.
        tail: lanes of the loop over what is left: under a mask, or 1 for one by one.
        tile: (group, points): so many points of that group are run for each vector, so that the
            cache lines which an access across the rows brings in are used up; or None.
        turn: of a tile: side of the squares of it that are read by vectors along the tile's group
            and transposed in registers; 0: every point of the tile gathers what it reads.
        block: turns of a loop whose partial sums are added up before they join the total, which
            bounds the rounding error; 0 where it does not matter.
        recompute: of a row: its elements are computed again (or re-read) where they are used,
            instead of kept in scratch; of prefixes: along with the one loop that reads them.
        contract, windows, taps: tiles, for a `contract`: one of them.
        attend: tiles, for an `attend` or `attend_gradient`.
        sweep: of the outermost loop, whose body folds what is strided along the vectors: so many
            rows are read for each vector of a task's columns, in every pass over the rows; 0: one
            vector of columns after the other runs over all rows.
        shared: of the outermost loop, where it scatters (`ir/scattering.py`): (tasks, rows): so
            many tasks share the rows, of which they take turns to own so many; or None.
        together: of the outermost loop: points of it in a task, which meet at the same elements of
            what atomics join (`ir/parts.py`); 0: one.
        cuts: of the outermost loop, for each group: the comparisons (numbers of nodes of the body,
            borders ascending) at whose borders the loop over it is cut (`ir/borders.py`), which are
            along the first axis of the group; () where no loop is.
    """

    groups: tuple[tuple[int, ...], ...] = ()
    vector: int | None = None
    lanes: int = 1
    tail: int = 1
    tile: tuple[int, int] | None = None
    block: int = 0
    recompute: bool = False
    contract: ContractSchedule | None = None
    windows: WindowSchedule | None = None
    taps: TapSchedule | None = None
    attend: AttendSchedule | None = None
    sweep: int = 0
    turn: int = 0
    shared: tuple[int, int] | None = None
    together: int = 0
    cuts: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Schedule(Written):
    """How a kernel becomes loops.

    Attributes:
        nests: one for each scheduled node.
        task: elements of the vectorised axis of the outermost loop that one task computes.
        grain: fewest tasks that are worth a thread.
    """

    nests: tuple[Nest, ...]
    task: int = 1
    grain: int = 1


def scheduled_nodes(kernel: Region) -> Iterator[Node]:
    """The nodes of a kernel that have a `Nest`, outer before inner."""
    return (node for node in kernel.walk() if node.op.name in SCHEDULED)


def parse_schedule(text: str) -> Schedule | BlockSchedule:
    """The schedule that prints as `text`; ValueError where it is none."""
    result = read(text)
    if not isinstance(result, Schedule | BlockSchedule):
        raise ValueError(f"not a schedule: {text!r}")
    return result
