"""One element of each row of an input is read, rather than the row."""

from __future__ import annotations

import numpy as np
import pytest

import sley
import sley.nn.functional as F
from sley.ir.builder import Recording
from sley.ir.dims import symbol
from sley.ir.dtypes import bf16, f32, i32, i64
from sley.ir.evaluate import evaluate
from sley.ir.graph import full
from sley.ir.ops import OPS
from sley.ir.types import tensor_type
from sley.ir.verifier import verify
from sley.passes.picks import pick

N = symbol("N")


def program(shape, axis, *, dtype=f32, places=i64, more=lambda x: []):
    builder = Recording()
    own = shape[:axis] + shape[axis + 1 :]
    x, t = builder.param(tensor_type(dtype, shape), "x"), builder.param(tensor_type(places, own))
    dims = tuple(a for a in range(len(shape)) if a != axis)
    with builder:
        spread = OPS["broadcast"](t, shape=shape, dims=dims)
        hits = OPS["eq"](OPS["iota"](shape=shape, axis=axis, dtype=places), spread)
        zero = full(tensor_type(dtype, shape), 0)
        found = OPS["reduce_sum"](OPS["where"](hits, x, zero), axes=(axis,))
        return builder.finish("f", [found, *more(x)])


@pytest.mark.parametrize("shape, axis", [((5, 7), 1), ((5, 7), 0), ((3, 4, 5), 1), ((9,), 0)])
@pytest.mark.parametrize("dtype", [f32, bf16])
def test_picks(shape, axis, dtype):
    for places, n in ((i64, shape[axis]), (i32, shape[axis])):
        graph = program(shape, axis, dtype=dtype, places=places)
        found = pick(graph)
        verify(found)
        assert any(node.op.name == "gather" for node in found.nodes)
        rng = np.random.default_rng(1)
        x = rng.standard_normal(shape).astype(dtype.numpy)
        x[x < -1] = -0.0
        # Also places where nothing is: no element is picked there.
        t = rng.integers(-2, n + 2, shape[:axis] + shape[axis + 1 :]).astype(places.numpy)
        for a, b in zip(evaluate(found, [x, t]), evaluate(graph, [x, t]), strict=True):
            np.testing.assert_array_equal(a, b)
            assert np.array_equal(np.signbit(a), np.signbit(b))


def test_symbolic_rows():
    graph = program((N, 6), 1)
    found = pick(graph)
    verify(found)
    for n in (0, 1, 5):
        x = np.random.default_rng(n).standard_normal((n, 6)).astype(np.float32)
        t = np.arange(n) % 6
        arrays, sizes = [x, t], {"N": n}
        np.testing.assert_array_equal(
            evaluate(found, arrays, sizes)[0], evaluate(graph, arrays, sizes)[0]
        )


def test_rows_that_are_read_anyway_are_left_alone():
    graph = program((4, 5), 1, more=lambda x: [OPS["reduce_max"](x, axes=(1,), ties="even")])
    assert pick(graph) is graph
    graph = program((4, 5), 1, more=lambda x: [x])
    assert pick(graph) is graph
    builder = Recording()
    x = builder.param(tensor_type(f32, (4, 5)), "x")
    with builder:
        graph = builder.finish("f", [OPS["reduce_sum"](x, axes=(1,))])
    assert pick(graph) is graph


def test_losses_of_class_numbers():
    rng = np.random.default_rng(2)
    logp = sley.tensor(rng.standard_normal((40, 9)).astype(np.float32)).log_softmax(1)
    target = sley.tensor(np.where(rng.random(40) < 0.2, -100, rng.integers(0, 9, 40)))
    weight = sley.tensor(rng.random(9).astype(np.float32))

    def losses(x, t, w):
        return F.nll_loss(x, t), F.nll_loss(x, t, w, reduction="sum")

    def one(x, t, w):
        x = x.detach().requires_grad_(True)
        found = F.nll_loss(x, t, reduction="none")
        found.sum().backward()
        return found.detach(), x.grad

    for function in (losses, one):
        wanted = function(logp, target, weight)
        for a, b in zip(sley.compile(function)(logp, target, weight), wanted, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), 1e-5)
