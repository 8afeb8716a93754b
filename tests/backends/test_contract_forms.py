"""Forms of products: operands in place, dot products, results from registers, narrow results."""

from __future__ import annotations

import random
from dataclasses import replace

import kernel_building as b
import numpy as np
import pytest
from contract_building import NAMES, contract, matmul, numbers
from kernel_building import load, op, store
from kernel_running import Program

from sley.backends.llvm.expand import expand
from sley.backends.llvm.target import host_target
from sley.passes.schedule import schedule as decide

SMALL = {"l1": 2 << 10, "l2": 16 << 10}  # caches that products of a test do not fit
TOLERANCE = {"f32": 2e-6, "f64": 4e-15}


def tiles(kernel, cpu="host", **caches):
    """The tiles that are chosen for a target, with other caches where given."""
    return scheduled(kernel, cpu, **caches).nests[0].contract


def scheduled(kernel, cpu="host", **caches):
    return decide(kernel, replace(host_target(cpu, 2), **caches))


def check(shape, ta=False, tb=False, dtype="f32", batch=(), cpu="host", caches=None):
    m, n, k = shape
    kernel = matmul(m, n, k, ta, tb, dtype=dtype, batch=batch)
    program = Program(kernel, cpu, scheduled(kernel, cpu, **(caches or {})))
    x, w = numbers((*batch, m, k), dtype), numbers((*batch, k, n), dtype)
    y = np.full((*batch, m, n), 77, NAMES[dtype])
    flip = lambda array, yes: np.ascontiguousarray(np.swapaxes(array, -1, -2) if yes else array)
    program([flip(x, ta), flip(w, tb), y], pieces=3)
    exact = np.matmul(x.astype(np.float64), w.astype(np.float64))
    bound = np.matmul(np.abs(x).astype(np.float64), np.abs(w).astype(np.float64))
    assert (np.abs(y - exact) <= TOLERANCE[dtype] * (bound + 1e-30)).all(), program.schedule


ROWS = (1, 2, 4, 5, 6, 7, 12, 13, 14, 15, 16, 17, 27, 28, 29, 43)
COLUMNS = (1, 3, 8, 15, 16, 17, 31, 32, 33, 48, 65, 77, 100)
DEPTHS = (1, 2, 15, 16, 17, 31, 32, 33, 64, 100, 257)


@pytest.mark.parametrize("seed", range(8))
def test_sizes_around_every_tile(seed):
    draw = random.Random(seed)
    for caches in ({}, SMALL):
        shape = tuple(map(draw.choice, (ROWS, COLUMNS, DEPTHS)))
        ta, tb = draw.random() < 0.5, draw.random() < 0.5
        dtype, batch = draw.choice(("f32", "f32", "f64")), draw.choice(((), (), (3,)))
        check(shape, ta, tb, dtype, batch, caches=caches)


@pytest.mark.parametrize("caches", [{}, SMALL])
@pytest.mark.parametrize("tb", [False, True])
def test_a_narrow_last_tile(tb, caches):
    for shape in [(30, 77, 40), (16, 80, 9), (5, 33, 700)]:
        check(shape, tb=tb, caches=caches)


def test_last_rows_by_the_tile_of_all_others():
    """Rows that there are not are summed with the last ones, and leave no trace."""
    for m, n, k in [(64, 512, 784), (41, 96, 600), (83, 77, 511), (64, 65, 1024)]:
        for cpu in ("host", "x86-64-v3"):
            check((m, n, k), tb=True, cpu=cpu)
    kernel, target = matmul(64, 512, 1024, False, True), host_target("x86-64-v4", 2)
    chosen = decide(kernel, target)
    tile = chosen.nests[0].contract
    assert (tile.mr, tile.registers, tile.rows) == (13, True, "rows"), "five tiles of 13 for 64"
    sums = [n for n in expand(kernel, chosen, target).walk() if n.op.name == "fma"]
    assert len(sums) == tile.mr * tile.nr // tile.lanes, "one loop for all tiles"


@pytest.mark.parametrize("cpu", ["x86-64-v3", "x86-64"])
@pytest.mark.parametrize(
    "shape", [(13, 10, 100), (5, 40, 96), (50, 3, 64), (1, 33, 70), (60, 7, 50)]
)
def test_narrower_vectors(shape, cpu):
    for caches, (ta, tb) in zip((SMALL, {}), ((False, True), (True, False)), strict=True):
        check(shape, ta, tb, cpu=cpu, caches=caches)


