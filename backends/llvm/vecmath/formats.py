"""The floating-point types that vector functions are written for."""

from __future__ import annotations

import math
import struct
from typing import NamedTuple


class Format(NamedTuple):
    """What the algorithms need to know of a floating-point type."""

    kind: str
    integer: str
    width: int
    mantissa: int
    bias: int
    magic: float  # adding it rounds to an integer, which then lies in the low mantissa bits
    smallest: float  # the smallest normal number
    largest: float

    @property
    def sign(self) -> int:
        return -(1 << (self.width - 1))

    def bits(self, number: float) -> int:
        """The bit pattern as a signed integer."""
        return struct.unpack("<i" if self.width == 32 else "<q", self.pack(number))[0]

    def pack(self, number: float) -> bytes:
        return struct.pack("<f" if self.width == 32 else "<d", number)

    def previous(self, number: float) -> float:
        """The next smaller float, for a positive one."""
        bits = self.bits(number) - 1
        return struct.unpack(
            "<f" if self.width == 32 else "<d", bits.to_bytes(self.width // 8, "little")
        )[0]

    def round(self, number: float) -> float:
        return struct.unpack("<f" if self.width == 32 else "<d", self.pack(number))[0]


F32 = Format("f32", "i32", 32, 23, 127, 1.5 * 2.0**23, 2.0**-126, float.fromhex("0x1.fffffep127"))
F64 = Format(
    "f64", "i64", 64, 52, 1023, 1.5 * 2.0**52, 2.0**-1022, float.fromhex("0x1.fffffffffffffp1023")
)
FORMATS = {"f32": F32, "f64": F64}
INF = math.inf
NAN = math.nan
