"""Parts that are joined in a result are stored by the kernel that computes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from programs import record
from random_graphs import random_arrays

from sley.ir.dims import symbol
from sley.ir.dtypes import f32
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph, Value, full
from sley.ir.ops import OPS
from sley.ir.types import tensor_type
from sley.ir.verifier import verify
from sley.passes.fuse import fuse

N = symbol("N")
X = tensor_type(f32, (N, 6))


def paired(a: Value, b: Value) -> Value:
    """(real, imaginary) along a last axis."""
    shape = a.type.shape
    columns = [OPS["reshape"](part, shape=(*shape, 1)) for part in (a, b)]
    return OPS["concat"](*columns, axis=len(shape))


def product(x: Value, y: Value) -> tuple[Value, Value]:
    shared = OPS["tanh"](x)
    return shared * y - x, shared + y * y


def turned(x: Value) -> Value:
    return OPS["transpose"](x, perm=(1, 0))


def half(x: Value) -> Value:
    return x * full(tensor_type(f32, x.type.shape), 0.5)


ONE: dict[str, Callable[[Value, Value], Sequence[Value]]] = {
    "a pair": lambda x, y: [paired(*product(x, y))],
    "of another order": lambda x, y: [paired(*map(turned, product(x, y)))],
    "the same part twice": lambda x, y: [paired(half(x), half(x))],
    "rows": lambda x, y: [OPS["concat"](half(x), x + y, axis=0)],
    "three": lambda x, y: [OPS["concat"](half(x), half(y), x * y, axis=1)],
}
MORE: dict[str, Callable[[Value, Value], Sequence[Value]]] = {
    "one part is a result, too": lambda x, y: [paired(x * y, half(x)), x * y],
    "twice": lambda x, y: [paired(x * y, half(x))] * 2,
    "a parameter": lambda x, y: [paired(x, half(y))],
    "unequal": lambda x, y: [
        OPS["concat"](
            half(x), OPS["slice"](half(y), starts=(0, 2), sizes=(N, 3), steps=(1, 1)), axis=1
        )
    ],
    "of two orders": lambda x, y: [OPS["concat"](half(x), turned(half(turned(y))), axis=0)],
    "rows folded": lambda x, y: [
        paired(OPS["reduce_sum"](x * y, axes=(1,)), OPS["reduce_max"](x, axes=(1,), ties="first"))
    ],
    "and read": lambda x, y: [half(paired(*product(x, y)))],
}


def graph_of(program: Callable[[Value, Value], Sequence[Value]]) -> Graph:
    return record(lambda params: list(program(*params)), [X, X])


@pytest.mark.parametrize("name", [*ONE, *MORE])
def test_joined_parts_mean_the_same(name: str) -> None:
    graph = graph_of({**ONE, **MORE}[name])
    fused = fuse(graph)
    verify(fused)
    for rows in (5, 1, 0):
        arrays = random_arrays(graph, {"N": rows})
        found, expected = (evaluate(g, arrays, {"N": rows}) for g in (fused, graph))
        for got, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(got, wanted, 1e-5, 1e-5)


@pytest.mark.parametrize("name", ONE)
def test_joined_parts_are_one_kernel(name: str) -> None:
    assert sum(1 for n in fuse(graph_of(ONE[name])).nodes if n.op.name == "launch") == 1
