"""Blocks of a `contract` for a GPU: what part of the result a program computes, in which steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

from ..ir.access import Expressions, accesses, axis_extents, coefficient, replace_var
from ..ir.block_schedule import ContractBlocks
from ..ir.dims import Dim, product, terms_of
from ..ir.dtypes import DType
from ..ir.gpu_target import GpuTarget
from ..ir.graph import Node, Region, Value
from ..ir.numerics import EXACT, Numerics
from .contract_axes import LEAST, UNKNOWN, arranged, sizes_in_blocks
from .contract_operands import innermost, side_of, strided

HOPPER = 90  # from this capability on, four warps multiply 64 rows at once
HOPPER_ROWS = 64
EDGES = 128  # multiply-adds in the time in which one more element of both operands is read
WARP_SUMS = 2048  # of a block, for each warp
PLACES = 4096  # elements of a block whose places, one by one, fill the registers of 4 warps
DESCRIBED = 8  # blocks of k for which a program makes descriptors
FUNCTION = 10  # cost of an op that needs many registers, such as an exponential
NEXT = 4  # tiles that are tried out
AHEAD = 1 << 15  # bytes under way to a multiprocessor, so that its share of memory is used


def schedule_contract_blocks(
    node: Node, target: GpuTarget, numerics: Numerics = EXACT
) -> tuple[ContractBlocks, int, int]:
    """(blocks, warps, stages) of a `contract` node."""
    return _Chooser(node, target, numerics).choose()


def contract_choices(
    node: Node, target: GpuTarget, numerics: Numerics = EXACT
) -> Iterator[tuple[ContractBlocks, int, int]]:
    """What comes into question beside that, best first; some may ask too much of the GPU."""
    yield from _Chooser(node, target, numerics).others()


class _Chooser:
    def __init__(self, node: Node, target: GpuTarget, numerics: Numerics) -> None:
        self.node = node
        self.target = target
        self.dtype: DType = node.attrs["dtype"]
        self.tf32 = numerics.tf32 and self.dtype.name == "f32"
        self.cores = self.dtype.is_low_precision or self.tf32  # tensor cores multiply these
        self.axes = arranged(node)
        self.batch, self.m, self.n, self.k = map(_points, sizes_in_blocks(node, self.axes))
        self.turns = _points([node.attrs["k"][axis] for axis in self.axes.turns])

    def choose(self) -> tuple[ContractBlocks, int, int]:
        swap = self._swapped()
        rows, columns = (self.n, self.m) if swap else (self.m, self.n)
        tiles = self._tiles(rows, columns)
        return self._made(*min(tiles, key=lambda tile: self._cost(tile, rows, columns)), swap)

    def others(self) -> Iterator[tuple[ContractBlocks, int, int]]:
        """`choose` with other tiles, depths, warps and stages."""
        swap = self._swapped()
        rows, columns = (self.n, self.m) if swap else (self.m, self.n)
        tiles = sorted(self._tiles(rows, columns), key=lambda t: self._cost(t, rows, columns))
        if self._most() >= 256 * 128 and tiles[0][0] == 128 and rows >= 256 and columns >= 128:
            tiles.insert(1, (256, 128))
        blocks, warps, stages = self._made(*tiles[0], swap)
        if blocks.described:
            yield replace(blocks, programs=0), warps, stages
            yield replace(blocks, described=False, programs=0), warps, stages
        for tile in tiles[1:NEXT]:
            yield self._made(*tile, swap)
        if not self._by_blocks():
            return
        for tile in tiles[:2]:
            other, used, ahead = self._made(*tile, swap)
            yield other, 4 if used == 8 else 8, ahead
        for k in (2 * blocks.k, blocks.k // 2):
            if LEAST <= k <= max(LEAST, _power(self.k)):
                yield self._made(*tiles[0], swap, k)
        yield blocks, warps, stages + 1
        if stages > 1:
            yield blocks, warps, stages - 1

    def _made(
        self, r: int, c: int, swap: bool, depth: int | None = None
    ) -> tuple[ContractBlocks, int, int]:
        """Blocks of so many rows and columns of what tensor cores multiply, and what follows."""
        k = depth or self._depth(r * c)
        long = _ceil(self.k, k) >= DESCRIBED
        described = r >= HOPPER_ROWS and long and self._matrices()
        halves = r * c > 128 * 128 and self._reads()
        blocks = ContractBlocks(
            *((c, r) if swap else (r, c)),
            k,
            swap=swap,
            **asdict(self.axes),
            halves=halves,
            described=described,
            programs=self._programs(r, c) if described else 0,
            precision="tf32" if self.tf32 else "ieee",
        )
        if not self._by_blocks():
            return blocks, 4, 1
        warps = max(4, min(8, r * c // WARP_SUMS))
        if self._windows() and max(r, c) * k >= PLACES:
            warps = 8
        return blocks, warps, self._stages(r + c, k)

    def _windows(self) -> bool:
        """Whether elements of an operand are looked for one by one, as those of windows are."""
        return any(
            node.op.name == "load" and node.attrs.get("guarded")
            for region in self.node.regions[:2]
            for node in region.walk()
        )

    def _matrices(self) -> bool:
        """Whether both operands are matrices as they lie, that the hardware copies block by block:
        what lies beside each other does so, and all else at multiples of 16 bytes."""
        attrs, axes = self.node.attrs, self.axes
        apart = (axes.with_m, axes.with_n, axes.alone_m, axes.alone_n, axes.turns)
        if not self.dtype.is_low_precision or self.target.capability < HOPPER or any(apart):
            return False
        b, m, k = (len(attrs[name]) for name in ("batch", "m", "k"))
        lhs, rhs, _ = self.node.regions
        left = lhs.params[b : b + m], lhs.params[b + m :]
        right = rhs.params[b + k :], rhs.params[b : b + k]
        return self._is_matrix(lhs, *left, attrs["m"]) and self._is_matrix(rhs, *right, attrs["n"])

    def _is_matrix(
        self, region: Region, own: Sequence[Value], k: Sequence[Value], sizes: Sequence[Dim]
    ) -> bool:
        side = side_of(region, own, k, sizes, self.node.attrs["k"])
        if not side.plain or (side.own_runs, side.k_runs) != (1, 1):
            return False
        (access,), line = side.accesses, 16 // self.dtype.itemsize
        steps = [coefficient(access.offset, axes[-1]) for axes in (side.own, side.k)]
        known = [s for s in steps if isinstance(s, int) and s > 0]
        if len(known) < 2 or 1 not in known:
            return False
        at_zero = dict.fromkeys((*side.own, *side.k), 0)
        rest = [c for _, c in terms_of(replace_var(access.offset, at_zero))]
        return all(c % line == 0 for c in (*rest, *(s for s in known if s != 1)))

    def _programs(self, r: int, c: int) -> int:
        """Programs that take one block after the other, so that the next is read while this one is
        stored; 0 where each has a block. Of a batch each matrix has a descriptor of its own."""
        rows, columns = (self.n, self.m) if self._swapped() else (self.m, self.n)
        blocks = _ceil(rows, r) * _ceil(columns, c)
        many = self.batch == 1 and blocks > self.target.multiprocessors
        return self.target.multiprocessors if many else 0

    def _reads(self) -> bool:
        """Whether the sums meet something from memory."""
        return any(node.op.name == "load" for node in self.node.regions[2].walk())

    def _by_blocks(self) -> bool:
        """Whether blocks are multiplied as a whole, instead of one column by one row at a time."""
        return self.dtype.is_float

    def _swapped(self) -> bool:
        """Whether n runs over the rows of blocks: few rows would leave instructions that multiply
        64 at once empty; else what is contiguous in the result should be so in a block."""
        if self.cores and self.target.capability >= HOPPER and self.m < HOPPER_ROWS <= self.n:
            return True
        if self.cores and self.target.capability >= HOPPER and self.n < HOPPER_ROWS <= self.m:
            return False
        attrs, out = self.node.attrs, self.node.regions[2]
        b, first = len(attrs["batch"]), len(attrs["batch"]) + len(attrs["m"])
        m_params, n_params = out.params[b:first], out.params[first:-1]
        sizes = dict(zip((*m_params, *n_params), (*attrs["m"], *attrs["n"]), strict=True))
        found = accesses(out, Expressions({**axis_extents(out), **sizes}))
        stores = [a for a in found if a.writes]
        if not stores:
            return False
        along_n = strided(stores[:1], innermost(n_params, attrs["n"])) == 0
        along_m = strided(stores[:1], innermost(m_params, attrs["m"])) == 0
        return along_m and not along_n

    def _tiles(self, rows: int, columns: int) -> Iterator[tuple[int, int]]:
        """Blocks that come into question: of those larger the sums would find no registers."""
        most = self._most()
        for r in _powers(LEAST, 128, rows):
            for c in _powers(LEAST, 256, columns):
                if r * c <= most:
                    yield r, c

    def _most(self) -> int:
        """Sums of a block, at most."""
        if not self._by_blocks():
            return 32 * 32
        functions = any(n.op.cost >= FUNCTION for n in self.node.regions[2].walk())
        if self.cores and self.target.capability >= HOPPER and not functions:
            return 128 * 256
        return 64 * 64 if self.dtype.itemsize == 8 else 128 * 128

    def _cost(self, tile: tuple[int, int], rows: int, columns: int) -> float:
        """Of all blocks: what the multiprocessors do one after the other, multiplying and reading.
        Among equal ones the larger blocks."""
        r, c = tile
        blocks = self.batch * _ceil(rows, r) * _ceil(columns, c)
        rounds = max(1, _ceil(blocks, self.target.multiprocessors))
        return rounds * (r * c + EDGES * (r + c)) - r * c / 1e6

    def _depth(self, sums: int) -> int:
        few = self.tf32 or sums <= 64 * 64
        most = {2: 64, 4: 32 if few else 16}.get(self.dtype.itemsize, 16)
        return max(LEAST, min(most, _power(self.k)))

    def _stages(self, edges: int, k: int) -> int:
        """Blocks that are loaded ahead: as much as keeps memory busy, where there are so many and
        they fit."""
        size = edges * k * self.dtype.itemsize
        wanted = max(3, min(6, 1 + _ceil(AHEAD, size)))
        room = self.target.shared_bytes * 7 // 8 // size
        return max(1, min(wanted, self.turns * _ceil(self.k, k), room))


def _points(extents: Sequence[Dim]) -> int:
    found = product(extents)
    return found if isinstance(found, int) else UNKNOWN


def _powers(least: int, most: int, extent: int) -> Iterator[int]:
    """Powers of two from `least` to the first that `extent` fits into."""
    size = least
    while True:
        yield size
        if size >= most or size >= extent:
            return
        size *= 2


def _power(count: int) -> int:
    """The least power of two that is not below `count`."""
    return 1 << max(0, count - 1).bit_length()


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
