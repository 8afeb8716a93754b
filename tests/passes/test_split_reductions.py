"""Long reductions with few results: cut into blocks, the same for any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

import sley
from sley.ir.builder import Recording
from sley.ir.dtypes import f32
from sley.ir.evaluate_kernel import evaluate_kernel
from sley.ir.ops import OPS
from sley.ir.types import tensor_type
from sley.ir.verifier import verify
from sley.passes.fuse import fuse
from sley.passes.split_reductions import split_reductions

RNG = np.random.default_rng(31)


def program(shape, name, axes, **attrs):
    builder = Recording()
    x = builder.param(tensor_type(f32, shape), "x")
    with builder:
        found = OPS[name](x * x, axes=axes, **attrs)
        found = found + found if found.type.dtype is f32 else found
    return fuse(builder.finish("f", [found]))


def run(graph, x):
    """The program of launches, kernel by kernel."""
    values = {graph.params[0]: x}
    for node in graph.nodes:
        results = evaluate_kernel(node.attrs["kernel"], [values[v] for v in node.operands])
        values.update(zip(node.results, results, strict=True))
    return values[graph.yields[0]]


@pytest.mark.parametrize(
    ("shape", "axes", "count"),
    [((70_001,), (0,), 2), ((3, 30_011), (0, 1), 2), ((3, 30_011), (1,), 2), ((9001, 9), (0,), 2),
     ((8, 8192), (1,), 2), ((9, 8192), (1,), 1), ((60_000,), (0,), 1), ((31, 3000), (0,), 2),
     ((300, 300), (0,), 2), ((70, 1100), (0,), 1)],
)  # fmt: skip
def test_which_are_split_and_what_comes_out(shape, axes, count):
    x = RNG.integers(-3, 4, shape).astype(np.float32)
    for name, attrs in (("reduce_sum", {}), ("argmax", {})):
        graph = program(shape, name, axes, **attrs)
        split = split_reductions(graph)
        verify(split)
        wanted = count if shape != (31, 3000) else 1
        assert len(split.nodes) == wanted, (name, shape)
        np.testing.assert_array_equal(run(split, x), run(graph, x))


def test_compiled():
    def everything(x):
        return x.sum(), x.max(), x.argmin(), (x * 2).mean(0), x.var(1)

    take = sley.compile(everything)
    for shape in ((3, 70_001), (40_013, 5), (200_003, 1)):
        x = RNG.standard_normal(shape).astype(np.float32)
        found = [t.numpy() for t in take(sley.tensor(x))]
        np.testing.assert_allclose(found[0], x.sum(dtype=np.float64), rtol=1e-4, atol=1e-2)
        assert found[1] == x.max() and found[2] == x.argmin()
        np.testing.assert_allclose(found[3], 2 * x.mean(0, dtype=np.float64), rtol=1e-4, atol=1e-5)
        if shape[1] > 1:
            np.testing.assert_allclose(found[4], x.var(1, ddof=1, dtype=np.float64), rtol=1e-4)


def test_any_number_of_threads_gives_the_same_bits():
    x = sley.tensor(RNG.standard_normal((3, 100_003)).astype(np.float32))
    before, found = sley.get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            sley.set_num_threads(threads)
            found.append(sley.compile(lambda x: (x.sum(), x.sum(1)))(x))
    finally:
        sley.set_num_threads(before)
    for total, rows in found[1:]:
        np.testing.assert_array_equal(total.numpy(), found[0][0].numpy())
        np.testing.assert_array_equal(rows.numpy(), found[0][1].numpy())
