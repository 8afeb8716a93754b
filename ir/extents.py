"""The extents of axis variables, by the node whose region has them as parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .dims import Dim, free_of_axes, nonnegative
from .graph import Node
from .ops.attend import region_axes

Extents = tuple[Dim | None, ...]


def param_extents(node: Node) -> tuple[Extents, ...]:
    """For each region of `node` and each of its parameters: the extent, where it is an axis.

    A value with the extent e lies in [0, e). This is the extent that slots of it have unless the
    text of a program says otherwise.
    """
    found = []
    for position, region in enumerate(node.regions):
        axes = axis_extents(node.op.name, node.attrs, position)
        found.append((*axes, *(None,) * len(region.params))[: len(region.params)])
    return tuple(found)


def axis_extents(name: str, attrs: Mapping[str, Any], region: int) -> Extents:
    """The extents of the leading parameters of region number `region` of an op."""
    if name in ("parallel", "reduce", "row", "cumulate", "arrange"):
        return tuple(attrs["extents"]) if region == 0 else ()
    if name == "contract":
        batch, m, n, k = (tuple(attrs[key]) for key in ("batch", "m", "n", "k"))
        return (batch + m + k, batch + k + n, batch + m + n)[region]
    if name in ("attend", "attend_gradient"):
        return region_axes(name, attrs, region)
    if name == "for":
        lo, hi = attrs["lo"], attrs["hi"]
        counted = free_of_axes(hi) and free_of_axes(lo) and nonnegative(lo)
        return (hi,) if counted else ()
    return ()
