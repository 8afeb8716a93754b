"""How exactly a program is computed where a target has faster ways that are less exact."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Numerics:
    """What passes may choose between. A processor has one way, which is exact and reproducible.

    Attributes:
        tf32: products of float32 may be computed by tensor cores, which round their factors to
            10 bits behind the point.
        deterministic: equal inputs give equal bits on every run.
    """

    tf32: bool = False
    deterministic: bool = False


EXACT = Numerics()
