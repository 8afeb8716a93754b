"""Other names of functions, methods that are no functions, what was left of linear algebra."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
from public.samples import ALL, COMPLEX, FLOATS, NUMBERS, Table, binary, drawn, find, public

import sley

from . import mathematics, reductions

TABLE = Table()
WIDE = ("float64", "float32")
EVERY = (*WIDE, *COMPLEX)
# Another name of a function of one tensor or two: its samples are the function's first ones.
ALIASES = {
    "absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh",
    "arctan": "atan", "arctan2": "atan2", "arctanh": "atanh", "divide": "div", "fix": "trunc",
    "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "multiply": "mul",
    "negative": "neg", "not_equal": "ne", "subtract": "sub",
}  # fmt: skip
for _alias, _name in ALIASES.items():
    _samples = [s for t in (mathematics.TABLE, reductions.TABLE) for s in t.samples
                if s.name == _name][:2]  # fmt: skip
    assert _samples, _name
    for _sample in _samples:
        TABLE.case(_alias, f"as {_sample}", public(_alias), _sample.arrays, _sample.reference,
                   dtype=_sample.dtype, gradient=_sample.gradient)  # fmt: skip

# --------------------------------------------------------------------------------------- functions

binary(TABLE, "logaddexp2", np.logaddexp2, dtypes=FLOATS)
binary(TABLE, "rsub", lambda x, y: y - x, special=False, dtypes=FLOATS)
binary(TABLE, "clamp_max", lambda x, y: np.minimum(x, y), special=False)
TABLE.shaped("rsub", public("rsub", alpha=2), lambda x, y: y - 2 * x, [(3,), (3,)], label="alpha",
             dtypes=WIDE)  # fmt: skip


def plus_identity(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` of a well conditioned matrix made from the sample's."""

    def call(a: Any, *rest: Any) -> Any:
        eye = np.eye(3) if isinstance(a, np.ndarray) else sley.eye(3, dtype=a.dtype)
        return f(a * 0.25 + 2 * eye, *rest)

    return call


def definite(f: Callable[..., Any]) -> Callable[..., Any]:
    def call(a: Any) -> Any:
        eye = np.eye(3) if isinstance(a, np.ndarray) else sley.eye(3, dtype=a.dtype)
        return f(a @ a.swapaxes(-1, -2) + eye)

    return call


SQUARE = (2, 3, 3)
for _name, _reference in {
    "inverse": np.linalg.inv, "det": np.linalg.det, "slogdet": np.linalg.slogdet,
    "pinverse": np.linalg.pinv, "logdet": lambda a: np.linalg.slogdet(a)[1],
}.items():  # fmt: skip
    TABLE.shaped(_name, plus_identity(public(_name)), plus_identity(_reference), [SQUARE],
                 dtypes=WIDE, batch=[0], tolerance=2e-5)  # fmt: skip
    TABLE.wrong(_name, "axes", lambda n=_name: find(n)(sley.ones(3)), ValueError, "")
TABLE.shaped("cholesky", definite(public("cholesky")), definite(np.linalg.cholesky), [SQUARE],
             dtypes=WIDE, batch=[0], tolerance=2e-5)  # fmt: skip
TABLE.shaped("matrix_exp", public("matrix_exp"), scipy.linalg.expm, [SQUARE], dtypes=WIDE,
             tolerance=2e-5, batch=[0])  # fmt: skip
TABLE.wrong("matrix_exp", "not square", lambda: sley.matrix_exp(sley.ones(2, 3)), sley.ShapeError,
            "square")  # fmt: skip
TABLE.shaped("matrix_power", plus_identity(public("matrix_power", -2)),
             plus_identity(lambda a: np.linalg.matrix_power(a, -2)), [SQUARE], dtypes=WIDE,
             tolerance=2e-5)  # fmt: skip
