"""Scatters whose updates join in any order become atomics, and what follows."""

from __future__ import annotations

import numpy as np
import pytest
from programs import record

from sley.backends.triton.target import gpu_target
from sley.ir.dims import symbol
from sley.ir.dtypes import by_name
from sley.ir.evaluate import evaluate
from sley.ir.evaluate_plan import evaluate_plan
from sley.ir.graph import Graph, Value, full
from sley.ir.numerics import Numerics
from sley.ir.ops import OPS
from sley.ir.plan import Launch
from sley.ir.types import tensor_type
from sley.ir.verifier import verify
from sley.passes.pipeline import run_passes

N = symbol("N")
ORDER = Numerics(deterministic=True)
INDICES = tensor_type(by_name("i64"), (N,))


def scatter_of(
    shape: tuple, dtype: str, combine: str, axis: int = 0, base: float | None = None
) -> Graph:
    """A scatter of N updates into a base, or into one of equal numbers."""
    element = by_name(dtype)
    whole = tensor_type(element, shape)
    updates = tensor_type(element, (*shape[:axis], N, *shape[axis + 1 :]))

    def program(values: list[Value]) -> list[Value]:
        indices, new, *given = values
        start = given[0] if given else full(whole, base)
        return [OPS["scatter"](start, indices, new + new, axis=axis, combine=combine)]

    types = [INDICES, updates] + ([whole] if base is None else [])
    return record(program, types)


def kernels(graph: Graph) -> list[Graph]:
    plan = run_passes(graph, gpu_target("sm_90"), verify=verify).plan
    return [s.node.attrs["kernel"] for s in plan.walk() if isinstance(s, Launch)]


def has_atomics(kernel: Graph) -> bool:
    return any(node.op.name == "atomic" for node in kernel.walk())


CASES = [
    ((7,), "f32", "add", 0), ((7, 5), "f32", "add", 0), ((4, 7, 5), "f64", "add", 1),
    ((7, 5), "i64", "maximum", 0), ((5, 7), "i32", "minimum", 1),
]  # fmt: skip


@pytest.mark.parametrize("base", [None, 0.0, 3.0])
@pytest.mark.parametrize(("shape", "dtype", "combine", "axis"), CASES)
def test_updates_are_joined_by_atomics(shape, dtype, combine, axis, base) -> None:
    graph = scatter_of(shape, dtype, combine, axis, base)
    found = kernels(graph)
    assert [has_atomics(k) for k in found].count(True) == 1
    assert len(found) == (1 if combine == "add" and base == 0 else 2)
    rng = np.random.default_rng(0)
    lowered = run_passes(graph, gpu_target("sm_90"))
    for count in (0, 1, 9):
        arrays = [rng.integers(0, shape[axis], count)]
        for param in graph.params[1:]:
            sizes = [count if d is not n and d == N else d for d, n in zip(param.type.shape, shape)]
            arrays.append((rng.standard_normal(sizes) * 9).astype(param.type.dtype.numpy))
        constants = [literal.array for literal in lowered.constants]
        (result,) = evaluate_plan(lowered.plan, [*arrays, *constants], {"N": count})
        np.testing.assert_allclose(result, evaluate(graph, arrays)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "combine"), [("f32", "set"), ("f32", "mul"), ("f32", "maximum"), ("u8", "add")]
)
def test_others_keep_their_order(dtype: str, combine: str) -> None:
    (kernel,) = kernels(scatter_of((7, 5), dtype, combine))
    assert not has_atomics(kernel)


# Halves, and order -------------------------------------------------------------------------------


def scattered(graph: Graph, numerics: Numerics, arrays: list, count: int) -> np.ndarray:
    lowered = run_passes(graph, gpu_target("sm_90"), numerics=numerics, verify=verify)
    constants = [literal.array for literal in lowered.constants]
    (result,) = evaluate_plan(lowered.plan, [*arrays, *constants], {"N": count})
    return result


def drawn(graph: Graph, shape: tuple, axis: int, count: int, low: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(count)
    arrays = [rng.integers(low, shape[axis] - low, count)]
    for param in graph.params[1:]:
        sizes = [count if d is not n and d == N else d for d, n in zip(param.type.shape, shape)]
        arrays.append((rng.standard_normal(sizes) * 9).astype(param.type.dtype.numpy))
    return arrays


@pytest.mark.parametrize("base", [None, 0.0])
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_halves_are_added_up_as_float32(dtype, base) -> None:
    graph = scatter_of((7, 5), dtype, "add", base=base)
    updates, joined = kernels(graph)
    assert has_atomics(updates) and not has_atomics(joined)
    assert updates.out_params[0].type.dtype is by_name("f32")
    arrays = drawn(graph, (7, 5), 0, 3000)
    arrays[1][:] = 1.0  # beyond 256 a bfloat16 does not get larger by 2
    found = scattered(graph, Numerics(), arrays, 3000).astype(np.float64)
    expected = np.zeros((7, 5)) if base is not None else arrays[2].astype(np.float64)
    np.add.at(expected, arrays[0], 2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-2)


ORDERED = [
    ((7,), "f32", 0), ((7, 5), "f32", 0), ((4, 7, 5), "f64", 1), ((5, 7), "bf16", 1),
    ((1, 3), "f16", 0),
]  # fmt: skip


@pytest.mark.parametrize("base", [None, 0.0, 3.0])
@pytest.mark.parametrize(("shape", "dtype", "axis"), ORDERED)
def test_floats_are_added_up_in_order(shape, dtype, axis, base) -> None:
    graph = scatter_of(shape, dtype, "add", axis, base)
    order, starts, sums = (
        s.node.attrs["kernel"]
        for s in run_passes(graph, gpu_target("sm_90"), numerics=ORDER, verify=verify).plan.walk()
        if isinstance(s, Launch)
    )
    # Each place of the order is written once: so its atomics meet nothing.
    assert has_atomics(order) and not has_atomics(starts) and not has_atomics(sums)
    for count in (0, 1, 9, 70):
        arrays = drawn(graph, shape, axis, count, low=-2)  # some are out of range
        found = scattered(graph, ORDER, arrays, count)
        inside = (arrays[0] >= 0) & (arrays[0] < shape[axis])
        arrays[:2] = arrays[0][inside], np.compress(inside, arrays[1], axis)
        wanted = evaluate(graph, arrays)[0]
        exact = {"f32": 1e-5, "f64": 1e-12}.get(dtype, 5e-2)
        pair = (a.astype(np.float64) for a in (found, wanted))
        np.testing.assert_allclose(*pair, rtol=exact, atol=10 * exact)


def test_integers_are_joined_by_atomics_all_the_same() -> None:
    graph = scatter_of((7, 5), "i64", "add")
    lowered = run_passes(graph, gpu_target("sm_90"), numerics=ORDER)
    made = [s.node.attrs["kernel"] for s in lowered.plan.walk() if isinstance(s, Launch)]
    assert len(made) == 2 and has_atomics(made[0])
