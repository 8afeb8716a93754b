"""Loads under a condition that all lanes share: 0 where it does not hold, and nothing is missed."""

from __future__ import annotations

import kernel_building as b
import numpy as np
import pytest
from kernel_building import e, load, op, store
from kernel_running import compile_and_run

CPUS = ("host", "x86-64-v3", "x86-64")


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize(("rows", "columns"), [(1, 3), (2, 16), (3, 37), (5, 200)])
def test_rows_that_are_there_and_that_are_not(cpu, rows, columns):
    """y = x with a row of zeros before and behind."""

    def body(x, y):
        with b.parallel(rows + 2, columns) as (i, j):
            above = op["ge"](b.index(e(i) - 1), b.index(0))
            below = op["ge"](b.index(rows - e(i)), b.index(0))
            inside = op["bit_and"](above, below)
            store(y, load(x, e(i) - 1, j, guard=inside), i, j)

    x = np.random.default_rng(2).standard_normal((rows, columns)).astype(np.float32)
    kernel = b.kernel([("f32", x.shape)], [("f32", (rows + 2, columns))], body)
    (y,) = compile_and_run(kernel, [x], cpu=cpu)
    np.testing.assert_array_equal(y, np.pad(x, ((1, 1), (0, 0))))
