"""Gradients of ops of complex numbers: dL/da + i dL/db against central differences, to second
order, eager and traced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from programs import RUNS, record, run_eager, sum_all

from sley.ir import dtypes as dt
from sley.ir.graph import Value
from sley.ir.literal import array_type
from sley.ir.ops import elementwise as ew
from sley.ir.ops.base import OPS
from sley.passes.autodiff.backward import backward
from sley.passes.autodiff.rules_elementwise import ELEMENTWISE

Arrays = Sequence[np.ndarray]


@dataclass(frozen=True)
class Case:
    """An op on operands of these shapes: "z" complex, "x" real, "b" bool, "i" 0 or 1."""

    op: str
    kinds: str
    shapes: tuple[tuple[int, ...], ...]
    attrs: dict[str, Any] = field(default_factory=dict)

    def operands(self) -> list[np.ndarray]:
        rng = np.random.default_rng([1, *map(ord, self.op)])
        return [self.drawn(rng, kind, s) for kind, s in zip(self.kinds, self.shapes, strict=True)]

    def drawn(self, rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
        if kind == "b":
            return rng.random(shape) > 0.5
        if kind == "i":
            return rng.integers(0, 2, shape)
        x = np.asarray(rng.uniform(0.2, 0.8, shape))
        if kind == "x":
            return x
        # In two quadrants away from 0, +-1, +-i and the branch cuts.
        return x * rng.choice([1, -1], shape) + 1j * rng.uniform(0.2, 0.7, shape)

    def __str__(self) -> str:
        return f"{self.op}-{self.kinds}"


S = (2, 3)
UNARY = """
    neg abs sqrt rsqrt exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh
    sigmoid real imag
