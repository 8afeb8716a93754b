"""Every table of samples."""

from __future__ import annotations

from public.samples import Table

from . import mathematics, reductions, shapes

TABLES: list[Table] = [mathematics.TABLE, reductions.TABLE, shapes.TABLE]
