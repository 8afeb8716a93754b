"""Sizes as LLVM instructions."""

from __future__ import annotations

from collections.abc import Callable

from ...ir.dims import Atom, Compound, Dim, Expr, Symbol, of_atom


class DimText:
    """Integer expressions over size symbols as LLVM instructions.

    `emit` appends an instruction and names its result; `symbol` gives the value of a symbol.
    Each expression is computed once: what `emit` writes must run before all that asks for it.
    """

    def __init__(self, emit: Callable[[str], str], symbol: Callable[[str], str]) -> None:
        self.emit = emit
        self.symbol = symbol
        self.known: dict[Dim, str] = {}

    def of(self, dim: Dim) -> str:
        """The value of `dim`: a number or the name of an i64."""
        if not isinstance(dim, Expr):
            return str(dim)
        if dim not in self.known:
            self.known[dim] = self._sum(dim)
        return self.known[dim]

    def _sum(self, dim: Expr) -> str:
        total = ""
        for monomial, factor in dim.terms:
            part = str(factor)
            for atom in monomial:
                value = self._atom(atom)
                part = value if part == "1" else self.emit(f"mul i64 {part}, {value}")
            total = self.emit(f"add i64 {total}, {part}") if total else part
        return total

    def _atom(self, atom: Atom) -> str:
        single = of_atom(atom)
        if single not in self.known:
            self.known[single] = self._compute(atom)
        return self.known[single]

    def _compute(self, atom: Atom) -> str:
        if isinstance(atom, Symbol):
            return self.symbol(atom.name)
        if not isinstance(atom, Compound):
            raise ValueError(f"{atom} is not known outside of a kernel")
        left, right = self.of(atom.left), self.of(atom.right)
        if atom.function == "//":
            return self._floordiv(left, right)
        less = self.emit(f"icmp slt i64 {left}, {right}")
        first, second = (left, right) if atom.function == "min" else (right, left)
        return self.emit(f"select i1 {less}, i64 {first}, i64 {second}")

    def _floordiv(self, left: str, right: str) -> str:
        """Rounds down; a divisor of zero gives the dividend (the size is then used nowhere)."""
        zero = self.emit(f"icmp eq i64 {right}, 0")
        divisor = self.emit(f"select i1 {zero}, i64 1, i64 {right}")
        quotient = self.emit(f"sdiv i64 {left}, {divisor}")
        rest = self.emit(f"srem i64 {left}, {divisor}")
        signs = self.emit(f"xor i64 {rest}, {divisor}")
        apart = self.emit(f"icmp slt i64 {signs}, 0")
        exact = self.emit(f"icmp eq i64 {rest}, 0")
        inexact = self.emit(f"xor i1 {exact}, true")
        lower = self.emit(f"and i1 {apart}, {inexact}")
        step = self.emit(f"sext i1 {lower} to i64")
        return self.emit(f"add i64 {quotient}, {step}")
