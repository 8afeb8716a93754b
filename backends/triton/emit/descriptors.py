"""Tensor descriptors: whole blocks of a matrix are copied to shared memory by the hardware.

For operands that are elements of one buffer as they lie, at an offset that is affine in both axes.
"""

from __future__ import annotations

from dataclasses import dataclass

from ....ir.access import coefficient, flat_offset, replace_var
from ....ir.dims import Dim
from ....ir.graph import Region, Value
from .emitter import Emitter
from .scope import Scope


@dataclass(frozen=True, slots=True)
class Line:
    """An axis of a matrix: what stands for its index, its extent, and the elements of a block."""

    flat: Value
    count: Dim
    size: int


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A descriptor in the text, called `name`, of blocks [own, k], or the other way round where the
    elements of k do not lie beside each other."""

    name: str
    along_k: bool

    def load(self, own: str, k: str, k_first: bool) -> str:
        """The block from these elements on, as [k, own] or [own, k]; 0 behind the end."""
        first, second = (own, k) if self.along_k else (k, own)
        places = ", ".join(f"tl.cast({place}, tl.int32)" for place in (first, second))
        turned = k_first == self.along_k
        return f"{self.name}.load([{places}]){'.T' if turned else ''}"


def described(e: Emitter, scope: Scope, region: Region, own: Line, k: Line) -> Descriptor:
    """The descriptor of the operand that `region` loads, whose parameters `scope` knows."""
    inner = scope.inner()
    *before, load = region.nodes
    e.run_nodes(before, inner)
    buffer = load.operands[0]
    index = tuple(e.apply(dim, load.operands, inner) for dim in load.attrs["index"])
    offset = flat_offset(buffer.type, index)
    base = e.number(replace_var(offset, {own.flat: 0, k.flat: 0}), inner).text
    along_k = coefficient(offset, k.flat) == 1
    rows, columns = (own, k) if along_k else (k, own)
    stride = coefficient(offset, rows.flat)
    shape = [f"tl.cast({e.number(line.count, inner).text}, tl.int32)" for line in (rows, columns)]
    pointer = scope.find("buffers", buffer)
    start = pointer if base == "0" else f"{pointer} + {base}"
    text = f"[{', '.join(shape)}], [{stride}, 1], [{rows.size}, {columns.size}]"
    return Descriptor(e.w.let("blocks", f"tl.make_tensor_descriptor({start}, {text})"), along_k)
