"""Gradient rules with symbolic dimensions: one program for every size, 0 and 1 included."""

from __future__ import annotations

import numpy as np
import pytest
from programs import ones, record

from sley.ir.dims import Expr, symbol
from sley.ir.dtypes import f64, i64
from sley.ir.evaluate import evaluate
from sley.ir.literal import array_type
from sley.ir.ops import elementwise as ew
from sley.ir.ops import reduction as rd
from sley.ir.ops import view
from sley.ir.ops.contraction import CONV, DOT_GENERAL
from sley.ir.ops.indexed import GATHER, SCATTER
from sley.ir.types import tensor_type
from sley.passes.autodiff.backward import backward

N = symbol("N")
ROWS = (N, 4)
IMAGE, KERNEL = (N, 2, 6, 5), (4, 1, 3, 2)


def unit(x):
    return (1,) * x.type.ndim


def last(x, count):
    """The last `count` rows and one more pad row: starts, sizes and pads with symbols."""
    return view.SLICE(x, starts=(x.type.shape[0] - count, 0), sizes=(count, 4), steps=(1, 1))


def turned(x):
    return view.SLICE(x, starts=(x.type.shape[0] - 1, 0), sizes=x.type.shape, steps=(-1, 1))


def padded(x):
    low, high = (x.type.shape[0], -1), (1, 2)
    return view.PAD(x, view.RESHAPE(rd.REDUCE_SUM(x, axes=(0, 1)), shape=()),
                    low=low, high=high, interior=(0, 0))  # fmt: skip


def cut(x):
    rows = x.type.shape[0]
    doubled = view.CONCAT(x, x * 2, axis=0)
    zero = rd.REDUCE_SUM(x, axes=(0, 1))
    return view.PAD(doubled, zero, low=(-rows, 0), high=(3, 0), interior=(0, 0))


def updated(x, y):
    whole = view.CONCAT(x, y, axis=0)
    return view.UPDATE_SLICE(whole, y, starts=(x.type.shape[0], 0), steps=unit(x))


def windows(x):
    moved = view.TRANSPOSE(x, perm=(1, 0))
    return view.WINDOW(moved, axes=(0,), sizes=(2,), strides=(2,), dilations=(1,))


def overlapping(x):
    zero = rd.REDUCE_SUM(x, axes=(0, 1))
    taller = view.PAD(x, zero, low=(1, 0), high=(0, 0), interior=(0, 0))
    return view.WINDOW(taller, axes=(0,), sizes=(2,), strides=(1,), dilations=(1,))


def tiles(x):
    joined = view.CONCAT(x, x, x, axis=0)
    return view.WINDOW(joined, axes=(0,), sizes=(2,), strides=(2,), dilations=(1,))


def convolved(x, w):
    return CONV(
        x, w, strides=(2, 1), padding=((1, 0), (0, 1)), lhs_dilation=(1, 1), rhs_dilation=(1, 2),
        groups=2,
    )  # fmt: skip


def convolved_along(x, w):
    return CONV(
        x, w, strides=(2,), padding=((2, 2),), lhs_dilation=(1,), rhs_dilation=(1,), groups=1
    )


def product(x, w):
    return DOT_GENERAL(x, w, lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=())


def gram(x):
    return DOT_GENERAL(x, x, lhs_contract=(0,), rhs_contract=(0,), lhs_batch=(), rhs_batch=())


def batched(x, y):
    return DOT_GENERAL(x, y, lhs_contract=(1,), rhs_contract=(1,), lhs_batch=(0,), rhs_batch=(0,))


PROGRAMS = {
    "reshape": (lambda x: view.RESHAPE(x, shape=(x.type.shape[0] * 2, 2)), [ROWS]),
    "broadcast": (lambda b, x: x * view.BROADCAST(b, shape=x.type.shape, dims=(1,)), [(4,), ROWS]),
    "slice": (lambda x: last(view.CONCAT(x, x, axis=0), x.type.shape[0]), [ROWS]),
    "reverse": (turned, [ROWS]),
    "pad": (padded, [ROWS]),
    "cut": (cut, [ROWS]),
    "concat": (lambda x, y: view.CONCAT(x, y, x, axis=0), [ROWS, ROWS]),
    "update_slice": (updated, [ROWS, ROWS]),
    "window": (windows, [ROWS]),
    "overlapping": (overlapping, [ROWS]),
    "tiles": (tiles, [ROWS]),
    "sum": (lambda x: rd.REDUCE_SUM(x, axes=(0,)), [ROWS]),
    "prod": (lambda x: rd.REDUCE_PROD(x, axes=(0, 1)), [ROWS]),
    "max": (lambda x: rd.REDUCE_MAX(x, axes=(0,), ties="even"), [ROWS]),
    "max-first": (lambda x: rd.REDUCE_MAX(x, axes=(0, 1), ties="first"), [ROWS]),
    "min-first": (lambda x: rd.REDUCE_MIN(x, axes=(1,), ties="first"), [ROWS]),
    "cumsum": (lambda x: rd.CUMSUM(x, axis=0, reverse=True), [ROWS]),
    "cumprod": (lambda x: rd.CUMPROD(x, axis=0, reverse=False), [ROWS]),
    "cummax": (lambda x: rd.CUMMAX(x, axis=0, reverse=False), [ROWS]),
    "where": (lambda x: ew.WHERE(ew.GT(x, x * 0), x * x, ew.EXP(x)), [ROWS]),
    "pow": (lambda x, y: ew.POW(ew.EXP(x), y), [ROWS, ROWS]),
    "matmul": (product, [ROWS, (4, 3)]),
    "gram": (gram, [ROWS]),
    "batched": (batched, [ROWS, ROWS]),
    "conv": (convolved, [IMAGE, KERNEL]),
    "conv-along": (convolved_along, [(2, 3, N), (4, 3, 3)]),
}


def with_gradients(function):
    def program(values):
        y = ew.SIN(function(*values))
        first = backward([y], [ones(y)], values)
        bent = ew.SIN(first[0])
        second = backward([bent], [ones(bent)], values)
        return [y, *first, *(g for g in second if g is not None)]

    return program


def at_size(shapes, size, seed):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=[size if isinstance(d, Expr) else d for d in s]) for s in shapes]


@pytest.mark.parametrize("name", PROGRAMS)
def test_one_program_for_all_sizes(name: str) -> None:
    function, shapes = PROGRAMS[name]
    general = record(with_gradients(function), [tensor_type(f64, s) for s in shapes])
    for size in (5, 2, 1, 0):
        arrays = at_size(shapes, size, seed=size)
        special = record(with_gradients(function), [array_type(a) for a in arrays])
        found, expected = evaluate(general, arrays), evaluate(special, arrays)
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("combine", ["add", "set"])
def test_rows_by_index(combine: str) -> None:
    def program(values):
        table, indices = values
        rows = ew.SIN(GATHER(table, indices, axis=0))
        written = SCATTER(table, indices, rows, axis=0, combine=combine)
        return backward([written], [written], [table])

    types = [tensor_type(f64, (6, 3)), tensor_type(i64, (N,))]
    general = record(program, types)
    rng = np.random.default_rng(3)
    for size in (4, 1, 0):
        arrays = [rng.normal(size=(6, 3)), rng.integers(0, 6, size)]
        special = record(program, [array_type(a) for a in arrays])
        np.testing.assert_array_equal(evaluate(general, arrays)[0], evaluate(special, arrays)[0])
