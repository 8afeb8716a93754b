"""Random programs, compiled against eager against eager in float64; for any seed that fails, the
message has the source."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from frontend_programs import program_text

import sley.frontend.methods  # noqa: F401
from sley.frontend.autograd import grad
from sley.frontend.compile import compile as sley_compile
from sley.frontend.construct import tensor
from sley.frontend.context import no_grad
from sley.frontend.functions.joining import cat, stack
from sley.frontend.functions.math import maximum, minimum, where
from sley.frontend.nn import functional

NAMES = {
    "F": functional, "grad": grad, "no_grad": no_grad, "cat": cat, "stack": stack,
    "maximum": maximum, "minimum": minimum, "where": where,
}  # fmt: skip
SIZES = ((5, 1, 0), (1, 7, 0), (0, 3, 1), (4, 0, 9))
SEEDS = (*range(98), 163, 187)  # the last two have sizes that a write makes equal


class Instance:
    """A program with parameters of its own."""

    def __init__(self, seed: int, dtype: type, decorate: Callable[[Any], Any]) -> None:
        rng = np.random.default_rng(seed)
        shapes = {"w": (3, 4), "b": (3,), "state": (3,)}
        self.state = {
            name: tensor(rng.standard_normal(s).astype(np.float32).astype(dtype))
            for name, s in shapes.items()
        }
        for name in ("w", "b"):
            self.state[name].requires_grad_()
        scope: dict[str, Any] = {**NAMES, **self.state}
        exec(compile(program_text(seed), f"program_{seed}.py", "exec"), scope)
        self.function = decorate(scope["program"])
        self.dtype = dtype

    def call(self, x: np.ndarray, y: np.ndarray, k: np.ndarray) -> list[np.ndarray]:
        """Results, then what the call left in gradients and buffers."""
        inputs = [tensor(a.astype(self.dtype)) for a in (x, y)]
        inputs[0].requires_grad_()
        results = self.function(*inputs, tensor(k))
        left = [inputs[0].grad, self.state["w"].grad, self.state["b"].grad, self.state["state"]]
        for name in ("w", "b"):
            self.state[name].grad = None
        found = [*results, *(a for a in left if a is not None)]
        return [a.detach().numpy().copy() for a in found]


def inputs(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, rows])
    x, y = (rng.standard_normal((rows, n)).astype(np.float32) for n in (3, 4))
    return x, y, rng.integers(0, 3, rows)


def compiled(seed: int) -> Callable[[Any], Any]:
    """Sizes named beforehand, or, for a quarter of the programs, found to vary."""
    named = {"x": {0: "N"}, "y": {0: "N"}, "k": {0: "N"}}
    dynamic = None if seed % 4 == 3 else named
    return lambda function: sley_compile(function, dynamic=dynamic)


def check(seed: int) -> None:
    """Raises AssertionError with the source where compiled, eager and float64 differ."""
    single = Instance(seed, np.float32, lambda f: f)
    double = Instance(seed, np.float64, lambda f: f)
    machine = Instance(seed, np.float32, compiled(seed))
    for rows in SIZES[seed % len(SIZES)]:
        arrays = inputs(seed, rows)
        said = SimpleNamespace(where=f"seed {seed}, N = {rows}:\n{program_text(seed)}")
        exact, eager = double.call(*arrays), single.call(*arrays)
        try:
            got = machine.call(*arrays)
        except Exception as error:
            error.add_note(said.where)
            raise
        assert len(got) == len(eager) == len(exact), said.where
        for number, (a, b, c) in enumerate(zip(got, eager, exact, strict=True)):
            compare(a, b, c, f"result {number} of {said.where}")


def compare(got: np.ndarray, eager: np.ndarray, exact: np.ndarray, where: str) -> None:
    """float32 may miss float64 by rounding; compiled may do so a little more than eager."""
    assert got.shape == eager.shape == exact.shape and got.dtype == eager.dtype, where
    scale = np.abs(exact).max(initial=1.0)
    rounding = np.abs(eager - exact).max(initial=0.0)
    assert rounding <= 1e-3 * scale, f"eager is off by {rounding / scale:.2g}: {where}"
    wrong = np.abs(got - exact).max(initial=0.0)
    assert wrong <= 4 * rounding + 1e-5 * scale, f"compiled is off by {wrong / scale:.2g}: {where}"
    assert np.array_equal(np.isnan(got), np.isnan(exact)), where


@pytest.mark.parametrize("seed", SEEDS)
def test_compiled_is_eager_is_float64(seed: int) -> None:
    check(seed)


def test_the_text_of_a_seed_stays() -> None:
    assert program_text(1) == program_text(1) != program_text(2)


def test_a_difference_is_seen() -> None:
    exact = np.ones(3)
    compare(np.float32([1, 1, 1]), np.ones(3, np.float32), exact, "")
    with pytest.raises(AssertionError, match="compiled is off"):
        compare(np.float32([1, 1, 1.01]), np.ones(3, np.float32), exact, "")
