"""The ops: one module a kind. Importing this package fills `OPS`."""

from . import (
    contraction,
    control,
    control_flow,
    custom,
    elementwise,
    indexed,
    kernel,
    linalg,
    loop,
    paired,
    reduction,
    sorting,
    source,
    view,
)
from .base import OPS, Attrs, Kind, Monoid, Op, Piece, TypeRuleError, active

__all__ = [
    "OPS",
    "Attrs",
    "Kind",
    "Monoid",
    "Op",
    "Piece",
    "TypeRuleError",
    "active",
    "contraction",
    "control",
    "control_flow",
    "custom",
    "elementwise",
    "indexed",
    "kernel",
    "linalg",
    "loop",
    "paired",
    "reduction",
    "sorting",
    "source",
    "view",
]
