"""Philox4x32-10 (Salmon et al., SC 2011) in 64-bit lanes whose upper halves are zero."""

from __future__ import annotations

from ....ir.ops.source import PHILOX_MULTIPLIERS, PHILOX_ROUNDS, PHILOX_WEYL
from .writer import Writer


def philox_bits(
    w: Writer, lanes: int | None, bits: int, seed: str, offset: str, element: str
) -> str:
    """The random u32 or u64 (`bits`) of an element; operands and rounds are as in `rng_bits`."""

    def op(how: str, a: str, b: str) -> str:
        return w.binary(how, "i64", lanes, a, b)

    def number(value: int) -> str:
        return w.splat("i64", lanes, str(value))

    def halves(value: str) -> list[str]:
        return [op("and", value, low), op("lshr", value, half)]

    low, half = number(0xFFFFFFFF), number(32)
    c, k = [*halves(element), *halves(offset)], halves(seed)
    for turn in range(PHILOX_ROUNDS):
        if turn:
            k = [
                op("and", op("add", word, number(step)), low)
                for word, step in zip(k, PHILOX_WEYL, strict=True)
            ]
        a, b = (op("mul", c[2 * i], number(PHILOX_MULTIPLIERS[i])) for i in (0, 1))
        (a_low, a_high), (b_low, b_high) = halves(a), halves(b)
        c = [
            op("xor", op("xor", b_high, c[1]), k[0]),
            b_low,
            op("xor", op("xor", a_high, c[3]), k[1]),
            a_low,
        ]
    if bits == 32:
        return w.convert("trunc", c[0], "i64", "i32", lanes)
    return op("or", c[0], op("shl", c[1], half))
