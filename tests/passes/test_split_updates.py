"""Updates of large weights: a loop of their own after the product that makes the gradient."""

from __future__ import annotations

import numpy as np
import pytest

import sley
from sley.ir.builder import Recording
from sley.ir.dtypes import bf16, f32
from sley.ir.evaluate_kernel import evaluate_kernel
from sley.ir.ops import OPS
from sley.ir.types import tensor_type
from sley.ir.verifier import verify
from sley.passes.fuse import fuse
from sley.passes.split_updates import split_updates

RNG = np.random.default_rng(47)
DOT = {"lhs_contract": (0,), "rhs_contract": (0,), "lhs_batch": (), "rhs_batch": ()}


def step(rows, columns, *, keeps, dtype=f32, turned=False):
    """A step of momentum; `keeps`: the gradient is a result; `turned`: as it is not summed."""
    builder = Recording()
    x = builder.param(tensor_type(dtype, (7, columns)), "x")
    g = builder.param(tensor_type(dtype, (7, rows)), "g")
    w, m = (builder.param(tensor_type(dtype, (rows, columns)), n) for n in "wm")
    with builder:
        gradient = OPS["dot_general"](g, x, **DOT)
        mean = m + gradient
        found = [w - mean, mean]
        if keeps:
            found.append(OPS["transpose"](gradient, perm=(1, 0)) if turned else gradient)
    return fuse(builder.finish("f", found))


def run(graph, arrays):
    """The program of launches, kernel by kernel."""
    values = dict(zip(graph.params, arrays, strict=True))
    for node in graph.nodes:
        results = evaluate_kernel(node.attrs["kernel"], [values[v] for v in node.operands])
        values.update(zip(node.results, results, strict=True))
    return [values[v] for v in graph.yields]


@pytest.mark.parametrize(
    ("rows", "columns", "options", "launches"),
    [(300, 250, {"keeps": True}, 2), (300, 250, {"keeps": True, "turned": True}, 2),
     (300, 250, {"keeps": False}, 1), (300, 350, {"keeps": True, "dtype": bf16}, 2),
     (30, 250, {"keeps": True}, 1)],
)  # fmt: skip
def test_which_are_split_and_what_comes_out(rows, columns, options, launches):
    graph = step(rows, columns, **options)
    assert len(graph.nodes) == 1
    split = split_updates(graph)
    verify(split)
    assert len(split.nodes) == launches
    assert (split is graph) == (launches == 1)
    arrays = [RNG.integers(-3, 4, p.type.shape).astype(p.type.dtype.numpy) for p in graph.params]
    for found, wanted in zip(run(split, arrays), run(graph, arrays), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_gradient_is_stored_once():
    kernels = [n.attrs["kernel"] for n in split_updates(step(300, 250, keeps=True)).nodes]
    assert [k.outs for k in kernels] == [1, 2]
    kernels = [
        n.attrs["kernel"] for n in split_updates(step(300, 250, keeps=True, turned=True)).nodes
    ]
    assert [k.outs for k in kernels] == [1, 3]


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_training(optimizer):
    options = {"momentum": 0.9} if optimizer == "SGD" else {"eps": 0.1}
    x, y = (RNG.standard_normal(s).astype(np.float32) for s in ((9, 301), (9, 303)))
    found = []
    for wrap in (sley.compile, lambda f: f):
        sley.manual_seed(3)
        net = sley.nn.Linear(301, 303)
        steps = getattr(sley.optim, optimizer)(net.parameters(), lr=0.1, **options)

        def update(x, y, net=net, steps=steps):
            steps.zero_grad()
            loss = ((net(x) - y) ** 2).mean()
            loss.backward()
            steps.step()
            return loss

        function = wrap(update)
        for _ in range(3):
            function(sley.tensor(x), sley.tensor(y))
        found.append([*net.parameters(), net.weight.grad])
    for compiled, eager in zip(*found, strict=True):
        np.testing.assert_allclose(
            compiled.detach().numpy(), eager.detach().numpy(), rtol=2e-4, atol=2e-5
        )
