"""sin, cos, tan.

sin and cos subtract the nearest multiple of pi (the nearest odd one of pi/2) in three parts; of
what remains the sine is an odd polynomial. Where a lane is beyond `LIMIT`, a branch leads to an
exact reduction in wide integers, lane by lane.
"""

from __future__ import annotations

from fractions import Fraction

from .coefficients import COEFFICIENTS
from .constants import PI, split
from .exponential import odd_polynomial
from .formats import F64, NAN
from .writer import Value, Writer

LIMIT = {"f32": 2.0**17, "f64": 2.0**20}


def sin(w: Writer, x: Value) -> Value:
    r, n = _reduce(w, x, "sin", PI, shift=False)
    return _signed_sine(w, r, n)


def cos(w: Writer, x: Value) -> Value:
    r, n = _reduce(w, x, "cos", PI, shift=True)
    return _signed_sine(w, r, n + 1)


def _signed_sine(w: Writer, r: Value, n: Value) -> Value:
    """sin(r) * (-1)**n; the sign is set, not flipped: the polynomial loses that of r = -0."""
    sign = w.flip(r, n << (w.format.width - 1))
    if w.dtype == "f64":
        return w.copysign(odd_polynomial(w, r, "sin64"), sign)
    g = w.polynomial(r * r, COEFFICIENTS["sin32", w.dtype], exact=True)
    return w.copysign(
        w.fma((r * g) * r, r, r), sign
    )  # r*r only inside g: its rounding would show near pi/2


def tan(w: Writer, x: Value) -> Value:
    r, n = _reduce(w, x, "tan", PI / 2, shift=False)
    t = odd_polynomial(w, r, "tan")
    odd = w.ne(n & 1, 0)
    return w.select(odd, -1.0, t) / w.select(odd, t, 1.0)


def _reduce(w: Writer, x: Value, name: str, unit: Fraction, shift: bool) -> tuple[Value, Value]:
    """r and an integer n, x = r + (n + shift/2) unit, |r| <= unit/2; only n's last bit counts."""
    high, middle, low = split(w.dtype, unit, 3)
    inverse = float(1 / unit)
    if shift:
        n, bits = w.nearest(w.mad(x, inverse, -0.5), 1.0)
        n = n + 0.5
    else:
        n, bits = w.nearest(x, inverse)
    r = w.fma(n, -high, x)
    r = w.fma(n, -middle, r)
    r = w.fma(n, -low, r)
    return _replace_large(w, x, r, bits, name, unit, shift)


def _replace_large(
    w: Writer, x: Value, r: Value, n: Value, name: str, unit: Fraction, shift: bool
) -> tuple[Value, Value]:
    """Where |x| is large, r and n of the exact reduction; a branch, since that is rare."""
    large = w.abs(x) > LIMIT[w.dtype]
    pair = f"{{ {w.type(w.dtype)}, {w.type(n.kind)} }}"
    symbol = f"@sley.{name}.reduce.{w.suffix(w.dtype)}"
    one = _scalar_reduction(w, f"{symbol}.lane" if w.lanes > 1 else symbol, unit, shift)
    w.helpers.append(one)
    if w.lanes > 1:
        w.helpers.append(_each_lane(w, symbol, n.kind))
    any_large = w.any(large)
    start = w.block
    w.lines.append(f"  br i1 {any_large.ref}, label %large, label %join")
    w.open_block("large")
    both = w.emit_raw(f"call {pair} {symbol}({w.type(w.dtype)} {x.ref})")
    r_large = w.select(large, w.emit(f"extractvalue {pair} {both}, 0", w.dtype), r)
    n_large = w.select(large, w.emit(f"extractvalue {pair} {both}, 1", n.kind), n)
    w.lines.append("  br label %join")
    w.open_block("join")

    def either(old: Value, new: Value) -> Value:
        phi = f"phi {w.type(old.kind)} [ {old.ref}, %{start} ], [ {new.ref}, %large ]"
        return w.emit(phi, old.kind)

    return either(r, r_large), either(n, n_large)


