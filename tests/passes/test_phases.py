"""Convolutions of a spread input: what stands for them gives the same by numpy."""

import numpy as np
import pytest

from sley.ir.builder import Recording
from sley.ir.dims import symbol
from sley.ir.dtypes import f64
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph
from sley.ir.ops.contraction import CONV
from sley.ir.types import tensor_type
from sley.ir.verifier import verify
from sley.passes.phases import separate_phases


def _program(x, w, strides, padding, spread, dilation=None, groups=1) -> Graph:
    builder = Recording()
    params = [builder.param(tensor_type(f64, shape), name) for shape, name in ((x, "x"), (w, "w"))]
    attrs = {
        "strides": strides, "padding": padding, "lhs_dilation": spread,
        "rhs_dilation": dilation or (1,) * len(spread), "groups": groups,
    }  # fmt: skip
    with builder:
        result = CONV(*params, **attrs)
    return builder.finish("f", (result,))


def _spread(graph: Graph) -> list[tuple[int, ...]]:
    found = [n.attrs["lhs_dilation"] for n in graph.nodes if n.op.name == "conv"]
    return [s for s in found if any(n != 1 for n in s)]


def _same(graph: Graph, x: tuple[int, ...], w: tuple[int, ...]) -> Graph:
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal(x), rng.standard_normal(w)
    lowered = separate_phases(graph)
    verify(lowered)
    (want,), (found,) = evaluate(graph, arrays), evaluate(lowered, arrays)
    np.testing.assert_allclose(found, want, atol=1e-12)
    return lowered


@pytest.mark.parametrize("seed", range(6))
def test_random_convolutions(seed):
    rng = np.random.default_rng(seed)
    done = 0
    while done < 25:
        count = rng.integers(1, 4)
        groups = int(rng.choice([1, 1, 2, 3]))
        x = (2, groups * int(rng.integers(1, 3)), *rng.integers(2, 6, count).tolist())
        w = (groups * int(rng.integers(1, 3)), x[1] // groups, *rng.integers(1, 6, count).tolist())
        spread = tuple(rng.integers(1, 5, count).tolist())
        padding = tuple(map(tuple, rng.integers(-1, 6, (count, 2)).tolist()))
        strides = tuple(int(rng.integers(1, 3)) if n == 1 else 1 for n in spread)
        dilation = tuple(int(rng.integers(1, 3)) if n == 1 else 1 for n in spread)
        reach = [(k - 1) * d + 1 for k, d in zip(w[2:], dilation, strict=True)]
        sizes = [(n - 1) * s + 1 + sum(p) for n, s, p in zip(x[2:], spread, padding, strict=True)]
        if any(size < least for size, least in zip(sizes, reach, strict=True)):
            continue
        lowered = _same(_program(x, w, strides, padding, spread, dilation, groups), x, w)
        if all(s == 1 for s in strides):
            assert not _spread(lowered)
        done += 1


def test_each_class_of_phases_is_one_convolution():
    graph = _program((1, 2, 5, 5), (3, 2, 3, 4), (1, 1), ((2, 2), (3, 3)), (2, 2))
    lowered = _same(graph, (1, 2, 5, 5), (3, 2, 3, 4))
    windows = [n.operands[1].type.shape for n in lowered.nodes if n.op.name == "conv"]
    assert sorted(windows) == [(6, 2, 1, 2), (6, 2, 2, 2)]  # 1 or 2 taps times 2


def test_a_window_larger_than_the_result_changes_places_with_the_input():
    x, w = (4, 3, 6, 6), (2, 3, 13, 13)
    lowered = _same(_program(x, w, (1, 1), ((1, 1), (1, 1)), (2, 2)), x, w)
    (conv,) = (n for n in lowered.nodes if n.op.name == "conv")
    assert conv.operands[1].type.shape == x
    assert conv.attrs["rhs_dilation"] == (2, 2)


def test_nothing_comes_of_phases_without_taps():
    """An infinite element meets the taps of its own phase alone."""
    graph = _program((1, 1, 3), (1, 1, 1), (1,), ((0, 0),), (3,))
    x = np.array([[[1.0, np.inf, 2.0]]])
    (found,) = evaluate(separate_phases(graph), (x, np.ones((1, 1, 1))))
    np.testing.assert_array_equal(found, [[[1, 0, 0, np.inf, 0, 0, 2]]])


def test_symbolic_sizes():
    n = symbol("N")
    graph = _program((n, 2, n), (3, 2, 3), (1,), ((1, 2),), (2,))
    lowered = separate_phases(graph)
    verify(lowered)
    assert not _spread(lowered)
    rng = np.random.default_rng(1)
    for size in (1, 2, 7):
        arrays = rng.standard_normal((size, 2, size)), rng.standard_normal((3, 2, 3))
        (want,), (found,) = evaluate(graph, arrays), evaluate(lowered, arrays)
        np.testing.assert_allclose(found, want, atol=1e-12)
