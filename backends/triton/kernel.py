"""What a kernel is once it is Triton text: everything that compiling and launching it needs."""

from __future__ import annotations

from dataclasses import dataclass

from ...ir.dims import Dim


@dataclass(frozen=True, slots=True)
class TritonKernel:
    """A kernel as the text of one function.

    Attributes:
        name: of the function.
        source: a module's text. It needs `tl` and `triton`, and `libdevice`, NVIDIA's library of
            functions (`triton.language.extra.cuda.libdevice`), in its namespace.
        arguments: (name, Triton's type) of each parameter of the function, in order: a pointer,
            such as "*fp32", for each buffer of the kernel, then an "i64" for each of its size
            symbols, in the order of `kernel_symbols`. It has no constexpr parameters.
        divisible: positions of the arguments that are multiples of 16 (pointers: aligned to it).
        grid: how many programs run, along x, y and z, over the size symbols. Where one of them is
            0 nothing is launched.
        warps: of a program.
        stages: how many turns of a loop over products are loaded ahead.
        fusing: whether a product and a sum may become one instruction that rounds once.
    """

    name: str
    source: str
    arguments: tuple[tuple[str, str], ...]
    divisible: tuple[int, ...]
    grid: tuple[Dim, Dim, Dim]
    warps: int
    stages: int = 1
    fusing: bool = False