TABLE.shaped("linalg.solve_triangular",
             plus_identity(lambda a, b: sley.linalg.solve_triangular(a, b, upper=True)),
             plus_identity(lambda a, b: np.linalg.solve(np.triu(a), b)), [SQUARE, (2, 3, 4)],
             dtypes=EVERY, batch=[0, 0], tolerance=2e-5)  # fmt: skip
TABLE.shaped("linalg.cholesky_solve",
             plus_identity(lambda a, b: sley.linalg.cholesky_solve(b, a)),
             plus_identity(lambda a, b: np.linalg.solve(
                 np.tril(a) @ np.conj(np.tril(a)).swapaxes(-1, -2), b)),
             [SQUARE, (2, 3, 4)], dtypes=EVERY, tolerance=2e-5)  # fmt: skip
TABLE.shaped("linalg.diagonal", public("linalg.diagonal", offset=1),
             lambda a: np.diagonal(a, 1, -2, -1), [(2, 3, 4)], dtypes=WIDE, batch=[0])  # fmt: skip
TABLE.shaped("linalg.matmul", public("linalg.matmul"), np.matmul, [(2, 3, 4), (4, 5)],
             dtypes=EVERY, batch=[0, None])  # fmt: skip
TABLE.shaped(
    "linalg.matrix_rank",
    lambda a: sley.linalg.matrix_rank(a @ a.mT),
    lambda a: np.full(2, 2),
    [(2, 4, 2)],
    dtypes=WIDE,
    result="int64",
    smooth=False,
)
TABLE.shaped("linalg.tensorinv", lambda a: sley.linalg.tensorinv(
                 a.reshape(2, 3, 6) + 3 * sley.eye(6, dtype=a.dtype).reshape(2, 3, 6)),
             lambda a: np.linalg.tensorinv((a + 3 * np.eye(6)).reshape(2, 3, 6)), [(6, 6)],
             dtypes=WIDE, tolerance=2e-5)  # fmt: skip
TABLE.shaped("linalg.tensorsolve", lambda a, b: sley.linalg.tensorsolve(
                 a.reshape(2, 3, 6) + 3 * sley.eye(6, dtype=a.dtype).reshape(2, 3, 6), b),
             lambda a, b: np.linalg.tensorsolve((a + 3 * np.eye(6)).reshape(2, 3, 6), b),
             [(6, 6), (2, 3)], dtypes=WIDE, tolerance=2e-5, low=-0.4, high=0.4)  # fmt: skip
TABLE.shaped("linalg.vecdot", public("linalg.vecdot"), lambda a, b: (np.conj(a) * b).sum(-1),
             [(3, 4), (3, 4)], dtypes=EVERY, batch=[0, 0])  # fmt: skip
for _name, _increasing in (("vander", False), ("linalg.vander", True)):
    TABLE.shaped(_name, public(_name, N=3), lambda x, i=_increasing: np.vander(x, 3, i), [(4,)],
                 dtypes=NUMBERS if _increasing else WIDE, result="sum")  # fmt: skip
TABLE.shaped("cross", public("cross"), np.cross, [(4, 3), (4, 3)], dtypes=WIDE, batch=[0, 0])
TABLE.shaped("cross", public("cross"), lambda a, b: np.cross(a, b, axis=0), [(3, 4), (3, 4)],
             label="first", dtypes=WIDE)  # fmt: skip
TABLE.shaped("ger", public("ger"), np.outer, [(3,), (4,)], dtypes=WIDE)
TABLE.shaped("chain_matmul", public("chain_matmul"), lambda *a: np.linalg.multi_dot(a),
             [(2, 5), (5, 3), (3, 4)], dtypes=WIDE)  # fmt: skip
TABLE.shaped("addbmm", public("addbmm", beta=0.5, alpha=2),
             lambda c, a, b: 0.5 * c + 2 * (a @ b).sum(0), [(3, 5), (2, 3, 4), (2, 4, 5)],
             dtypes=WIDE)  # fmt: skip
