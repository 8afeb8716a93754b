"""Every table of samples."""

from __future__ import annotations

from public.samples import Table

from . import (
    activations,
    assembling,
    control,
    convolutions,
    corners,
    creating,
    fourier,
    layers,
    losses,
    mathematics,
    matrices,
    modules,
    ordering,
    reductions,
    shapes,
    tensors,
    transformations,
)

MODULES = [
    creating,
    mathematics,
    reductions,
    shapes,
    matrices,
    ordering,
    assembling,
    control,
    tensors,
    fourier,
    activations,
    losses,
    convolutions,
    layers,
    modules,
    transformations,
    corners,
]
TABLES: list[Table] = [module.TABLE for module in MODULES]
