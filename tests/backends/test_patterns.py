"""Strided accesses of constant lanes: whole vectors and shuffles in place of gathers."""

from __future__ import annotations

import kernel_building as b
import numpy as np
import pytest
from kernel_building import e, load, op, store
from kernel_running import Program

from sley.backends.llvm.expand import patterns
from sley.backends.llvm.kernel import compile_kernel
from sley.backends.llvm.target import host_target
from sley.ir import dtypes
from sley.ir.dims import symbol
from sley.ir.graph import Value
from sley.ir.ops.kernel import INDEX
from sley.passes.schedule import schedule

N = symbol("N")
CPUS = ("host", "x86-64-v3", "x86-64")
RNG = np.random.default_rng(7)


def windows(stride, size, rows, columns, dtype="f32"):
    """y[i, j] = the largest of x[i, j * stride ...] over `size` neighbours."""

    def body(x, y):
        with b.parallel(rows, columns) as (i, j):
            found = load(x, i, e(j) * stride)
            for k in range(1, size):
                found = op["maximum"](found, load(x, i, e(j) * stride + k))
            store(y, found, i, j)

    width = (columns - 1) * stride + size
    return b.kernel([(dtype, (rows, width))], [(dtype, (rows, columns))], body, "windows")


def spread(stride, rows, columns, dtype="f32"):
    """y[i, j * stride + k] = x[i, j] + k."""

    def body(x, y):
        with b.parallel(rows, columns) as (i, j):
            for k in range(stride):
                number = b.constant(dtype, k)
                store(y, op["add"](load(x, i, j), number), i, e(j) * stride + k)

    return b.kernel([(dtype, (rows, columns))], [(dtype, (rows, columns * stride))], body, "spread")


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("stride", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["f32", "f64", "i64", "u8", "bf16"])
def test_windows_and_their_inverse(cpu, stride, dtype):
    kind = dtypes.by_name(dtype).numpy
    for rows, columns in ((1, 1), (3, 4), (7, 8), (2, 13), (5, 28), (1, 67), (4, 128)):
        x = RNG.integers(0, 50, (rows, (columns - 1) * stride + 2)).astype(kind)
        y = np.zeros((rows, columns), kind)
        Program(windows(stride, 2, rows, columns, dtype), cpu)([x, y], pieces=2)
        expected = np.maximum(x[:, ::stride][:, :columns], x[:, 1::stride][:, :columns])
        np.testing.assert_array_equal(y, expected)
        z = np.zeros((rows, columns * stride), kind)
        Program(spread(stride, rows, columns, dtype), cpu)([y, z], pieces=2)
        for k in range(stride):
            np.testing.assert_array_equal(z[:, k::stride], y + np.asarray(k, kind))


@pytest.mark.parametrize("cpu", CPUS)
def test_columns_that_are_a_symbol(cpu):
    reads, writes = (Program(kernel, cpu) for kernel in (windows(2, 3, 3, N), spread(2, 3, N)))
    for columns in (1, 2, 15, 16, 17, 31, 64, 71):
        x = RNG.standard_normal((3, 2 * columns + 1)).astype(np.float32)
        y, z = np.zeros((3, columns), np.float32), np.zeros((3, 2 * columns), np.float32)
        reads([x, y], {"N": columns})
        expected = np.maximum(np.maximum(x[:, :-2:2], x[:, 1::2]), x[:, 2::2])
        np.testing.assert_array_equal(y, expected)
        writes([y, z], {"N": columns})
        np.testing.assert_array_equal(z[:, ::2], y)
        np.testing.assert_array_equal(z[:, 1::2], y + 1)


@pytest.mark.parametrize("cpu", ["x86-64-v4", "x86-64-v3", "aarch64"])
def test_no_gather_is_left(cpu):
    target = host_target(cpu)
    kernel = windows(2, 2, 6, 64)
    text = compile_kernel(kernel, schedule(kernel, target), target, "k").text
    assert "shufflevector" in text and "gather" not in text


def test_nothing_outside_of_the_lanes_is_touched():
    for pattern in [(0, 2, 4, 6), (0, 3, 6, 9), (0, 1, 16, 17), (7, 5, 3, 1), (0, 0, 1, 1)]:
        width, starts = patterns._starts(pattern, 4)
        touched = {start + k for start in starts for k in range(width)}
        assert set(pattern) <= touched
        assert min(touched) == min(pattern) and max(touched) == max(pattern)


def test_what_is_no_pattern():
    iota, other = Value(b.tensor_type(dtypes.i64, (8,))), Value(INDEX)
    lane = e(iota)
    assert patterns.lane_pattern(lane * 2 + e(other) * 9, iota, 4) == (e(other) * 9, (0, 2, 4, 6))
    assert patterns.lane_pattern(lane * N, iota, 8) is None
    assert patterns.lane_pattern(lane * e(other), iota, 8) is None
    assert patterns.lane_pattern((lane + e(other)) // 3, iota, 8) is None
    assert patterns.lane_pattern(lane // 2 * 5, iota, 4) == (0, (0, 0, 5, 5))
    assert not patterns.is_close((0, 100, 200, 300, 400), 8, distinct=False)
    assert not patterns.is_close((0, 0, 1, 1), 4, distinct=True)
