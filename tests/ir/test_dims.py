"""Integer expressions: the canonical form keeps the value, and its bounds hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sley.ir.dims import (
    Atom,
    Dim,
    Expr,
    Slot,
    Symbol,
    evaluate,
    floordiv,
    format_expr,
    lower,
    maximum,
    minimum,
    mod,
    nonnegative,
    of_atom,
    substitute,
    symbol,
    symbols,
    upper,
)
from sley.ir.lexer import Tokens
from sley.ir.terms import TermReader

N, M = symbol("N"), symbol("M")
EXTENTS: tuple[Dim | None, ...] = (4, N, None)
AXES = tuple(of_atom(Slot(k, e)) for k, e in enumerate(EXTENTS))
LEAVES = st.one_of(st.integers(-6, 6), st.sampled_from([N, M, *AXES]))
Tree = Any


def trees() -> st.SearchStrategy[Tree]:
    """Expressions as nested tuples: (verb, left, right), or a leaf."""

    def grow(inner: st.SearchStrategy) -> st.SearchStrategy:
        verb = st.sampled_from(["+", "-", "*", "min", "max"])
        divisor = st.one_of(st.integers(1, 6), st.just(N))
        return st.one_of(
            st.tuples(verb, inner, inner),
            st.tuples(st.sampled_from(["//", "%"]), inner, divisor),
        )

    return st.recursive(LEAVES, grow, max_leaves=8)


def build(tree: Tree) -> Dim:
    """The canonical expression."""
    if not isinstance(tree, tuple):
        return tree
    verb, left, right = tree[0], build(tree[1]), build(tree[2])
    rules = {"//": floordiv, "%": mod, "min": minimum, "max": maximum}
    if verb in rules:
        return rules[verb](left, right)
    return left + right if verb == "+" else left - right if verb == "-" else left * right


def compute(tree: Tree, values: dict[Any, int]) -> int:
    """The number, by Python's own arithmetic on the tree as it was written."""
    if not isinstance(tree, tuple):
        return tree if isinstance(tree, int) else number(tree, values)
    verb, a, b = tree[0], compute(tree[1], values), compute(tree[2], values)
    return {
        "+": lambda: a + b,
        "-": lambda: a - b,
        "*": lambda: a * b,
        "//": lambda: a // b,
        "%": lambda: a % b,
        "min": lambda: min(a, b),
        "max": lambda: max(a, b),
    }[verb]()


def number(dim: Dim, values: dict[Any, int]) -> int:
    def value(atom: Atom) -> int:
        key = atom.position if isinstance(atom, Slot) else str(atom)
        return values[key]

    return substitute(dim, value)


@st.composite
def points(draw: Any) -> dict[Any, int]:
    """Sizes of at least 1, and axis variables within their extents."""
    n, m = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    axes = {0: draw(st.integers(0, 3)), 1: draw(st.integers(0, n - 1)), 2: draw(st.integers(-9, 9))}
    return {"N": n, "M": m, **axes}


@given(trees(), points())
@settings(max_examples=400)
def test_canonical_form_keeps_the_value(tree: Tree, values: dict) -> None:
    assert number(build(tree), values) == compute(tree, values)


@given(trees(), points())
@settings(max_examples=300)
def test_bounds_hold(tree: Tree, values: dict) -> None:
    dim = build(tree)
    value = number(dim, values)
    low, high = lower(dim), upper(dim)
    if low is not None:
        assert number(low, values) <= value
    if high is not None:
        assert value <= number(high, values)
    if nonnegative(dim):
        assert value >= 0


@given(trees())
@settings(max_examples=300)
def test_text_reads_back(tree: Tree) -> None:
    dim = build(tree)

    def spell(atom: Atom) -> str:
        if not isinstance(atom, Slot):
            return str(atom)
        return f"{atom}<{'' if atom.extent is None else format_expr(atom.extent)}>"

    text = format_expr(dim, spell)
    assert TermReader(Tokens(f"[{text}]"), {}).attribute() == (dim,)


@given(st.permutations(["N", "M", 3]), st.permutations(["N", "M", 3]))
def test_order_of_terms_does_not_matter(a: list, b: list) -> None:
    def total(parts: list) -> Dim:
        found: Dim = 0
        for part in parts:
            found = found + (symbol(part) if isinstance(part, str) else part)
        return found

    assert total(a) == total(b)
    assert hash(total(a)) == hash(total(b))


i, j = of_atom(Slot(0, N)), of_atom(Slot(1, 8))


@pytest.mark.parametrize(
    ("dim", "expected"),
    [
        ((i * 8 + j) // 8, i),
        ((i * 8 + j) % 8, j),
        ((N * 4) // 4, N),
        ((N * M) // M, N),
        ((N * 6 + 3) // 3, N * 2 + 1),
        (N - N, 0),
        ((N + 1) * (N - 1), N * N - 1),
        (i // N, 0),
        ((j + 8 * i) // 4 // 2, i),
        (minimum(N, N + 1), N),
        (maximum(N, 0), N),
        (floordiv(7, 2), 3),
        (floordiv(-7, 2), -4),
    ],
)
def test_reductions(dim: Dim, expected: Dim) -> None:
    assert dim == expected
    assert type(dim) is type(expected)


def test_division_by_zero() -> None:
    with pytest.raises(ZeroDivisionError, match="N // 0"):
        floordiv(N, 0)


def test_symbols_and_evaluation() -> None:
    dim = N * 4 + M // 3 - i
    assert symbols([dim]) == ["N", "M"]
    assert evaluate(N * 4 + M // 3, {"N": 2, "M": 7}) == 10
    with pytest.raises(KeyError, match="M"):
        evaluate(N * M, {"N": 1})


def test_constants_are_ints() -> None:
    assert isinstance(N - N + 3, int)
    assert isinstance(of_atom(Symbol("N")), Expr)


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (N * 4 + 2, "N*4 + 2"),
        (2 - N, "-N + 2"),
        ((N + 7) // 8, "((N + 7) // 8)"),
        (N // (M + 1), "(N // (M + 1))"),
        (minimum(N, M), "min(M, N)"),
    ],
)
def test_text(dim: Dim, text: str) -> None:
    assert str(dim) == text
