"""Whole training steps as tensor programs, for tests of plans and of the runtime."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from sley.ir.builder import Recording
from sley.ir.dims import Dim, symbol
from sley.ir.dtypes import f32, i64
from sley.ir.graph import Graph, Value, full
from sley.ir.ops import OPS
from sley.ir.types import tensor_type
from sley.passes.autodiff.backward import backward

DOT = {"lhs_contract": (1,), "rhs_contract": (0,), "lhs_batch": (), "rhs_batch": ()}


def linear(x: Value, w: Value, b: Value) -> Value:
    """x @ w + b."""
    y = OPS["dot_general"](x, w, **DOT)
    return y + OPS["broadcast"](b, shape=y.type.shape, dims=(1,))


def cross_entropy(scores: Value, classes: Value) -> Value:
    """The sum over rows of -log softmax(scores)[class]."""
    shape = scores.type.shape

    def spread(x: Value) -> Value:
        return OPS["broadcast"](x, shape=shape, dims=(0,))

    shifted = scores - spread(OPS["reduce_max"](scores, axes=(1,), ties="even"))
    norm = OPS["log"](OPS["reduce_sum"](OPS["exp"](shifted), axes=(1,)))
    column = OPS["iota"](shape=shape, axis=1, dtype=i64)
    hit = OPS["eq"](column, spread(classes))
    zero = full(scores.type, 0.0)
    return OPS["reduce_sum"](OPS["where"](hit, spread(norm) - shifted, zero), axes=(0, 1))


def mlp_step(widths: Sequence[int], batch: Dim | None = None) -> tuple[Graph, dict[int, int]]:
    """A step of a multi-layer perceptron with SGD and momentum, and its donations.

    Inputs: weights and biases, their momenta, images, classes, learning rate. Results: loss, new
    weights and biases, new momenta.
    """
    batch = symbol("N") if batch is None else batch
    builder = Recording()
    with builder:
        shapes = [s for a, b in pairwise(widths) for s in ((a, b), (b,))]
        params = [builder.param(tensor_type(f32, s), f"p{k}") for k, s in enumerate(shapes)]
        momenta = [builder.param(tensor_type(f32, s), f"m{k}") for k, s in enumerate(shapes)]
        x = builder.param(tensor_type(f32, (batch, widths[0])), "x")
        classes = builder.param(tensor_type(i64, (batch,)), "y")
        rate = builder.param(tensor_type(f32), "rate")
        h = x
        for k in range(0, len(params), 2):
            h = linear(h, params[k], params[k + 1])
            if k + 2 < len(params):
                h = OPS["maximum"](h, full(h.type, 0.0))
        loss = cross_entropy(h, classes)
        gradients = backward([loss], [full(loss.type, 1.0)], params)
        new_momenta = [m * 0.9 + g for m, g in zip(momenta, gradients, strict=True)]
        new_params = [
            p - OPS["broadcast"](rate, shape=p.type.shape, dims=()) * m
            for p, m in zip(params, new_momenta, strict=True)
        ]
    count = len(params)
    graph = builder.finish("mlp_step", [loss, *new_params, *new_momenta])
    return graph, {1 + k: k for k in range(2 * count)}


def mlp_arrays(graph: Graph, rows: int, seed: int = 0) -> list[np.ndarray]:
    """Inputs for `mlp_step`."""
    rng = np.random.default_rng(seed)
    arrays: list[np.ndarray] = []
    for param in graph.params:
        shape = [d if isinstance(d, int) else rows for d in param.type.shape]
        if param.type.dtype is i64:
            arrays.append(rng.integers(0, 10, shape))
            continue
        scale = 0.0 if str(param.name).startswith("m") else 1.0
        if str(param.name).startswith("p"):
            scale = (2.0 / shape[0]) ** 0.5 if len(shape) == 2 else 0.0
        array = (scale * rng.standard_normal(shape)).astype(np.float32)
        arrays.append(np.float32(0.01) * np.ones((), np.float32) if not shape else array)
    return [np.ascontiguousarray(a).reshape(a.shape) for a in arrays]
