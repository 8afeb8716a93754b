"""Products of matrices, and linear algebra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.linalg
from public.samples import COMPLEX, FLOATS, Table, find, public

import sley

TABLE = Table()
WIDE = ("float64", "float32")
EVERY = (*FLOATS, "int64", "int32")
# Sums of a few dozen products.
LOOSE = {"tolerance": None}


def product(
    name: str,
    reference: Callable[..., Any],
    shapes: Sequence[Sequence[int]],
    label: str = "",
    *,
    after: Sequence[Any] = (),
    dtypes: Sequence[str] = (*FLOATS, "int64", *COMPLEX),
    batch: Sequence[int | None] | None = None,
    **rest: Any,
) -> None:
    TABLE.shaped(name, public(name, *after), reference, shapes, label=label, dtypes=dtypes,
                 batch=batch, **rest)  # fmt: skip


for _label, _left, _right in (
    ("matrices", (3, 4), (4, 5)), ("vectors", (4,), (4,)), ("vector matrix", (4,), (4, 5)),
    ("matrix vector", (3, 4), (4,)), ("batch", (2, 3, 4), (2, 4, 5)),
    ("broadcast", (2, 1, 3, 4), (5, 4, 2)), ("batch vector", (2, 3, 4), (4,)),
    ("one", (1, 1), (1, 1)), ("inner 0", (3, 0), (0, 5)), ("outer 0", (0, 4), (4, 2)),
):  # fmt: skip
    product("matmul", np.matmul, [_left, _right], _label,
            dtypes=(*FLOATS, "int64", *COMPLEX) if _label == "matrices" else WIDE,
            batch=[0, None] if _label == "matrices" else None)  # fmt: skip
product("mm", np.matmul, [(3, 4), (4, 5)], batch=[0, None])
product("bmm", np.matmul, [(2, 3, 4), (2, 4, 5)], batch=[0, 0])
product("mv", np.matmul, [(3, 4), (4,)], batch=[0, None])
product("dot", np.dot, [(4,), (4,)], batch=[0, 0])
product("vdot", np.vdot, [(4,), (4,)], dtypes=(*WIDE, *COMPLEX))
product("inner", np.inner, [(3, 4), (5, 4)], batch=[0, None])
product("inner", np.inner, [(), (3,)], "0-d", dtypes=WIDE)
product("outer", np.outer, [(3,), (4,)], batch=[0, None])
product("kron", np.kron, [(2, 3), (3, 2)], dtypes=EVERY)
product("trace", np.trace, [(4, 4)], dtypes=WIDE)
product("tensordot", lambda a, b: np.tensordot(a, b, 2), [(2, 3, 4), (3, 4, 5)], after=[2])
product(
    "tensordot",
    lambda a, b: np.tensordot(a, b, ([0, 2], [1, 0])),
    [(2, 3, 4), (4, 2, 5)],
    "axes",
    after=[([0, 2], [1, 0])],
)
product("tensordot", lambda a, b: np.tensordot(a, b, 0), [(2,), (3,)], "outer", after=[0])
for _equation, _shapes in {
    "ij,jk->ik": [(3, 4), (4, 5)], "bij,bjk": [(2, 3, 4), (2, 4, 5)], "ii->i": [(4, 4)],
    "ii": [(3, 3)], "ij->ji": [(3, 4)], "i,j->ij": [(3,), (4,)], "...ij,...jk->...ik":
    [(2, 1, 3, 4), (5, 4, 2)], "ab,bc,cd->ad": [(2, 3), (3, 4), (4, 5)], "ij->": [(3, 4)],
    "bqhd,bkhd->bhqk": [(2, 3, 2, 4), (2, 5, 2, 4)], "iij->j": [(3, 3, 2)],
}.items():  # fmt: skip
    TABLE.shaped("einsum", lambda *t, e=_equation: sley.einsum(e, *t),
                 lambda *a, e=_equation: np.einsum(e, *a), _shapes, label=_equation,
                 dtypes=WIDE)  # fmt: skip
for _name, _reference, _shapes in (
    ("addmm", lambda c, a, b: 0.5 * c + 2 * (a @ b), [(3, 5), (3, 4), (4, 5)]),
    ("addmv", lambda c, a, b: 0.5 * c + 2 * (a @ b), [(3,), (3, 4), (4,)]),
    ("addr", lambda c, a, b: 0.5 * c + 2 * np.outer(a, b), [(3, 4), (3,), (4,)]),
    ("baddbmm", lambda c, a, b: 0.5 * c + 2 * (a @ b), [(2, 3, 5), (2, 3, 4), (2, 4, 5)]),
):
    TABLE.shaped(_name, public(_name, beta=0.5, alpha=2), _reference, _shapes, dtypes=FLOATS)
TABLE.shaped("block_diag", public("block_diag"), scipy.linalg.block_diag, [(2, 3), (1, 3)],
             dtypes=WIDE)  # fmt: skip
TABLE.shaped("cartesian_prod", public("cartesian_prod"),
             lambda a, b: np.stack(np.meshgrid(a, b, indexing="ij"), -1).reshape(-1, 2),
             [(2,), (3,)], dtypes=(*WIDE, "int64"))  # fmt: skip
UNFIT = {
    "matmul": [(2, 3), (4, 2)], "mm": [(2, 3), (4, 2)], "bmm": [(1, 2, 3), (1, 4, 2)],
    "mv": [(2, 3), (4,)], "dot": [(3,), (4,)],
}  # fmt: skip


def unfit(name: str, dtype: sley.dtype) -> Callable[[], Any]:
    left, right = UNFIT[name]
    return lambda: find(name)(sley.ones(*left), sley.ones(*right, dtype=dtype))


for _name in UNFIT:
    TABLE.wrong(_name, "sizes", unfit(_name, sley.float32), sley.ShapeError, "3")
    TABLE.wrong(_name, "dtypes", unfit(_name, sley.int64), (sley.DTypeError, sley.ShapeError), "")
TABLE.wrong("mm", "axes", lambda: sley.mm(sley.ones(2, 3, 4), sley.ones(4, 2)), sley.ShapeError, "")
TABLE.wrong("einsum", "labels", lambda: sley.einsum("ij,jk", sley.ones(2, 3)), ValueError, "")
TABLE.wrong("einsum", "sizes", lambda: sley.einsum("ij,ij->i", sley.ones(2, 3), sley.ones(2, 4)),
            ValueError, "")  # fmt: skip

# Linear algebra -------------------------------------------------------------------------------

SQUARE = (2, 4, 4)


def plus_identity(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` of a well conditioned matrix made from the sample's."""

    def call(a: Any, *rest: Any) -> Any:
        eye = np.eye(4) if isinstance(a, np.ndarray) else sley.eye(4, dtype=a.dtype)
        return f(a * 0.25 + 2 * eye, *rest)

    return call


