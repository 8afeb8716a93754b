"""Functions that texts of kernels call, in Triton's language: more than an expression each."""

from __future__ import annotations

from ....ir.ops.source import PHILOX_MULTIPLIERS, PHILOX_ROUNDS, PHILOX_WEYL

PHILOX = f"""
@triton.jit
def _philox(seed, offset, element):
    # Philox4x32-10 (Salmon et al., SC 2011); the counter is (element, offset).
    c0 = element.to(tl.uint32)
    c1 = (element >> 32).to(tl.uint32)
    c2 = offset.to(tl.uint32)
    c3 = (offset >> 32).to(tl.uint32)
    k0 = seed.to(tl.uint32)
    k1 = (seed >> 32).to(tl.uint32)
    ma = tl.full([], {PHILOX_MULTIPLIERS[0]}, tl.uint32)
    mb = tl.full([], {PHILOX_MULTIPLIERS[1]}, tl.uint32)
    for turn in tl.static_range({PHILOX_ROUNDS}):
        ha = tl.umulhi(c0, ma + tl.zeros_like(c0))
        hb = tl.umulhi(c2, mb + tl.zeros_like(c2))
        n0 = hb ^ c1 ^ k0
        n1 = c2 * mb
        n2 = ha ^ c3 ^ k1
        n3 = c0 * ma
        c0 = n0
        c1 = n1
        c2 = n2
        c3 = n3
        k0 = k0 + tl.full([], {PHILOX_WEYL[0]}, tl.uint32)
        k1 = k1 + tl.full([], {PHILOX_WEYL[1]}, tl.uint32)
    return c0, c1
"""
PHILOX_WORD = {
    32: """
@triton.jit
def _philox_32(seed, offset, element):
    low, high = _philox(seed, offset, element)
    return low
""",
    64: """
@triton.jit
def _philox_64(seed, offset, element):
    low, high = _philox(seed, offset, element)
    return low.to(tl.uint64) | (high.to(tl.uint64) << 32)
""",
}

# name -> (helpers that it calls, text)
HELPERS: dict[str, tuple[tuple[str, ...], str]] = {
    "_floor_div": (
        (),
        """
@triton.jit
def _floor_div(x, y):
    # of index expressions: rounds down, where Triton rounds to zero
    quotient = x // y
    rest = x - quotient * y
    return quotient - ((rest != 0) & ((rest < 0) != (y < 0))).to(tl.int32)
""",
    ),
    "_sign": (
        (),
        """
@triton.jit
def _sign(x):
    known = tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, 0.0)).to(x.dtype)
    return tl.where(x != x, x, known)
""",
    ),
    "_floor_div_uint": (
        (),
        """
@triton.jit
def _floor_div_uint(x, y):
    return tl.where(y == 0, x * 0, x // tl.where(y == 0, (y * 0) + 1, y))
""",
    ),
    "_remainder_uint": (
        (),
        """
@triton.jit
def _remainder_uint(x, y):
    return tl.where(y == 0, x * 0, x % tl.where(y == 0, (y * 0) + 1, y))
""",
    ),
    "_safe_divisor": (
        (),
        """
@triton.jit
def _safe_divisor(x, y, lowest: tl.constexpr):
    # neither 0 nor the -1 whose quotient is out of range
    return tl.where((y == 0) | ((x == lowest) & (y == -1)), (y * 0) + 1, y)
""",
    ),
    "_floor_div_int": (
        ("_safe_divisor",),
        """
@triton.jit
def _floor_div_int(x, y, lowest: tl.constexpr):
    safe = _safe_divisor(x, y, lowest)
    quotient = x // safe
    rest = x - quotient * safe
    down = ((rest != 0) & ((rest ^ safe) < 0)).to(x.dtype)
    return tl.where(y == 0, x * 0, quotient - down)
""",
    ),
    "_remainder_int": (
        ("_safe_divisor",),
        """
@triton.jit
def _remainder_int(x, y, lowest: tl.constexpr):
    safe = _safe_divisor(x, y, lowest)
    rest = x - (x // safe) * safe
    moved = tl.where((rest != 0) & ((rest ^ safe) < 0), rest + safe, rest)
    return tl.where(y == 0, x * 0, moved)
""",
    ),
    "_quotient": (
        (),
        """
@triton.jit
def _quotient(x, y, single: tl.constexpr):
    return tl.div_rn(x, y) if single else x / y
""",
    ),
    "_floor_div_float": (
        ("_quotient",),
        """
@triton.jit
def _floor_div_float(x, y, single: tl.constexpr):
    # by way of the exact remainder, as numpy does
    rest = libdevice.fmod(x, y)
    quotient = _quotient(x - rest, y, single)
    adjust = (rest != 0) & ((rest < 0) != (y < 0))
    quotient = tl.where(adjust, quotient - 1.0, quotient)
    floor = libdevice.floor(quotient)
    floor = tl.where(quotient - floor > 0.5, floor + 1.0, floor)
    ratio = _quotient(x, y, single)
    floor = tl.where(quotient == 0, libdevice.copysign(quotient * 0.0, ratio), floor)
    return tl.where(y == 0, ratio, floor)
""",
    ),
    "_remainder_float": (
        (),
        """
@triton.jit
def _remainder_float(x, y, single: tl.constexpr):
    rest = libdevice.fmod(x, y)
    adjust = (rest != 0) & ((rest < 0) != (y < 0))
    moved = tl.where(adjust, rest + y, rest)
    return tl.where(rest == 0, libdevice.copysign(moved * 0.0, y), moved)
""",
    ),
    "_integer_power": (
        (),
        """
@triton.jit
def _integer_power(x, y, signed: tl.constexpr, bits: tl.constexpr):
    # by squaring; a negative power of anything but 1 and -1 is 0
    result = (x * 0) + 1
    base = x + (y * 0)
    left = y + (x * 0)
    for turn in tl.static_range(bits):
        result = tl.where((left & 1) != 0, result * base, result)
        base = base * base
        left = left >> 1
    if signed:
        odd = tl.where((y & 1) != 0, x, (x * 0) + 1)
        inverse = tl.where(x == 1, x, tl.where(x == -1, odd, x * 0))
        result = tl.where(y < 0, inverse, result)
    return result
""",
    ),
    "_shift_left": (
        (),
        """
@triton.jit
def _shift_left(x, by, bits: tl.constexpr):
    inside = (by >= 0) & (by < bits)
    return tl.where(inside, x << tl.where(inside, by, by * 0), x * 0)
""",
    ),
    "_shift_right": (
        (),
        """
@triton.jit
def _shift_right(x, by, bits: tl.constexpr):
    inside = (by >= 0) & (by < bits)
    return tl.where(inside, x >> tl.where(inside, by, by * 0), x * 0)
""",
    ),
    "_shift_right_signed": (
        (),
        """
@triton.jit
def _shift_right_signed(x, by, bits: tl.constexpr):
    inside = (by >= 0) & (by < bits)
    return x >> tl.where(inside, by, (by * 0) + (bits - 1))
""",
    ),
}
