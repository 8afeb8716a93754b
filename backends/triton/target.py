"""Descriptions of the GPUs that the Triton backend compiles for."""

from __future__ import annotations

from ...ir.gpu_target import GpuTarget

# CUDA C Programming Guide, "Compute Capabilities", and the data sheets of A100, L40 and H200.
_KNOWN = {
    "sm_80": GpuTarget("sm_80", 80, 108, 166_912, 40 << 20),
    "sm_89": GpuTarget("sm_89", 89, 142, 101_376, 96 << 20),
    "sm_90": GpuTarget("sm_90", 90, 132, 232_448, 50 << 20),
}


def gpu_target(name: str) -> GpuTarget:
    """The target "sm_80" (A100), "sm_89" (L40) or "sm_90" (H100, H200).

    Raises:
        ValueError: another name.
    """
    if name not in _KNOWN:
        raise ValueError(f"no GPU {name!r} is known: {', '.join(_KNOWN)}")
    return _KNOWN[name]
