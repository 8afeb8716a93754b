"""The one table of samples for every tensor op: operands, domains, attributes, tolerance.

It drives the tests of gradients, of eager against compiled and of the backends. Values keep away
from ties, kinks and domain edges, which have tests of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sley.ir import dtypes
from sley.ir.dtypes import by_name
from sley.ir.graph import Value
from sley.ir.literal import Literal
from sley.ir.ops.base import OPS, Kind

Maker = Callable[[np.random.Generator], np.ndarray]
FLOATS = ("f64", "f32", "f16", "bf16")
WIDE = ("f64", "f32")
COMPLEX = ("c128", "c64")
INTS = ("i64", "i32", "i16", "i8")
UINTS = ("u8", "u16", "u32", "u64")


@dataclass(frozen=True)
class Operand:
    """How to make one operand; `dtype` None means the one that the sample is run with."""

    make: Maker
    dtype: str | None = None

    def array(self, rng: np.random.Generator, dtype: str) -> np.ndarray:
        return np.asarray(self.make(rng)).astype(by_name(self.dtype or dtype).numpy)


@dataclass(frozen=True)
class Sample:
    """One call of an op.

    Attributes:
        dtypes: element types that the operands without a fixed one may have.
        ulps: how far, in float32, compiled code may be from the numpy evaluation; 0 is bitwise.
        smooth: whether the gradient can be compared with central differences here.
    """

    op: str
    operands: tuple[Operand, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    dtypes: tuple[str, ...] = FLOATS
    ulps: int = 0
    smooth: bool = True

    def arrays(self, dtype: str = "f64", seed: int = 0) -> list[np.ndarray]:
        """The operands, the same for every run with this seed."""
        rng = np.random.default_rng([seed, *map(ord, self.op + self.label)])
        return [operand.array(rng, dtype) for operand in self.operands]

    def emit(self, values: Sequence[Value]) -> list[Value]:
        """The results of the op for these operands, by the active builder."""
        results = OPS[self.op](*values, **self.attrs)
        return list(results) if isinstance(results, tuple) else [results]

    def __str__(self) -> str:
        return f"{self.op}-{self.label}" if self.label else self.op


def real(*shape: int, low: float = -2.0, high: float = 2.0, dtype: str | None = None) -> Operand:
    """Uniform in [low, high)."""
    return Operand(lambda rng: rng.uniform(low, high, shape), dtype)


def away(*shape: int, reach: float = 2.0) -> Operand:
    """Of either sign, and at least 0.2 from 0."""
    return Operand(lambda rng: rng.uniform(0.2, reach, shape) * rng.choice([-1, 1], shape))


def between(*shape: int) -> Operand:
    """Neither near an integer nor near a half."""
    return Operand(lambda rng: rng.integers(-3, 3, shape) + rng.choice([0.25, 0.75], shape))


def distinct(*shape: int, step: float = 0.25) -> Operand:
    """A permutation of equally spaced numbers around 0.1: no two are near each other."""
    count = int(np.prod(shape))
    return Operand(lambda rng: (rng.permutation(count) - count // 2).reshape(shape) * step + 0.1)


def integers(*shape: int, low: int = -5, high: int = 6, dtype: str | None = None) -> Operand:
    return Operand(lambda rng: rng.integers(low, high, shape), dtype)


def flags(*shape: int) -> Operand:
    return Operand(lambda rng: rng.integers(0, 2, shape), "bool")


def given(values: Any, dtype: str | None = None) -> Operand:
    return Operand(lambda rng: np.asarray(values), dtype)


def _unary(name: str, operand: Operand, ulps: int = 0, **rest: Any) -> list[Sample]:
    return [Sample(name, (operand,), ulps=ulps, **rest)]


def _of_integers(name: str, low: int = -5, second: Operand | None = None) -> list[Sample]:
    count = OPS[name].arity or 1
    right = second or integers(3, 5, low=low)
    signed = (integers(3, 5, low=low), *(right,) * (count - 1))
    right = second or integers(3, 5, low=1, high=9)
    unsigned = (integers(3, 5, low=0, high=9), *(right,) * (count - 1))
    return [
        Sample(name, signed, label="int", dtypes=INTS, smooth=False),
        Sample(name, unsigned, label="uint", dtypes=UINTS, smooth=False),
    ]


def _elementwise() -> dict[str, list[Sample]]:
    x = real(3, 5)
    table = {
        "neg": [*_unary("neg", x), *_of_integers("neg")],
        "abs": [*_unary("abs", away(3, 5)), *_of_integers("abs")],
        "sign": [*_unary("sign", away(3, 5)), *_of_integers("sign")],
        "floor": _unary("floor", between(3, 5)),
        "ceil": _unary("ceil", between(3, 5)),
        "round": _unary("round", between(3, 5)),
        "trunc": _unary("trunc", between(3, 5)),
        "sqrt": _unary("sqrt", real(3, 5, low=0.3, high=9)),
        "rsqrt": _unary("rsqrt", real(3, 5, low=0.3, high=9), 2),
        "exp": _unary("exp", x, 2),
        "exp2": _unary("exp2", x, 2),
        "expm1": _unary("expm1", x, 4),
        "log": _unary("log", real(3, 5, low=0.3, high=9), 2),
        "log2": _unary("log2", real(3, 5, low=0.3, high=9), 4),
        "log10": _unary("log10", real(3, 5, low=0.3, high=9), 4),
        "log1p": _unary("log1p", real(3, 5, low=-0.7, high=4), 4),
        "sin": _unary("sin", real(3, 5, low=-9, high=9), 2),
        "cos": _unary("cos", real(3, 5, low=-9, high=9), 2),
        "tan": _unary("tan", real(3, 5, low=-1.2, high=1.2), 8),
        "asin": _unary("asin", real(3, 5, low=-0.9, high=0.9), 8),
        "acos": _unary("acos", real(3, 5, low=-0.9, high=0.9), 8),
        "atan": _unary("atan", x, 8),
        "sinh": _unary("sinh", x, 8),
        "cosh": _unary("cosh", x, 8),
        "tanh": _unary("tanh", x, 2),
        "erf": _unary("erf", x, 2),
        "sigmoid": _unary("sigmoid", x, 2),
        "bit_not": [*_of_integers("bit_not"), *_unary("bit_not", flags(3, 5), smooth=False)],
        "stop_gradient": _unary("stop_gradient", x, smooth=False),
    }
    for name in ("add", "sub", "mul"):
        table[name] = [Sample(name, (x, x)), *_of_integers(name)]
    table["div"] = [Sample("div", (x, away(3, 5)))]
    # Quotients near n + 1/4: the operands are far from where floor_div jumps.
    near = (given([[2.5, -2.25, 7.0], [-3.5, 1.25, 0.5]]), given([[2.0, 1.0, -4.0], [2.0, 5.0, 2]]))
    for name in ("floor_div", "remainder"):
        table[name] = [Sample(name, near), *_of_integers(name)]
    table["pow"] = [
        Sample("pow", (real(3, 5, low=0.3, high=3), x), ulps=2),
        Sample("pow", (away(3, 5), given(np.full((3, 5), 2.0))), label="square", ulps=2,
               smooth=False),
        Sample("pow", (integers(3, 5), integers(3, 5, low=0, high=4)), label="int", dtypes=INTS,
               smooth=False),
    ]  # fmt: skip
    table["atan2"] = [Sample("atan2", (away(3, 5), away(3, 5)), ulps=8)]
    for name in ("maximum", "minimum"):
        apart = (distinct(3, 5), Operand(lambda rng: 0.05 + 0.5 * rng.integers(-4, 4, (3, 5))))
        table[name] = [Sample(name, apart), *_of_integers(name)]
    for name in ("bit_and", "bit_or", "bit_xor"):
        both = Sample(
            name, (flags(3, 5), flags(3, 5)), label="bool", dtypes=("bool",), smooth=False
        )
        table[name] = [both, *_of_integers(name)]
    for name in ("shift_left", "shift_right"):
        table[name] = _of_integers(name, second=integers(3, 5, low=0, high=9))
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        close = (integers(3, 5, low=-2, high=3), integers(3, 5, low=-2, high=3))
        table[name] = [
            Sample(name, close, smooth=False),
            Sample(name, close, label="int", dtypes=INTS, smooth=False),
        ]
    table["where"] = [Sample("where", (flags(3, 5), x, x))]
    table["cast"] = [
        Sample("cast", (x,), {"dtype": dtypes.f64}, label="widen"),
        Sample("cast", (x,), {"dtype": dtypes.bf16}, label="narrow", dtypes=WIDE, smooth=False),
        Sample("cast", (real(3, 5, low=-9, high=9),), {"dtype": dtypes.i32}, label="to-int",
               smooth=False),
        Sample("cast", (integers(3, 5),), {"dtype": dtypes.f32}, label="from-int", dtypes=INTS,
               smooth=False),
    ]  # fmt: skip
    table["bitcast"] = [
        Sample("bitcast", (x,), {"dtype": dtypes.u32}, dtypes=("f32",), smooth=False)
    ]
    return table


def complex_(*shape: int) -> Operand:
    """Normally distributed parts."""
    return Operand(lambda rng: rng.normal(size=shape) + 1j * rng.normal(size=shape))


def _parts() -> dict[str, list[Sample]]:
    """Ops between real and complex numbers. (Complex operands of other ops, and the gradients of
    all, have tests of their own.)"""
    x = real(3, 5)
    return {
        "real": [Sample("real", (complex_(3, 5),), dtypes=COMPLEX, smooth=False)],
        "imag": [Sample("imag", (complex_(3, 5),), dtypes=COMPLEX, smooth=False)],
        "complex": [Sample("complex", (x, x), dtypes=WIDE, smooth=False)],
        "paired": [
            Sample("paired", (real(3, 4, 2), real(3, 4, 2)),
                   {"op": "eq", "complex": (True, True), "names": (), "values": ()},
                   dtypes=WIDE, smooth=False)
        ],
    }  # fmt: skip


def _fourier() -> dict[str, list[Sample]]:
    def one(name: str, operand: Operand, dtypes: tuple[str, ...], **attrs: Any) -> list[Sample]:
        return [Sample(name, (operand,), attrs, dtypes=dtypes, smooth=False)]

    return {
        "fft": one("fft", complex_(3, 5), COMPLEX, axes=(1,), inverse=False, norm="backward"),
        "rfft": one("rfft", real(3, 6), WIDE, axis=1, norm="ortho"),
        "irfft": one("irfft", complex_(3, 4), COMPLEX, axis=1, size=7, norm="forward"),
    }


def _views() -> dict[str, list[Sample]]:
    window = {"axes": (1, 2), "sizes": (2, 3), "strides": (1, 2), "dilations": (2, 1)}
    unit = (1, 1)
    return {
        "reshape": [
            Sample("reshape", (real(4, 6),), {"shape": (2, 2, 3, 2)}),
            Sample("reshape", (real(1, 4, 1),), {"shape": (4,)}, label="ones"),
        ],
        "transpose": [Sample("transpose", (real(2, 3, 4),), {"perm": (2, 0, 1)})],
        "broadcast": [
            Sample("broadcast", (real(2, 4),), {"shape": (3, 2, 5, 4), "dims": (1, 3)}),
            Sample("broadcast", (real(),), {"shape": (3,), "dims": ()}, label="scalar"),
        ],
        "slice": [
            Sample("slice", (real(6, 7),), {"starts": (1, 0), "sizes": (2, 3), "steps": (2, 3)}),
            Sample("slice", (real(6, 7),), {"starts": (5, 4), "sizes": (3, 5), "steps": (-2, -1)},
                   label="backwards"),
        ],
        "pad": [
            Sample("pad", (real(2, 3), real()),
                   {"low": (1, 0), "high": (2, 3), "interior": (0, 2)}),
            Sample("pad", (real(4, 5), real()),
                   {"low": (-1, 2), "high": (1, -2), "interior": (0, 1)}, label="cut"),
            Sample("pad", (real(3), real()), {"low": (-4,), "high": (5,), "interior": (0,)},
                   label="cut-all"),
        ],
        "concat": [Sample("concat", (real(2, 3), real(2, 1), real(2, 4)), {"axis": 1})],
        "window": [
            Sample("window", (real(2, 6, 8),), window),
            Sample("window", (real(2, 5, 8),),
                   {"axes": (2, 1), "sizes": (3, 2), "strides": (3, 2), "dilations": (1, 1)},
                   label="tiles"),
            Sample("window", (real(8),),
                   {"axes": (0,), "sizes": (2,), "strides": (4,), "dilations": (2,)},
                   label="dilated-gaps"),
            Sample("window", (real(2, 9),),
                   {"axes": (1,), "sizes": (2,), "strides": (3,), "dilations": (1,)}, label="gaps"),
        ],
        "unwindow": [
            Sample("unwindow", (real(2, 4, 3, 2, 3),), {**window, "extents": (6, 8)}),
            Sample("unwindow", (real(2, 2, 2),),
                   {"axes": (1,), "sizes": (2,), "strides": (3,), "dilations": (1,),
                    "extents": (9,)}, label="fewer"),
        ],
        "update_slice": [
            Sample("update_slice", (real(5, 6), real(2, 3)), {"starts": (1, 0), "steps": (3, 2)}),
            Sample("update_slice", (real(5, 6), real(2, 6)), {"starts": (4, 5), "steps": (-2, -1)},
                   label="backwards"),
            Sample("update_slice", (real(3, 4), real(3, 4)), {"starts": (0, 0), "steps": unit},
                   label="whole"),
        ],
    }  # fmt: skip


def _reductions() -> dict[str, list[Sample]]:
    x = real(3, 4, 5)
    table = {
        "reduce_sum": [
            Sample("reduce_sum", (x,), {"axes": (1,)}, ulps=16),
            Sample("reduce_sum", (x,), {"axes": (0, 2)}, label="two", ulps=16),
            Sample("reduce_sum", (x,), {"axes": ()}, label="none"),
            Sample("reduce_sum", (integers(3, 4),), {"axes": (0, 1)}, label="int", dtypes=INTS,
                   smooth=False),
        ],
        "reduce_prod": [
            Sample("reduce_prod", (away(3, 4, 2),), {"axes": (1,)}, ulps=16),
            Sample("reduce_prod", (away(2, 3, 2),), {"axes": (0, 2)}, label="two", ulps=16),
            Sample("reduce_prod", (given([[2.0, 0, 3, -1], [0, 1, 0, 2], [1, 2, 3, 0]]),),
                   {"axes": (1,)}, label="zeros"),
        ],
        "cumsum": [
            Sample("cumsum", (x,), {"axis": 1, "reverse": False}, ulps=16),
            Sample("cumsum", (x,), {"axis": 2, "reverse": True}, label="reverse", ulps=16),
        ],
        "cumprod": [
            Sample("cumprod", (away(3, 4),), {"axis": 1, "reverse": False}, ulps=16),
            Sample("cumprod", (away(3, 4),), {"axis": 0, "reverse": True}, label="reverse",
                   ulps=16),
        ],
        "cummax": [
            Sample("cummax", (distinct(3, 6),), {"axis": 1, "reverse": False}),
            Sample("cummax", (distinct(2, 4, 3),), {"axis": 1, "reverse": True}, label="reverse"),
        ],
    }  # fmt: skip
    for name in ("reduce_max", "reduce_min"):
        table[name] = [
            Sample(name, (distinct(3, 4, 2),), {"axes": (1,), "ties": "even"}),
            Sample(name, (distinct(3, 4, 2),), {"axes": (0, 2), "ties": "even"}, label="two"),
            Sample(name, (distinct(3, 4, 2),), {"axes": (1, 2), "ties": "first"}, label="first"),
            Sample(name, (distinct(3, 4),), {"axes": (), "ties": "even"}, label="none"),
            Sample(name, (integers(3, 4),), {"axes": (1,), "ties": "even"}, label="int",
                   dtypes=INTS, smooth=False),
        ]  # fmt: skip
    for name in ("argmax", "argmin"):
        table[name] = [
            Sample(name, (distinct(3, 4, 2),), {"axes": (1,)}, smooth=False),
            Sample(name, (integers(3, 4, 2),), {"axes": (0, 2)}, label="ties", smooth=False),
        ]
    return table


def _dot(lc: tuple, rc: tuple, lb: tuple = (), rb: tuple = ()) -> dict[str, Any]:
    return {"lhs_contract": lc, "rhs_contract": rc, "lhs_batch": lb, "rhs_batch": rb}


def _conv(stride: tuple, padding: tuple, ld: tuple, rd: tuple, groups: int = 1) -> dict[str, Any]:
    return {"strides": stride, "padding": padding, "lhs_dilation": ld, "rhs_dilation": rd,
            "groups": groups}  # fmt: skip


def _contractions() -> dict[str, list[Sample]]:
    one, two, three = (1,), (1, 1), (1, 1, 1)
    return {
        "dot_general": [
            Sample("dot_general", (real(3, 4), real(4, 5)), _dot((1,), (0,)), ulps=32),
            Sample("dot_general", (real(2, 3, 4, 5), real(5, 2, 4, 3)),
                   _dot((3, 1), (0, 3), (2, 0), (2, 1)), label="mixed", ulps=32),
            Sample("dot_general", (real(4, 3, 2), real(3, 5, 4, 2)),
                   _dot((1, 0), (0, 2)), label="two", ulps=32),
            Sample("dot_general", (real(3), real(2)), _dot((), ()), label="outer"),
        ],
        "conv": [
            Sample("conv", (real(2, 3, 7), real(4, 3, 3)),
                   _conv((2,), ((1, 1),), one, one), label="1d", ulps=32),
            Sample("conv", (real(2, 3, 6, 5), real(4, 3, 3, 2)),
                   _conv(two, ((0, 0), (0, 0)), two, two), label="2d", ulps=32),
            Sample("conv", (real(2, 4, 8, 7), real(6, 2, 3, 2)),
                   _conv((3, 2), ((1, 2), (0, 1)), two, (1, 2), 2), label="groups", ulps=32),
            Sample("conv", (real(1, 2, 4, 5), real(3, 2, 2, 3)),
                   _conv((1, 2), ((-1, 2), (1, -1)), (2, 3), (2, 1)), label="spread", ulps=32),
            Sample("conv", (real(1, 3, 4, 4), real(3, 1, 1, 1)),
                   _conv(two, ((0, 0), (0, 0)), two, two, 3), label="depthwise", ulps=32),
            Sample("conv", (real(1, 2, 3, 4, 3), real(2, 2, 2, 2, 2)),
                   _conv((1, 2, 1), ((1, 0), (0, 0), (0, 1)), three, three), label="3d", ulps=32),
        ],
    }  # fmt: skip


def _attention() -> dict[str, list[Sample]]:
    def attrs(**given: Any) -> dict[str, Any]:
        scale = Literal(np.float64(0.5))
        hidden = Literal(np.float64(-np.inf))
        plain = {"causal": False, "safe": True, "masked": False, "factored": False}
        return {"scale": scale, "hidden": hidden, **plain, **given}

    wide = ("f64", "f32")  # factors of halves are f32
    q, k, v = real(2, 3, 5, 4), real(2, 7, 4), real(2, 7, 3)
    scores, rows = (2, 3, 5, 7), (2, 3, 5)
    all_but_one = given(np.arange(7) != np.arange(5)[:, None], "bool")
    g = real(*rows, 3)
    # The sums are not those of an attention of the other operands, which a gradient assumes.
    pulled = (real(*rows, low=2, high=3), real(*rows), g)
    return {
        "attention": [
            Sample("attention", (real(5, 4), real(7, 4), real(7, 3)), attrs(), ulps=64),
            Sample("attention", (q, k, v), attrs(causal=True), label="causal", ulps=64),
            Sample("attention", (real(5, 4), real(7, 4), real(7, 3), all_but_one),
                   attrs(masked=True), label="mask", ulps=64),
            Sample("attention", (real(5, 4), real(7, 4), real(7, 3), all_but_one),
                   attrs(masked=True, hidden=Literal(np.float64(-1.5))), label="hidden", ulps=64),
            Sample("attention", (q, k, v, real(*scores), away(*scores)),
                   attrs(masked=True, factored=True, safe=False), label="all", dtypes=wide,
                   ulps=64),
        ],
        "attention_gradient": [
            Sample("attention_gradient", (q, k, v, *pulled), attrs(causal=True), ulps=64,
                   dtypes=wide, smooth=False),
            Sample("attention_gradient", (real(5, 4), real(7, 4), real(7, 3), all_but_one,
                                          real(5, low=2, high=3), real(5), real(5, 3)),
                   attrs(masked=True, hidden=Literal(np.float64(-1.5))), label="hidden", ulps=64,
                   dtypes=wide, smooth=False),
            Sample("attention_gradient", (q, k, v, real(*scores), away(*scores), *pulled),
                   attrs(masked=True, factored=True), label="all", dtypes=wide, ulps=64,
                   smooth=False),
        ],
    }  # fmt: skip


def _indexed() -> dict[str, list[Sample]]:
    at = given([[4, 0, 2], [2, 4, 2]], "i64")
    return {
        "gather": [
            Sample("gather", (real(5, 3), at), {"axis": 0}),
            Sample("gather", (real(2, 5, 2), given([1, 1, 4], "i32")), {"axis": 1}, label="middle"),
            Sample("gather", (real(4), given(2, "i64")), {"axis": 0}, label="scalar"),
        ],
        "scatter": [
            Sample("scatter", (real(5, 2), at, real(2, 3, 2)), {"axis": 0, "combine": "add"},
                   ulps=4),
            Sample("scatter", (real(5, 2), at, real(2, 3, 2)), {"axis": 0, "combine": "set"},
                   label="set"),
            Sample("scatter", (real(2, 5), given([3, 3], "i32"), real(2, 2)),
                   {"axis": 1, "combine": "set"}, label="set-last"),
            Sample("scatter", (away(5, 2), at, away(2, 3, 2)), {"axis": 0, "combine": "mul"},
                   label="mul", ulps=4),
            Sample("scatter", (given([0.0, 2, 0, 3]), given([0, 1, 1, 2, 3, 3], "i64"),
                               given([2.0, 0, 4, 0, 5, 7])), {"axis": 0, "combine": "mul"},
                   label="mul-zeros", ulps=4,
                   smooth=False),
            Sample("scatter", (distinct(5, 2), at, away(2, 3, 2)),
                   {"axis": 0, "combine": "maximum"}, label="maximum"),
            Sample("scatter", (distinct(5, 2), at, away(2, 3, 2)),
                   {"axis": 0, "combine": "minimum"}, label="minimum"),
        ],
    }  # fmt: skip


def _linalg() -> dict[str, list[Sample]]:
    square, tall, right = real(2, 3, 3), real(2, 4, 3), real(2, 3, 2)

    def definite(rng: np.random.Generator) -> np.ndarray:
        a = rng.standard_normal((2, 3, 3))
        return a @ a.swapaxes(1, 2) + np.eye(3)

    def one(name: str, *operands: Operand, smooth: bool = True, **attrs: Any) -> list[Sample]:
        return [Sample(name, operands, attrs, dtypes=WIDE, smooth=smooth)]

    # Only one triangle of symmetric matrices is read, singular vectors have free signs, and the
    # sign of a determinant is flat: tests/frontend/test_linalg.py differentiates these.
    return {
        "linalg_solve": one("linalg_solve", square, right),
        "linalg_inv": one("linalg_inv", square),
        "linalg_det": one("linalg_det", square),
        "linalg_cofactor": one("linalg_cofactor", square),
        "linalg_slogdet": one("linalg_slogdet", square, smooth=False),
        "linalg_cholesky": one("linalg_cholesky", Operand(definite), smooth=False),
        "linalg_qr": one("linalg_qr", tall, mode="reduced"),
        "linalg_svd": one("linalg_svd", tall, full_matrices=False, smooth=False),
        "linalg_eigh": one("linalg_eigh", Operand(definite), uplo="L", smooth=False),
        "linalg_eig": one("linalg_eig", square, smooth=False),
        "linalg_matrix_exp": one("linalg_matrix_exp", square),
        "linalg_pinv": one("linalg_pinv", tall, rtol=None, hermitian=False),
        "linalg_lstsq": one("linalg_lstsq", tall, real(2, 4, 2), rcond=None),
    }


def _sorting() -> dict[str, list[Sample]]:
    up, down = ({"axis": 1, "descending": descending} for descending in (False, True))
    ties = given([[1.0, np.nan, -0.0, 0.0], [np.inf, 1, 1, -np.inf]])
    return {
        "sort": [
            Sample("sort", (distinct(3, 5),), up),
            Sample("sort", (distinct(2, 4, 3),), down, label="down"),
            Sample("sort", (ties,), up, label="ties", smooth=False),
            Sample("sort", (ties,), down, label="ties-down", smooth=False),
            Sample("sort", (flags(3, 9),), down, label="bool", dtypes=("bool",), smooth=False),
            Sample("sort", (integers(3, 9),), down, label="int", dtypes=INTS, smooth=False),
            Sample("sort", (integers(3, 9, low=0),), up, label="uint", dtypes=UINTS,
                   smooth=False),
        ],
        "order": [
            Sample("order", (real(3, 5),), {"descending": False}, dtypes=WIDE, smooth=False),
            Sample("order", (given([[1.0, np.nan, 5, 3, np.inf, 2, 7, 4, -np.inf, 6]]),),
                   {"descending": True, "limit": 2}, label="largest", dtypes=WIDE, smooth=False),
            Sample("order", (integers(3, 9),), {"descending": False, "limit": 2}, label="int",
                   dtypes=INTS, smooth=False),
        ],
    }  # fmt: skip


def _sources() -> dict[str, list[Sample]]:
    value = Literal(np.array([[1.5, -0.0], [np.inf, 3.0]], np.float32))
    words = (integers(low=-(2**62), high=2**62, dtype="i64"), integers(low=0, high=9, dtype="i64"))
    counted = {"shape": (3, 4), "axis": 1, "dtype": dtypes.i64}
    return {
        "constant": [Sample("constant", (), {"value": value}, smooth=False)],
        "iota": [
            Sample("iota", (), counted, smooth=False),
            Sample("iota", (), {**counted, "axis": 0, "dtype": dtypes.f32}, label="float",
                   smooth=False),
        ],
        "size": [Sample("size", (), {"expr": 7}, smooth=False)],
        "rng_bits": [
            Sample("rng_bits", words, {"shape": (3, 5), "bits": 32}, smooth=False),
            Sample("rng_bits", words, {"shape": (4,), "bits": 64}, label="wide", smooth=False),
        ],
        "random_bits": [
            Sample("random_bits", (*words, words[1]), {"bits": 32}, smooth=False),
            Sample("random_bits", (*words, words[1]), {"bits": 64}, label="wide", smooth=False),
        ],
    }  # fmt: skip


SAMPLES: dict[str, list[Sample]] = {
    **_elementwise(),
    **_parts(),
    **_fourier(),
    **_views(),
    **_reductions(),
    **_contractions(),
    **_attention(),
    **_indexed(),
    **_linalg(),
    **_sorting(),
    **_sources(),
}
ALL_SAMPLES = [sample for samples in SAMPLES.values() for sample in samples]


def tensor_ops() -> list[str]:
    """Names of the ops that a tensor program is made of; control ops hold programs of their own."""
    structural = (Kind.KERNEL, Kind.LOOP, Kind.CONTROL)
    return [name for name, op in OPS.items() if op.kind not in structural]
