"""Activations, softmaxes and what rescales vectors: nn.functional."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special as special
from public.samples import FLOATS, Table, drawn, public, unary

import sley

TABLE = Table()
WIDE = ("float64", "float32")
F = "nn.functional."
ALPHA, SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def sigmoid(x: Any) -> Any:
    return special.expit(x)


def softplus(x: np.ndarray, beta: float = 1.0, threshold: float = 20.0) -> np.ndarray:
    return np.where(x * beta > threshold, x, np.logaddexp(0, x * beta) / beta)


def elu(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(x))


def selu(x: np.ndarray) -> np.ndarray:
    return SCALE * elu(x, ALPHA)


def clipped(low: float, high: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.clip(x, low, high)


def shrunk_hard(x: np.ndarray, by: float = 0.5) -> np.ndarray:
    return np.where(np.abs(x) <= by, 0, x)


def shrunk_soft(x: np.ndarray, by: float = 0.5) -> np.ndarray:
    return np.sign(x) * np.maximum(np.abs(x) - by, 0)


def gelu_by_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def leaky(x: np.ndarray, slope: float = 0.01) -> np.ndarray:
    return np.where(x > 0, x, slope * x)


def celu(x: np.ndarray, alpha: float) -> np.ndarray:
    return np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha))


def threshold(x: np.ndarray, at: float, value: float) -> np.ndarray:
    return np.where(x <= at, value, x)


def special_is_limit(name: str) -> bool:
    """Whether the formula as written gives the limits at infinity."""
    return name not in ("gelu", "silu", "mish", "hardswish", "softsign", "hardshrink", "tanhshrink")


for _name, _reference in {
    "relu": lambda x: np.maximum(x, 0), "relu6": clipped(0, 6), "sigmoid": sigmoid,
    "tanh": np.tanh, "elu": elu, "selu": selu, "silu": lambda x: x * sigmoid(x),
    "mish": lambda x: x * np.tanh(softplus(x)), "softplus": softplus,
    "softsign": lambda x: x / (1 + np.abs(x)), "tanhshrink": lambda x: x - np.tanh(x),
    "gelu": lambda x: x * special.ndtr(x), "hardtanh": clipped(-1, 1),
    "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6, "hardshrink": shrunk_hard,
    "softshrink": shrunk_soft, "leaky_relu": leaky, "celu": lambda x: celu(x, 1.0),
    "logsigmoid": special.log_expit, "rrelu": lambda x: leaky(x, (1 / 8 + 1 / 3) / 2),
}.items():  # fmt: skip
    unary(TABLE, F + _name, _reference, dtypes=FLOATS, special=special_is_limit(_name), low=-4.0,
          high=4.0)  # fmt: skip
for _name, _reference, _after in (
    ("elu", lambda x: elu(x, 0.3), (0.3,)), ("celu", lambda x: celu(x, 2.0), (2.0,)),
    ("leaky_relu", lambda x: leaky(x, 0.2), (0.2,)), ("gelu", gelu_by_tanh, ("tanh",)),
    ("softplus", lambda x: softplus(x, 2.0, 1.5), (2.0, 1.5)),
    ("hardshrink", lambda x: shrunk_hard(x, 1.0), (1.0,)),
    ("softshrink", lambda x: shrunk_soft(x, 1.0), (1.0,)),
    ("hardtanh", clipped(-0.5, 2.0), (-0.5, 2.0)),
    ("threshold", lambda x: threshold(x, 0.3, 7.0), (0.3, 7.0)),
):  # fmt: skip
    TABLE.shaped(F + _name, public(F + _name, *_after), _reference, [(3, 5)], label="options",
                 dtypes=WIDE, batch=[0])  # fmt: skip


def in_place(name: str, *after: Any) -> Callable[[sley.Tensor], Any]:
    """The input as it is afterwards, which is also the result."""

    def call(x: sley.Tensor) -> Any:
        target = x.clone()
        result = public(name, *after)(target)
        assert result is target
        return target

    return call


for _name, _reference, _after in (
    ("relu_", lambda x: np.maximum(x, 0), ()), ("elu_", elu, ()), ("selu_", selu, ()),
    ("celu_", lambda x: celu(x, 1.0), ()), ("leaky_relu_", leaky, ()),
    ("hardtanh_", clipped(-1, 1), ()), ("threshold_", lambda x: threshold(x, 0.3, 7.0), (0.3, 7.0)),
    ("rrelu_", lambda x: leaky(x, (1 / 8 + 1 / 3) / 2), ()),
):  # fmt: skip
    TABLE.shaped(F + _name, in_place(F + _name, *_after), _reference, [(3, 5)], dtypes=WIDE,
                 batch=[0])  # fmt: skip
TABLE.shaped(F + "prelu", public(F + "prelu"), lambda x, w: leaky(x, w[None, :, None]),
             [(2, 3, 4), (3,)], batch=[0, None])  # fmt: skip
TABLE.shaped(F + "prelu", public(F + "prelu"), leaky, [(3, 5), (1,)], label="one slope",
             dtypes=WIDE, batch=[0, None])  # fmt: skip


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    return special.softmax(x, axis) if x.size else x


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    return special.log_softmax(x, axis) if x.size else x


for _dim in (-1, 0, 1):
    for _name, _reference in (
        ("softmax", lambda x, d=_dim: softmax(x, d)),
        ("log_softmax", lambda x, d=_dim: log_softmax(x, d)),
        ("softmin", lambda x, d=_dim: softmax(-x, d)),
    ):
        for _prefix in ("", F) if _name != "softmin" else (F,):
            TABLE.shaped(_prefix + _name, public(_prefix + _name, _dim), _reference, [(3, 4, 5)],
                         label=str(_dim), dtypes=FLOATS if _dim == -1 else WIDE,
                         batch=[1] if _dim != 1 else [0])  # fmt: skip
    TABLE.shaped(F + "glu", public(F + "glu", _dim),
                 lambda x, d=_dim: np.multiply(*_halves(x, d)), [(4, 6, 2)], label=str(_dim),
                 dtypes=FLOATS if _dim == -1 else WIDE,
                 batch=[1] if _dim != 1 else [0])  # fmt: skip


def _halves(x: np.ndarray, axis: int) -> list[np.ndarray]:
    left, right = np.split(x, 2, axis)
    return [left, sigmoid(right)]


for _name, _of in (("softmax", special.softmax), ("log_softmax", special.log_softmax)):
    TABLE.case(F + _name, "large", public(F + _name, -1), [np.array([[1000.0, 999, -1000]])],
               lambda x, f=_of: f(x, -1))  # fmt: skip
    TABLE.case(
        F + _name,
        "dtype",
        public(F + _name, 0, dtype=sley.float64),
        [np.arange(4)],
        lambda x, f=_of: f(x.astype(float), 0),
        dtype="float64",
    )
    TABLE.case(F + _name, "minus infinity", public(F + _name, -1),
               [np.array([[1.0, -np.inf, 2]])], lambda x, f=_of: f(x, -1),
               special=True)  # fmt: skip
TABLE.wrong(F + "softmax", "dim", lambda: sley.nn.functional.softmax(sley.ones(2, 3), 2),
            IndexError, "")  # fmt: skip
TABLE.case(F + "softmax", "integers", public(F + "softmax", 0), [np.arange(3)],
           lambda x: special.softmax(x), dtype="float32", tolerance=4e-6)  # fmt: skip
TABLE.wrong(F + "glu", "odd", lambda: sley.nn.functional.glu(sley.ones(3)), ValueError, "3")
TABLE.wrong(F + "gelu", "approximate", lambda: sley.nn.functional.gelu(sley.ones(3), "cube"),
            ValueError, "cube")  # fmt: skip
TABLE.wrong(F + "prelu", "slopes",
            lambda: sley.nn.functional.prelu(sley.ones(2, 3), sley.ones(2)), ValueError,
            "")  # fmt: skip

# ------------------------------------------------------------------------------ lengths, distances


def similarity(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
    lengths = [np.maximum(np.linalg.norm(t, axis=axis), 1e-8) for t in (a, b)]
    return (a * b).sum(axis) / (lengths[0] * lengths[1])


for _p, _dim in ((2.0, 1), (1.0, -1), (3.0, 0), (np.inf, 1)):
    TABLE.shaped(F + "normalize", public(F + "normalize", _p, _dim),
                 lambda x, p=_p, d=_dim: x / np.maximum(
                     np.linalg.norm(x, p, axis=d, keepdims=True), 1e-12),
                 [(3, 4, 5)], label=f"{_p}-{_dim}", dtypes=FLOATS if _p == 2 else WIDE,
                 low=0.3, batch=[2 if _dim != -1 else 0], empty=False)  # fmt: skip
    TABLE.shaped(F + "pairwise_distance", public(F + "pairwise_distance", _p),
                 lambda a, b, p=_p: np.linalg.norm(a - b + 1e-6, p, axis=-1), [(4, 5), (4, 5)],
                 label=str(_p), dtypes=FLOATS[:2], batch=[0, 0], tolerance=2e-5)  # fmt: skip
TABLE.case(F + "normalize", "zeros", public(F + "normalize"), [np.zeros((2, 3))], lambda x: x)
TABLE.shaped(F + "pairwise_distance", public(F + "pairwise_distance", keepdim=True),
             lambda a, b: np.linalg.norm(a - b + 1e-6, axis=-1, keepdims=True), [(4, 5), (5,)],
             label="kept", dtypes=WIDE, tolerance=2e-5)  # fmt: skip
for _dim in (1, -1, 0):
    TABLE.shaped(F + "cosine_similarity", public(F + "cosine_similarity", _dim),
                 lambda a, b, d=_dim: similarity(a, b, d), [(3, 4, 5), (3, 4, 5)], label=str(_dim),
                 dtypes=FLOATS if _dim == 1 else WIDE, batch=[2, 2] if _dim != -1 else None,
                 tolerance=None if _dim != 1 else 2e-2)  # fmt: skip
TABLE.shaped(F + "cosine_similarity", public(F + "cosine_similarity", -1),
             lambda a, b: similarity(*np.broadcast_arrays(a, b), -1), [(3, 1, 5), (4, 5)],
             label="broadcast", dtypes=WIDE)  # fmt: skip
TABLE.wrong(F + "cosine_similarity", "sizes",
            lambda: sley.nn.functional.cosine_similarity(sley.ones(2, 3), sley.ones(2, 4)),
            sley.ShapeError, "")  # fmt: skip

# ------------------------------------------------------------------------------------ class numbers

TABLE.case(F + "one_hot", "classes", public(F + "one_hot", 5), [np.array([[0, 4], [2, 1]])],
           lambda x: np.eye(5, dtype=np.int64)[x], dtype="int64", batch=(0,))  # fmt: skip
TABLE.case(F + "one_hot", "counted", public(F + "one_hot"), [np.array([0, 2])],
           lambda x: np.eye(3, dtype=np.int64)[x], compiled=False)  # fmt: skip
TABLE.wrong(F + "one_hot", "floats", lambda: sley.nn.functional.one_hot(sley.ones(2), 3), TypeError,
            "")  # fmt: skip
TABLE.wrong(F + "one_hot", "too large", lambda: sley.nn.functional.one_hot(sley.tensor([3]), 3),
            (IndexError, ValueError), "3")  # fmt: skip
TABLE.wrong(F + "one_hot", "negative", lambda: sley.nn.functional.one_hot(sley.tensor([-1]), 3),
            (IndexError, ValueError), "-1")  # fmt: skip


def of_hard_draws(x: sley.Tensor) -> sley.Tensor:
    """One class is drawn in each row: their sums."""
    sley.manual_seed(3)
    drawn_ = sley.nn.functional.gumbel_softmax(x, tau=0.5, hard=True)
    return drawn_.sum(-1)


TABLE.case(F + "gumbel_softmax", "hard", of_hard_draws, [drawn((6, 4), "float64", -1, 1)],
           lambda x: np.ones(len(x)), compiled=False, tolerance=1e-9)  # fmt: skip
TABLE.wrong(
    F + "gumbel_softmax",
    "dim",
    lambda: sley.nn.functional.gumbel_softmax(sley.ones(2), dim=1),
    IndexError,
    "",
)