def definite(f: Callable[..., Any]) -> Callable[..., Any]:
    def call(a: Any) -> Any:
        turned = np.conj(a.swapaxes(-1, -2)) if isinstance(a, np.ndarray) else a.mT.conj()
        eye = np.eye(4) if isinstance(a, np.ndarray) else sley.eye(4, dtype=a.dtype)
        return f(a @ turned + eye)

    return call


ALGEBRA = (*WIDE, *COMPLEX)
for _name, _reference in {
    "linalg.inv": np.linalg.inv, "linalg.det": np.linalg.det, "linalg.pinv": np.linalg.pinv,
    "linalg.slogdet": np.linalg.slogdet,
    "linalg.matrix_power": lambda a: np.linalg.matrix_power(a, 3),
    "linalg.cond": np.linalg.cond,
}.items():  # fmt: skip
    _after = (3,) if _name.endswith("power") else ()
    TABLE.shaped(_name, plus_identity(public(_name, *_after)), plus_identity(_reference), [SQUARE],
                 dtypes=ALGEBRA if _name != "linalg.cond" else WIDE, batch=[0], tolerance=2e-5,
                 result="same" if _name != "linalg.cond" else "real")  # fmt: skip
TABLE.shaped("linalg.cholesky", definite(public("linalg.cholesky")), definite(np.linalg.cholesky),
             [SQUARE], dtypes=ALGEBRA, batch=[0], tolerance=2e-5)  # fmt: skip
TABLE.shaped("linalg.eigvalsh", definite(public("linalg.eigvalsh")), definite(np.linalg.eigvalsh),
             [SQUARE], dtypes=ALGEBRA, result="real", batch=[0], tolerance=2e-5)  # fmt: skip
TABLE.shaped("linalg.solve", plus_identity(public("linalg.solve")),
             plus_identity(np.linalg.solve), [SQUARE, (2, 4, 3)], dtypes=ALGEBRA, batch=[0, 0],
             tolerance=2e-5)  # fmt: skip
TABLE.shaped("linalg.svdvals", public("linalg.svdvals"),
             lambda a: np.linalg.svd(a, compute_uv=False), [(2, 5, 3)], dtypes=ALGEBRA,
             result="real", batch=[0], tolerance=2e-5)  # fmt: skip
for _mode in ("reduced", "complete"):
    TABLE.shaped("linalg.qr", lambda a, m=_mode: again(sley.linalg.qr(a, m)), lambda a: a,
                 [(2, 5, 3)], label=_mode, dtypes=ALGEBRA, tolerance=2e-5,
                 smooth=_mode == "reduced", batch=[0])  # fmt: skip


def again(factors: Any) -> Any:
    q, r = factors
    return q @ r


