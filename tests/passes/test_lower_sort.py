"""Sorts as sorts of plain numbers: the same order, ties and all, and no more than is read."""

from __future__ import annotations

import numpy as np
import pytest

import sley
from sley.ir.builder import Recording
from sley.ir.dtypes import by_name
from sley.ir.evaluate import evaluate
from sley.ir.ops.sorting import SORT
from sley.ir.ops.view import SLICE
from sley.ir.types import tensor_type
from sley.ir.verifier import verify
from sley.passes.lower_sort import lower_sort

RNG = np.random.default_rng(5)
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3e38]
DTYPES = ("f32", "f16", "bf16", "f64", "i64", "i32", "i16", "i8", "u8", "u16", "u32", "bool")


def drawn(dtype, shape):
    """Numbers with many ties, the extremes of the dtype among them."""
    kind = by_name(dtype)
    if kind.is_float:
        with np.errstate(over="ignore"):
            return RNG.choice(np.array(SPECIAL), shape).astype(np.float32).astype(kind.numpy)
    if dtype == "bool":
        return RNG.random(shape) < 0.5
    info = np.iinfo(kind.numpy)
    return RNG.choice(np.array([info.min, info.max, 0, 1, 2, 3], kind.numpy), shape)


def program(dtype, shape, take, axis=1, descending=False):
    builder = Recording()
    x = builder.param(tensor_type(by_name(dtype), shape), "x")
    with builder:
        found = take(*SORT(x, axis=axis, descending=descending))
    return builder.finish("f", list(found))


def stable(x, axis, descending):
    """Places by comparing all pairs: how many come before."""
    x = np.moveaxis(x, axis, -1).astype(np.float64)
    a, b = x[..., :, None], x[..., None, :]
    less = (b < a) | (np.isnan(a) & ~np.isnan(b))
    equal = (a == b) | (np.isnan(a) & np.isnan(b))
    more = ~less & ~equal
    number = np.arange(x.shape[-1])
    before = (more if descending else less) | (equal & (number[None, :] < number[:, None]))
    return np.moveaxis(np.argsort(before.sum(-1), -1), -1, axis)


def bits(x):
    x = np.ascontiguousarray(x)
    return x.view(f"u{x.dtype.itemsize}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("descending", [False, True])
def test_values_and_places(dtype, descending):
    for shape, axis in (((4, 23), 1), ((9, 5), 0), ((2, 7, 3), 1), ((3, 1), 1)):
        graph = program(dtype, shape, lambda v, p: (v, p), axis, descending)
        lowered = lower_sort(graph)
        verify(lowered)
        assert ("order" in str(lowered)) == (dtype not in ("f64", "i64"))
        x = drawn(dtype, shape)
        places = stable(x, axis, descending)
        for found in (evaluate(graph, [x]), evaluate(lowered, [x])):
            np.testing.assert_array_equal(found[1], places)
            np.testing.assert_array_equal(bits(found[0]), bits(np.take_along_axis(x, places, axis)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_alone_are_sorted_alone(dtype):
    for descending in (False, True):
        lowered = lower_sort(program(dtype, (6, 31), lambda v, p: (v,), 1, descending))
        assert "gather" not in str(lowered) and "sort(" not in str(lowered)
        x = drawn(dtype, (6, 31))
        want = np.take_along_axis(x, stable(x, 1, descending), 1)
        np.testing.assert_array_equal(
            evaluate(lowered, [x])[0].astype(np.float64), want.astype(np.float64)
        )


@pytest.mark.parametrize("descending", [False, True])
def test_what_is_cut_off_is_not_sorted(descending):
    def first(value, k):
        return SLICE(value, starts=(0, 0), sizes=(5, k), steps=(1, 1))

    for k in (0, 1, 2, 9, 10, 39, 40):
        graph = program("f32", (5, 40), lambda v, p, k=k: (first(v, k), first(p, k)), 1, descending)
        lowered = lower_sort(graph)
        assert (f"limit={k}" in str(lowered)) == (k < 40)
        x = drawn("f32", (5, 40))
        places = stable(x, 1, descending)[:, :k]
        values, found = evaluate(lowered, [x])
        np.testing.assert_array_equal(found, places)
        np.testing.assert_array_equal(values, np.take_along_axis(x, places, 1))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", ["f32", "bf16", "i32", "u32", "bool"])
def test_few_of_a_long_row_are_looked_for_in_pieces(dtype, descending):
    def first(value, k):
        return SLICE(value, starts=(0, 0), sizes=(3, k), steps=(1, 1))

    for size, k in ((300, 1), (301, 2), (1000, 10), (1003, 7), (4099, 60)):
        take = lambda v, p, k=k: (first(v, k), first(p, k))
        lowered = lower_sort(program(dtype, (3, size), take, 1, descending))
        verify(lowered)
        assert "reduce_min" in str(lowered)
        x = drawn(dtype, (3, size))
        places = stable(x, 1, descending)[:, :k]
        values, found = evaluate(lowered, [x])
        np.testing.assert_array_equal(found, places)
        np.testing.assert_array_equal(bits(values), bits(np.take_along_axis(x, places, 1)))


def test_a_place_in_the_middle_and_another_reader():
    def middle(value):
        return SLICE(value, starts=(0, 4), sizes=(5, 1), steps=(1, 1))

    x = drawn("i32", (5, 40))
    lowered = lower_sort(program("i32", (5, 40), lambda v, p: (middle(v), middle(p))))
    assert "limit=5" in str(lowered)
    np.testing.assert_array_equal(evaluate(lowered, [x])[1], stable(x, 1, False)[:, 4:5])
    lowered = lower_sort(program("i32", (5, 40), lambda v, p: (middle(v), p)))
    assert "limit" not in str(lowered)


def test_compiled_with_any_number_of_rows():
    largest = sley.compile(lambda x: x.topk(3, 1))
    ordered = sley.compile(lambda x: x.sort(0, descending=True))
    for rows in (1, 4, 7, 300):
        x = drawn("f32", (rows, 70))
        values, places = largest(sley.tensor(x))
        want = stable(x, 1, True)[:, :3]
        np.testing.assert_array_equal(places.numpy(), want)
        np.testing.assert_array_equal(values.numpy(), np.take_along_axis(x, want, 1))
        np.testing.assert_array_equal(ordered(sley.tensor(x))[1].numpy(), stable(x, 0, True))
