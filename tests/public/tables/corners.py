"""Where an argument is of a wider kind than usual: complex ends and sums, all of uint64, `out=` of
what makes tensors, histories that a write leaves, angles at the origin."""

from __future__ import annotations

from typing import Any

import numpy as np
from public.samples import Table, drawn, find

import sley

TABLE = Table()
COMPLEX = ("complex128", "complex64")

# ------------------------------------------------------------------------------------------ complex


def _logsumexp(x: np.ndarray) -> np.ndarray:
    return np.log(np.exp(x).sum(1))


for _dtype in COMPLEX:
    _z = drawn((3, 4), _dtype, -1, 1)
    TABLE.case("logsumexp", f"complex-{_dtype}", lambda x: sley.logsumexp(x, 1), [_z], _logsumexp,
               dtype=_dtype, gradient=_dtype == "complex128", batch=(0,))  # fmt: skip
TABLE.case("logsumexp", "complex without overflow",
           lambda x: sley.logsumexp(x, 0).real, [np.array([900 + 1j, 900 - 1j])],
           lambda x: 900 + np.log(2 * np.cos(1)))  # fmt: skip
_square = drawn((2, 3, 3), "complex128", -1, 1)
TABLE.case("logdet", "complex", lambda x: sley.logdet(x), [_square],
           lambda x: np.log(np.linalg.det(x)), dtype="complex128", tolerance=1e-10,
           gradient=True)  # fmt: skip
for _start, _end in ((0, 1 + 1j), (1j, 2), (2 - 1j, 2 - 1j)):
    TABLE.case("linspace", f"{_start} to {_end}", lambda s=_start, e=_end: sley.linspace(s, e, 5),
               [], lambda s=_start, e=_end: np.linspace(s, e, 5), dtype="complex64")  # fmt: skip
TABLE.case("linspace", "complex, one", lambda: sley.linspace(1j, 2, 1), [],
           lambda: np.array([1j]), dtype="complex64")  # fmt: skip
TABLE.case("logspace", "complex", lambda: sley.logspace(0, 1 + 1j, 3, dtype=sley.complex128), [],
           lambda: 10.0 ** np.linspace(0, 1 + 1j, 3), dtype="complex128")  # fmt: skip

# ------------------------------------------------------------------------------------------- uint64

_LARGEST = 2**64 - 1
_large = np.array([_LARGEST, 1], np.uint64)
TABLE.case("tensor", "largest uint64", lambda: sley.tensor(_LARGEST, dtype=sley.uint64), [],
           lambda: _large[0], dtype="uint64")  # fmt: skip
TABLE.case("tensor", "large beside small", lambda: sley.tensor([_LARGEST, 1], dtype=sley.uint64),
           [], lambda: _large, dtype="uint64")  # fmt: skip
TABLE.case("full", "largest uint64", lambda: sley.full((2,), _LARGEST, dtype=sley.uint64), [],
           lambda: np.full(2, _LARGEST, np.uint64), dtype="uint64")  # fmt: skip
TABLE.wrong("tensor", "too large for int64", lambda: sley.tensor([_LARGEST]),
            sley.DTypeError, "63 bits")  # fmt: skip

# --------------------------------------------------------------------------------------------- out=


def _filled(name: str, *args: Any, dtype: str = "float64") -> sley.Tensor:
    out = sley.empty(find(name)(*args).shape, dtype=getattr(sley, dtype))
    assert find(name)(*args, out=out) is out
    return out


for _name, _args, _expected in (
    ("zeros", (2, 3), np.zeros((2, 3))), ("ones", (2, 3), np.ones((2, 3))),
    ("full", ((2,), 3), np.full(2, 3)), ("eye", (2, 3), np.eye(2, 3)),
    ("arange", (2, 7), np.arange(2, 7)), ("linspace", (0, 1, 4), np.linspace(0, 1, 4)),
    ("logspace", (0, 1, 4), np.logspace(0, 1, 4)),
):  # fmt: skip
    TABLE.case(_name, "out", lambda n=_name, a=_args: _filled(n, *a), [],
               lambda e=_expected: e, dtype="float64")  # fmt: skip
for _name in ("tril", "triu"):
    TABLE.case(_name, "out", lambda x, n=_name: find(n)(x, out=sley.empty(3, 4)),
               [drawn((3, 4), "float32", -1, 1)], getattr(np, _name), dtype="float32")  # fmt: skip

# ---------------------------------------------------------------------------------------- histories


def _slopes(y: sley.Tensor, x: sley.Tensor) -> tuple[sley.Tensor, ...]:
    """Of the angle, by both."""
    a, b = y.detach().requires_grad_(), x.detach().requires_grad_()
    return sley.autograd.grad(sley.atan2(a, b).sum(), (a, b))


def _numpy_slopes(y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    square = x * x + y * y
    square = np.where(square == 0, 1, square)
    return x / square, -y / square


TABLE.case("atan2", "slopes at the origin", _slopes,
           [np.array([0.0, 0.0, 1.0, -2.0]), np.array([0.0, -1.0, 0.0, 0.5])],
           _numpy_slopes, dtype="float64")  # fmt: skip


def _overwritten(x: sley.Tensor) -> sley.Tensor:
    x = x.detach().requires_grad_()
    for y in (x.clone().zero_(), x.clone().fill_(3.0)):
        assert y.requires_grad
        x.grad = None
        ((y + 2 * x) * y.detach().add(1)).sum().backward()
    return x.grad


TABLE.case("Tensor.zero_", "the gradient of what is overwritten is 0", _overwritten,
           [np.array([1.0, np.nan])], lambda x: np.full(2, 8.0))  # fmt: skip

# ------------------------------------------------------------------------------------------- errors

TABLE.wrong("nn.functional.embedding", "a row that is not there",
            lambda: sley.nn.functional.embedding(sley.tensor([7]), sley.ones(3, 2)),
            sley.IndexingError, "embedding: index 7")  # fmt: skip
TABLE.wrong("nn.functional.embedding", "a row that is not there, compiled",
            lambda: sley.compile(sley.nn.Embedding(3, 2))(sley.tensor([7])),
            sley.IndexingError, "embedding: index 7")  # fmt: skip
TABLE.wrong("Tensor.item", "a complex number as a float", lambda: float(sley.tensor(1 + 2j)),
            sley.DTypeError, "take .real")  # fmt: skip
