"""Elements that are cut from wider ones are stored without touching their neighbours."""

from __future__ import annotations

import kernel_building as b
import numpy as np
import pytest
from kernel_building import load, op, store
from kernel_running import Program

from sley.ir import dtypes


@pytest.mark.parametrize("extent", [1, 3, 17, 65])
@pytest.mark.parametrize(
    ("wide", "narrow"),
    [("f32", "bf16"), ("f32", "f16"), ("i64", "i32"), ("i32", "i16"), ("i32", "i8")],
)
def test_a_tail_of_few_lanes(wide, narrow, extent):
    target = dtypes.by_name(narrow)

    def body(x, y):
        with b.parallel(extent) as (i,):
            store(y, op["cast"](load(x, i), dtype=target), i)

    kernel = b.kernel([(wide, (extent,))], [(narrow, (extent,))], body, "narrow")
    x = np.arange(extent).astype(dtypes.by_name(wide).numpy)
    memory = np.full(extent + 8, 77, target.numpy)
    Program(kernel)([x, memory[:extent]])
    np.testing.assert_array_equal(memory[:extent], x.astype(target.numpy))
    np.testing.assert_array_equal(memory[extent:], np.full(8, 77, target.numpy))