TABLE.shaped("trapz", public("trapz", dx=0.5), lambda y: np.trapezoid(y, dx=0.5), [(3, 4)],
             dtypes=WIDE, batch=[0])  # fmt: skip
for _accumulate in (False, True):
    TABLE.case("index_put", str(_accumulate), lambda x, v, a=_accumulate: sley.index_put(
                   x, (sley.tensor([0, 2, 0]),), v, a),
               [drawn((3, 2), "float64", -1, 1), np.ones((3, 2))],
               lambda x, v, a=_accumulate: np.stack([x[0] + 2, x[1], x[2] + 1]) if a
               else np.stack([v[0], x[1], v[0]]), gradient=_accumulate)  # fmt: skip
for _name, _call in (
    ("addbmm", lambda: sley.addbmm(sley.ones(2, 2), sley.ones(1, 2, 3), sley.ones(1, 2, 2))),
    ("chain_matmul", lambda: sley.chain_matmul(sley.ones(2, 3), sley.ones(2, 3))),
    ("ger", lambda: sley.ger(sley.ones(2, 2), sley.ones(2))),
    ("vander", lambda: sley.vander(sley.ones(2, 2))),
    ("cross", lambda: sley.cross(sley.ones(2), sley.ones(2))),
    ("matrix_power", lambda: sley.matrix_power(sley.ones(2, 3), 2)),
    ("linalg.solve_triangular", lambda: sley.linalg.solve_triangular(
        sley.ones(2, 3), sley.ones(2, 1), upper=True)),
    ("linalg.vecdot", lambda: sley.linalg.vecdot(sley.ones(2), sley.ones(3))),
    ("linalg.diagonal", lambda: sley.linalg.diagonal(sley.ones(3))),
):  # fmt: skip
    TABLE.wrong(_name, "sizes", _call, (ValueError, IndexError), "")
TABLE.case("detach", "value", public("detach"), [drawn((3,), "float64", -1, 1)], lambda x: x)
TABLE.case("scalar_tensor", "number", lambda: sley.scalar_tensor(2.5), [], lambda: np.float64(2.5),
           dtype="float32")  # fmt: skip
TABLE.case("numel", "count", lambda x: sley.tensor(sley.numel(x)), [np.ones((3, 4))],
           lambda x: np.int64(12))  # fmt: skip
TABLE.case("is_tensor", "both", lambda x: sley.tensor([sley.is_tensor(x), sley.is_tensor(1)]),
           [np.ones(2)], lambda x: np.array([True, False]))  # fmt: skip

# ----------------------------------------------------------------------------------------- methods


def method(
    name: str,
    after: tuple[Any, ...],
    reference: Callable[..., Any],
    *shapes: tuple[int, ...],
    **rest: Any,
) -> None:
    """`x.name(*other tensors, *after)`; changes in place are made to a copy, and seen in it."""

    def call(x: sley.Tensor, *tensors: sley.Tensor) -> Any:
        target = x.clone() if name.endswith("_") else x
        result = getattr(target, name)(*tensors, *after)
        return target if name.endswith("_") else result

    TABLE.shaped(f"Tensor.{name}", call, reference, shapes or [(3, 4)],
                 **{"dtypes": WIDE, **rest})  # fmt: skip


method("contiguous", (), lambda x: x, dtypes=ALL, batch=[0])
method("cpu", (), lambda x: x, batch=[0])
method("copy_", (), lambda x, y: y + 0 * x, (3, 4), (4,))
method("expand", (3, 2, -1), lambda x: np.broadcast_to(x, (3, 2, 4)), (2, 4), dtypes=ALL)
method("expand_as", (), lambda x, y: np.broadcast_to(x, y.shape) + 0 * y, (1, 4), (3, 4),
       smooth=False)  # fmt: skip
