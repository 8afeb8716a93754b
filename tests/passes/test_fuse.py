"""The fuse pass: right results, few kernels, each row read once, no op known by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import record
from random_graphs import random_arrays, random_graph

from sley.ir.builder import Recording
from sley.ir.dims import evaluate as size_of
from sley.ir.dims import symbol
from sley.ir.dtypes import bf16, f32, i64
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph, Region, Value, full
from sley.ir.ops import OPS
from sley.ir.ops.base import Kind, Op
from sley.ir.types import TensorType, tensor_type
from sley.passes.fuse import fuse

N = symbol("N")


def kernels(graph: Graph) -> list[Graph]:
    return [n.attrs["kernel"] for n in graph.nodes if n.op.name == "launch"]


def same_results(
    graph: Graph, fused: Graph, sizes: dict[str, int], tolerance: float = 2e-5
) -> None:
    arrays = random_arrays(graph, sizes)
    expected, got = evaluate(graph, arrays, sizes), evaluate(fused, arrays, sizes)
    for a, b in zip(expected, got, strict=True):
        wide = np.float64 if a.dtype.kind not in "biu" else a.dtype
        np.testing.assert_allclose(b.astype(wide), a.astype(wide), tolerance, tolerance)


@pytest.mark.parametrize("seed", range(80))
def test_random_programs_mean_the_same(seed: int) -> None:
    graph = random_graph(seed)
    fused = fuse(graph)
    assert len(kernels(fused)) <= len(graph.nodes) + len(graph.yields)
    for size in (5, 1):
        same_results(graph, fused, {"N": size})


def along(x: Value, row: Value, axis: int) -> Value:
    dims = tuple(a for a in range(x.type.ndim) if a != axis)
    return OPS["broadcast"](row, shape=x.type.shape, dims=dims)


def softmax(x: Value) -> Value:
    peak = OPS["reduce_max"](x, axes=(1,), ties="even")
    e = OPS["exp"](x - along(x, peak, 1))
    return e / along(x, OPS["reduce_sum"](e, axes=(1,)), 1)


def layer_norm(x: Value) -> Value:
    size = full(x.type.with_shape((x.type.shape[0],)), 16.0)
    mean = OPS["reduce_sum"](x, axes=(1,)) / size
    centred = x - along(x, mean, 1)
    variance = OPS["reduce_sum"](centred * centred, axes=(1,)) / size
    return centred * along(x, OPS["rsqrt"](variance + 1e-5), 1)


def cross_entropy(x: Value, target: Value) -> Value:
    peak = OPS["reduce_max"](x, axes=(1,), ties="even")
    shifted = x - along(x, peak, 1)
    total = OPS["log"](OPS["reduce_sum"](OPS["exp"](shifted), axes=(1,)))
    counted = OPS["iota"](shape=x.type.shape, axis=1, dtype=i64)
    hit = OPS["eq"](counted, along(counted, target, 1))
    picked = OPS["where"](hit, shifted, full(x.type, 0.0))
    return total - OPS["reduce_sum"](picked, axes=(1,))


def loaded_bytes(region: Region, buffer: Value, sizes: dict[str, int], turns: int = 1) -> int:
    """How many bytes of `buffer` the loads of a kernel ask for."""
    total = 0
    for node in region.nodes:
        if node.op.name == "load" and node.operands[0] is buffer:
            total += turns * buffer.type.dtype.itemsize
        inner = turns
        for extent in node.attrs.get("extents", ()):
            inner *= size_of(extent, sizes)
        for inside in node.regions:
            total += loaded_bytes(inside, buffer, sizes, inner)
    return total


@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("function", [softmax, layer_norm, cross_entropy])
def test_each_row_is_read_once(function: Callable[..., Value], rows: int) -> None:
    types = [tensor_type(f32, (N, 16))]
    if function is cross_entropy:
        types.append(tensor_type(i64, (N,)))
    graph = record(lambda values: [function(*values)], types)
    fused = fuse(graph)
    (kernel,) = kernels(fused)
    x = next(p for p in kernel.inputs if p.type == types[0])
    assert loaded_bytes(kernel, x, {"N": rows}) == rows * 16 * 4
    same_results(graph, fused, {"N": rows})


def renamed(op: Op) -> Op:
    """`op` under a name that nobody knows."""
    return dataclasses.replace(op, name=f"unknown_{op.name}")


def with_unknown_names(graph: Graph) -> Graph:
    """`graph` with every elementwise op renamed."""
    builder = Recording()
    new: dict[Value, Value] = {p: builder.param(p.type, p.name) for p in graph.params}
    others = {op: renamed(op) for op in OPS.values() if op.kind is Kind.ELEMENTWISE}
    for node in graph.nodes:
        op = others.get(node.op, node.op)
        result = builder.emit(op, [new[v] for v in node.operands], node.attrs)
        new[node.results[0]] = result
    return builder.finish(graph.name, [new[v] for v in graph.yields])


def shape_of_kernel(region: Region) -> list:
    """Ops (renamed ones by their old name), attributes and regions of a kernel."""
    return [
        (n.op.name.removeprefix("unknown_"), str(n.attrs), [shape_of_kernel(r) for r in n.regions])
        for n in region.nodes
    ]


@pytest.mark.parametrize("seed", range(30))
def test_no_op_is_known_by_name(seed: int) -> None:
    graph = random_graph(seed)
    plain, strange = kernels(fuse(graph)), kernels(fuse(with_unknown_names(graph)))
    assert [shape_of_kernel(k) for k in plain] == [shape_of_kernel(k) for k in strange]


def dot(x: Value, w: Value) -> Value:
    attrs = {"lhs_contract": (1,), "rhs_contract": (0,), "lhs_batch": (), "rhs_batch": ()}
    return OPS["dot_general"](x, w, **attrs)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["tanh", "neg", "add", "mul", "maximum", "where"]), st.integers(0, 9)
    ),
    min_size=1,
    max_size=12,
)


def chain(x: Value, steps: Sequence[tuple[str, int]], sides: Sequence[Value]) -> list[Value]:
    """A region of elementwise steps on `x`, each with a side input; all values on the way."""
    made = [x]
    for name, choice in steps:
        current, side = made[-1], sides[choice % len(sides)]
        if name in ("tanh", "neg"):
            made.append(OPS[name](current))
        elif name == "where":
            made.append(OPS["where"](OPS["gt"](current, side), made[choice % len(made)], side))
        else:
            made.append(OPS[name](current, side))
    return made


@settings(max_examples=40)
@given(STEPS, STEPS)
def test_any_region_goes_before_and_after_a_product(before: list, after: list) -> None:
    before = [("neg" if name == "tanh" else name, choice) for name, choice in before]

    def program(values: Sequence[Value]) -> list[Value]:
        x, w, row, column, full_side = values
        sides = [
            OPS["broadcast"](row, shape=x.type.shape, dims=(0,)),
            OPS["broadcast"](column, shape=x.type.shape, dims=(1,)),
        ]
        product = dot(chain(x, before, sides)[-1], w)
        made = chain(product, after, [full_side, product])
        return [made[-1], OPS["mul"](made[len(made) // 2], full_side)]

    shapes = [(N, 6), (6, 5), (N,), (6,), (N, 5)]
    graph = record(program, [tensor_type(f32, s) for s in shapes])
    fused = fuse(graph)
    (kernel,) = kernels(fused)
    assert kernel.outs == 2
    assert [n.op.name for n in kernel.nodes if n.regions] == ["contract"]
    same_results(graph, fused, {"N": 4})


def test_results_are_buffers_of_their_own() -> None:
    def program(values: Sequence[Value]) -> list[Value]:
        (x,) = values
        return [
            x,
            x,
            OPS["transpose"](x, perm=(1, 0)),
            OPS["reshape"](OPS["exp"](x), shape=(N * 3,)),
        ]

    graph = record(program, [tensor_type(f32, (N, 3))])
    fused = fuse(graph)
    made = [v for n in fused.nodes for v in n.results]
    assert len(set(fused.yields)) == 4 and set(fused.yields) <= set(made)
    same_results(graph, fused, {"N": 4})


def test_an_update_is_the_epilogue_of_its_gradient() -> None:
    """w - lr * (m * v + x.T @ y), with the buffer kept: one kernel, two results."""

    def program(values: Sequence[Value]) -> list[Value]:
        x, y, w, v, lr = values
        attrs = {"lhs_contract": (0,), "rhs_contract": (0,), "lhs_batch": (), "rhs_batch": ()}
        moved = OPS["add"](v * 0.9, OPS["dot_general"](x, y, **attrs))
        rate = OPS["broadcast"](lr, shape=w.type.shape, dims=())
        return [moved, OPS["sub"](w, OPS["mul"](rate, moved))]

    shapes = [(N, 4), (N, 6), (4, 6), (4, 6), ()]
    graph = record(program, [tensor_type(f32, s) for s in shapes])
    fused = fuse(graph)
    assert len(kernels(fused)) == 1
    same_results(graph, fused, {"N": 3})


def test_low_precision_sums_are_carried_in_float32() -> None:
    def program(values: Sequence[Value]) -> list[Value]:
        return [OPS["reduce_sum"](values[0], axes=(0,))]

    graph = record(program, [tensor_type(bf16, (300,))])
    (array,) = [np.full(300, 1.0).astype(bf16.numpy)]
    assert float(evaluate(fuse(graph), [array])[0]) == 300.0


@pytest.mark.parametrize("types", [[tensor_type(f32, (N, 0))], [tensor_type(f32, (0, N))]])
def test_nothing_to_compute(types: list[TensorType]) -> None:
    def program(values: Sequence[Value]) -> list[Value]:
        (x,) = values
        return [OPS["exp"](x), OPS["reduce_sum"](x, axes=(0,)), OPS["reduce_sum"](x, axes=(1,))]

    graph = record(program, types)
    same_results(graph, fuse(graph), {"N": 3})


def test_long_chains_are_cut_and_quick() -> None:
    """Neither the number of reductions in a row nor the length of a chain blows up the pass."""

    def program(values: Sequence[Value]) -> list[Value]:
        (x,) = values
        for _ in range(60):
            x = softmax(x)
        for _ in range(300):
            x = OPS["tanh"](x)
        return [x]

    graph = record(program, [tensor_type(f32, (N, 5))])
    fused = fuse(graph)
    nodes = sum(len(list(k.walk())) for k in kernels(fused))
    assert nodes < 6 * len(graph.nodes)
    same_results(graph, fused, {"N": 3})
