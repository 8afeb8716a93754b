"""The extents of axis variables, by the node whose region has them as parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .dims import Dim, free_of_axes, nonnegative
from .graph import Node

Extents = tuple[Dim | None, ...]


def param_extents(node: Node) -> tuple[Extents, ...]:
    """For each region of `node` and each of its parameters: the extent, where it is an axis.

    A value with the extent e lies in [0, e). This is the extent that slots of it have unless the
    text of a program says otherwise.
    """
    return region_extents(node.op.name, node.attrs, [len(r.params) for r in node.regions])


def region_extents(name: str, attrs: Mapping[str, Any], counts: list[int]) -> tuple[Extents, ...]:
    """`param_extents` of a node to be: op name, attributes, number of parameters by region."""
    return tuple(
        (leading + (None,) * count)[:count]
        for leading, count in zip(_leading(name, attrs, len(counts)), counts, strict=True)
    )


def _leading(name: str, attrs: Mapping[str, Any], regions: int) -> list[Extents]:
    none: list[Extents] = [()] * regions
    if name in ("parallel", "reduce", "row", "cumulate"):
        return [tuple(attrs["extents"]), *none[1:]]
    if name == "contract":
        batch, m, n, k = (tuple(attrs[key]) for key in ("batch", "m", "n", "k"))
        return [batch + m + k, batch + k + n, batch + m + n]
    if name == "for":
        lo, hi = attrs["lo"], attrs["hi"]
        counted = free_of_axes(hi) and free_of_axes(lo) and nonnegative(lo)
        return [(hi,)] if counted else none
    return none