TABLE.shaped("linalg.svd", lambda a: recomposed(sley.linalg.svd(a, full_matrices=False)),
             lambda a: a, [(2, 5, 3)], dtypes=ALGEBRA, tolerance=2e-5, batch=[0])  # fmt: skip


def recomposed(factors: Any) -> Any:
    u, s, vh = factors
    return u * s.unsqueeze(-2) @ vh


def from_eigen(parts: Any) -> Any:
    values, vectors = parts
    return vectors * values.unsqueeze(-2) @ vectors.mT.conj()


TABLE.shaped("linalg.eigh", definite(lambda a: from_eigen(sley.linalg.eigh(a))),
             definite(lambda a: a), [SQUARE], dtypes=ALGEBRA, tolerance=2e-5,
             batch=[0])  # fmt: skip
TABLE.shaped("linalg.matrix_exp", public("linalg.matrix_exp"), scipy.linalg.expm, [SQUARE],
             dtypes=ALGEBRA, tolerance=2e-5, batch=[0])  # fmt: skip
TABLE.shaped("linalg.eigvals", lambda a: (sley.linalg.eigvals(a) ** 2).real.sum(-1),
             lambda a: (a * a.swapaxes(-1, -2)).sum((-1, -2)), [SQUARE], dtypes=WIDE,
             tolerance=2e-5, batch=[0])  # fmt: skip
TABLE.shaped("linalg.eig", lambda a: from_any_eigen(sley.linalg.eig(a)), lambda a: a, [SQUARE],
             dtypes=WIDE, tolerance=1e-4, batch=[0])  # fmt: skip


def from_any_eigen(parts: Any) -> Any:
    values, vectors = parts
    return (vectors * values.unsqueeze(-2) @ sley.linalg.inv(vectors)).real


TABLE.shaped("linalg.lstsq", lambda a, b: sley.linalg.lstsq(a, b).solution,
             lambda a, b: np.linalg.pinv(a) @ b, [(2, 5, 3), (2, 5, 2)], dtypes=WIDE,
             tolerance=2e-5, batch=[0, 0])  # fmt: skip
TABLE.shaped("linalg.cross", public("linalg.cross"), np.cross, [(4, 3), (4, 3)],
             dtypes=(*FLOATS, "int64"), batch=[0, 0])  # fmt: skip
TABLE.shaped("linalg.multi_dot", lambda *t: sley.linalg.multi_dot(t),
             lambda *a: np.linalg.multi_dot(a), [(2, 5), (5, 3), (3, 4)], dtypes=WIDE)  # fmt: skip
for _ord in (1, 2, 3, np.inf, -np.inf, 0):
    TABLE.shaped("linalg.vector_norm", public("linalg.vector_norm", _ord, -1),
                 lambda a, p=_ord: np.linalg.norm(a, p, axis=-1), [(3, 5)], label=str(_ord),
                 low=0.2, dtypes=WIDE, smooth=_ord != 0, batch=[0])  # fmt: skip
for _ord in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
    TABLE.shaped("linalg.matrix_norm", public("linalg.matrix_norm", _ord),
                 lambda a, p=_ord: np.linalg.norm(a, p, axis=(-2, -1)), [(2, 4, 3)],
                 label=str(_ord), low=0.2, dtypes=WIDE, batch=[0], tolerance=2e-5)  # fmt: skip
TABLE.shaped("linalg.norm", public("linalg.norm"), lambda a: np.sqrt((a * a).sum()), [(3, 5)],
             dtypes=WIDE)  # fmt: skip
for _name in ("inv", "det", "cholesky", "eigh", "slogdet", "eig", "eigvals", "matrix_exp"):
    TABLE.wrong(
        f"linalg.{_name}",
        "not square",
        lambda n=_name: find(f"linalg.{n}")(sley.ones(2, 3)),
        sley.ShapeError,
        "square",
    )
    TABLE.wrong(f"linalg.{_name}", "integers",
                lambda n=_name: find(f"linalg.{n}")(sley.ones(3, 3, dtype=sley.int64)),
                sley.DTypeError, "int64")  # fmt: skip
TABLE.wrong("linalg.solve", "singular", lambda: sley.linalg.solve(sley.zeros(2, 2), sley.ones(2)),
            sley.LinAlgError, "ingular")  # fmt: skip
TABLE.wrong("linalg.cholesky", "not definite", lambda: sley.linalg.cholesky(-sley.eye(2)),
            sley.LinAlgError, "definite")  # fmt: skip
TABLE.wrong("linalg.svd", "a vector", lambda: sley.linalg.svd(sley.ones(2)), sley.ShapeError,
            "matrix")  # fmt: skip
TABLE.wrong("linalg.cross", "sizes", lambda: sley.linalg.cross(sley.ones(4), sley.ones(4)),
            sley.ShapeError, "3")  # fmt: skip
