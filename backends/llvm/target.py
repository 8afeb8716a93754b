"""Descriptions of the processors that the LLVM backend compiles for."""

from __future__ import annotations

import functools
from dataclasses import replace

from ...ir.target import Target
from .amx import tiles_permitted
from .native import Identity, host


@functools.cache
def host_target(
    cpu: str = "host", threads: int | None = None, known: Identity | None = None
) -> Target:
    """The target for `cpu`: "host", "x86-64" (SSE2), "x86-64-v3" (AVX2), "x86-64-v4" (AVX-512)
    or "aarch64" (NEON), with this machine's caches and cores (`threads`, where given). `known` as
    for `native.host`.

    Raises:
        ValueError: another name.
    """
    info = host(cpu, known)
    x86 = info.triple.startswith("x86_64")
    wide = info.vector_bytes == 64
    flags = set(info.features.split(","))
    target = Target(
        name=cpu,
        triple=info.triple,
        cpu=info.cpu,
        features=info.features,
        vector_bytes=info.vector_bytes,
        registers=32 if wide or not x86 else 16,
        fma=not x86 or info.vector_bytes >= 32,
        masks=wide,
        half=not x86 or info.vector_bytes >= 32,
        l1=info.l1d,
        l2=info.l2,
        l3=info.l3,
        threads=info.cores,
        matrix=_matrix_dtypes(flags) if wide and info.runnable else (),
    )
    return target if threads is None else replace(target, threads=threads)


_UNITS = {"bf16": "+amx-bf16", "f16": "+amx-fp16"}


def _matrix_dtypes(flags: set[str]) -> tuple[str, ...]:
    """What the matrix unit multiplies, where there is one that this process may use."""
    found = tuple(dtype for dtype, flag in _UNITS.items() if {flag, "+amx-tile"} <= flags)
    return found if found and tiles_permitted() else ()
