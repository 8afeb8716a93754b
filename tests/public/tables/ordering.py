"""Functions of the order of elements, of how often they occur, and of places among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.spatial.distance as distance
import scipy.stats as stats
from public.samples import ALL, FLOATS, INTS, NUMBERS, Table, drawn, public

import sley

TABLE = Table()
SHAPE = (3, 4, 5)
WIDE = ("float64", "float32")
EXACT: dict[str, Any] = {"tolerance": 0.0}


def both(call: Callable[..., Any]) -> Callable[..., Any]:
    """(values, indices) as a plain tuple."""
    return lambda *tensors: tuple(call(*tensors))


def ordered(axis: int = -1, down: bool = False) -> Callable[..., Any]:
    """Values and places of a stable sort, NaN largest."""

    def reference(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        key = x.astype(np.float64)
        # The places of numbers come from a key of two parts, since -NaN is no number to turn.
        nan = np.isnan(key)
        key = np.where(nan, 0, -key if down else key)
        order = np.lexsort((key, ~nan if down else nan), axis=axis)
        return np.take_along_axis(x, order, axis), order

    return reference


# ------------------------------------------------------------------------------------------- sort

REPEATED = np.array([[3.0, 1, 3, 0, 1], [2, 2, 2, -1, 5], [0, -0.0, 0, 1, 0]])
HOLES = np.array([[3.0, np.nan, 1, np.inf], [np.nan, np.nan, -np.inf, 0], [2, 1, 0, -1]])
for _down in (False, True):
    for _axis in (0, -1):
        TABLE.shaped("sort", both(public("sort", _axis, _down)), ordered(_axis, _down), [SHAPE],
                     label=f"{_axis}-{_down}", dtypes=ALL if _axis else WIDE,
                     batch=[0] if _axis else None, **EXACT)  # fmt: skip
    for _label, _x in (("ties", REPEATED), ("nan", HOLES)):
        TABLE.case("sort", f"{_label}-{_down}", both(public("sort", -1, _down)), [_x],
                   ordered(-1, _down), special=_label == "nan", **EXACT)  # fmt: skip
    TABLE.shaped("argsort", public("argsort", -1, _down), lambda x, d=_down: ordered(-1, d)(x)[1],
                 [SHAPE], label=str(_down), dtypes=NUMBERS, result="int64", smooth=False,
                 batch=[0])  # fmt: skip
TABLE.case("sort", "0-d", both(public("sort")), [np.float64(3)], lambda x: (x, np.int64(0)))
TABLE.shaped("msort", public("msort"), lambda x: np.sort(x, 0), [SHAPE], dtypes=NUMBERS, **EXACT)
TABLE.wrong("sort", "dim", lambda: sley.sort(sley.ones(2), 1), IndexError, "out of range")


def top(k: int, down: bool) -> Callable[..., Any]:
    def reference(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, places = ordered(-1, down)(x)
        return values[..., :k], places[..., :k]

    return reference


for _largest in (True, False):
    TABLE.shaped("topk", both(public("topk", 2, largest=_largest)), top(2, _largest), [SHAPE],
                 label=str(_largest), dtypes=NUMBERS, batch=[0], **EXACT)  # fmt: skip
TABLE.case("topk", "0-d", both(public("topk", 1)), [np.float64(3)], lambda x: (x, np.int64(0)))
TABLE.case("topk", "numpy", both(public("topk", np.int64(2))), [REPEATED], top(2, True))
TABLE.wrong("topk", "too many", lambda: sley.topk(sley.ones(3), 4), IndexError, "k=4.*size 3")
TABLE.shaped("kthvalue", both(public("kthvalue", 2, 1, True)),
             lambda x: (np.sort(x, 1)[:, 1:2], np.argsort(x, 1, kind="stable")[:, 1:2]), [SHAPE],
             dtypes=NUMBERS, batch=[0], **EXACT)  # fmt: skip
TABLE.wrong("kthvalue", "none", lambda: sley.kthvalue(sley.ones(3), 0), IndexError, "counts from 1")

# ---------------------------------------------------------------------------- medians, quantiles


def middle(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lower median of the last axis and where it stands."""
    values, places = ordered()(x)
    k = np.full((*x.shape[:-1], 1), (x.shape[-1] - 1) // 2)
    holes = np.isnan(x.astype(np.float64)).sum(-1, keepdims=True)
    k = np.where(holes > 0, x.shape[-1] - holes, k)
    return np.take_along_axis(values, k, -1)[..., 0], np.take_along_axis(places, k, -1)[..., 0]


def nanmiddle(x: np.ndarray) -> np.ndarray:
    """The lower median of what is not NaN in the last axis."""
    rows = [np.sort(r[~np.isnan(r)]) for r in x.reshape(-1, x.shape[-1])]
    found = [r[(len(r) - 1) // 2] if len(r) else np.nan for r in rows]
    return np.array(found).reshape(x.shape[:-1])


TABLE.shaped("median", both(public("median", -1)), middle, [SHAPE], label="dim", dtypes=NUMBERS,
             batch=[0], **EXACT)  # fmt: skip
TABLE.shaped("median", public("median"), lambda x: middle(x.reshape(1, -1))[0][0], [(3, 5)],
             label="all", dtypes=(*WIDE, "int64"), **EXACT)  # fmt: skip
TABLE.case("median", "nan", both(public("median", 1)), [HOLES], middle, special=True, **EXACT)
TABLE.case("nanmedian", "nan", lambda x: sley.nanmedian(x, 1).values, [HOLES], nanmiddle,
           special=True, **EXACT)  # fmt: skip
TABLE.shaped("nanmedian", lambda x: sley.nanmedian(x, -1, True).values,
             lambda x: nanmiddle(x)[..., None], [SHAPE], dtypes=WIDE, batch=[0],
             **EXACT)  # fmt: skip
TABLE.wrong("median", "empty", lambda: sley.median(sley.ones(2, 0), 1), IndexError, "no elements")


def frequent(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = stats.mode(x, axis=-1, keepdims=True).mode
    last = x.shape[-1] - 1 - np.argmax((x == found)[..., ::-1], -1)
    return found[..., 0], last


TABLE.case("mode", "ties", both(public("mode")), [REPEATED], frequent, **EXACT)
TABLE.shaped("mode", both(public("mode")), frequent, [(4, 9)], dtypes=INTS, low=0, high=3,
             smooth=False, batch=[0], **EXACT)  # fmt: skip
TABLE.shaped("mode", lambda x: sley.mode(x, 0, True).values, lambda x: x.min(0, keepdims=True),
             [(4, 3)], label="floats", dtypes=FLOATS, **EXACT)  # fmt: skip

for _name, _of in (("quantile", np.quantile), ("nanquantile", np.nanquantile)):
    for _how in ("linear", "lower", "higher", "midpoint", "nearest"):
        _data = [SHAPE] if _name == "quantile" else [(4, 6)]
        TABLE.shaped(_name, public(_name, 0.3, 1, interpolation=_how),
                     lambda x, f=_of, m=_how: f(x, 0.3, axis=1, method=m), _data, label=_how,
                     dtypes=WIDE, batch=[0])  # fmt: skip
    TABLE.shaped(_name, lambda x, q, n=_name: getattr(sley, n)(x, q, -1, True),
                 lambda x, q, f=_of: f(x, q, axis=-1, keepdims=True), [SHAPE, (4,)],
                 label="several", low=0, high=1, dtypes=WIDE, smooth=False)  # fmt: skip
    TABLE.shaped(_name, public(_name, 1.0), lambda x, f=_of: f(x, 1.0), [(7,)], label="all",
                 dtypes=WIDE)  # fmt: skip
TABLE.case("quantile", "nan", public("quantile", 0.5, 1), [HOLES[1:]],
           lambda x: np.array([np.nan, 0.5]), special=True)  # fmt: skip
TABLE.case("nanquantile", "nan", public("nanquantile", 0.5, 1), [np.where(np.isinf(HOLES), 7, HOLES)
           ], lambda x: np.nanquantile(x, 0.5, axis=1), special=True)  # fmt: skip
TABLE.wrong("quantile", "q", lambda: sley.quantile(sley.ones(3), 1.5), ValueError, "q=1.5")
TABLE.wrong("quantile", "dtype", lambda: sley.quantile(sley.arange(3), 0.5), TypeError, "int64")

# --------------------------------------------------------------------------------- distinct, counts

WHOLE = np.array([[3, 1, 1], [1, 3, 3], [3, 1, 1], [0, 0, 2]])


def eager(label: str, call: Callable[..., Any], x: Any, reference: Callable[..., Any]) -> None:
    TABLE.case("unique_consecutive" if "run" in label else "unique", label, call, [x], reference,
               compiled=False, **EXACT)  # fmt: skip


eager("values", public("unique"), WHOLE, np.unique)
eager("floats", public("unique"), REPEATED, np.unique)
eager("rows", public("unique", dim=0), WHOLE, lambda x: np.unique(x, axis=0))
eager("all", public("unique", return_inverse=True, return_counts=True), WHOLE,
      lambda x: np.unique(x, return_inverse=True, return_counts=True))  # fmt: skip
eager("columns", public("unique", True, True, True, 1), WHOLE,
      lambda x: np.unique(x, return_inverse=True, return_counts=True, axis=1))  # fmt: skip
eager("empty", public("unique"), np.zeros((0, 2)), lambda x: np.zeros(0))
eager("runs", public("unique_consecutive", True, True), np.array([1, 1, 2, 2, 2, 1]),
      lambda x: (np.array([1, 2, 1]), np.array([0, 0, 1, 1, 1, 2]),
                 np.array([2, 3, 1])))  # fmt: skip
eager("runs of rows", public("unique_consecutive", dim=0), WHOLE[[0, 0, 1, 0]],
      lambda x: x[[0, 2, 3]])  # fmt: skip
for _name in ("unique", "unique_consecutive"):
    TABLE.wrong(_name, "compiled", lambda n=_name: sley.compile(getattr(sley, n))(sley.ones(3)),
                sley.TraceError, "depends on data")  # fmt: skip
TABLE.wrong("bincount", "compiled", lambda: sley.compile(sley.bincount)(sley.tensor([1])),
            sley.TraceError, "scatter_add")  # fmt: skip
TABLE.case("bincount", "plain", public("bincount", minlength=6), [np.array([0, 3, 3, 1])],
           lambda x: np.bincount(x, minlength=6), compiled=False)  # fmt: skip
TABLE.case("bincount", "weights", public("bincount"), [np.array([0, 3, 3]), np.array([0.5, 1, 2])],
           np.bincount, compiled=False)  # fmt: skip
TABLE.case("bincount", "none", public("bincount"), [np.zeros(0, np.int64)], np.bincount,
           compiled=False)  # fmt: skip
TABLE.wrong("bincount", "negative", lambda: sley.bincount(sley.tensor([-1])), ValueError,
            "0 or more")  # fmt: skip
for _low, _high in ((0, 0), (-1, 1)):
    TABLE.shaped("histc", public("histc", 7, _low, _high),
                 lambda x, a=_low, b=_high: np.histogram(x, 7, None if a == b else (a, b))[0],
                 [(4, 9)], label=f"{_low}-{_high}", dtypes=WIDE, smooth=False, batch=[0],
                 empty=False)  # fmt: skip
TABLE.wrong("histc", "range", lambda: sley.histc(sley.ones(3), 3, 2, 1), ValueError, "range 2 .. 1")
for _density in (False, True):
    TABLE.shaped("histogram", both(public("histogram", 5, density=_density)),
                 lambda x, d=_density: np.histogram(x, 5, density=d), [(40,)], label=str(_density),
                 dtypes=WIDE, smooth=False)  # fmt: skip
TABLE.shaped("histogram", lambda x, w: tuple(sley.histogram(x, 4, range=(-1.0, 1.0), weight=w)),
             lambda x, w: np.histogram(x, 4, (-1, 1), weights=w), [(40,), (40,)], label="weights",
             dtypes=WIDE, smooth=False)  # fmt: skip
TABLE.case("histogram", "edges", both(public("histogram")), [HOLES[2], np.array([-1.0, 0, 0.5, 2])],
           np.histogram)  # fmt: skip

# ------------------------------------------------------------------------------------------ places

STEPS = np.array([-1.0, 0, 0, 0.5, 2])
for _right in (False, True):
    _side = "right" if _right else "left"
    TABLE.case("searchsorted", _side, public("searchsorted", right=_right), [STEPS, REPEATED],
               lambda s, v, d=_side: np.searchsorted(s, v, d), dtype="int64")  # fmt: skip
    TABLE.shaped("bucketize", lambda x, r=_right: sley.bucketize(x, sley.tensor(STEPS), right=r),
                 lambda x, d=_side: np.searchsorted(STEPS, x, d), [(4, 5)], label=_side,
                 dtypes=NUMBERS, result="int64", smooth=False, batch=[0])  # fmt: skip
TABLE.shaped(
    "searchsorted", lambda s, v: sley.searchsorted(sley.sort(s).values, v, out_int32=True),
    lambda s, v: np.stack([np.searchsorted(np.sort(a), b) for a, b in zip(s, v)]).reshape(v.shape)
    if len(s) else np.zeros(v.shape, int),
    [(3, 70), (3, 9)], label="rows", dtypes=WIDE, result="int32", smooth=False, batch=[0, 0],
)  # fmt: skip
TABLE.shaped("searchsorted", lambda s, v: sley.searchsorted(sley.sort(s).values, v),
             lambda s, v: np.searchsorted(np.sort(s), v), [(9,), (4,)], label="any length",
             dtypes=WIDE, result="int64", smooth=False, batch=[0, None])  # fmt: skip
TABLE.case("searchsorted", "sorter", lambda s, v: sley.searchsorted(s, v, sorter=sley.argsort(s)),
           [HOLES[2], STEPS], lambda s, v: np.searchsorted(s, v, sorter=np.argsort(s)))  # fmt: skip
TABLE.wrong("searchsorted", "rows", lambda: sley.searchsorted(sley.ones(2, 3), sley.ones(3, 1)),
            sley.ShapeError, "before the last")  # fmt: skip
TABLE.wrong("searchsorted", "side", lambda: sley.searchsorted(sley.ones(3), 1.0, side="up"),
            ValueError, "side='up'")  # fmt: skip
TABLE.shaped("isin", lambda x: sley.isin(x, sley.tensor([1, 2, 7])),
             lambda x: np.isin(x, [1, 2, 7]), [(4, 5)], dtypes=INTS, result="bool", smooth=False,
             batch=[0])  # fmt: skip
TABLE.case("isin", "inverted", lambda x: sley.isin(x, 3.0, invert=True), [REPEATED],
           lambda x: x != 3)  # fmt: skip

# --------------------------------------------------------------------------- distances and pairs

for _p, _metric in ((1.0, "cityblock"), (2.0, "euclidean"), (np.inf, "chebyshev"), (3.0, None)):
    _more = {} if _metric else {"p": 3.0}
    TABLE.shaped("cdist", public("cdist", _p), lambda x, y, m=_metric, k=_more: distance.cdist(
        x, y, m or "minkowski", **k), [(4, 3), (5, 3)], label=str(_p), dtypes=WIDE,
        batch=[0, None] if _p == 2 else None, empty=False)  # fmt: skip
    TABLE.shaped("pdist", public("pdist", _p), lambda x, m=_metric, k=_more: distance.pdist(
        x, m or "minkowski", **k), [(5, 3)], label=str(_p), dtypes=WIDE)  # fmt: skip
TABLE.wrong("cdist", "lengths", lambda: sley.cdist(sley.ones(2, 3), sley.ones(2, 4)),
            sley.ShapeError, "last axes")  # fmt: skip
TABLE.shaped("dist", public("dist", 3), lambda x, y: np.linalg.norm((x - y).ravel(), 3),
             [(3, 4), (4,)], dtypes=WIDE)  # fmt: skip
TABLE.case("combinations", "pairs", public("combinations"), [np.array([4.0, 5, 6])],
           lambda x: np.array([[4, 5], [4, 6], [5, 6]]), gradient=True)  # fmt: skip
TABLE.case("combinations", "with replacement", public("combinations", 2, True), [np.array([4, 5])],
           lambda x: np.array([[4, 4], [4, 5], [5, 5]]))  # fmt: skip

# ------------------------------------------------------------------------------- scatter and index

TARGET, FROM = drawn((4, 3), "float64", -2, 2), drawn((5, 3), "float64", -2, 2, 1)
PLACES = np.array([[0, 3, 1], [0, 0, 1], [2, 3, 1], [0, 1, 1], [0, 3, 3]])
JOIN = {"sum": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum,
        "mean": np.add}  # fmt: skip


def scattered(how: str, include: bool) -> Callable[..., Any]:
    def reference(base: np.ndarray, places: np.ndarray, updates: np.ndarray) -> np.ndarray:
        out, count = base.copy(), np.ones(base.shape)
        touched = np.zeros(base.shape, bool)
        for (i, j), place in np.ndenumerate(places):
            fresh = not include and not touched[place, j]
            out[place, j] = updates[i, j] if fresh else JOIN[how](out[place, j], updates[i, j])
            count[place, j] += not fresh
            touched[place, j] = True
        return out / count if how == "mean" else out

    return reference


for _how in JOIN:
    for _include in (True, False):
        TABLE.case(
            "scatter_reduce", f"{_how}-{_include}",
            lambda b, i, s, h=_how, k=_include: sley.scatter_reduce(
                b, 0, i, s, h, include_self=k),
            [TARGET, PLACES, FROM], scattered(_how, _include), gradient=True,
            batch=(None, 0, 0),
        )  # fmt: skip
    if _how != "sum":
        TABLE.case(
            "index_reduce", _how,
            lambda b, i, s, h=_how: sley.index_reduce(b, 0, i, s, h),
            [TARGET, PLACES[:, 0], FROM],
            lambda b, i, s, h=_how: scattered(h, True)(b, np.tile(i[:, None], 3), s), gradient=True,
        )  # fmt: skip
TABLE.wrong("scatter_reduce", "reduce", lambda: sley.scatter_reduce(
    sley.ones(2), 0, sley.tensor([0]), sley.ones(1), "max"), ValueError, "none of sum")  # fmt: skip
TABLE.case("masked_scatter", "plain", public("masked_scatter"),
           [TARGET, TARGET > 0, FROM],
           lambda x, m, s: np.where(m, np.pad(s.ravel(), (0, 9))[np.maximum(m.cumsum() - 1, 0)]
                                    .reshape(x.shape), x), gradient=True)  # fmt: skip
TABLE.wrong("masked_scatter", "few", lambda: sley.masked_scatter(
    sley.ones(3), sley.tensor([True, True, True]), sley.ones(2)), IndexError,
    "2 elements for 3")  # fmt: skip
TABLE.wrong("masked_scatter", "few, compiled", lambda: sley.compile(sley.masked_scatter)(
    sley.ones(3), sley.tensor([True, True, True]), sley.ones(2)), IndexError,
    "index 2")  # fmt: skip


def putted(add: bool) -> Callable[..., Any]:
    def reference(x: np.ndarray, places: np.ndarray, values: np.ndarray) -> np.ndarray:
        out = x.copy()
        if add:
            np.add.at(out.reshape(-1), places, values)
        else:
            out.reshape(-1)[places] = values
        return out

    return reference


for _add in (False, True):
    TABLE.case("put", str(_add), public("put", accumulate=_add),
               [TARGET, np.array([3, -1, 0]), np.array([7.0, 8, 9])], putted(_add),
               gradient=True)  # fmt: skip