method("fill_", (2.5,), lambda x: np.full_like(x, 2.5), batch=[0], smooth=False)
method("zero_", (), np.zeros_like, batch=[0], smooth=False)
method("fill_diagonal_", (9.0,), lambda x: np.where(np.eye(3, 4), 9, x))
method("new_zeros", ((2, 3),), lambda x: np.zeros((2, 3)), smooth=False)
method("new_ones", ((2, 3),), lambda x: np.ones((2, 3)), smooth=False)
method("new_full", ((2, 3), 1.5), lambda x: np.full((2, 3), 1.5), smooth=False)
method("new_tensor", ([1, 2],), lambda x: np.array([1.0, 2]), smooth=False)
method("new_empty", ((2, 0),), lambda x: np.zeros((2, 0)), smooth=False)
method("pad", ((1, 2),), lambda x: np.pad(x, [(0, 0), (1, 2)]), batch=[0])
method("repeat", (2, 1, 3), lambda x: np.tile(x, (2, 1, 3)), dtypes=ALL)
method("reshape_as", (), lambda x, y: x.reshape(y.shape) + 0 * y, (3, 4), (2, 6), smooth=False)
method("split_with_sizes", ([1, 3], 1), lambda x: (x[:, :1], x[:, 1:]), batch=[0])
method("sum_to_size", (1, 4), lambda x: x.sum(0, keepdims=True))
method("type_as", (), lambda x, y: x, (3, 4), (2,), smooth=False)
method("unfold", (1, 3, 2), lambda x: np.lib.stride_tricks.sliding_window_view(x, 3, 1)[:, ::2],
       (3, 7), batch=[0])  # fmt: skip
method("to", (sley.float64,), lambda x: x, dtypes=NUMBERS, result="float64", batch=[0])
for _name, _of in (("T", np.transpose), ("mT", lambda x: x.swapaxes(-1, -2))):
    TABLE.shaped(f"Tensor.{_name}", lambda x, n=_name: getattr(x, n), _of, [(3, 4)], dtypes=WIDE,
                 batch=[0])  # fmt: skip
for _name, _reference in (("view", lambda x: x.reshape(2, 6)), ("view_as", lambda x: x)):
    TABLE.case(f"Tensor.{_name}", "sizes",
               (lambda x: x.view(2, -1)) if _name == "view" else lambda x: x.view_as(x * 2),
               [drawn((3, 4), "float64", -1, 1)], _reference, gradient=True)  # fmt: skip
TABLE.wrong("Tensor.view", "not contiguous", lambda: sley.ones(3, 4).T.view(12), ValueError, "")
TABLE.wrong("Tensor.expand", "sizes", lambda: sley.ones(3, 4).expand(5, 4), ValueError, "")
TABLE.wrong("Tensor.repeat", "axes", lambda: sley.ones(3, 4).repeat(2), ValueError, "")
TABLE.wrong("Tensor.sum_to_size", "sizes", lambda: sley.ones(3, 4).sum_to_size(2, 4), ValueError,
            "")  # fmt: skip
TABLE.wrong("Tensor.unfold", "size", lambda: sley.ones(3).unfold(0, 4, 1), ValueError, "4")
TABLE.wrong("Tensor.split_with_sizes", "sum", lambda: sley.ones(3).split_with_sizes([1, 1]),
            ValueError, "")  # fmt: skip
CASTS = {
    "bool": "bool", "byte": "uint8", "int": "int32", "long": "int64", "half": "float16",
    "bfloat16": "bfloat16", "float": "float32", "double": "float64", "cfloat": "complex64",
    "cdouble": "complex128",
}  # fmt: skip
for _name, _dtype in CASTS.items():
    for _from in ("float32", "int64", "bool"):
        TABLE.case(
            f"Tensor.{_name}",
            _from,
            lambda x, n=_name: getattr(x, n)(),
            [np.array([0, 1, 3]).astype(_from)],
            lambda x, d=_dtype: x.astype(bool) if d == "bool" else x,
            dtype=_dtype,
        )
