"""Updates of many tensors as one kernel, and loops that move into readers over the same points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from programs import record
from random_graphs import random_arrays

import sley
from sley.ir.dims import symbol
from sley.ir.dtypes import f32, f64
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph, Value
from sley.ir.ops import OPS
from sley.ir.parser import parse_program
from sley.ir.printer import print_program
from sley.ir.types import tensor_type
from sley.ir.verifier import verify
from sley.passes.fuse import fuse, many
from sley.passes.plan_memory import plan_memory
from sley.runtime.compile import Options, compile_graph

N = symbol("N")
SHAPES: list[tuple] = [(64, 3), (7,), (1, 5), (2, 3, 4), (0, 3), (33,), (N, 2), (17, 1)]


def kernels(graph: Graph) -> list[str]:
    """The names of the kernels that a fused program launches, without their numbers."""
    names = [n.attrs["kernel"].name for n in graph.walk() if n.op.name == "launch"]
    return [name.rstrip("0123456789") for name in names]


def spread(scalar: Value, like: Value) -> Value:
    return OPS["broadcast"](scalar, shape=like.type.shape, dims=())


def momentum(params: Sequence[Value]) -> list[Value]:
    """For each w, g, m: m*0.9 + g, and w less the rate times that."""
    rate, *rest = params
    results = []
    for w, g, m in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        new = m * 0.9 + g
        results += [w - new * spread(rate, new), new]
    return results


def types(shapes: Sequence[tuple], dtype=f32) -> list:
    return [tensor_type(dtype, ()), *(tensor_type(dtype, s) for s in shapes for _ in range(3))]


def same(graph: Graph, fused: Graph, sizes: dict[str, int]) -> None:
    arrays = random_arrays(graph, sizes)
    for a, b in zip(evaluate(graph, arrays, sizes), evaluate(fused, arrays, sizes), strict=True):
        np.testing.assert_array_equal(a, b)


def test_updates_of_all_shapes_are_one_kernel():
    graph = record(momentum, types(SHAPES))
    fused = fuse(graph)
    verify(fused)
    assert kernels(fused) == ["many"]
    for size in (0, 1, 5):
        same(graph, fused, {"N": size})
    text, _ = print_program(fused)
    assert print_program(parse_program(text)[-1])[0] == text


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_machine_code_writes_in_place(threads):
    from sley.runtime.threads import get_num_threads, set_num_threads

    graph = record(momentum, types(SHAPES))
    donated = {}
    for k in range(len(SHAPES)):
        donated |= {2 * k: 1 + 3 * k, 2 * k + 1: 3 + 3 * k}
    before = get_num_threads()
    set_num_threads(threads)
    try:
        executable = compile_graph(graph, Options(donated=donated))
        assert not executable.plan.blocks
        arrays = random_arrays(graph, {"N": 9})
        expected = evaluate(graph, arrays, {"N": 9})
        executable(arrays)
        for result, source in donated.items():
            np.testing.assert_array_equal(arrays[source], expected[result])
    finally:
        set_num_threads(before)


def test_other_functions_dtypes_and_scalars_stay_apart():
    def program(params: Sequence[Value]) -> list[Value]:
        a, b, *x = params
        scaled = [x[0] * spread(a, x[0]), x[1] * spread(a, x[1])]
        others = [x[2] * spread(b, x[2]), x[3] * 2.0, x[4] * 3.0, x[5] * 3.0, x[6] * x[6]]
        return [*scaled, *others]

    shapes = [tensor_type(f32, (k + 2,)) for k in range(5)]
    scalars = [tensor_type(f32, ())] * 2
    graph = record(program, [*scalars, *shapes, tensor_type(f64, (9,)), tensor_type(f32, (4,))])
    fused = fuse(graph)
    assert sorted(kernels(fused)) == ["loop"] * 5 + ["many"]
    same(graph, fused, {})


def test_what_is_read_again_or_is_no_function_of_elements_stays_apart():
    def program(params: Sequence[Value]) -> list[Value]:
        x, y, z = params
        first, second, third = x + 1.0, y + 1.0, z + 1.0
        turned = OPS["transpose"](third, perm=(1, 0))
        return [OPS["sort"](first, axis=0, descending=False)[0], second, turned]

    shapes = [(8,), (9,), (3, 5)]
    graph = record(program, [tensor_type(f32, s) for s in shapes])
    fused = fuse(graph)
    assert kernels(fused) == ["loop"] * 3
    same(graph, fused, {})


def test_the_number_of_buffers_is_bounded():
    graph = record(momentum, types([(k % 5 + 1, 3) for k in range(60)]))
    fused = fuse(graph)
    launches = [n for n in fused.nodes if n.op.name == "launch"]
    assert all(len(n.operands) + len(n.results) <= many.MAX_BUFFERS for n in launches)
    assert len(launches) == -(-60 // ((many.MAX_BUFFERS - 1) // 5))
    same(graph, fused, {})


def test_large_intermediates_do_not_wait():
    """A gradient that dies with its update is not kept until the last one."""

    def program(params: Sequence[Value]) -> list[Value]:
        sums = [OPS["reduce_sum"](x, axes=(0,)) for x in params[::2]]
        return [
            w - OPS["reshape"](OPS["sort"](s, axis=0, descending=False)[0], shape=w.type.shape)
            for w, s in zip(params[1::2], sums, strict=True)
        ]

    for size, names in ((128, ["row", "row", "many"]), (1 << 15, ["row", "loop", "row", "loop"])):
        shapes = [(3, size), (size // 2, 2)] * 2
        fused = fuse(record(program, [tensor_type(f32, s) for s in shapes]))
        assert sorted(kernels(fused)) == sorted(names)


def test_updates_inside_of_a_loop():
    def program(params: Sequence[Value]) -> list[Value]:
        from sley.ir.ops.base import active

        scalar, *carries = params
        with active().region([p.type for p in params], closed=True) as opened:
            rate, *inner = opened.params
            opened.yield_(*(c * spread(rate, c) for c in inner))
        attrs = {"length": 5, "consts": 1, "carries": len(carries), "reverse": False}
        return list(active().emit(OPS["scan"], [scalar, *carries], attrs, (opened.closed,)))

    graph = record(program, [tensor_type(f32, s) for s in ((), (3, 4), (7,), (2, 2))])
    fused = fuse(graph)
    assert kernels(fused) == ["many"]
    same(graph, fused, {})


def test_a_loop_moves_into_the_reader_that_has_joined_another():
    """What Adam computes: the first moment is stored, and read by the loop of the second."""

    def program(params: Sequence[Value]) -> list[Value]:
        w, g, m, v = params
        moment, square = m * 0.9 + g, v * 0.99 + g * g
        return [w - moment / (OPS["sqrt"](square) + 1e-3), moment, square]

    graph = record(program, [tensor_type(f32, (N, 3))] * 4)
    fused = fuse(graph)
    assert kernels(fused) == ["loop"]
    assert not plan_memory(fused, {0: 0, 1: 2, 2: 3}).blocks
    same(graph, fused, {"N": 4})


def test_a_loop_that_another_source_waits_for_stays():
    def program(params: Sequence[Value]) -> list[Value]:
        x, w = params
        y = x + 1.0
        product = OPS["dot_general"](
            y, w, lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()
        )
        return [y, OPS["reduce_max"](product, axes=(1,), ties="first"), product * y]

    graph = record(program, [tensor_type(f32, (N, 3)), tensor_type(f32, (3, 3))])
    fused = fuse(graph)
    assert kernels(fused)[0] == "loop" and "contract" in kernels(fused)
    same(graph, fused, {"N": 4})


def test_an_optimizer_step_is_few_launches():
    rng = np.random.default_rng(0)
    shapes = [(3, 4), (5,), (2, 3, 4), (9, 1)] * 4
    parameters = [sley.nn.Parameter(rng.standard_normal(s).astype(np.float32)) for s in shapes]
    twins = [sley.nn.Parameter(p.detach().clone()) for p in parameters]
    for p, q in zip(parameters, twins, strict=True):
        p.grad = sley.tensor(rng.standard_normal(p.shape).astype(np.float32))
        q.grad = p.grad.clone()
    optimizers = [sley.optim.AdamW(group, lr=0.1) for group in (parameters, twins)]
    step = sley.compile(optimizers[0].step)
    for _ in range(3):
        step()
        optimizers[1].step()
    assert len(kernels(step.programs[0].executable.plan.graph)) == 2
    for p, q in zip(parameters, twins, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-5, atol=1e-6)
