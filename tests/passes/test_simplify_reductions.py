"""Reductions of a reshaped value that come before the reshape."""

from __future__ import annotations

import numpy as np
import pytest

from sley.ir.builder import Recording
from sley.ir.dims import symbol
from sley.ir.dtypes import f32
from sley.ir.evaluate import evaluate
from sley.ir.ops import OPS
from sley.ir.types import tensor_type
from sley.passes.simplify import simplify

RNG = np.random.default_rng(59)
N = symbol("N")


def reshaped(shape, new, axes, name="reduce_sum", perm=None):
    """A reduction of x of `shape`, transposed such that it has that shape, and reshaped."""
    builder = Recording()
    perm = tuple(reversed(range(len(shape)))) if perm is None else perm
    lies = [shape[perm.index(axis)] for axis in range(len(shape))]
    x = builder.param(tensor_type(f32, tuple(lies)), "x")
    attrs = {"ties": "even"} if name in ("reduce_max", "reduce_min") else {}
    with builder:
        turned = OPS["transpose"](x, perm=perm)
        y = OPS[name](OPS["reshape"](turned, shape=new), axes=axes, **attrs)
    return builder.finish("f", [y])


def folded(graph):
    """(Extents that the reduction reads, its axes)."""
    (node,) = (n for n in graph.nodes if n.op.name.startswith("reduce"))
    return node.operands[0].type.shape, tuple(node.attrs["axes"])


@pytest.mark.parametrize(
    ("shape", "new", "axes", "wanted"),
    [((4, 5, 3, 2, 6), (4, 5, 36), (0, 1), ((4, 5, 3, 2, 6), (0, 1))),
     ((4, 5, 3, 2, 6), (20, 36), (0,), ((4, 5, 3, 2, 6), (0, 1))),
     ((3, 2, 4, 5), (6, 20), (1,), ((3, 2, 4, 5), (2, 3))),
     ((3, 1, 2, 5, 1), (6, 5), (1,), ((3, 1, 2, 5, 1), (3, 4))),
     ((N, 5, 3, 2), (N, 5, 6), (0,), ((N, 5, 3, 2), (0,))),
     ((4, 5, 6), (20, 6), (0,), ((20, 6), (0,))),  # nothing that stays is joined
     ((4, 6), (4, 2, 3), (0,), ((4, 2, 3), (0,))),
     ((4, 3, 2), (12, 2), (0,), ((12, 2), (0,))),
     ((4, 3, 2), (2, 12), (0,), ((2, 12), (0,))),  # part of an axis
     ((4, 3, 2), (6, 4), (1,), ((6, 4), (1,)))],
)  # fmt: skip
def test_axes(shape, new, axes, wanted):
    for name in ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod"):
        graph = reshaped(shape, new, axes, name)
        simple = simplify(graph)
        assert folded(simple) == wanted
        assert simple.yields[0].type == graph.yields[0].type
        lies = [7 if n is N else n for n in graph.params[0].type.shape]
        x = RNG.integers(-2, 3, lies).astype(np.float32)
        np.testing.assert_array_equal(evaluate(simple, [x])[0], evaluate(graph, [x])[0])


def test_axes_that_lie_side_by_side_stay_joined():
    graph = reshaped((4, 5, 3, 2), (4, 5, 6), (0,), perm=(1, 0, 2, 3))
    assert folded(simplify(graph)) == ((4, 5, 6), (0,))


def test_no_elements():
    graph = reshaped((4, 0, 3), (4, 0), (0,))
    assert evaluate(simplify(graph), [np.zeros((3, 0, 4), np.float32)])[0].shape == (0,)
