"""Programs of launches with kernels written by hand, and random ones, for tests of the runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from kernel_building import e, highest, kernel, load, op, parallel, row, store, total

from sley.ir.builder import Recording
from sley.ir.dims import Dim, evaluate
from sley.ir.dtypes import f32
from sley.ir.graph import Graph, Value
from sley.ir.types import tensor_type

Shape = tuple[Dim, ...]


def add(shape: Shape) -> Graph:
    """x + y."""

    def body(x, y, out):
        with parallel(*shape) as i:
            store(out, load(x, *i) + load(y, *i), *i)

    return kernel([("f32", shape)] * 2, [("f32", shape)], body, "add")


def scale(shape: Shape, factor: float = 0.5) -> Graph:
    """x * factor."""

    def body(x, out):
        with parallel(*shape) as i:
            store(out, load(x, *i) * factor, *i)

    return kernel([("f32", shape)], [("f32", shape)], body, "scale")


def reverse(size: Dim) -> Graph:
    """x backwards."""

    def body(x, out):
        with parallel(size) as (i,):
            store(out, load(x, size - 1 - e(i)), i)

    return kernel([("f32", (size,))], [("f32", (size,))], body, "reverse")


def both(shape: Shape) -> Graph:
    """(x + y, x - y)."""

    def body(x, y, plus, minus):
        with parallel(*shape) as i:
            a, b = load(x, *i), load(y, *i)
            store(plus, a + b, *i)
            store(minus, a - b, *i)

    return kernel([("f32", shape)] * 2, [("f32", shape)] * 2, body, "both")


def softmax(rows: Dim, columns: Dim) -> Graph:
    def body(x, out):
        with parallel(rows) as (i,):
            top = highest([columns], lambda j: load(x, i, j))
            shifted = row([columns], lambda j: op["exp"](load(x, i, j) - top))
            norm = total([columns], lambda j: load(shifted, j))
            with parallel(columns) as (j,):
                store(out, load(shifted, j) / norm, i, j)

    shape = (rows, columns)
    return kernel([("f32", shape)], [("f32", shape)], body, "softmax")


def row_sum(rows: Dim, columns: Dim) -> Graph:
    def body(x, out):
        with parallel(rows) as (i,):
            store(out, total([columns], lambda j: load(x, i, j)), i)

    return kernel([("f32", (rows, columns))], [("f32", (rows,))], body, "row_sum")


def program(
    types: Sequence[Shape], body: Callable[..., Sequence[Value]], name: str = "program"
) -> Graph:
    """The graph that `body(*parameters)` records; the parameters are f32."""
    builder = Recording()
    with builder:
        params = [builder.param(tensor_type(f32, tuple(shape))) for shape in types]
        return builder.finish(name, body(*params))


def launch(kernel: Graph, *operands: Value) -> Value | tuple[Value, ...]:
    return op["launch"](*operands, kernel=kernel)


def random_program(seed: int, launches: int, sizes: Sequence[Dim]) -> Graph:
    """A random graph of launches over vectors of `sizes`, with results that are used again."""
    rng = np.random.default_rng(seed)
    kernels = {size: [add((size,)), scale((size,)), reverse(size), both((size,))] for size in sizes}
    builder = Recording()
    with builder:
        values = [builder.param(tensor_type(f32, (size,))) for size in (*sizes, *sizes)]
        for _ in range(launches):
            size = sizes[rng.integers(len(sizes))]
            fitting = [v for v in values if v.type.shape == (size,)]
            chosen = kernels[size][rng.integers(4)]
            recent = fitting[-6:]
            picked = [recent[rng.integers(len(recent))] for _ in chosen.inputs]
            made = launch(chosen, *picked)
            values += (made,) if isinstance(made, Value) else made
        count = int(rng.integers(1, 5))
        yields = [values[-1], *(values[rng.integers(len(values))] for _ in range(count))]
    return builder.finish(f"random{seed}", yields)


def random_arrays(graph: Graph, seed: int, sizes: dict[str, int] | None = None) -> list[np.ndarray]:
    """Arrays for the parameters of `graph`."""
    rng = np.random.default_rng(seed)
    shapes = [tuple(evaluate(d, sizes or {}) for d in p.type.shape) for p in graph.params]
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
