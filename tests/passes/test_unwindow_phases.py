"""Sums of strided windows that are put back: what stands for them gives the same by numpy."""

import numpy as np
import pytest

from sley.ir.builder import Recording
from sley.ir.dims import symbol
from sley.ir.dtypes import f64
from sley.ir.evaluate import evaluate
from sley.ir.ops.reduction import REDUCE_SUM
from sley.ir.ops.view import SLICE, UNWINDOW
from sley.ir.types import tensor_type
from sley.ir.verifier import verify
from sley.passes.phases import separate_phases
from sley.passes.simplify import simplify


def _program(shape, places, strides, dilations, extents, part=None):
    """The sum of windows at the last axes of `shape`; `part`: (starts, sizes) of it."""
    builder = Recording()
    y = builder.param(tensor_type(f64, (*shape, *places)), "y")
    first = len(shape) - len(places)
    with builder:
        z = UNWINDOW(
            y, axes=tuple(range(first, len(shape))), sizes=tuple(places), strides=tuple(strides),
            dilations=tuple(dilations), extents=tuple(extents),
        )  # fmt: skip
        total = REDUCE_SUM(z, axes=tuple(range(len(shape), len(shape) + len(places))))
        if part is not None:
            starts, sizes = part
            total = SLICE(total, starts=starts, sizes=sizes, steps=(1,) * len(starts))
    return builder.finish("f", (total,))


def _lowered(graph):
    lowered = simplify(separate_phases(simplify(graph)))
    verify(lowered)
    return lowered


def _strides(graph):
    return {s for n in graph.nodes if n.op is UNWINDOW for s in n.attrs["strides"]}


@pytest.mark.parametrize("seed", range(4))
def test_random_windows(seed):
    rng = np.random.default_rng(seed)
    for number in range(25):
        count = int(rng.integers(1, 3))
        lead = rng.integers(1, 3, int(rng.integers(0, 3))).tolist()
        windows, places = (rng.integers(2, 6, count).tolist() for _ in range(2))
        strides = rng.integers(1, 4, count).tolist()
        dilations = [1 if s > 1 else int(rng.integers(1, 3)) for s in strides]
        sizes = zip(windows, places, strides, dilations, strict=True)
        extents = [(o - 1) * s + (k - 1) * d + 1 for o, k, s, d in sizes]
        extents = [e + int(rng.integers(0, 4)) for e in extents]
        part = None
        if number % 3:
            whole = (*lead, *extents)
            starts = tuple(int(rng.integers(0, n)) for n in whole)
            part = starts, tuple(int(rng.integers(1, n - s + 1)) for n, s in zip(whole, starts))
        graph = _program((*lead, *windows), places, strides, dilations, extents, part)
        lowered = _lowered(graph)
        assert _strides(lowered) <= {1}
        arrays = [rng.standard_normal((*lead, *windows, *places))]
        (want,), (found,) = evaluate(graph, arrays), evaluate(lowered, arrays)
        np.testing.assert_allclose(found, want, atol=1e-12)


def test_places_are_as_many_as_meet_an_element():
    graph = _program((5, 5), (3, 3), (2, 2), (1, 1), (11, 11))
    (put_back,) = (n for n in _lowered(graph).nodes if n.op is UNWINDOW)
    assert put_back.attrs["sizes"] == (2, 2)


def test_dilated_strided_windows_stay():
    graph = _program((5,), (3,), (2,), (2,), (13,))
    assert separate_phases(graph).nodes[0].attrs["strides"] == (2,)


def test_symbolic_sizes():
    n = symbol("N")
    graph = _program((n, n), (3,), (2,), (1,), (2 * n + 1,), ((0, 1), (n, 2 * n)))
    lowered = _lowered(graph)
    assert _strides(lowered) == {1}
    for size in (1, 2, 5):
        arrays = [np.random.default_rng(size).standard_normal((size, size, 3))]
        (want,), (found,) = evaluate(graph, arrays), evaluate(lowered, arrays)
        np.testing.assert_allclose(found, want, atol=1e-12)
