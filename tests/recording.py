"""Runs a program eager and recorded, and compares results, arguments and gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import sley.frontend.methods  # noqa: F401
from sley.frontend.apply import value_of
from sley.frontend.construct import tensor
from sley.frontend.tensor import Tensor
from sley.frontend.trace import Trace
from sley.ir.dims import symbol
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph, Value


class Recorded:
    """A recorded call: the trace, its program and what it gives for some arrays."""

    def __init__(self, trace: Trace, graph: Graph, results: int) -> None:
        self.trace = trace
        self.graph = graph
        self.results = results

    @property
    def ops(self) -> list[str]:
        return [node.op.name for node in self.graph.nodes]

    def run(self, arrays: dict[Value, np.ndarray], sizes: dict | None = None) -> list[np.ndarray]:
        """Everything that the program yields: results, then captured state, then gradients."""
        return evaluate(self.graph, [arrays[p] for p in self.graph.params], sizes)


def record(program: Callable[..., Any], *tensors: Tensor) -> Recorded:
    """Record a call with captured tensors."""
    trace = Trace()
    with trace:
        results = _sequence(program(*tensors))
        yields = [value_of(r) for r in results]
        yields += [c.shadow.value for c in trace.captures.values()]
        yields += [value_of(g) for _, g in trace.grad_writes() if g is not None]
    return Recorded(trace, trace.finish("f", yields), len(results))


def state(recorded: Recorded) -> dict[Value, np.ndarray]:
    """What the captured storages hold now, by parameter."""
    return {c.param: c.storage.array.copy() for c in recorded.trace.captures.values()}


def check(program: Callable[..., Any], *arrays: Any, requires_grad: bool = False) -> Recorded:
    """Asserts that `program` of fresh tensors gives the same eager and recorded: results, what it
    wrote to its arguments and their gradients. Tracing leaves the arguments as they were."""

    def fresh() -> list[Tensor]:
        return [
            tensor(a, requires_grad=requires_grad and np.asarray(a).dtype.kind == "f")
            for a in arrays
        ]

    eager, traced = fresh(), fresh()
    results = [r.detach().array for r in _sequence(program(*eager))]
    recorded = record(program, *traced)
    for concrete, array in zip(traced, arrays, strict=True):
        np.testing.assert_array_equal(concrete.detach().array, array)
        assert concrete._grad is None
    found = recorded.run(state(recorded))
    for expected, got in zip(results, found, strict=False):
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    final = dict(zip(recorded.trace.captures, found[recorded.results :], strict=False))
    for one, other in zip(eager, traced, strict=True):
        written = final.get(other.storage, other.storage.array)
        np.testing.assert_allclose(written, one.detach().array, rtol=1e-6)
    gradients = dict(recorded.trace.grad_writes())
    values = iter(found[recorded.results + len(recorded.trace.captures) :])
    by_tensor = {t: next(values) for t, g in gradients.items() if g is not None}
    for one, other in zip(eager, traced, strict=True):
        assert (one.grad is None) == (other not in by_tensor)
        if one.grad is not None:
            np.testing.assert_allclose(by_tensor[other], one.grad.array, rtol=1e-5)
    return recorded


def dynamic(
    program: Callable[..., Any], shapes: Sequence[tuple], hints: dict[str, int], dtype: Any = "f4"
) -> tuple[Recorded, list[Any]]:
    """Record a call with arguments of symbolic shapes: a string in a shape names a symbol."""
    trace = Trace(hints)
    with trace:
        inputs = []
        for number, shape in enumerate(shapes):
            sizes = [hints[d] if isinstance(d, str) else d for d in shape]
            dims = tuple(symbol(d) if isinstance(d, str) else d for d in shape)
            example = _outside(np.zeros(sizes, dtype))
            inputs.append(trace.add_input(example, dims, f"x{number}"))
        results = _sequence(program(*inputs))
        yields = [value_of(r) for r in results]
    return Recorded(trace, trace.finish("f", yields), len(results)), results


def _outside(array: np.ndarray) -> Tensor:
    from sley.frontend.tensor import of_array

    return of_array(array)


def _sequence(results: Any) -> list[Tensor]:
    if results is None:
        return []
    return list(results) if isinstance(results, (list, tuple)) else [results]