def _each_lane(w: Writer, symbol: str, integer: str) -> str:
    """The vector form of the exact reduction: a loop over lanes."""
    vector, ints = w.type(w.dtype), w.type(integer)
    scalar = "float" if w.dtype == "f32" else "double"
    pair, one = f"{{ {vector}, {ints} }}", f"{{ {scalar}, {integer} }}"
    return f"""define internal {pair} {symbol}({vector} %x) noinline cold nounwind {{
entry:
  br label %loop
loop:
  %i = phi i32 [ 0, %entry ], [ %next, %loop ]
  %r = phi {vector} [ zeroinitializer, %entry ], [ %r1, %loop ]
  %n = phi {ints} [ zeroinitializer, %entry ], [ %n1, %loop ]
  %e = extractelement {vector} %x, i32 %i
  %p = call {one} {symbol}.lane({scalar} %e)
  %pr = extractvalue {one} %p, 0
  %pn = extractvalue {one} %p, 1
  %r1 = insertelement {vector} %r, {scalar} %pr, i32 %i
  %n1 = insertelement {ints} %n, {integer} %pn, i32 %i
  %next = add i32 %i, 1
  %more = icmp ult i32 %next, {w.lanes}
  br i1 %more, label %loop, label %done
done:
  %a = insertvalue {pair} poison, {vector} %r1, 0
  %b = insertvalue {pair} %a, {ints} %n1, 1
  ret {pair} %b
}}
"""


def _scalar_reduction(w: Writer, symbol: str, unit: Fraction, shift: bool) -> str:
    """x / unit modulo 2 in fixed point: the significand times a window of the bits of 1/unit."""
    s = Writer(w.dtype, 1, w.has_fma)
    f = s.format
    size, above = (128, f.bias - f.mantissa) if w.dtype == "f32" else (256, f.bias - f.mantissa)
    wide = f"i{size}"
    table = f"i{(size + f.bias + 63) // 64 * 64}"
    bits = s.as_int(Value(s, w.dtype, "%x"))
    magnitude = bits & ~f.sign
    significand = (magnitude & ((1 << f.mantissa) - 1)) | (1 << f.mantissa)
    # the window ends `size - 1` bits below the unit's one bit, seen from the significand's last bit
    offset = (f.bias + f.mantissa + above) - magnitude.shift_right(f.mantissa)
    constant = s.value(int(2 ** (size - 1 + above) / unit), table)
    window = s.convert("trunc", constant.shift_right(s.convert("zext", offset, table)), wide)
    y = window * s.convert("zext", significand, wide)
    y = s.select(bits < 0, -y, y)
    if shift:
        y = y - (1 << (size - 2))
    n = (y + (1 << (size - 2))).shift_right(size - 1)
    rest = y << 1
    negative = rest < 0
    rest = s.select(negative, -rest, rest)
    zeros = s.emit(f"call {wide} @llvm.ctlz.{wide}({wide} {rest.ref}, i1 false)", wide)
    s.declarations[f"declare {wide} @llvm.ctlz.{wide}({wide}, i1)"] = None
    top = s.convert("trunc", (rest << zeros).shift_right(size - 64), "i64")
    scale = s.as_float((F64.bias - s.convert("trunc", zeros, "i64")) << F64.mantissa)
    upper = s.convert("sitofp", top.shift_right(11), "f64") * 2.0**-53
    lower = s.convert("sitofp", top & 0x7FF, "f64") * 2.0**-64
    unit_high, unit_low = split("f64", unit)
    product, error = s.two_product(upper, s.value(unit_high, "f64"))
    error = error + (upper * unit_low + lower * unit_high)
    r = (product + error) * scale
    r = s.select(negative, -r, r)
    if w.dtype == "f32":
        r = s.convert("fptrunc", r, "f32")
    r = s.select(s.eq(magnitude.shift_right(f.mantissa), 2 * f.bias + 1), NAN, r)
    n = s.convert("trunc", n, f.integer)
    for declaration in s.declarations:
        w.declarations[declaration] = None
    scalar = s.type(w.dtype)
    pair = f"{{ {scalar}, {f.integer} }}"
    body = "\n".join(s.lines)
    return f"""define internal {pair} {symbol}({scalar} %x) noinline cold nounwind {{
{body}
  %pa = insertvalue {pair} poison, {scalar} {r.ref}, 0
  %pb = insertvalue {pair} %pa, {f.integer} {n.ref}, 1
  ret {pair} %pb
}}
"""
