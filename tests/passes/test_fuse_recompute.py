"""Values that readers compute again: bytes saved, results kept, operands of products left alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from programs import record
from random_graphs import random_arrays

import sley
import sley.nn.functional as F
from sley.backends.llvm.target import host_target
from sley.ir.dims import evaluate as size_of
from sley.ir.dims import symbol
from sley.ir.dtypes import bool_, f32
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph, Value, full
from sley.ir.ops import OPS
from sley.ir.types import tensor_type
from sley.passes.autodiff.backward import backward
from sley.passes.decompose import decompose
from sley.passes.fuse import cluster, fuse

N = symbol("N")


def pooled(params: Sequence[Value]) -> list[Value]:
    """3x3 pooling with stride 1, a product, and the gradient of x."""
    x, w = params
    tiles = OPS["window"](x, axes=(1, 2), sizes=(3, 3), strides=(1, 1), dilations=(1, 1))
    peaks = OPS["reduce_max"](tiles, axes=(3, 4), ties="first")
    y = product(peaks, w)
    return [y, *backward([y], [y], [x])]


def normalised(params: Sequence[Value]) -> list[Value]:
    """Columns centred and scaled, a product, and the gradient of x."""
    x, w = params
    count = full(tensor_type(f32, (8,)), 50.0)

    def along(row: Value) -> Value:
        return OPS["broadcast"](row, shape=x.type.shape, dims=(1,))

    centred = x - along(OPS["reduce_sum"](x, axes=(0,)) / count)
    variance = OPS["reduce_sum"](centred * centred, axes=(0,)) / count
    y = product(centred * along(OPS["rsqrt"](variance + 1e-5)), w)
    return [y, *backward([y], [y], [x])]


def product(x: Value, w: Value) -> Value:
    """The last axis of x through w."""
    last = (x.type.ndim - 1,)
    return OPS["dot_general"](
        x, w, lhs_contract=last, rhs_contract=(0,), lhs_batch=(), rhs_batch=()
    )


def activated(params: Sequence[Value]) -> list[Value]:
    """A layer with gelu, another layer, and all gradients."""
    x, w, v = params
    u = product(x, w)
    y = product(u * 0.5 * (OPS["erf"](u * 0.7) + 1.0), v)
    return [y, *backward([y], [y], [x, w, v])]


POOLED = [tensor_type(f32, (N, 8, 8)), tensor_type(f32, (6, 4))]
ACTIVATED = [tensor_type(f32, (N, 6)), tensor_type(f32, (6, 20)), tensor_type(f32, (20, 5))]
NORMALISED = [tensor_type(f32, (50, 8)), tensor_type(f32, (8, 8))]


def moved(graph: Graph, sizes: dict[str, int]) -> int:
    """Bytes that the launches of a fused program read and write."""
    values = [v for n in graph.nodes for v in (*n.operands, *n.results) if n.op.name == "launch"]
    return sum(size_of(v.type.nbytes, sizes) for v in values)


def without_recompute(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> Graph:
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "recompute", lambda groups: None)
        return fuse(graph)


@pytest.mark.parametrize(
    ("program", "types"), [(pooled, POOLED), (normalised, NORMALISED), (activated, ACTIVATED)]
)
def test_fewer_bytes_are_moved_for_the_same_results(program, types, monkeypatch):
    graph = decompose(record(program, types), host_target())
    fused, plain = fuse(graph), without_recompute(graph, monkeypatch)
    for size in (3, 1, 0):
        sizes = {"N": size}
        arrays = random_arrays(graph, sizes)
        for a, b in zip(
            evaluate(graph, arrays, sizes), evaluate(fused, arrays, sizes), strict=True
        ):
            np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)
    assert moved(fused, {"N": 4}) < moved(plain, {"N": 4})


def test_the_mask_of_a_window_is_not_stored(monkeypatch):
    graph = decompose(record(pooled, POOLED), host_target())

    def masks(fused: Graph) -> list[Value]:
        results = [v for n in fused.nodes for v in n.results if n.op.name == "launch"]
        return [v for v in results if v.type.dtype is bool_ and v.type.ndim == 5]

    assert not masks(fuse(graph)) and masks(without_recompute(graph, monkeypatch))


def test_the_slope_of_an_activation_is_not_stored():
    """Only the activation and its argument are, as they are large: the way back finds the slope
    by an erf and an exp more. What would cost more than its bytes is loaded."""

    def stored(types: Sequence) -> int:
        fused = fuse(decompose(record(activated, types), host_target()))
        values = [v for n in fused.nodes for v in n.results]
        return sum(v.type.shape == (N, 20) for v in values) - 1  # less the cotangent

    assert stored(ACTIVATED) == 2

    def dear(params: Sequence[Value]) -> list[Value]:
        x, w, v = params
        u = product(x, w)
        power = OPS["pow"](u, u)
        return [u, product(x, v) * power]

    graph = record(dear, [tensor_type(f32, (16, 16))] * 3)
    kernels = [n.attrs["kernel"] for n in fuse(graph).nodes if n.op.name == "launch"]
    (first,) = (k for k in kernels if any(n.op.name == "pow" for n in k.walk()))
    assert first.outs == 2


def test_operands_of_products_are_read_plain():
    """Both products would have less to load from x, but panels are packed from plain memory."""

    def program(params: Sequence[Value]) -> list[Value]:
        x, w = params
        h = OPS["maximum"](x, full(x.type, 0.5)) * x
        square = OPS["transpose"](h, perm=(1, 0))
        return [product(h, w), product(square, x), OPS["reduce_sum"](h, axes=(0, 1))]

    fused = fuse(record(program, [tensor_type(f32, (16, 8)), tensor_type(f32, (8, 4))]))
    results = [v for n in fused.nodes for v in n.results]
    assert any(v.type.shape == (16, 8) for v in results)


def test_what_is_copied_may_read_what_was_copied_before():
    """The gradient's kernel takes the weights of the rows first, then what follows from them."""

    def step(x: sley.Tensor, target: sley.Tensor) -> tuple[sley.Tensor, ...]:
        def loss(x: sley.Tensor) -> sley.Tensor:
            return F.cross_entropy(x, target, label_smoothing=0.1, reduction="sum")

        value, pull = sley.func.vjp(loss, x)
        return value, *pull(sley.tensor(-3.0))

    x = sley.tensor(np.random.default_rng(3).standard_normal((2, 32)).astype(np.float32))
    target = sley.tensor([0, 7])
    for found, expected in zip(sley.compile(step)(x, target), step(x, target), strict=True):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), 1e-5, 1e-6)
