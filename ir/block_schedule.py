"""Schedules of blocks: how a kernel becomes programs that work on blocks of elements, for a GPU.

A `BlockSchedule` has one `BlockNest` for each node of `scheduled_nodes(kernel)`, in that order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .graph import Graph, Node
from .schedule_text import Written


@dataclass(frozen=True, slots=True)
class ContractBlocks(Written):
    """Blocks of a `contract`.

    Attributes:
        m, n, k: elements of a block along the axes m, n and k, each collapsed to one; powers of 2.
        group: so many blocks of rows are computed side by side, so that the columns that they read
            are still in the cache.
        swap: n runs over the rows of what tensor cores multiply, m over the columns.
        with_m, with_n: axes of the batch that run along m or n, in front of its axes, since the
            other operand is the same all along them.
        alone_m, alone_n: axes of m and n that do not, of which a program has one element.
        turns: axes of k of which a block has one element.
        halves: what is made of the sums is computed for half of the columns, then for the others.
        described: operands are read by descriptors, as whole blocks.
        programs: so many of them compute one block after the other; 0: there is one for each block.
        precision: how float32 is multiplied: "ieee" as it is, "tf32" by tensor cores, which round
            the factors.
    """

    m: int
    n: int
    k: int
    group: int = 8
    swap: bool = False
    with_m: tuple[int, ...] = ()
    with_n: tuple[int, ...] = ()
    alone_m: tuple[int, ...] = ()
    alone_n: tuple[int, ...] = ()
    turns: tuple[int, ...] = ()
    halves: bool = False
    described: bool = False
    programs: int = 0
    precision: str = "ieee"


@dataclass(frozen=True, slots=True)
class AttendBlocks(Written):
    """Blocks of an `attend` or `attend_gradient`: elements along the queries, the keys, the
    features and the width of values; powers of 2, of which those of the last two hold all. For
    `precision` see `ContractBlocks`."""

    queries: int
    keys: int
    features: int
    width: int
    precision: str = "ieee"


@dataclass(frozen=True, slots=True)
class BlockNest(Written):
    """The blocks of one node.

    Attributes:
        groups: its axes, those in a group collapsed to one, outermost first; inside of the
            outermost `parallel` one group of all axes. Axes of extent 1 are in none.
        block: elements of each group in a block, powers of 2; along a group of which it is 1
            there is one element at a time, and no dimension.
        walk: a program walks over all blocks of the group in a loop; else one block has them all.
            The blocks of the outermost `parallel` are different programs.
        keep: of a row: its elements stay in registers, instead of being computed again where they
            are used.
        contract: blocks, for a `contract`.
        attend: blocks, for an `attend` or `attend_gradient`.
    """

    groups: tuple[tuple[int, ...], ...] = ()
    block: tuple[int, ...] = ()
    walk: bool = False
    keep: bool = False
    contract: ContractBlocks | None = None
    attend: AttendBlocks | None = None


@dataclass(frozen=True, slots=True)
class BlockSchedule(Written):
    """How a kernel becomes a program for a block of its elements.

    Attributes:
        nests: one for each scheduled node.
        warps: of 32 threads, that run a program.
        stages: how many turns of a loop over products are loaded ahead.
        wide: whether offsets are numbers of 64 bits.
    """

    nests: tuple[BlockNest, ...]
    warps: int = 4
    stages: int = 1
    wide: bool = False


SPREAD = ("parallel", "many", "contract", "attend", "attend_gradient")


def grid_node(kernel: Graph) -> Node | None:
    """The node over whose points programs are spread: the last of the kernel, if no other has a
    region. None where the kernel is one program."""
    with_regions = [n for n in kernel.nodes if n.regions]
    if len(with_regions) != 1 or with_regions[0].op.name not in SPREAD:
        return None
    return with_regions[0] if with_regions[0] is kernel.nodes[-1] else None


def by_pointers(schedule: BlockSchedule) -> BlockSchedule:
    """`schedule` without descriptors, which begin at multiples of 16 bytes only."""
    nests = tuple(
        nest if nest.contract is None
        else replace(nest, contract=replace(nest.contract, described=False))
        for nest in schedule.nests
    )  # fmt: skip
    return replace(schedule, nests=nests)
