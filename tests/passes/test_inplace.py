"""Which results may be written over which operands."""

from __future__ import annotations

import pytest
from kernel_building import atomic, e, index, kernel, load, op, parallel, row, store, total
from launches import add, both, reverse, row_sum, scale, softmax

from sley.ir.builder import Recording
from sley.ir.dims import symbol
from sley.ir.dtypes import f32
from sley.ir.ops.base import active
from sley.ir.ops.kernel import CONTRACT, INDEX, MANY
from sley.ir.types import tensor_type
from sley.passes.inplace import may_overwrite

N = symbol("N")


def one(body, shape=(N, 8), inputs=1, outs=1, dtype="f32"):
    return kernel([(dtype, shape)] * inputs, [("f32", shape)] * outs, body)


def test_elementwise_kernels_overwrite_any_operand():
    for position in (0, 1):
        assert may_overwrite(add((N, 3)), position, 0)
    assert may_overwrite(scale((N,)), 0, 0)


def test_every_load_must_precede_the_store_that_overwrites():
    assert may_overwrite(both((N,)), 0, 0)

    def late(x, y, out, other):
        with parallel(N, 8) as i:
            store(out, load(x, *i) * 2.0, *i)
            store(other, load(x, *i) + load(y, *i), *i)

    graph = one(late, inputs=2, outs=2)
    assert not may_overwrite(graph, 0, 0)  # x is read again after `out` is stored
    assert may_overwrite(graph, 0, 1)
    assert may_overwrite(graph, 1, 1)


def test_another_index_forbids():
    assert not may_overwrite(reverse(N), 0, 0)

    def shifted(x, out):
        with parallel(N) as (i,):
            ahead = op["lt"](index(i), index(N - 2))
            store(out, load(x, i) + load(x, e(i) + 1, guard=ahead), i)

    assert not may_overwrite(one(shifted, shape=(N,)), 0, 0)


def test_transposed_index_forbids_and_a_reshape_does_not():
    def transposed(x, out):
        with parallel(4, 4) as (i, j):
            store(out, load(x, j, i), i, j)

    assert not may_overwrite(one(transposed, shape=(4, 4)), 0, 0)

    def flat(x, out):
        with parallel(N, 8) as (i, j):
            store(out, load(x, 8 * e(i) + e(j)), i, j)

    graph = kernel([("f32", (8 * N,))], [("f32", (N, 8))], flat)
    assert may_overwrite(graph, 0, 0)


def test_a_row_that_is_read_whole_before_it_is_stored_may_be_overwritten():
    assert may_overwrite(softmax(N, 8), 0, 0)
    assert not may_overwrite(row_sum(N, 8), 0, 0)


def test_a_reduction_over_other_rows_forbids():
    def columns(x, out):
        with parallel(8) as (j,):
            whole = total([N], lambda i: load(x, i, j))
            with parallel(N) as (i,):
                store(out, load(x, i, j) - whole, i, j)

    assert may_overwrite(one(columns), 0, 0)

    def everything(x, out):
        with parallel(N) as (i,):
            whole = total([N, 8], lambda a, b: load(x, a, b))
            with parallel(8) as (j,):
                store(out, load(x, i, j) - whole, i, j)

    assert not may_overwrite(one(everything), 0, 0)


def test_a_row_that_may_be_computed_again_counts_where_it_is_read():
    def mirrored(x, out):
        with parallel(N) as (i,):
            doubled = row([8], lambda j: load(x, i, j) * 2.0)
            with parallel(8) as (j,):
                store(out, load(doubled, 7 - e(j)), i, j)

    assert not may_overwrite(one(mirrored), 0, 0)


def test_sizes_and_elements_must_agree():
    def narrow(x, out):
        with parallel(N, 8) as i:
            store(out, op["cast"](load(x, *i), dtype=f32), *i)

    assert may_overwrite(one(narrow, dtype="i32"), 0, 0)
    assert not may_overwrite(one(narrow, dtype="f64"), 0, 0)
    assert not may_overwrite(one(narrow, dtype="bf16"), 0, 0)


def test_atomics_forbid():
    def scattered(x, out):
        with parallel(N, 8) as i:
            store(out, load(x, *i), *i)
            atomic(out, load(x, *i), *i)

    assert not may_overwrite(one(scattered), 0, 0)


def test_a_loop_that_comes_back_forbids():
    def again(x, out):
        builder = active()
        with builder.region([INDEX]) as turn, parallel(N, 8) as i:
            store(out, load(x, *i), *i)
        op["for"](lo=0, hi=3, step=1, carries=0, regions=(turn.closed,))

    assert not may_overwrite(one(again), 0, 0)


@pytest.mark.parametrize("position, allowed", [(0, False), (1, False), (2, True)])
def test_a_product_overwrites_only_what_its_epilogue_reads(position, allowed):
    square, scalar = tensor_type(f32, (8, 8)), tensor_type(f32, ())
    builder = Recording()
    with builder:
        a, b, c, out = (builder.param(square) for _ in range(4))
        with builder.region([INDEX] * 2) as left:
            left.yield_(load(a, *left.params))
        with builder.region([INDEX] * 2) as right:
            right.yield_(load(b, *right.params))
        with builder.region([INDEX, INDEX, scalar]) as result:
            i, j, acc = result.params
            store(out, acc + load(c, i, j), i, j)
        CONTRACT(
            batch=(), m=(8,), n=(8,), k=(8,), dtype=f32, acc=f32,
            regions=(left.closed, right.closed, result.closed),
        )  # fmt: skip
    graph = builder.finish("product", level="kernel", outs=1)
    assert may_overwrite(graph, position, 0) is allowed


def test_many_overwrites_within_an_item():
    builder = Recording()
    with builder:
        first, second = tensor_type(f32, (N,)), tensor_type(f32, (7,))
        p, g, q, h = (builder.param(t) for t in (first, first, second, second))
        new_p, new_q = builder.param(first), builder.param(second)
        flat = tensor_type(f32, (0,))
        with builder.region([INDEX, flat, flat, flat]) as body:
            i, old, gradient, new = body.params
            store(new, load(old, i) - load(gradient, i), i)
        MANY(p, g, new_p, q, h, new_q, extents=(N, 7), regions=(body.closed,))
    graph = builder.finish("update", level="kernel", outs=2)
    assert may_overwrite(graph, 0, 0)
    assert may_overwrite(graph, 1, 0)
    assert may_overwrite(graph, 2, 1)
    assert not may_overwrite(graph, 0, 1)  # another item, and another size
