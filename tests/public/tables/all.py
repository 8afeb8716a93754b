"""Every table of samples."""

from __future__ import annotations

from public.samples import Table

from . import assembling, control, creating, mathematics, matrices, ordering, reductions, shapes

TABLES: list[Table] = [
    creating.TABLE,
    mathematics.TABLE,
    reductions.TABLE,
    shapes.TABLE,
    matrices.TABLE,
    ordering.TABLE,
    assembling.TABLE,
    control.TABLE,
]
