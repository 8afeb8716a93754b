"""Loops and branches: scan, fori_loop, while_loop, cond."""

from __future__ import annotations

from typing import Any

import numpy as np
from public.samples import INTS, NUMBERS, Table

import sley

TABLE = Table()
SHAPE = (4, 2, 3)
WIDE = ("float64", "float32")


# ------------------------------------------------------------------------------------------- scan


def scanned(xs: sley.Tensor, reverse: bool = False) -> Any:
    """h = (h + 1) * x: the last one, and those before the multiplication."""

    def f(h, x):
        h = h + 1
        return h * x, h

    return sley.scan(f, sley.zeros_like(xs.sum(0, dtype=xs.dtype)), xs, reverse=reverse)


def scanned_by_numpy(xs: np.ndarray, reverse: bool = False) -> Any:
    h = np.zeros_like(xs.sum(0))
    ys = np.zeros_like(xs)
    turns = range(len(xs))
    for t in reversed(turns) if reverse else turns:
        ys[t] = h + 1
        h = ys[t] * xs[t]
    return h, ys


for _reverse in (False, True):
    TABLE.shaped(
        "scan", lambda xs, r=_reverse: scanned(xs, r),
        lambda xs, r=_reverse: scanned_by_numpy(xs, r), [SHAPE], label=f"reverse-{_reverse}",
        dtypes=NUMBERS if _reverse else WIDE, low=-1.0, high=1.0, batch=[0] if _reverse else [1],
    )  # fmt: skip


def recurrent(h: sley.Tensor, xs: sley.Tensor, w: sley.Tensor) -> Any:
    def f(carry, x):
        new = sley.tanh(carry["h"] @ w + x[0])
        return {"h": new, "n": carry["n"] + 1}, (new, {"n": carry["n"]})

    last, (ys, other) = sley.scan(f, {"h": h, "n": 0}, (xs,))
    return last["h"], last["n"], ys, other["n"]


def recurrent_by_numpy(h: np.ndarray, xs: np.ndarray, w: np.ndarray) -> Any:
    ys = []
    for x in xs:
        h = np.tanh(h @ w + x)
        ys.append(h)
    count = np.arange(len(xs))
    return h, np.int64(len(xs)), np.stack(ys), count


TABLE.shaped("scan", recurrent, recurrent_by_numpy, [(2, 3), SHAPE, (3, 3)], label="tree",
             dtypes=WIDE, batch=[0, 1, None], empty=False)  # fmt: skip
TABLE.case(
    "scan", "length", lambda h: sley.scan(lambda h, _: (h * 2, h), h, length=3),
    [np.float32(1.5)], lambda h: (h * 8, h * np.array([1, 2, 4])),
)  # fmt: skip
TABLE.wrong("scan", "carry", lambda: sley.scan(lambda c, x: (c * 0.5, None), 1, sley.ones(3)),
            TypeError, "expected i64")  # fmt: skip
TABLE.wrong("scan", "pair", lambda: sley.scan(lambda c, x: c, 1, sley.ones(3)), TypeError,
            "carry, y")  # fmt: skip
TABLE.wrong("scan", "length", lambda: sley.scan(lambda c, x: (c, x), 1, sley.ones(3), 4),
            ValueError, "length is 4")  # fmt: skip
TABLE.wrong("scan", "none", lambda: sley.scan(lambda c, x: (c, x), 1), ValueError, "or a length")

# -------------------------------------------------------------------------------------- fori_loop


def powers(low: int, high: int) -> Any:
    return (
        lambda x: sley.fori_loop(low, high, lambda i, c: c * x + i, x),
        lambda x: _powers_by_numpy(low, high, x),
    )


def _powers_by_numpy(low: int, high: int, x: np.ndarray) -> np.ndarray:
    c = x
    for i in range(low, high):
        c = c * x + x.dtype.type(i)
    return c


for _low, _high in ((0, 3), (2, 5), (3, 1)):
    TABLE.shaped("fori_loop", *powers(_low, _high), [SHAPE[1:]], label=f"{_low}-{_high}",
                 dtypes=NUMBERS if _low else WIDE, low=-1.0, high=1.0, batch=[0])  # fmt: skip
TABLE.case(
    "fori_loop", "tensor", lambda n, x: sley.fori_loop(1, n, lambda i, c: c * i, x),
    [np.int64(5), np.arange(3)], lambda n, x: x * 24,
)  # fmt: skip
TABLE.wrong("fori_loop", "bound", lambda: sley.fori_loop(0, 1.5, lambda i, c: c, 0), TypeError,
            "a float")  # fmt: skip
TABLE.wrong("fori_loop", "type", lambda: sley.fori_loop(0, 2, lambda i, c: c * 0.5, 1), TypeError,
            "expected i64")  # fmt: skip

# ------------------------------------------------------------------------------------- while_loop


def doubled(x: sley.Tensor) -> sley.Tensor:
    return sley.while_loop(lambda v: (v < 50).any(), lambda v: v * 2, x)


def doubled_by_numpy(x: np.ndarray) -> np.ndarray:
    while (x < 50).any():
        x = x * x.dtype.type(2)
    return x


TABLE.shaped("while_loop", doubled, doubled_by_numpy, [SHAPE[1:]], dtypes=(*WIDE, *INTS[:2]),
             low=1.0, high=3.0, smooth=False, batch=[0])  # fmt: skip
TABLE.wrong("while_loop", "condition", lambda: sley.while_loop(lambda v: v, lambda v: v,
            sley.ones(2)), TypeError, "needs a bool")  # fmt: skip
TABLE.wrong("while_loop", "type", lambda: sley.while_loop(lambda v: v < 9, lambda v: v * 1.5, 1),
            TypeError, "expected i64")  # fmt: skip

# ------------------------------------------------------------------------------------------- cond

for _sign in (1, -1):
    TABLE.shaped(
        "cond",
        lambda x, s=_sign: sley.cond(
            ((x * 0).sum() + s).real > 0, lambda x: (x * x, x), lambda x: (-x, x + x), x
        ),
        lambda x, s=_sign: (x * x, x) if s > 0 else (-x, x + x),
        [SHAPE[1:]], label="then" if _sign > 0 else "otherwise",
        dtypes=("float64", "float32", "float16", "int64", "complex64"), batch=[0], special=False,
    )  # fmt: skip
TABLE.wrong("cond", "predicate", lambda: sley.cond(sley.ones(2) > 0, lambda: 1, lambda: 2),
            TypeError, "bool of shape")  # fmt: skip
TABLE.wrong("cond", "branches", lambda: sley.cond(sley.tensor(True), lambda: 1, lambda: 2.0),
            TypeError, "expected")  # fmt: skip
