"""Functions that put tensors together, difference and integrate them; windows; gamma functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.integrate as integrate
import scipy.signal as signal
import scipy.special as special
from public.samples import ALL, NUMBERS, Table, drawn, public, unary

import sley

TABLE = Table()
SHAPE = (3, 4, 5)
WIDE = ("float64", "float32")
ROWS = np.array([[3.0, 1, 3], [0, 1, 2]])

# ------------------------------------------------------------------------------------- assembling

TABLE.shaped("column_stack", lambda x, y: sley.column_stack([x, y]),
             lambda x, y: np.column_stack([x, y]), [(4,), (4, 2)], dtypes=ALL,
             batch=[0, 0])  # fmt: skip
TABLE.shaped("row_stack", lambda x, y: sley.row_stack([x, y]), lambda x, y: np.vstack([x, y]),
             [(3,), (2, 3)], dtypes=WIDE)  # fmt: skip
for _name, _numpy in (("hsplit", np.hsplit), ("vsplit", np.vsplit), ("dsplit", np.dsplit)):
    TABLE.shaped(_name, public(_name, 2), lambda x, f=_numpy: f(x, 2), [(4, 4, 6)], dtypes=WIDE)
    TABLE.shaped(_name, public(_name, [1, 3]), lambda x, f=_numpy: f(x, [1, 3]), [(4, 4, 6)],
                 label="places", dtypes=WIDE[:1])  # fmt: skip
    TABLE.wrong(_name, "0-d", lambda n=_name: getattr(sley, n)(sley.tensor(1.0), 2),
                sley.ShapeError, "")  # fmt: skip
for _offset in (-1, 0, 2):
    TABLE.shaped("diag_embed", public("diag_embed", _offset),
                 lambda x, k=_offset: np.stack([np.diag(r, k) for r in x])
                 if len(x) else np.zeros((0, 3 + abs(k), 3 + abs(k))),
                 [(2, 3)], label=str(_offset), dtypes=WIDE, batch=[0])  # fmt: skip
    TABLE.shaped("diagflat", public("diagflat", _offset), lambda x, k=_offset: np.diagflat(x, k),
                 [(2, 2)], label=str(_offset), dtypes=NUMBERS)  # fmt: skip
TABLE.shaped("diag_embed", public("diag_embed", 0, 2, 0),
             lambda x: np.moveaxis(np.stack([np.diag(r) for r in x]), (1, 2), (2, 0)), [(2, 3)],
             label="axes", dtypes=WIDE)  # fmt: skip
TABLE.wrong("diag_embed", "one axis", lambda: sley.diag_embed(sley.ones(2), 0, 1, 1),
            sley.ShapeError, "both axis 1")  # fmt: skip


def written(place: Any) -> Callable[..., Any]:
    def reference(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        out = x.copy()
        out[place] = y
        return out

    return reference


TABLE.shaped("diagonal_scatter", public("diagonal_scatter"), written(([0, 1, 2], [0, 1, 2])),
             [(3, 4), (3,)], dtypes=WIDE)  # fmt: skip
TABLE.shaped("select_scatter", public("select_scatter", 1, -1), written((slice(None), -1)),
             [(3, 4), (3,)], dtypes=WIDE, batch=[0, 0])  # fmt: skip
TABLE.shaped("slice_scatter", public("slice_scatter", 1, 1, None, 2),
             written((slice(None), slice(1, None, 2))), [(3, 5), (3, 2)], dtypes=WIDE,
             batch=[0, 0])  # fmt: skip
TABLE.case("broadcast_shapes", "sizes", lambda: sley.tensor(
    list(sley.broadcast_shapes((3, 1), (4,)))), [], lambda: np.array([3, 4]))  # fmt: skip
TABLE.wrong("broadcast_shapes", "misfit", lambda: sley.broadcast_shapes((3,), (4,)),
            sley.ShapeError, "do not broadcast")  # fmt: skip
TABLE.case("as_strided", "places", public("as_strided", (2, 3), (1, 2), 1),
           [drawn((3, 4), "float64", -1, 1)], lambda x: x.ravel()[[[1, 3, 5], [2, 4, 6]]],
           gradient=True)  # fmt: skip
TABLE.wrong("as_strided", "not dense", lambda: sley.as_strided(sley.from_numpy(ROWS.T), (2,), (1,)),
            sley.ShapeError, "not dense")  # fmt: skip
TABLE.wrong("as_strided", "outside", lambda: sley.as_strided(sley.ones(4), (3,), (2,)),
            sley.ShapeError, "memory of 4")  # fmt: skip
TABLE.wrong("as_strided", "negative", lambda: sley.as_strided(sley.ones(4), (3,), (-1,), 3),
            ValueError, "negative")  # fmt: skip

# ------------------------------------------------------------------------ differences and integrals

for _n in (0, 1, 2):
    TABLE.shaped("diff", public("diff", _n), lambda x, n=_n: np.diff(x, n), [SHAPE], label=str(_n),
                 dtypes=WIDE if _n != 1 else NUMBERS, batch=[0])  # fmt: skip
TABLE.shaped("diff", lambda x, y: sley.diff(x, dim=0, append=y),
             lambda x, y: np.diff(x, axis=0, append=y), [(3, 2), (1, 2)], label="append",
             dtypes=WIDE)  # fmt: skip
TABLE.shaped("diff", public("diff"), np.diff, [(3, 5)], label="bools", dtypes=["bool"],
             smooth=False)  # fmt: skip
TABLE.wrong("diff", "0-d", lambda: sley.diff(sley.tensor(1.0)), sley.ShapeError, "0-d")
for _name, _of in (
    ("trapezoid", integrate.trapezoid),
    ("cumulative_trapezoid", integrate.cumulative_trapezoid),
):
    TABLE.shaped(_name, public(_name, dx=0.5, dim=1), lambda y, f=_of: f(y, dx=0.5, axis=1),
                 [SHAPE], label="dx", dtypes=WIDE, batch=[0])  # fmt: skip
    TABLE.shaped(_name, lambda y, x, n=_name: getattr(sley, n)(y, x, dim=1),
                 lambda y, x, f=_of: f(y, x, axis=1), [(3, 4), (4,)], label="x",
                 dtypes=WIDE)  # fmt: skip
TABLE.wrong("trapezoid", "both", lambda: sley.trapezoid(sley.ones(3), sley.ones(3), dx=1.0),
            ValueError, "both x and dx")  # fmt: skip
TABLE.case("logcumsumexp", "infinities", public("logcumsumexp", 0),
           [np.array([-np.inf, 1, 800, np.inf, 2])],
           lambda x: np.logaddexp.accumulate(x), special=True)  # fmt: skip
TABLE.shaped("cov", public("cov"), np.cov, [(3, 6)], dtypes=WIDE)
TABLE.shaped("cov", public("cov", correction=0), lambda x: np.cov(x, ddof=0), [(6,)],
             label="one", dtypes=WIDE)  # fmt: skip
TABLE.case("cov", "weights", lambda x, f, a: sley.cov(x, fweights=f, aweights=a),
           [drawn((2, 4), "float64", -1, 1), np.array([1, 2, 0, 3]), np.array([0.5, 1, 2, 0.25])],
           lambda x, f, a: np.cov(x, fweights=f, aweights=a), gradient=False)  # fmt: skip
TABLE.shaped("corrcoef", public("corrcoef"), np.corrcoef, [(3, 6)], dtypes=WIDE, smooth=False)

# ---------------------------------------------------------------------------------------- integers

PAIRS = [np.array([[12, -18], [0, 35]]), np.array([18, 14])]
for _name, _of in (("gcd", np.gcd), ("lcm", np.lcm)):
    for _dtype in ("int64", "int32"):
        TABLE.case(_name, _dtype, public(_name), [p.astype(_dtype) for p in PAIRS], _of,
                   dtype=_dtype, batch=(0, None) if _dtype == "int64" else None)  # fmt: skip
    TABLE.case(_name, "uint8", public(_name), [np.uint8([12, 0, 7]), np.uint8([18, 0, 1])], _of)
    TABLE.wrong(_name, "floats", lambda n=_name: getattr(sley, n)(sley.ones(2), 2), TypeError,
                "takes integers")  # fmt: skip
TABLE.case("unravel_index", "places", lambda x: sley.unravel_index(x, (3, 4)), [np.array([5, 11])],
           lambda x: np.unravel_index(x, (3, 4)))  # fmt: skip
TABLE.case("ldexp", "floats", public("ldexp"), [np.float32([1.5, -3, 0]), np.array([3, -2, 5])],
           np.ldexp)  # fmt: skip
for _name, _of in (("isposinf", np.isposinf), ("isneginf", np.isneginf), ("isreal", np.isreal)):
    unary(TABLE, _name, _of, result="bool", smooth=False)

# ----------------------------------------------------------------------------------------- windows

for _name in ("hann", "hamming", "blackman", "bartlett"):
    for _periodic in (True, False):
        for _length in (1, 2, 9):
            TABLE.case(
                f"{_name}_window", f"{_length}-{_periodic}",
                lambda n=_name, k=_length, p=_periodic: getattr(sley, f"{n}_window")(
                    k, p, dtype=sley.float64),
                [], lambda n=_name, k=_length, p=_periodic: signal.get_window(n, k, p),
                tolerance=1e-12,
            )  # fmt: skip
    TABLE.wrong(f"{_name}_window", "negative", lambda n=_name: getattr(sley, f"{n}_window")(-1),
                ValueError, "-1 points")  # fmt: skip

# ------------------------------------------------------------------------------------------- gamma

for _name, _of in {"lgamma": special.gammaln, "digamma": special.digamma}.items():
    unary(TABLE, _name, _of, low=0.2, high=12.0, result="float", special=False)
    TABLE.shaped(_name, public(_name), _of, [(3, 5)], label="negative", low=-2.9, high=-2.1,
                 dtypes=WIDE, tolerance=3e-6)  # fmt: skip
for _n in (0, 1, 2, 4):
    TABLE.shaped("polygamma", lambda x, n=_n: sley.polygamma(n, x),
                 lambda x, n=_n: special.polygamma(n, x), [(3, 5)], label=str(_n), low=0.3,
                 high=12.0, dtypes=WIDE, batch=[0])  # fmt: skip
TABLE.wrong("polygamma", "order", lambda: sley.polygamma(-1, sley.ones(2)), ValueError, "n=-1")
unary(TABLE, "erfc", special.erfc, low=-3, high=4, result="float")
TABLE.case("lgamma", "poles", public("lgamma"), [np.array([0.0, -1, -7, np.inf, -np.inf, 1, 2])],
           lambda x: np.array([np.inf] * 5 + [0, 0]), special=True)  # fmt: skip
TABLE.case("digamma", "poles", public("digamma"), [np.array([0.0, -0.0, -1, np.inf])],
           lambda x: np.array([-np.inf, np.inf, np.nan, np.inf]), special=True)  # fmt: skip
