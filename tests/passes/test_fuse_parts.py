"""Sums of parts with zeros around each: stored part by part, by one kernel over their points."""

from __future__ import annotations

import numpy as np
import pytest

import sley
from sley.ir.builder import Recording
from sley.ir.dtypes import f32, i32
from sley.ir.evaluate import evaluate
from sley.ir.evaluate_kernel import evaluate_kernel
from sley.ir.literal import Literal
from sley.ir.ops import OPS
from sley.ir.types import tensor_type
from sley.ir.verifier import verify
from sley.passes.fuse import fuse

RNG = np.random.default_rng(53)


def spread(x, whole, starts):
    zero = OPS["constant"](value=Literal(np.zeros((), x.type.dtype.numpy)))
    zeros = OPS["broadcast"](zero, shape=whole, dims=())
    return OPS["update_slice"](zeros, x, starts=starts, steps=(1,) * len(whole))


def program(sizes, axis, *, dtype=f32, then=None):
    """The sum of parts of these sizes along `axis`, of three axes (5, 70, 3) else."""
    builder = Recording()
    shape = [5, 70, 3]
    shape[axis] = sum(sizes)
    x, total, start = [], None, 0
    for number, size in enumerate(sizes):
        part = list(shape)
        part[axis] = size
        x.append(builder.param(tensor_type(dtype, tuple(part)), f"x{number}"))
    with builder:
        for part, size in zip(x, sizes, strict=True):
            starts = [0, 0, 0]
            starts[axis] = start
            found = spread(part * part * part, tuple(shape), tuple(starts))
            total = found if total is None else total + found
            start += size
        results = [total if then is None else then(total)]
    return builder.finish("f", results)


def run(graph, arrays):
    values = dict(zip(graph.params, arrays, strict=True))
    for node in graph.nodes:
        results = evaluate_kernel(node.attrs["kernel"], [values[v] for v in node.operands])
        values.update(zip(node.results, results, strict=True))
    return [values[v] for v in graph.yields]


def drawn(graph):
    arrays = [RNG.integers(-2, 3, p.type.shape).astype(p.type.dtype.numpy) for p in graph.params]
    return [np.where(a == 0, -a, a) for a in arrays]  # zeros of both signs


@pytest.mark.parametrize(
    ("sizes", "axis", "points"),
    [((4, 4), 0, (4, 70, 3)), ((40, 40, 40), 1, (5, 40, 3)), ((40, 30), 1, (5, 70, 3)),
     ((3, 3), 2, (5, 70, 6)), ((1,) * 9, 0, (9, 70, 3))],
)  # fmt: skip
def test_points(sizes, axis, points):
    for dtype in (f32, i32):
        graph = program(sizes, axis, dtype=dtype)
        fused = fuse(graph)
        verify(fused)
        (launch,) = fused.nodes
        assert launch.attrs["kernel"].nodes[-1].attrs["extents"] == points
        arrays = drawn(graph)
        for found, wanted in zip(run(fused, arrays), evaluate(graph, arrays), strict=True):
            np.testing.assert_array_equal(found.view(np.int32), wanted.view(np.int32))


def test_holes_and_overlaps_stay_sums():
    builder = Recording()
    x = builder.param(tensor_type(f32, (70,)), "x")
    with builder:
        hole = spread(x, (200,), (0,)) + spread(x, (200,), (80,))
        over = spread(x, (139,), (0,)) + spread(x, (139,), (69,))
    graph = builder.finish("f", [hole, over])
    fused, arrays = fuse(graph), drawn(graph)
    extents = [n.attrs["kernel"].nodes[-1].attrs["extents"] for n in fused.nodes]
    assert sorted(extents) == [(139,), (200,)]
    for found, wanted in zip(run(fused, arrays), evaluate(graph, arrays), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_what_one_elementwise_op_reads_is_computed_there():
    graph = program((40, 30), 1, then=lambda total: OPS["exp"](total))
    (launch,) = fuse(graph).nodes
    assert launch.attrs["kernel"].nodes[-1].attrs["extents"] == (5, 70, 3)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_gates_of_a_cell(threads):
    def loss(x, w):
        a, b, c = (x @ w).chunk(3, 1)
        return (a.sigmoid() * b.tanh() + c.exp() * a).sum()

    x, w = (RNG.standard_normal(s).astype(np.float32) * 0.2 for s in ((11, 64), (64, 201)))
    gradient = sley.grad(loss, argnums=(0, 1))
    before = sley.get_num_threads()
    sley.set_num_threads(threads)
    try:
        found = sley.compile(gradient)(sley.tensor(x), sley.tensor(w))
    finally:
        sley.set_num_threads(before)
    for a, b in zip(found, gradient(sley.tensor(x), sley.tensor(w)), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-5, atol=2e-5)
