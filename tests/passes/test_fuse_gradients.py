"""Gradients of random programs mean the same after simplify, decompose and fuse."""

from __future__ import annotations

import numpy as np
import pytest
from programs import record
from random_graphs import random_arrays, random_graph

from sley.backends.llvm.target import host_target
from sley.ir.dims import symbol
from sley.ir.dtypes import f32, i64
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph, full
from sley.ir.ops.elementwise import REMAINDER
from sley.ir.ops.indexed import SCATTER
from sley.ir.types import tensor_type
from sley.passes.autodiff.transform import vjp
from sley.passes.decompose import decompose
from sley.passes.fuse import fuse
from sley.passes.simplify import simplify

N = symbol("N")


def assert_same_results(graph: Graph, fused: Graph, sizes: dict[str, int]) -> None:
    arrays = random_arrays(graph, sizes)
    expected, found = evaluate(graph, arrays, sizes), evaluate(fused, arrays, sizes)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(b, a, 1e-4, 1e-4)


@pytest.mark.parametrize("seed", [*range(20), 32, 42])
def test_random_gradients_mean_the_same(seed: int) -> None:
    graph = vjp(random_graph(seed))
    fused = fuse(simplify(decompose(simplify(graph), host_target())))
    for size in (5, 1):
        assert_same_results(graph, fused, {"N": size})


def test_groups_that_grew_late_make_no_cycle() -> None:
    graph = vjp(vjp(random_graph(86, 8)))
    assert_same_results(graph, fuse(simplify(graph)), {"N": 5})


def test_a_scatter_between_elementwise_ops() -> None:
    def program(values):
        base, indices, updates = values
        inside = REMAINDER(indices, full(indices.type, 6))
        return [SCATTER(base * 2, inside, updates * 3, axis=0, combine="add") + base]

    types = [tensor_type(f32, (6,)), tensor_type(i64, (N,)), tensor_type(f32, (N,))]
    graph = record(program, types)
    for size in (9, 1, 0):
        assert_same_results(graph, fuse(graph), {"N": size})
