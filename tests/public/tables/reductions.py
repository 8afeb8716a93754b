"""Functions that join the elements along axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.special as special
from public.samples import ALL, FLOATS, INTS, NUMBERS, Table, find, public

import sley

TABLE = Table()
SHAPE = (3, 4, 5)
WIDE = ("float64", "float32")


def reduction(
    name: str,
    reference: Callable[..., Any],
    *,
    dtypes: Sequence[str] = NUMBERS,
    result: str = "same",
    smooth: bool = True,
    several: bool = True,
    low: float = -2.0,
    high: float = 2.0,
    identity: bool = True,
    keep: bool = True,
    **more: Any,
) -> None:
    """`reference(x, axis=, keepdims=)` and the function over all axes, one, a negative one, several
    ones, with the axes kept; of 0-d, of one element and of none."""

    def add(label: str, shape: Sequence[int], *, of: Sequence[str], **dims: Any) -> None:
        numpy_dims = {{"dim": "axis", "keepdim": "keepdims"}[k]: v for k, v in dims.items()}
        TABLE.shaped(
            name, public(name, **more, **dims), lambda x: reference(x, **numpy_dims),
            [shape], label=label, dtypes=of, result=result, smooth=smooth and shape == SHAPE,
            low=low, high=high, batch=[0] if label == "last" else None,
        )  # fmt: skip

    add("last", SHAPE, of=dtypes, dim=-1)
    rest = [d for d in dtypes if d in ("float64", "float32", "int64", "bool")]
    add("first", SHAPE, of=rest, dim=0)
    add("all", SHAPE, of=rest)
    if keep:
        add("kept", SHAPE, of=rest[:1], dim=1, keepdim=True)
    if several:
        add("two", SHAPE, of=rest, dim=(0, 2))
    add("0-d", (), of=rest[:1])
    add("one", (1, 1), of=rest[:1], dim=0)
    if identity:
        add("none", (3, 0), of=rest[:1], dim=1)
    special_values = np.array([[np.nan, 1, 2], [np.inf, -1, 0], [-np.inf, np.inf, 1]], np.float64)
    if "float32" in dtypes:
        for dtype in WIDE:
            TABLE.case(name, f"special-{dtype}", public(name, **more, dim=-1),
                       [special_values.astype(dtype)], lambda x: reference(x, axis=-1),
                       special=True)  # fmt: skip
    TABLE.wrong(name, "dim out of range", lambda: find(name)(sley.ones(2, 3), **more, dim=2),
                IndexError, r"-2.*1|out of range")  # fmt: skip


reduction("sum", np.sum, dtypes=ALL, result="sum")
reduction("nansum", np.nansum, dtypes=FLOATS)
reduction("mean", np.mean, dtypes=FLOATS)
reduction("nanmean", np.nanmean, dtypes=FLOATS, identity=False)
reduction("prod", np.prod, result="sum", several=False, low=0.3, high=1.9)
reduction("amax", np.max, identity=False)
reduction("amin", np.min, identity=False)
reduction("argmax", np.argmax, result="int64", smooth=False, several=False, identity=False)
reduction("argmin", np.argmin, result="int64", smooth=False, several=False, identity=False)
reduction("all", np.all, dtypes=ALL, result="bool", smooth=False)
reduction("any", np.any, dtypes=ALL, result="bool", smooth=False)
reduction("count_nonzero", np.count_nonzero, dtypes=ALL, result="int64", smooth=False, keep=False)
reduction("var", lambda x, **k: np.var(x, ddof=0, **k), dtypes=FLOATS, correction=0)
reduction("std", lambda x, **k: np.std(x, ddof=1, **k), dtypes=WIDE, identity=False)
TABLE.shaped("std", lambda x: sley.std(x, 1, unbiased=False), lambda x: np.std(x, axis=1), [SHAPE],
             label="biased", batch=[0])  # fmt: skip
for _name, _reference in {
    "var_mean": lambda x: (np.var(x, 1, ddof=1), np.mean(x, 1)),
    "std_mean": lambda x: (np.std(x, 1, ddof=1), np.mean(x, 1)),
}.items():
    TABLE.shaped(_name, public(_name, 1), _reference, [SHAPE], batch=[0])
TABLE.shaped("aminmax", lambda x: sley.aminmax(x, dim=1), lambda x: (x.min(1), x.max(1)), [SHAPE],
             dtypes=NUMBERS, batch=[0])  # fmt: skip
for _name, _extreme, _where in (("max", np.max, np.argmax), ("min", np.min, np.argmin)):
    TABLE.shaped(_name, public(_name, 1),
                 lambda x, f=_extreme, w=_where: (f(x, 1), w(x, 1)), [SHAPE], dtypes=NUMBERS,
                 label="dim", batch=[0])  # fmt: skip
    TABLE.shaped(_name, public(_name), _extreme, [SHAPE],
                 label="all")  # fmt: skip
    TABLE.shaped(_name, public(_name),
                 np.maximum if _name == "max" else np.minimum,
                 [SHAPE, (4, 5)], label="two tensors")  # fmt: skip
    TABLE.wrong(_name, "of nothing", lambda n=_name: find(n)(sley.ones(0)), ValueError, "")
for _dims in (-1, (0, 2)):
    TABLE.shaped("logsumexp", lambda x, d=_dims: sley.logsumexp(x, d),
                 lambda x, d=_dims: special.logsumexp(x, axis=d), [SHAPE], label=str(_dims),
                 batch=[0] if _dims == -1 else None)  # fmt: skip
for _p in (1, 2, 3.0, np.inf, -np.inf, 0):
    TABLE.shaped("norm", lambda x, p=_p: sley.norm(x, p, dim=-1),
                 lambda x, p=_p: np.linalg.norm(x, p, axis=-1), [SHAPE], label=str(_p),
                 low=0.2, smooth=_p != 0, batch=[0], empty=False)  # fmt: skip
TABLE.shaped("norm", lambda x: sley.norm(x), lambda x: np.sqrt((x * x).sum()), [SHAPE], label="all")

# ------------------------------------------------------------------------------------- cumulative

for _name, _reference in {"cumsum": np.cumsum, "cumprod": np.cumprod}.items():
    for _axis in (0, 1, -1):
        TABLE.shaped(_name, public(_name, _axis),
                     lambda x, f=_reference, a=_axis: f(x, axis=a), [SHAPE], label=str(_axis),
                     dtypes=NUMBERS if _axis == -1 else FLOATS[:2], result="sum", low=0.4,
                     high=1.6, batch=[0] if _axis == -1 else None)  # fmt: skip
    TABLE.wrong(_name, "dim out of range", lambda n=_name: find(n)(sley.ones(2), 1), IndexError,
                "")  # fmt: skip


def running(function: np.ufunc) -> Callable[..., Any]:
    """Prefix extremes with the index of the last equal one, as PyTorch documents."""

    def reference(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = function.accumulate(x, axis=-1)
        places = np.where(x == values, np.arange(x.shape[-1]), 0)
        return values, np.maximum.accumulate(places, axis=-1)

    return reference


TABLE.shaped("cummax", lambda x: tuple(sley.cummax(x, -1)), running(np.maximum), [SHAPE],
             dtypes=(*FLOATS, *INTS), batch=[0])  # fmt: skip
TABLE.shaped("cummin", lambda x: tuple(sley.cummin(x, -1)), running(np.minimum), [SHAPE],
             dtypes=(*FLOATS, *INTS), batch=[0])  # fmt: skip
TABLE.shaped("logcumsumexp", lambda x: sley.logcumsumexp(x, -1),
             lambda x: np.logaddexp.accumulate(x, axis=-1), [SHAPE], batch=[0])  # fmt: skip
