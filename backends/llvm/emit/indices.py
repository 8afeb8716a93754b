"""Integer expressions as i64 instructions, for scalars and vectors of lanes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ....ir.dims import (
    Atom,
    Compound,
    Dim,
    add_all,
    atoms,
    lower,
    nonnegative,
    of_atom,
    product,
    terms_of,
    upper,
)
from .writer import Writer

Lookup = Callable[[Atom], tuple[str, int | None]]  # an atom's register and lanes


class Indices:
    """Writes expressions whose leaf atoms `lookup` knows."""

    def __init__(self, writer: Writer, lookup: Lookup) -> None:
        self.w = writer
        self.lookup = lookup

    def scalar(self, dim: Dim) -> str:
        """The register of a scalar expression."""
        return self._sum(dim, None)

    def vector(self, dim: Dim, lanes: int) -> str:
        """The register of an expression as `lanes` i64. Parts without lanes are computed once."""
        uniform, varying = self.split(dim)
        if varying == 0:
            return self._splat(uniform, lanes)
        text = self._sum(varying, lanes)
        if uniform == 0:
            return text
        return self.w.binary("add", "i64", lanes, text, self._splat(uniform, lanes))

    def split(self, dim: Dim) -> tuple[Dim, Dim]:
        """`dim` as (sum of the terms that are equal in all lanes, the other terms)."""
        uniform: list[Dim] = []
        varying: list[Dim] = []
        for monomial, c in terms_of(dim):
            term = product([c, *(of_atom(a) for a in monomial)])
            (varying if self.varies(term) else uniform).append(term)
        return add_all(uniform), add_all(varying)

    def varies(self, dim: Dim) -> bool:
        return any(self.lookup(a)[1] is not None for a in atoms(dim))

    def _splat(self, dim: Dim, lanes: int) -> str:
        if isinstance(dim, int):
            return f"splat (i64 {dim})"
        return splat(self.w, "i64", lanes, self.scalar(dim))

    def _value(self, dim: Dim, lanes: int | None) -> str:
        return self.scalar(dim) if lanes is None else self.vector(dim, lanes)

    def steps(self, dim: Dim) -> list[str]:
        """The parts of a scalar expression that change together, what changes least first, the
        constant last: a sum of the first few is the same for many places and turns."""
        constant = 0
        parts: dict[int, list[tuple[str, bool]]] = {}
        for monomial, c in terms_of(dim):
            if not monomial:
                constant = c
                continue
            text = self._term(monomial, abs(c), None)
            parts.setdefault(self.w.depth(text), []).append((text, c < 0))
        found = [self._added(parts[depth], None) for depth in sorted(parts)]
        return [*found, str(constant)] if constant else found

    def _sum(self, dim: Dim, lanes: int | None) -> str:
        """The terms added up; with `lanes`, each has a lane in it."""
        if isinstance(dim, int):
            return str(dim)
        if lanes is None:
            return self._added([(text, False) for text in self.steps(dim)], None)
        return self._added(
            [(self._term(monomial, abs(c), lanes), c < 0) for monomial, c in dim.terms], lanes
        )

    def _added(self, parts: Sequence[tuple[str, bool]], lanes: int | None) -> str:
        """The sum of (text, whether it is subtracted)."""
        (total, negative), *rest = sorted(parts, key=lambda part: part[1])
        if negative:
            total = self.w.binary("sub", "i64", lanes, self.w.splat("i64", lanes, "0"), total)
        for text, negative in rest:
            total = self.w.binary("sub" if negative else "add", "i64", lanes, total, text)
        return total

    def _term(self, monomial: tuple[Atom, ...], c: int, lanes: int | None) -> str:
        if lanes is not None:
            # Scalars times scalars first: then one vector product is left.
            scalars = [a for a in monomial if not self.varies(of_atom(a))]
            rest = [a for a in monomial if self.varies(of_atom(a))]
            text = self._atom(rest[0], lanes)
            for atom in rest[1:]:
                text = self.w.binary("mul", "i64", lanes, text, self._atom(atom, lanes))
            factor = product([c, *(of_atom(a) for a in scalars)])
            if factor == 1:
                return text
            return self.w.binary("mul", "i64", lanes, text, self._splat(factor, lanes))
        if not monomial:
            return str(c)
        text = self._atom(monomial[0], None)
        for atom in monomial[1:]:
            text = self.w.binary("mul", "i64", None, text, self._atom(atom, None))
        return text if c == 1 else self.w.binary("mul", "i64", None, text, str(c))

    def _atom(self, atom: Atom, lanes: int | None) -> str:
        if isinstance(atom, Compound):
            return self._compound(atom, lanes)
        text, own = self.lookup(atom)
        if lanes is not None and own is None:
            return splat(self.w, "i64", lanes, text)
        return text

    def _compound(self, atom: Compound, lanes: int | None) -> str:
        if atom.function in ("min", "max"):
            a, b = self._value(atom.left, lanes), self._value(atom.right, lanes)
            how = "slt" if atom.function == "min" else "sgt"
            return self.w.select(
                self.w.binary(f"icmp {how}", "i64", lanes, a, b), "i64", lanes, a, b
            )
        return self._floor_div(atom.left, atom.right, lanes)

    def _floor_div(self, left: Dim, right: Dim, lanes: int | None) -> str:
        low = lower(left)
        unsigned = low is not None and nonnegative(low)
        if isinstance(right, int) and right > 0 and right & (right - 1) == 0:
            how, by = "lshr" if unsigned else "ashr", str(right.bit_length() - 1)
            return self.w.binary(
                how, "i64", lanes, self._value(left, lanes), self.w.splat("i64", lanes, by)
            )
        if lanes is not None:
            return self._vector_div(left, right, lanes, unsigned)
        text = self._value(left, None)
        divisor = self._divisor(right)
        if unsigned:
            return self.w.binary("udiv", "i64", None, text, divisor)
        quotient = self.w.binary("sdiv", "i64", None, text, divisor)
        rest = self.w.binary(
            "sub", "i64", None, text, self.w.binary("mul", "i64", None, quotient, divisor)
        )
        differ = self.w.binary("xor", "i64", None, rest, divisor)
        one = self.w.binary(
            "and", "i1", None, self.w.binary("icmp slt", "i64", None, differ, "0"),
            self.w.binary("icmp ne", "i64", None, rest, "0"),
        )  # fmt: skip
        return self.w.binary(
            "sub", "i64", None, quotient, self.w.convert("zext", one, "i1", "i64", None)
        )

    def _divisor(self, right: Dim) -> str:
        """A divisor that is not 0: where a size is 0 nothing is done with the quotient."""
        text = self._value(right, None)
        if isinstance(right, int):
            return text
        zero = self.w.binary("icmp eq", "i64", None, text, "0")
        return self.w.select(zero, "i64", None, "1", text)

    def _vector_div(self, left: Dim, right: Dim, lanes: int, unsigned: bool) -> str:
        """No processor divides vectors of integers: 32 bits by a constant becomes a product,
        the rest is done in float64, which is exact below 2**53."""
        text = self._value(left, lanes)
        bound = upper(left)
        if unsigned and isinstance(right, int) and isinstance(bound, int) and bound < 1 << 31:
            short = self.w.convert("trunc", text, "i64", "i32", lanes)
            quotient = self.w.binary("udiv", "i32", lanes, short, f"splat (i32 {right})")
            return self.w.convert("zext", quotient, "i32", "i64", lanes)
        if self.varies(right):
            divisor = self._value(right, lanes)
        else:
            divisor = splat(self.w, "i64", lanes, self._divisor(right))
        a, b = (self.w.convert("sitofp", v, "i64", "double", lanes) for v in (text, divisor))
        quotient = self.w.binary("fdiv", "double", lanes, a, b)
        floor = self.w.intrinsic("floor", "double", lanes, quotient)
        return self.w.convert("fptosi", floor, "double", "i64", lanes)


def splat(w: Writer, type: str, lanes: int, value: str) -> str:
    """A register with `value` in all lanes."""
    if not value.startswith("%"):
        return f"splat ({type} {value})"
    full = f"<{lanes} x {type}>"
    one = w.op(f"insertelement {full} poison, {type} {value}, i64 0")
    return w.op(f"shufflevector {full} {one}, {full} poison, <{lanes} x i32> zeroinitializer")
