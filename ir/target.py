"""What a schedule needs to know of the machine that a kernel is compiled for."""

from __future__ import annotations

from dataclasses import dataclass

from .dtypes import DType
from .gpu_target import GpuTarget


@dataclass(frozen=True, slots=True)
class Target:
    """A processor, as data. A backend fills it in; passes read it.

    Attributes:
        name: how a user chooses it, e.g. "host", "x86-64-v3", "aarch64".
        triple, cpu, features: what the code generator is told.
        vector_bytes: width of a vector register.
        registers: number of vector registers.
        fma: whether a multiply-add rounds once.
        masks: whether any lane of a vector load or store can be switched off at no cost.
        half: whether f16 is converted to and from f32 by an instruction.
        matrix: names of the dtypes whose tiles a matrix unit multiplies (`ir/ops/matrix.py`).
        l1, l2, l3: bytes of the data caches, l3 as shared by all cores.
        threads: how many run at a time.
    """

    name: str
    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    fma: bool
    masks: bool
    half: bool
    l1: int
    l2: int
    l3: int
    threads: int
    matrix: tuple[str, ...] = ()

    def lanes(self, dtype: DType) -> int:
        """How many elements of `dtype` one register holds; f16 and bf16 are computed in f32."""
        return self.vector_bytes // (4 if dtype.is_low_precision else dtype.itemsize)


AnyTarget = Target | GpuTarget
