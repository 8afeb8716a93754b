"""Long sums of few results in parts: the same results, and only where a GPU has nothing to do."""

from __future__ import annotations

import numpy as np
import pytest

from sley.ir import dtypes
from sley.ir.builder import Recording
from sley.ir.dims import symbol
from sley.ir.evaluate import evaluate
from sley.ir.gpu_target import GpuTarget
from sley.ir.graph import Graph
from sley.ir.ops import OPS
from sley.ir.ops.contraction import CONV
from sley.ir.types import tensor_type
from sley.ir.verifier import verify
from sley.passes.autodiff.backward import backward
from sley.passes.fuse import fuse
from sley.passes.split_contracts import split_contracts

TARGET = GpuTarget("a GPU", 90, 132, 232_448, 50 << 20)


def fused(body, *shapes, dtype="f32") -> Graph:
    builder = Recording()
    params = [builder.param(tensor_type(dtypes.by_name(dtype), shape)) for shape in shapes]
    with builder:
        results = body(*params)
    return fuse(builder.finish("p", results if isinstance(results, list) else [results]))


def dot(x, w):
    return OPS["dot_general"](
        x, w, lhs_contract=(0,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()
    )


def check(graph: Graph, parts: bool) -> Graph:
    """Asserts that the program is cut where that is asked for, and gives the same."""
    cut = split_contracts(graph, TARGET)
    assert (cut is not graph) == parts
    verify(cut)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(p.type.shape).astype(p.type.dtype.numpy) for p in graph.params]
    for found, wanted in zip(evaluate(cut, arrays), evaluate(graph, arrays), strict=True):
        most = np.abs(wanted.astype(np.float64)).max()
        bound = most * (1e-2 if wanted.dtype.itemsize == 2 else 1e-5)
        np.testing.assert_allclose(
            found.astype(np.float64), wanted.astype(np.float64), rtol=0, atol=bound
        )
    return cut


@pytest.mark.parametrize("dtype", ["f32", "bf16", "f64", "i32"])
def test_a_long_sum_is_cut(dtype):
    cut = check(fused(dot, (8192, 24), (8192, 10), dtype=dtype), parts=True)
    first, second = cut.nodes
    (contract,) = first.attrs["kernel"].nodes
    assert contract.attrs["batch"] == (16,) and contract.attrs["k"] == (512,)
    wide = dtypes.f32 if dtype == "bf16" else dtypes.by_name(dtype)
    assert first.results[0].type == tensor_type(wide, (16, 24, 10))
    assert [n.op.name for n in second.attrs["kernel"].nodes if n.regions] == ["parallel"]


def test_what_is_made_of_the_sums_stays_with_them():
    def body(x, w, bias):
        y = dot(OPS["exp"](x), w)
        y = y + OPS["broadcast"](bias, shape=y.type.shape, dims=(1,))
        return [y, OPS["tanh"](y)]

    cut = check(fused(body, (4096, 8), (4096, 6), (6,)), parts=True)
    assert len(cut.nodes) == 2


def test_gradients_of_the_weights_of_convolutions():
    attrs = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "lhs_dilation": (1, 1)}
    attrs |= {"rhs_dilation": (1, 1), "groups": 1}

    def body(image, weight):
        y = CONV(image, weight, **attrs)
        return backward([y], [y], [weight], lambda value: True)[0]

    cut = check(fused(body, (8, 3, 16, 16), (4, 3, 3, 3)), parts=True)
    (contract,) = cut.nodes[-2].attrs["kernel"].nodes[-1:]
    assert contract.op.name == "contract" and contract.attrs["batch"][0] == 4


def test_where_there_is_enough_to_do_nothing_is_cut():
    check(fused(dot, (64, 24), (64, 10)), parts=False)  # a short sum
    check(fused(dot, (1031, 24), (1031, 10)), parts=False)  # a prime
    graph = fused(dot, (4096, 4096), (4096, 4096))
    assert split_contracts(graph, TARGET) is graph
    graph = fused(dot, (symbol("K"), 24), (symbol("K"), 10))
    assert split_contracts(graph, TARGET) is graph
