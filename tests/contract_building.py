"""Contract kernels as graphs, and arrays for them."""

from __future__ import annotations

import kernel_building as b
import numpy as np
from kernel_building import load, op, store

from sley.ir import dtypes
from sley.ir.ops import active
from sley.ir.ops.kernel import INDEX
from sley.ir.types import tensor_type

CPUS = ("host", "x86-64-v3", "x86-64")
RNG = np.random.default_rng(3)
NAMES = {"f32": np.float32, "f64": np.float64, "i32": np.int32}


def contract(m, n, k, lhs, rhs, out, batch=(), dtype="f32", acc="f32"):
    """A contract node from functions of the axis variables."""
    element, total = dtypes.by_name(dtype), tensor_type(dtypes.by_name(acc), ())
    regions = []
    for axes, function in ((batch + m + k, lhs), (batch + k + n, rhs)):
        with active().region([INDEX] * len(axes)) as opened:
            opened.yield_(function(*opened.params))
        regions.append(opened.closed)
    with active().region([INDEX] * len(batch + m + n) + [total]) as opened:
        out(*opened.params)
    regions.append(opened.closed)
    op["contract"](
        batch=batch, m=m, n=n, k=k, dtype=element, acc=total.dtype, regions=tuple(regions)
    )


def matmul(m, n, k, ta=False, tb=False, tc=False, dtype="f32", batch=()):
    """y[.., m, n] = sum of a[.., m, k] * b[.., k, n]; ta, tb, tc: stored the other way round."""
    size = len(batch)

    def body(x, w, y):
        def lhs(*axes):
            i, t = axes[size:]
            return load(x, *axes[:size], *((t, i) if ta else (i, t)))

        def rhs(*axes):
            t, j = axes[size:]
            return load(w, *axes[:size], *((j, t) if tb else (t, j)))

        def out(*axes):
            i, j, total = axes[size:]
            store(y, total, *axes[:size], *((j, i) if tc else (i, j)))

        contract((m,), (n,), (k,), lhs, rhs, out, batch, dtype, dtype)

    shapes = [((k, m) if ta else (m, k)), ((n, k) if tb else (k, n)), ((n, m) if tc else (m, n))]
    x, w, y = ((dtype, (*batch, *shape)) for shape in shapes)
    return b.kernel([x, w], [y], body, "matmul")


def numbers(shape, dtype="f32"):
    kind = NAMES[dtype]
    if kind is np.int32:
        return RNG.integers(-9, 9, shape).astype(kind)
    return RNG.standard_normal(shape).astype(kind)
