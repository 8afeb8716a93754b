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


def conv_pool(x: Value, w: Value, b: Value) -> Value:
    """3x3 convolution, relu, 2x2 max pooling."""
    y = OPS["conv"](
        x, w, strides=(1, 1), padding=((1, 1), (1, 1)), lhs_dilation=(1, 1), rhs_dilation=(1, 1),
        groups=1,
    )  # fmt: skip
    y = relu(y + OPS["broadcast"](b, shape=y.type.shape, dims=(1,)))
    tiles = OPS["window"](y, axes=(2, 3), sizes=(2, 2), strides=(2, 2), dilations=(1, 1))
    return OPS["reduce_max"](tiles, axes=(4, 5), ties="first")


def relu(x: Value) -> Value:
    return OPS["maximum"](x, full(x.type, 0.0))


class Step:
    """A step of SGD with momentum under construction.

    Inputs: parameters, their momenta, images, classes, learning rate. Results: loss, new
    parameters, new momenta.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], images: tuple[Dim, ...]) -> None:
        self.builder = Recording()
        param = self.builder.param
        self.params = [param(tensor_type(f32, s), f"p{k}") for k, s in enumerate(shapes)]
        self.momenta = [param(tensor_type(f32, s), f"m{k}") for k, s in enumerate(shapes)]
        self.images = param(tensor_type(f32, images), "x")
        self.classes = param(tensor_type(i64, images[:1]), "y")
        self.rate = param(tensor_type(f32), "rate")

    def finish(self, name: str, scores: Value) -> tuple[Graph, dict[int, int]]:
        """The whole step for these scores, and its donations; the builder is active."""
        loss = cross_entropy(scores, self.classes)
        gradients = backward([loss], [full(loss.type, 1.0)], self.params)
        momenta = [m * 0.9 + g for m, g in zip(self.momenta, gradients, strict=True)]
        params = [
            p - OPS["broadcast"](self.rate, shape=p.type.shape, dims=()) * m
            for p, m in zip(self.params, momenta, strict=True)
        ]
        graph = self.builder.finish(name, [loss, *params, *momenta])
        return graph, {1 + k: k for k in range(2 * len(params))}


def mlp_step(widths: Sequence[int], batch: Dim | None = None) -> tuple[Graph, dict[int, int]]:
    """A step of a multi-layer perceptron, and its donations."""
    batch = symbol("N") if batch is None else batch
    shapes = [s for a, b in pairwise(widths) for s in ((a, b), (b,))]
    step = Step(shapes, (batch, widths[0]))
    with step.builder:
        h = step.images
        for k in range(0, len(shapes), 2):
            h = linear(h, step.params[k], step.params[k + 1])
            h = h if k + 2 == len(shapes) else relu(h)
        return step.finish("mlp_step", h)


def conv_step() -> tuple[Graph, dict[int, int]]:
    """A step of a small convolutional net on images of 8x8, and its donations."""
    batch = symbol("N")
    shapes = [(8, 1, 3, 3), (8,), (16, 8, 3, 3), (16,), (64, 32), (32,), (32, 10), (10,)]
    step = Step(shapes, (batch, 1, 8, 8))
    with step.builder:
        p = step.params
        h = conv_pool(conv_pool(step.images, p[0], p[1]), p[2], p[3])
        h = relu(linear(OPS["reshape"](h, shape=(batch, 64)), p[4], p[5]))
        return step.finish("conv_step", linear(h, p[6], p[7]))


def block_step(rows: int = 96, width: int = 32, blocks: int = 3) -> tuple[Graph, dict[int, int]]:
    """A step of residual blocks of two layers with gelu between, normalised before."""
    shapes: list[tuple[int, ...]] = []
    for _ in range(blocks):
        shapes += [(width, 4 * width), (4 * width,), (4 * width, width), (width,)]
    step = Step([*shapes, (width, 10), (10,)], (rows, width))
    with step.builder:
        x = step.images
        for k in range(0, 4 * blocks, 4):
            u = linear(normalised(x), step.params[k], step.params[k + 1])
            y = u * 0.5 * (OPS["erf"](u * 0.70710678) + 1.0)
            x = x + linear(y, step.params[k + 2], step.params[k + 3])
        return step.finish("block_step", linear(x, *step.params[-2:]))


def normalised(x: Value) -> Value:
    """Rows of mean 0 and variance 1."""
    shape, count = x.type.shape, full(tensor_type(f32, x.type.shape[:1]), x.type.shape[1])

    def mean(y: Value) -> Value:
        total = OPS["reduce_sum"](y, axes=(1,)) / count
        return OPS["broadcast"](total, shape=shape, dims=(0,))

    centred = x - mean(x)
    return centred * OPS["rsqrt"](mean(centred * centred) + 1e-5)


def step_arrays(graph: Graph, rows: int, seed: int = 0) -> list[np.ndarray]:
    """Inputs for a step: random weights, no momentum yet."""
    rng = np.random.default_rng(seed)
    arrays: list[np.ndarray] = []
    for param in graph.params:
        shape = [d if isinstance(d, int) else rows for d in param.type.shape]
        name = str(param.name)
        if name == "y":
            arrays.append(rng.integers(0, 10, shape))
        elif name == "rate":
            arrays.append(np.full(shape, 0.01, np.float32))
        else:
            inner = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
            scale = {"x": 1.0, "m": 0.0}.get(name[0], (2.0 / max(inner, 1)) ** 0.5)
            arrays.append((scale * rng.standard_normal(shape)).astype(np.float32))
    return arrays
