"""The index map of each view against its numpy evaluation, over random shapes and attributes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from op_samples import ALL_SAMPLES

from sley.ir.dims import Atom, Dim, Slot, of_atom, substitute, symbol
from sley.ir.literal import array_type
from sley.ir.ops import OPS, Kind, Piece, TypeRuleError
from sley.ir.types import tensor_type

Draw = Callable[[Any], Any]
Call = tuple[list[np.ndarray], dict[str, Any]]
VIEWS = sorted(name for name, op in OPS.items() if op.kind is Kind.VIEW)


def read(
    pieces: list[Piece], arrays: list[np.ndarray], shape: tuple[int, ...], sizes: dict[str, int]
) -> np.ndarray:
    """The result that an index map describes."""
    grids = np.indices(shape)

    def number(atom: Atom) -> Any:
        return grids[atom.position] if isinstance(atom, Slot) else sizes[str(atom)]

    def at(dim: Dim) -> np.ndarray:
        return np.broadcast_to(substitute(dim, number), shape)

    result = np.zeros(shape, arrays[0].dtype)
    decided = np.zeros(shape, bool)
    for piece in pieces:
        here = ~decided
        for verb, condition in piece.conditions:
            value = at(condition)
            here = here & (value >= 0 if verb == "ge" else value == 0)
        decided |= here
        if piece.operand >= 0 and here.any():
            places = tuple(at(i)[here] for i in piece.index)
            for place, size in zip(places, arrays[piece.operand].shape, strict=True):
                assert place.min() >= 0, "an index is negative where its conditions hold"
                assert place.max() < size, "an index is too large where its conditions hold"
            result[here] = arrays[piece.operand][places]
    assert decided.all(), "no piece covers a point"
    assert not pieces[-1].conditions
    return result


def check(name: str, arrays: list[np.ndarray], attrs: dict[str, Any]) -> None:
    op = OPS[name]
    types = [array_type(a) for a in arrays]
    (type,) = op.infer(types, attrs)
    (expected,) = op.evaluate(arrays, attrs)
    assert expected.shape == type.shape
    assert op.index_map is not None
    index = tuple(of_atom(Slot(k, e)) for k, e in enumerate(type.shape))
    pieces = list(op.index_map(types, attrs, index))
    np.testing.assert_array_equal(read(pieces, arrays, expected.shape, {}), expected)


def array(shape: tuple[int, ...], start: int = 1) -> np.ndarray:
    return np.arange(start, start + math.prod(shape), dtype=np.int64).reshape(shape)


def reshape(draw: Draw) -> Call:
    factors = draw(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=4))

    def grouped() -> tuple[int, ...]:
        shape = [1]
        for factor in factors:
            if draw(st.booleans()):
                shape.append(factor)
            else:
                shape[-1] *= factor
        return tuple(shape)

    return [array(grouped())], {"shape": grouped()}


def transpose(draw: Draw) -> Call:
    shape = draw(shapes(0, 4))
    return [array(shape)], {"perm": tuple(draw(st.permutations(range(len(shape)))))}


def broadcast(draw: Draw) -> Call:
    shape = draw(shapes(0, 4))
    kept = sorted(draw(st.sets(st.integers(0, len(shape) - 1)))) if shape else []
    operand = array(tuple(shape[a] for a in kept))
    return [operand], {"shape": shape, "dims": tuple(kept)}


def progression(draw: Draw, size: int) -> tuple[int, int, int]:
    """start, count and step within [0, size)."""
    step = draw(st.sampled_from([1, 2, 3, -1, -2]))
    if size == 0:
        return 0, 0, step
    start = draw(st.integers(0, size - 1))
    most = (size - 1 - start) // step + 1 if step > 0 else start // -step + 1
    return start, draw(st.integers(0, most)), step


def slice_(draw: Draw) -> Call:
    shape = draw(shapes(1, 3))
    starts, sizes, steps = zip(*(progression(draw, n) for n in shape), strict=True)
    return [array(shape)], {"starts": starts, "sizes": sizes, "steps": steps}


def pad(draw: Draw) -> Call:
    shape, edge = draw(shapes(1, 3)), st.integers(-3, 3)
    low, high = (tuple(draw(edge) for _ in shape) for _ in range(2))
    interior = tuple(draw(st.integers(0, 2)) for _ in shape)
    return [array(shape), np.array(-7)], {"low": low, "high": high, "interior": interior}


def concat(draw: Draw) -> Call:
    shape = draw(shapes(1, 3))
    axis = draw(st.integers(0, len(shape) - 1))
    parts = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    arrays = [array(shape[:axis] + (n,) + shape[axis + 1 :], 100 * k) for k, n in enumerate(parts)]
    return arrays, {"axis": axis}


def window_attrs(draw: Draw, ndim: int) -> dict[str, Any]:
    axes = tuple(draw(st.permutations(range(ndim)))[: draw(st.integers(1, ndim))])
    few = st.integers(1, 3)
    named = {name: tuple(draw(few) for _ in axes) for name in ("sizes", "strides", "dilations")}
    return {"axes": axes, **named}


def window(draw: Draw) -> Call:
    shape = tuple(draw(st.lists(st.integers(5, 9), min_size=1, max_size=2)))
    return [array(shape)], window_attrs(draw, len(shape))


def unwindow(draw: Draw) -> Call:
    (x,), attrs = window(draw)
    extents = tuple(x.shape[a] for a in attrs["axes"])
    try:
        (windows,) = OPS["window"].infer([array_type(x)], attrs)
    except TypeRuleError:
        reject()
    return [array(windows.shape)], {**attrs, "extents": extents}


def update_slice(draw: Draw) -> Call:
    shape = draw(shapes(1, 3))
    starts, sizes, steps = zip(*(progression(draw, n) for n in shape), strict=True)
    return [array(shape), array(sizes, 1000)], {"starts": starts, "steps": steps}


def shapes(least: int, most: int) -> st.SearchStrategy:
    return st.lists(st.integers(0, 5), min_size=least, max_size=most).map(tuple)


MAKERS = {f.__name__.rstrip("_"): f for f in (
    reshape, transpose, broadcast, slice_, pad, concat, window, unwindow, update_slice,
)}  # fmt: skip


def test_every_view_has_random_cases() -> None:
    assert sorted(MAKERS) == VIEWS


@pytest.mark.parametrize("name", VIEWS)
@given(data=st.data())
@settings(max_examples=60)
def test_random(name: str, data: st.DataObject) -> None:
    arrays, attrs = MAKERS[name](data.draw)
    try:
        OPS[name].infer([array_type(a) for a in arrays], attrs)
    except TypeRuleError:
        reject()  # a pad that leaves less than nothing, a window that does not fit
    check(name, arrays, attrs)


@pytest.mark.parametrize("sample", [s for s in ALL_SAMPLES if s.op in VIEWS], ids=str)
def test_samples(sample: Any) -> None:
    check(sample.op, sample.arrays("f32"), dict(sample.attrs))


N = symbol("N")
SYMBOLIC = [
    ("reshape", [(N, 6)], {"shape": (N * 2, 3)}),
    ("reshape", [(N, 4)], {"shape": (N * 4,)}),
    ("reshape", [(N * 4,)], {"shape": (2, N, 2)}),
    ("transpose", [(N, 3)], {"perm": (1, 0)}),
    ("slice", [(N, 3)], {"starts": (N - 1, 0), "sizes": (N, 2), "steps": (-1, 2)}),
    ("pad", [(N,), ()], {"low": (1,), "high": (2,), "interior": (1,)}),
    ("concat", [(N, 2), (3, 2)], {"axis": 0}),
    ("window", [(N,)], {"axes": (0,), "sizes": (2,), "strides": (2,), "dilations": (1,)}),
]


@pytest.mark.parametrize(("name", "shapes_", "attrs"), SYMBOLIC)
@pytest.mark.parametrize("size", [2, 3, 5])
def test_symbolic(name: str, shapes_: list, attrs: dict, size: int) -> None:
    from sley.ir.dtypes import i64
    from sley.ir.evaluate import concrete

    op, sizes = OPS[name], {"N": size}
    types = [tensor_type(i64, s) for s in shapes_]
    (type,) = op.infer(types, attrs)
    assert op.index_map is not None
    index = tuple(of_atom(Slot(k, e)) for k, e in enumerate(type.shape))
    pieces = list(op.index_map(types, attrs, index))
    arrays = [array(concrete({"s": s}, sizes)["s"], 1 + 100 * k) for k, s in enumerate(shapes_)]
    (expected,) = op.evaluate(arrays, concrete(attrs, sizes))
    assert expected.shape == concrete({"s": type.shape}, sizes)["s"]
    np.testing.assert_array_equal(read(pieces, arrays, expected.shape, sizes), expected)