def wide(cpu="host"):
    """Whether vectors have 16 floats: the forms below are those of such a processor."""
    return host_target(cpu).vector_bytes == 64


@pytest.mark.skipif(not wide(), reason="the choices for AVX-512")
def test_forms_that_are_chosen():
    small = tiles(matmul(60, 64, 64))
    assert (small.rows, small.columns, small.registers) == ("direct", "direct", True)
    far = tiles(matmul(300, 300, 512), **SMALL)
    assert (far.rows, far.columns, far.prefetch, far.ahead > 0) == ("rows", "across", True, True)
    assert (far.along_rows, tiles(matmul(300, 300, 40)).along_rows) == (False, True)
    few = tiles(matmul(16, 500, 512, tb=True))
    assert (few.mr, few.rows, few.columns) == (6, "direct", "dots")
    narrow = tiles(matmul(500, 5, 64))
    assert (narrow.swap, narrow.columns) == (True, "dots")
    assert [tiles(matmul(500, n, 128)).columns for n in (12, 13, 16)] == [
        "dots",
        "direct",
        "direct",
    ]
    turned = tiles(matmul(500, 5, 64, ta=True))
    assert (turned.swap, turned.columns) == (True, "direct")
    odd = tiles(matmul(45, 77, 64))
    assert (odd.nr, odd.narrow) == (48, True), "three vectors of columns, then two"
    assert not tiles(matmul(45, 1000, 64)).narrow, "one vector of many is empty"


def test_a_row_that_is_a_page_apart_is_copied():
    """14 rows in one set of the first cache would drive each other out."""
    assert tiles(matmul(28, 200, 1024)).rows != "direct"
    assert tiles(matmul(28, 200, 1000)).rows == "direct"
    assert tiles(matmul(600, 600, 512)).rows == "rows"
    assert tiles(matmul(600, 600, 511)).rows == "direct", "as they would lie in a panel"


@pytest.mark.parametrize("shape", [(70, 5, 64), (33, 70, 40), (15, 16, 48), (6, 100, 200)])
@pytest.mark.parametrize("tb", [False, True])
def test_epilogues_in_every_form(shape, tb):
    """max(x w + bias, 0) + residual, where rows and columns may have changed places."""
    m, n, k = shape

    def body(x, w, bias, residual, y):
        def out(i, j, total):
            kept = op["maximum"](op["add"](total, load(bias, j)), load(bias, 0))
            store(y, op["add"](kept, load(residual, i, j)), i, j)

        rhs = lambda t, j: load(w, *((j, t) if tb else (t, j)))
        contract((m,), (n,), (k,), lambda i, t: load(x, i, t), rhs, out)

    inputs = [("f32", s) for s in ((m, k), (n, k) if tb else (k, n), (n,), (m, n))]
    kernel = b.kernel(inputs, [("f32", (m, n))], body, "layer")
    x, w, bias, residual = (numbers(s) for s in ((m, k), (k, n), (n,), (m, n)))
    expected = np.maximum(x @ w + bias, bias[0]) + residual
    for caches in ({}, SMALL):
        y = np.full((m, n), 77, np.float32)
        weight = np.ascontiguousarray(w.T) if tb else w
        Program(kernel, schedule=scheduled(kernel, **caches))([x, weight, bias, residual, y])
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 9, 15, 40])
@pytest.mark.parametrize("caches", [{}, SMALL])
def test_weights_in_panels(rows, caches):
    """Columns as (panel, column), read in place."""
    k, panels, width = 70, 3, 32

    def body(x, w, y):
        out = lambda i, p, c, total: store(y, total, i, p, c)
        rhs = lambda t, p, c: load(w, p, t, c)
        contract((rows,), (panels, width), (k,), lambda i, t: load(x, i, t), rhs, out)

    inputs = [("f32", (rows, k)), ("f32", (panels, k, width))]
    kernel = b.kernel(inputs, [("f32", (rows, panels, width))], body, "panels")
    if wide():
        assert (tiles(kernel, **caches).nr, tiles(kernel, **caches).columns) == (32, "direct")
    x, w = (numbers(shape) for _, shape in inputs)
    y = np.full((rows, panels, width), 77, np.float32)
    Program(kernel, schedule=scheduled(kernel, **caches))([x, w, y], pieces=2)
    np.testing.assert_allclose(y, np.einsum("it,ptc->ipc", x, w), rtol=1e-4, atol=1e-4)