"""
DOT = {"lhs_contract": (2,), "rhs_contract": (1,), "lhs_batch": (0,), "rhs_batch": (2,)}
CONV = {"strides": (2,), "padding": ((1, 1),), "lhs_dilation": (1,), "rhs_dilation": (1,),
        "groups": 1}  # fmt: skip
CASES = [
    *(Case(name, "z", (S,)) for name in UNARY.split()),
    *(Case(name, "zz", (S, S)) for name in ("add", "sub", "mul", "div", "pow")),
    Case("complex", "xx", (S, S)),
    Case("where", "bzz", (S, S, S)),
    Case("cast", "x", (S,), {"dtype": dt.c128}),
    Case("cast", "z", (S,), {"dtype": dt.f64}),
    Case("reduce_sum", "z", (S,), {"axes": (1,)}),
    Case("reduce_prod", "z", (S,), {"axes": (1,)}),
    Case("cumsum", "z", (S,), {"axis": 1, "reverse": False}),
    Case("cumprod", "z", (S,), {"axis": 1, "reverse": True}),
    Case("dot_general", "zz", ((2, 3, 4), (5, 4, 2)), DOT),
    Case("conv", "zz", ((2, 3, 6), (4, 3, 3)), CONV),
    Case("gather", "zi", (S, (4,)), {"axis": 0}),
    Case("scatter", "ziz", (S, (4,), (4, 3)), {"axis": 0, "combine": "add"}),
    Case("scatter", "ziz", (S, (4,), (4, 3)), {"axis": 0, "combine": "mul"}),
    Case("update_slice", "zz", (S, (1, 2)), {"starts": (1, 0), "steps": (1, 2)}),
    Case("pad", "zz", (S, ()), {"low": (1, 0), "high": (0, 2), "interior": (0, 1)}),
    Case("fft", "z", (S,), {"axes": (1,), "inverse": False, "norm": "backward"}),
    Case("fft", "z", ((2, 3, 4),), {"axes": (0, 2), "inverse": True, "norm": "backward"}),
    Case("rfft", "x", ((2, 4),), {"axis": 1, "norm": "backward"}),
    Case("rfft", "x", ((5, 2),), {"axis": 0, "norm": "forward"}),
    Case("irfft", "z", ((2, 4),), {"axis": 1, "size": 6, "norm": "backward"}),
    Case("irfft", "z", ((2, 4),), {"axis": 1, "size": 7, "norm": "ortho"}),
]


def test_every_elementwise_rule_for_complex_numbers_is_here() -> None:
    takes = {n for n in ELEMENTWISE if _takes_complex(n)} - {"eq", "ne", "stop_gradient", "cast"}
    assert takes <= {case.op for case in CASES}


def _takes_complex(name: str) -> bool:
    op, z = OPS[name], Case(name, "z", (S,)).operands()[0]
    types = [array_type(z)] * (op.arity or 0)
    try:
        op.infer(types, {"dtype": dt.f64})
    except TypeError:
        return False
    return True


def product(x: Value, y: Value) -> Value:
    """Re(conj(x) y), summed: what x and y are as vectors of real numbers."""
    if not x.type.dtype.is_complex:
        return sum_all(x * y)
    parts = [ew.REAL(x) * ew.REAL(y), ew.IMAG(x) * ew.IMAG(y)]
    return sum_all(parts[0] + parts[1])


class Slopes:
    """<op(operands), weights> along a random direction of each operand."""

    def __init__(self, case: Case) -> None:
        self.case, self.operands = case, case.operands()
        self.moving = [k for k, a in enumerate(self.operands) if a.dtype.kind in "fc"]
        rng = np.random.default_rng(3)
        self.weights = self.like(rng, self.evaluate(self.operands))
        self.along = [self.like(rng, self.operands[k]) for k in self.moving]
        self.turns = [self.like(rng, self.operands[k]) for k in self.moving]

    def like(self, rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
        drawn = rng.normal(size=array.shape)
        if array.dtype.kind == "c":
            drawn = drawn + 1j * rng.normal(size=array.shape)
        return np.asarray(drawn)

    def evaluate(self, operands: Arrays) -> np.ndarray:
        return OPS[self.case.op].evaluate(list(operands), self.case.attrs)[0]

    def moved(self, k: int, by: np.ndarray) -> list[np.ndarray]:
        return [a + by if i == k else a for i, a in enumerate(self.operands)]

    def first(self, values: Sequence[Value]) -> list[Value]:
        count = len(self.operands)
        operands, weights, along = values[:count], values[count], values[count + 1 :]
        result = OPS[self.case.op](*operands, **self.case.attrs)
        found = backward([result], [weights], [operands[k] for k in self.moving])
        assert None not in found
        return [product(g, d) for g, d in zip(found, along, strict=True) if g is not None]

    def second(self, values: Sequence[Value]) -> list[Value]:
        count = len(self.operands) + 1 + len(self.along)
        total, *rest = self.first(values[:count])
        for slope in rest:
            total = total + slope
        one = total * 0 + 1
        found = backward([total], [one], [values[k] for k in self.moving])
        pairs = zip(found, values[count:], strict=True)
        return [total * 0 if g is None else product(g, t) for g, t in pairs]


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_first_derivative(case: Case, run: Callable) -> None:
    slopes, step = Slopes(case), 1e-6
    found = run(slopes.first, [*slopes.operands, slopes.weights, *slopes.along])
    for k, direction, slope in zip(slopes.moving, slopes.along, found, strict=True):
        high, low = (slopes.evaluate(slopes.moved(k, sign * step * direction)) for sign in (1, -1))
        expected = np.sum(((high - low) * slopes.weights.conj()).real) / (2 * step)
        np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_second_derivative(case: Case, run: Callable) -> None:
    slopes, step = Slopes(case), 1e-5
    rest = [slopes.weights, *slopes.along]
    found = run(slopes.second, [*slopes.operands, *rest, *slopes.turns])
    for k, turn, curvature in zip(slopes.moving, slopes.turns, found, strict=True):
        high, low = (
            sum(run_eager(slopes.first, [*slopes.moved(k, sign * step * turn), *rest]))
            for sign in (1, -1)
        )
        np.testing.assert_allclose(curvature, (high - low) / (2 * step), rtol=1e-5, atol=1e-6)


def test_at_zero() -> None:
    """abs is flat at 0; powers of 0 have finite slopes."""
    zero, exponent = np.zeros(1, np.complex128), np.full(1, 2 + 0j)

    def slopes(values: Sequence[Value]) -> list[Value]:
        z, y = values
        powers = ew.POW(z, y)
        one = powers * 0 + 1
        of_power = backward([powers], [one], [z, y])
        of_length = backward([ew.ABS(z)], [ew.ABS(one)], [z])
        return [v for v in (*of_power, *of_length) if v is not None]

    for found in run_eager(slopes, [zero, exponent]):
        np.testing.assert_array_equal(found, 0)


def test_real_programs_have_no_more_nodes() -> None:
    def slope(values: Sequence[Value]) -> list[Value]:
        x, y = values
        z = x * ew.EXP(y) / y
        return [v for v in backward([z], [z], [x, y]) if v is not None]

    graph = record(slope, [array_type(np.zeros(3))] * 2)
    assert not {"real", "imag", "complex"} & {node.op.name for node in graph.nodes}
    assert len(graph.nodes) == 11
