"""Integer expressions: what a dimension, an index and an offset are.

An expression is a polynomial with integer coefficients over *atoms*, kept in one canonical form, so
that two expressions are equal exactly when their terms are. Atoms are size symbols (`N`), axis
variables of a kernel, operand slots of a node, and `a // b`, `min(a, b)`, `max(a, b)` of
expressions. `a % b` is written `a - b*(a//b)`; thereby a reshape that splits an axis and a
flattening that joins it again cancel by arithmetic alone.

An expression that is constant is an `int`: `Dim = int | Expr`. Arithmetic and bounds stand in one
file, long as it is, since each needs the other: a quotient vanishes by bounds, bounds divide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Any, Union
from weakref import WeakKeyDictionary

Dim = Union[int, "Expr"]
Monomial = tuple["Atom", ...]


class Atom:
    """A factor of a monomial. Subclasses define `key` (the canonical order and the identity)."""

    __slots__ = ("_hash", "key")
    _hash: int
    key: tuple

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Atom) and self.key == other.key)

    def __hash__(self) -> int:
        return self._hash

    def __lt__(self, other: Atom) -> bool:
        return self.key < other.key

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"


class Symbol(Atom):
    """A size that is known when the program runs; never negative."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = (0, name)
        self._hash = hash(self.key)

    def __str__(self) -> str:
        return self.name


class Slot(Atom):
    """The scalar operand number `position` of the node that holds the expression.

    `extent`, where given, says that the value lies in [0, extent): it is an axis variable.
    """

    __slots__ = ("extent", "position")

    def __init__(self, position: int, extent: Dim | None = None) -> None:
        self.position = position
        self.extent = extent
        self.key = (1, position, _key(extent))
        self._hash = hash(self.key)

    def __str__(self) -> str:
        return f"${self.position}"


class Var(Atom):
    """A scalar value of the program under construction, as an atom; `extent` as in `Slot`.

    Lives only while a kernel is built or read: a node stores `Slot`s.
    """

    __slots__ = ("extent", "value")

    def __init__(self, value: Any, extent: Dim | None = None) -> None:
        self.value = value
        self.extent = extent
        self.key = (2, _serial(value))
        self._hash = hash(self.key)

    def __str__(self) -> str:
        return f"%{getattr(self.value, 'name', None) or id(self.value)}"


_serials: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_counter = count()


def _serial(value: Any) -> int:
    """A number for `value`, in the order of first use: identity that sorts alike in every run."""
    found = _serials.get(value)
    if found is None:
        found = _serials.setdefault(value, next(_counter))
    return found


class Compound(Atom):
    """`a // b`, `min(a, b)` or `max(a, b)` that no rule could reduce."""

    __slots__ = ("function", "left", "right")

    def __init__(self, function: str, left: Dim, right: Dim) -> None:
        self.function, self.left, self.right = function, left, right
        self.key = (3, function, _key(left), _key(right))
        self._hash = hash(self.key)

    def __str__(self) -> str:
        if self.function == "//":
            return f"{_group(self.left)}//{_group(self.right)}"
        return f"{self.function}({self.left}, {self.right})"


