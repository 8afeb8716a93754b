"""Tiles of an attention kernel for a target: register tile, blocks, how panels are filled."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.access import Expressions, accesses, axis_extents, coefficient
from ..ir.dims import Dim, product
from ..ir.graph import Node, Value
from ..ir.ops.attend import AXES, extents_of
from ..ir.ops.attention import part_size
from ..ir.schedule import AttendSchedule
from ..ir.target import Target

QUERIES = {"attend": 512, "attend_gradient": 128}  # of a block: so often serves a packed key
KEYS = 256  # of a block, at most
TASKS = 2  # for each thread, if there are queries enough


def schedule_attend(node: Node, target: Target) -> AttendSchedule:
    """The schedule of an `attend` or `attend_gradient` node."""
    attrs = node.attrs
    (queries,), (keys,), (features,), (width,) = extents_of(attrs, "lsev")
    if "parts" in attrs:
        assert isinstance(keys, int), "keys that are cut are a number"
        keys = part_size(keys, attrs["parts"])
    acc = attrs["acc"]
    lanes = target.lanes(acc)
    vectors = 1 if isinstance(queries, int) and queries <= lanes else 2
    # Beside the sums: the vectors of one step, and an element of the other side.
    spare = (2 if target.fma else 4) if vectors == 2 else 5
    mr = max(1, min((target.registers - spare - vectors) // vectors, 16))
    if isinstance(keys, int):
        mr = max(1, _ceil(keys, _ceil(max(keys, 1), mr)))
    nr = vectors * lanes
    deep = sum(d if isinstance(d, int) else 64 for d in (features, width))
    fits = min(target.l1 // 3 // (nr * acc.itemsize), target.l2 // 8 // (deep * acc.itemsize), KEYS)
    block = max(1, fits // mr)
    if isinstance(keys, int):
        panels = max(1, _ceil(keys, mr))
        block = _ceil(panels, _ceil(panels, block))
    most = min(QUERIES[node.op.name] // nr, target.l2 // 4 // (deep * nr * acc.itemsize))
    rows = _query_panels(node, target, queries, nr, max(1, most))
    forms = {
        part: _form(node, part)
        for part in ("query", "mask", "factor", "cotangent")
        if part in AXES[node.op.name]
    }
    return AttendSchedule(mr, nr, rows * nr, block * mr, lanes, **forms)


def _query_panels(node: Node, target: Target, queries: Dim, nr: int, most: int) -> int:
    """Panels of a block of queries, `most` at most."""
    if not isinstance(queries, int):
        return most
    panels = max(1, _ceil(queries, nr))
    most = min(most, panels)
    blocks = _ceil(panels, most)
    if node.op.name == "attend":  # each block is a task
        batch, groups = extents_of(node.attrs, "bg")
        others = product((*batch, *groups))
        if isinstance(others, int) and others:
            blocks = max(blocks, min(panels, _ceil(TASKS * target.threads, others)))
    return _ceil(panels, blocks)


def _form(node: Node, part: str) -> str:
    """Vectors over the queries, or over the other axis where that has fewer strided loads."""
    number = list(AXES[node.op.name]).index(part)
    region = node.regions[number]
    parts = extents_of(node.attrs, AXES[node.op.name][part])
    extents = dict(zip(region.params, (n for part in parts for n in part), strict=True))
    found = accesses(region, Expressions({**axis_extents(region), **extents}))
    offsets = [a.offset for a in found]
    queries, other = region.params[-2], region.params[-1]
    return "along" if _strided(offsets, other) < _strided(offsets, queries) else "across"


def _strided(offsets: Sequence[Dim], variable: Value) -> int:
    """How many accesses are neither the same nor neighbours for neighbours along `variable`."""
    return sum(coefficient(offset, variable) not in (0, 1) for offset in offsets)


def _ceil(a: int, b: int) -> int:
    return (a + b - 1) // b
