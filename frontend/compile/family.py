"""Calls that may share programs, and what is assumed of their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..tensor import Tensor
from .program import Program

Place = tuple[int, int]  # number of a leaf, axis


class Family:
    """Calls that differ in sizes and numbers only, and the programs that serve them.

    Attributes:
        symbols: for (leaf, axis), the name of the size symbol that stands there.
        fixed: (leaf, axis) that must be numbers, though they may vary.
        numbers: leaves whose Python number is part of the signature.
        whole: leaves that share memory with another and are seen as views of it.
    """

    def __init__(self) -> None:
        self.programs: list[Program] = []
        self.seen: dict[Place, set[int]] = {}
        self.symbols: dict[Place, str] = {}
        self.fixed: set[Place] = set()
        self.numbers: set[int] = set()
        self.whole: set[int] = set()
        self.warned = False


class Sizes:
    """What one trace assumes of sizes.

    Attributes:
        symbols: as in `Family`, without those that are numbers here; equal ones have one name.
        exact: the sizes of the call at hand decide comparisons, not the largest seen.
    """

    def __init__(self, symbols: dict[Place, str], exact: bool = False) -> None:
        self.symbols = dict(symbols)
        self.exact = exact

    def at(self, leaves: Sequence[Any]) -> dict[str, int]:
        """The values of the symbols in a call."""
        return {
            name: shape_of(leaves[position])[axis]
            for (position, axis), name in self.symbols.items()
        }


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """The sizes of an eager tensor."""
    return tensor.spec.shape  # type: ignore[return-value]