class Expr:
    """A polynomial over atoms that is not constant. Immutable, hashable, ordered by its terms."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms
        self._hash: int | None = None  # of most expressions nobody asks

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Expr) and self.terms == other.terms)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(self.terms)
        return self._hash

    def __add__(self, other: Dim) -> Dim:
        if isinstance(other, int):
            return _moved(self, int(other)) if other else self
        if not isinstance(other, Expr):
            return NotImplemented
        return _sum(((self, 1), (other, 1)))

    __radd__ = __add__

    def __sub__(self, other: Dim) -> Dim:
        if isinstance(other, int):
            return _moved(self, -other) if other else self
        if not isinstance(other, Expr):
            return NotImplemented
        return _sum(((self, 1), (other, -1)))

    def __rsub__(self, other: Dim) -> Dim:
        if not isinstance(other, (int, Expr)):
            return NotImplemented
        return _sum(((other, 1), (self, -1)))

    def __neg__(self) -> Dim:
        return _sum(((self, -1),))

    def __mul__(self, other: Dim) -> Dim:
        if not isinstance(other, (int, Expr)):
            return NotImplemented
        if isinstance(other, int):
            return _scaled(self, other)
        terms: dict[Monomial, int] = {}
        for left, a in self.terms:
            for right, b in terms_of(other):
                monomial = tuple(sorted(left + right)) if left and right else left + right
                terms[monomial] = terms.get(monomial, 0) + a * b
        return _make(terms)

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return floordiv(self, other)

    def __rfloordiv__(self, other: Dim) -> Dim:
        return floordiv(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return mod(self, other)

    def __rmod__(self, other: Dim) -> Dim:
        return mod(other, self)

    def __str__(self) -> str:
        return format_expr(self)

    def __repr__(self) -> str:
        return f"Expr({self})"


def symbol(name: str) -> Expr:
    """The dimension named `name`."""
    return of_atom(Symbol(name))


def of_atom(atom: Atom) -> Expr:
    return Expr((((atom,), 1),))


def terms_of(dim: Dim) -> tuple[tuple[Monomial, int], ...]:
    """The terms of `dim`: pairs of monomial and coefficient; the empty monomial is the constant."""
    if isinstance(dim, Expr):
        return dim.terms
    return (((), int(dim)),) if dim else ()


def _make(terms: dict[Monomial, int]) -> Dim:
    kept = [term for term in terms.items() if term[1]]
    if not kept:
        return 0
    if len(kept) > 1:
        kept.sort()
    elif not kept[0][0]:
        return kept[0][1]
    return Expr(tuple(kept))


def _moved(dim: Expr, distance: int) -> Dim:
    """`dim` and a number that is not 0."""
    first, *rest = dim.terms
    if first[0]:  # no constant, which comes first
        return Expr((((), distance), *dim.terms))
    constant = first[1] + distance
    return Expr((((), constant), *rest)) if constant else Expr(tuple(rest))


def _scaled(dim: Expr, factor: int) -> Dim:
    if factor == 1:
        return dim
    return Expr(tuple((m, c * factor) for m, c in dim.terms)) if factor else 0


def _sum(parts: Iterable[tuple[Dim, int]]) -> Dim:
    terms: dict[Monomial, int] = {}
    for dim, factor in parts:
        for monomial, c in terms_of(dim):
            terms[monomial] = terms.get(monomial, 0) + c * factor
    return _make(terms)


def _key(dim: Dim | None) -> tuple:
    if isinstance(dim, Expr):
        return (1, tuple((tuple(a.key for a in m), c) for m, c in dim.terms))
    return (0, dim) if dim is not None else (-1,)


def add_all(dims: Iterable[Dim]) -> Dim:
    return _sum((d, 1) for d in dims)


def product(dims: Iterable[Dim]) -> Dim:
    result: Dim = 1
    for dim in dims:
        result = result * dim
    return result


def floordiv(a: Dim, b: Dim) -> Dim:
    """`a // b`, rounding down; ZeroDivisionError for a constant zero divisor.

    Terms divisible by b leave the quotient; the rest vanishes where it provably lies in [0, b).
    """
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if isinstance(b, int) and b == 0:
        raise ZeroDivisionError(f"{a} // 0")
    if a == b:
        return 1
    if b == 1:
        return a
    quotient, rest = _divide_terms(a, b)
    if rest == 0:
        return quotient
    if _within(rest, b):
        return quotient
    atom = _single_atom(rest)
    if isinstance(atom, Compound) and atom.function == "//" and _positive_ints(b, atom.right):
        return quotient + floordiv(atom.left, atom.right * b)
    return quotient + of_atom(Compound("//", rest, b))


def _divide_terms(a: Dim, b: Dim) -> tuple[Dim, Dim]:
    """(q, r) with a = q*b + r, where q takes each term of `a` that the monomial b divides."""
    divisor = terms_of(b)
    if len(divisor) != 1:
        whole = _factor_out(a, b)
        return (0, a) if whole is None else (whole, 0)
    (factor, coefficient) = divisor[0]
    quotient: dict[Monomial, int] = {}
    rest: dict[Monomial, int] = {}
    for monomial, c in terms_of(a):
        left = _remove(monomial, factor)
        if left is None or coefficient < 0:
            rest[monomial] = rest.get(monomial, 0) + c
            continue
        q, r = divmod(c, coefficient)
        if r and factor:
            q, r = 0, c
        quotient[left] = quotient.get(left, 0) + q
        rest[monomial] = rest.get(monomial, 0) + r
    return _make(quotient), _make(rest)


def _factor_out(a: Dim, b: Dim) -> Dim | None:
    """q with a == q*b for a divisor of several terms, by division along the leading term."""
    quotient: Dim = 0
    rest = a
    lead, lead_c = max(terms_of(b), key=lambda t: (len(t[0]), t[0]))
    for _ in range(len(terms_of(a))):
        if rest == 0:
            return quotient
        top, top_c = max(terms_of(rest), key=lambda t: (len(t[0]), t[0]))
        left = _remove(top, lead)
        if left is None or top_c % lead_c:
            return None
        step = _make({left: top_c // lead_c})
        quotient, rest = quotient + step, rest - step * b
    return quotient if rest == 0 else None


def _remove(monomial: Monomial, factor: Monomial) -> Monomial | None:
    left = list(monomial)
    for atom in factor:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def _single_atom(dim: Dim) -> Atom | None:
    if isinstance(dim, Expr) and len(dim.terms) == 1:
        monomial, c = dim.terms[0]
        if c == 1 and len(monomial) == 1:
            return monomial[0]
    return None


def _positive_ints(*dims: Dim) -> bool:
    return all(isinstance(d, int) and d > 0 for d in dims)


def mod(a: Dim, b: Dim) -> Dim:
    """`a % b` with the sign of b, written by means of `//`."""
    return a - b * floordiv(a, b)


def minimum(a: Dim, b: Dim) -> Dim:
    """The smaller of two expressions."""
    if nonnegative(b - a):
        return a
    if nonnegative(a - b):
        return b
    left, right = sorted((a, b), key=_key)
    return of_atom(Compound("min", left, right))


def maximum(a: Dim, b: Dim) -> Dim:
    """The larger of two expressions."""
    if nonnegative(b - a):
        return b
    if nonnegative(a - b):
        return a
    left, right = sorted((a, b), key=_key)
    return of_atom(Compound("max", left, right))


def lower(dim: Dim) -> Dim | None:
    """An expression without axis variables that `dim` never goes below, or None."""
    return _bound(dim, upper_side=False)


def upper(dim: Dim) -> Dim | None:
    """An expression without axis variables that `dim` never exceeds, or None."""
    return _bound(dim, upper_side=True)


def _bound(dim: Dim, upper_side: bool) -> Dim | None:
    total: Dim = 0
    for monomial, c in terms_of(dim):
        part: Dim = 1
        for atom in monomial:
            limits = _atom_bounds(atom)
            limit = limits[1] if (c > 0) == upper_side else limits[0]
            if limits[0] is None or limit is None or not nonnegative(limits[0]):
                return None
            part = part * limit
        total = total + part * c
    return total


def _atom_bounds(atom: Atom) -> tuple[Dim | None, Dim | None]:
    if isinstance(atom, Symbol):
        return of_atom(atom), of_atom(atom)
    if isinstance(atom, (Slot, Var)):
        return (None, None) if atom.extent is None else (0, atom.extent - 1)
    assert isinstance(atom, Compound)
    low = (lower(atom.left), lower(atom.right))
    high = (upper(atom.left), upper(atom.right))
    if atom.function == "//":
        if low[0] is None or not nonnegative(low[0]):
            return None, None
        if not free_of_axes(atom.right):
            return 0, high[0]
        return 0, None if high[0] is None else floordiv(high[0], atom.right)
    if atom.function == "min":
        if low[0] is None or low[1] is None:
            return None, None
        bounds = [h for h in high if h is not None]
        return minimum(low[0], low[1]), bounds[0] if bounds else None
    if low[0] is None and low[1] is None:
        return None, None
    return low[0] if low[0] is not None else low[1], (
        None if high[0] is None or high[1] is None else maximum(high[0], high[1])
    )


def nonnegative(dim: Dim) -> bool:
    """Whether `dim` is provably >= 0, given that every size symbol is."""
    return all(
        c >= 0 and all(isinstance(a, Symbol) or _atom_nonnegative(a) for a in m)
        for m, c in terms_of(dim)
    )


def _atom_nonnegative(atom: Atom) -> bool:
    if isinstance(atom, Compound) and atom.function in ("min", "max"):
        # By parts: the lower bound of a min is a min again, and may be this very one.
        lows = (lower(atom.left), lower(atom.right))
        known = [low is not None and nonnegative(low) for low in lows]
        return all(known) if atom.function == "min" else any(known)
    low = _atom_bounds(atom)[0]
    return low is not None and ((isinstance(low, int) and low >= 0) or nonnegative(low))


def _within(rest: Dim, b: Dim) -> bool:
    """Whether 0 <= rest < b wherever `rest` is evaluated (there every size is >= 1)."""
    low, high = lower(rest), upper(rest)
    if low is None or high is None or not nonnegative(low):
        return False
    gap = b - 1 - high
    return nonnegative(gap) or nonnegative(_sizes_less_one(gap))


def _sizes_less_one(dim: Dim) -> Dim:
    """`dim` with each size N written as 1 + (N - 1), N - 1 under the name of N: its sign is that
    of `dim` where N >= 1. Compounds stay as they are, being judged for N >= 1 already."""
    total: Dim = 0
    for monomial, c in terms_of(dim):
        part: Dim = c
        for atom in monomial:
            part = part * (of_atom(atom) + (1 if isinstance(atom, Symbol) else 0))
        total = total + part
    return total


def free_of_axes(dim: Dim) -> bool:
    return all(isinstance(a, Symbol) for a in atoms(dim))


def atoms(dim: Dim) -> Iterator[Atom]:
    """Every leaf atom of `dim` (symbols, slots, variables), also those inside compounds."""
    for monomial, _ in terms_of(dim):
        for atom in monomial:
            if isinstance(atom, Compound):
                yield from atoms(atom.left)
                yield from atoms(atom.right)
            else:
                yield atom


def symbols(dims: Iterable[Dim]) -> list[str]:
    """Names of all size symbols in `dims`, in order of appearance."""
    found: dict[str, None] = {}
    for dim in dims:
        for atom in atoms(dim):
            if isinstance(atom, Symbol):
                found[atom.name] = None
            elif isinstance(atom, (Slot, Var)) and atom.extent is not None:
                found.update(dict.fromkeys(symbols((atom.extent,))))
    return list(found)


def substitute(dim: Dim, replace: Callable[[Atom], Any]) -> Any:
    """`dim` with each leaf atom replaced by `replace(atom)`: an int, an expression, or a numpy
    integer array (then the result is one)."""
    if not isinstance(dim, Expr):
        return dim
    total: Any = 0
    for monomial, c in dim.terms:
        part: Any = c
        for atom in monomial:
            part = part * _replace_atom(atom, replace)
        total = total + part
    return total


def _replace_atom(atom: Atom, replace: Callable[[Atom], Any]) -> Any:
    if not isinstance(atom, Compound):
        return replace(atom)
    left, right = substitute(atom.left, replace), substitute(atom.right, replace)
    if atom.function == "//":
        return left // right
    if isinstance(left, (int, Expr)) and isinstance(right, (int, Expr)):
        return minimum(left, right) if atom.function == "min" else maximum(left, right)
    import numpy as np

    return (np.minimum if atom.function == "min" else np.maximum)(left, right)


def evaluate(dim: Dim, sizes: Mapping[str, int]) -> int:
    """The value of `dim` for given sizes; KeyError names a symbol that has none."""

    def size(atom: Atom) -> int:
        if not isinstance(atom, Symbol):
            raise KeyError(str(atom))
        return sizes[atom.name]

    return dim if isinstance(dim, int) else substitute(dim, size)


def format_expr(dim: Dim, name: Callable[[Atom], str] = str) -> str:
    """The text of `dim`; leaf atoms are spelled by `name`. `ir.parser` reads it back."""
    if not isinstance(dim, Expr):
        return str(dim)
    parts: list[str] = []
    for monomial, c in sorted(dim.terms, key=lambda t: (not t[0], t[1] < 0, -len(t[0]), t[0])):
        factors = [_format_atom(atom, name) for atom in monomial]
        if abs(c) != 1 or not factors:
            factors.append(str(abs(c)))
        sign = ("- " if c < 0 else "+ ") if parts else ("-" if c < 0 else "")
        parts.append(sign + "*".join(factors))
    return " ".join(parts)


def _format_atom(atom: Atom, name: Callable[[Atom], str]) -> str:
    if not isinstance(atom, Compound):
        return name(atom)
    left, right = format_expr(atom.left, name), format_expr(atom.right, name)
    if atom.function == "//":
        left = f"({left})" if _is_sum(atom.left) else left
        return f"({left} // {right})" if _plain(right) else f"({left} // ({right}))"
    return f"{atom.function}({left}, {right})"


def _is_sum(dim: Dim) -> bool:
    """Whether the text of `dim` binds less tightly than `//`."""
    terms = terms_of(dim)
    return len(terms) != 1 or terms[0][1] < 0


def _plain(text: str) -> bool:
    return all(ch.isalnum() or ch in "_%$." for ch in text)


def _group(dim: Dim) -> str:
    text = str(dim)
    return text if _plain(text) else f"({text})"
