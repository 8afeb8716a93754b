"""Every gradient rule against float64 central differences, to second order, eager and traced."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from op_samples import ALL_SAMPLES, FLOATS, SAMPLES, Sample, tensor_ops
from programs import RUNS, Arrays, ones, run_eager, sum_all

from sley.ir.dtypes import by_name
from sley.ir.graph import Value
from sley.ir.ops.base import OPS
from sley.passes.autodiff.backward import GradientError, backward
from sley.passes.autodiff.rule import NotDifferentiable
from sley.passes.autodiff.table import GRADIENTS

SMOOTH = [s for s in ALL_SAMPLES if s.smooth]


class Case:
    """A sample with random weights of the result and a random direction for each float operand."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.operands = sample.arrays("f64")
        self.floats = [i for i, a in enumerate(self.operands) if a.dtype == np.float64]
        rng = np.random.default_rng(7)
        shape = self.evaluate(self.operands).shape
        self.weights = np.asarray(rng.uniform(0.5, 1.5, shape))
        shapes = [self.operands[i].shape for i in self.floats]
        self.along = [np.asarray(rng.normal(size=s)) for s in shapes]
        self.turns = [np.asarray(rng.normal(size=s)) for s in shapes]

    def evaluate(self, operands: Arrays) -> np.ndarray:
        with np.errstate(all="ignore"):
            return OPS[self.sample.op].evaluate(list(operands), self.sample.attrs)[0]

    def moved(self, position: int, by: np.ndarray) -> list[np.ndarray]:
        return [a + by if i == position else a for i, a in enumerate(self.operands)]

    def float_values(self, values: Sequence[Value]) -> list[Value]:
        return [values[i] for i in self.floats]

    def slopes(self, values: Sequence[Value]) -> list[Value]:
        """Of <op(operands), weights> along each direction, from (*operands, weights, *along)."""
        count = len(self.operands)
        operands, weights, along = values[:count], values[count], values[count + 1 :]
        result = self.sample.emit(operands)[0]
        gradients = backward([result], [weights], self.float_values(operands))
        pairs = zip(gradients, along, strict=True)
        assert None not in gradients, "a float operand without a gradient"
        return [sum_all(g * d) for g, d in pairs if g is not None]

    def curvatures(self, values: Sequence[Value]) -> list[Value]:
        """Of the sum of `slopes` along each turn, from (*operands, weights, *along, *turns)."""
        count = len(self.operands) + 1 + len(self.along)
        total, *rest = self.slopes(values[:count])
        for slope in rest:
            total = total + slope
        gradients = backward([total], [ones(total)], self.float_values(values))
        pairs = zip(gradients, values[count:], strict=True)
        return [total * 0 if g is None else sum_all(g * t) for g, t in pairs]


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("sample", SMOOTH, ids=str)
def test_first_derivative(sample: Sample, run: Callable) -> None:
    case, step = Case(sample), 1e-6
    found = run(case.slopes, [*case.operands, case.weights, *case.along])
    for position, direction, slope in zip(case.floats, case.along, found, strict=True):
        high = case.evaluate(case.moved(position, step * direction))
        low = case.evaluate(case.moved(position, -step * direction))
        expected = np.sum((high - low) * case.weights) / (2 * step)
        np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("sample", SMOOTH, ids=str)
def test_second_derivative(sample: Sample, run: Callable) -> None:
    case, step = Case(sample), 1e-5
    found = run(case.curvatures, [*case.operands, case.weights, *case.along, *case.turns])
    for position, turn, curvature in zip(case.floats, case.turns, found, strict=True):
        sums = []
        for sign in (1, -1):
            near = case.moved(position, sign * step * turn)
            sums.append(sum(run_eager(case.slopes, [*near, case.weights, *case.along])))
        expected = (sums[0] - sums[1]) / (2 * step)
        np.testing.assert_allclose(curvature, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("sample", [s for s in SMOOTH if s.dtypes == FLOATS], ids=str)
def test_narrow_floats_give_narrow_gradients(sample: Sample, dtype: str) -> None:
    case = Case(sample)
    numpy_dtype = by_name(dtype).numpy
    narrow = sample.arrays(dtype)
    rounded = [a.astype(np.float64) if a.dtype == numpy_dtype else a for a in narrow]

    def gradients(values: Sequence[Value]) -> list[Value]:
        result = sample.emit(values)[0]
        found = backward([result], [ones(result)], case.float_values(values))
        return [g for g in found if g is not None]

    tolerance = {"f32": 1e-4, "f16": 2e-2, "bf16": 1e-1}[dtype]
    for found, wide in zip(
        run_eager(gradients, narrow), run_eager(gradients, rounded), strict=True
    ):
        assert found.dtype == numpy_dtype and wide.dtype == np.float64
        np.testing.assert_allclose(found.astype(np.float64), wide, tolerance, tolerance)


def test_every_op_has_a_rule_or_a_reason() -> None:
    assert set(tensor_ops()) <= set(GRADIENTS)
    for name, rule in GRADIENTS.items():
        assert name in OPS, f"a rule for {name}, which is no op"
        assert not isinstance(rule, NotDifferentiable) or rule.reason


def test_every_rule_is_compared_with_differences() -> None:
    compared = {s.op for s in SMOOTH}
    # Those of control flow have tests of their own.
    rules = {n for n in tensor_ops() if not isinstance(GRADIENTS[n], NotDifferentiable)}
    # Complex numbers are compared in test_complex_gradients, decompositions in test_linalg.
    rules -= {"real", "imag", "complex", "fft", "rfft", "irfft"} | {
        n for n in rules if n.startswith("linalg_")
    }
    # test_backward has the one that gives nothing; second derivatives of `attention` use the other.
    assert rules - compared == {"stop_gradient", "attention_gradient"}
    assert set(SAMPLES) == set(tensor_ops()), "an op without a sample"


@pytest.mark.parametrize("name", sorted({s.op for s in SMOOTH}))
def test_a_deleted_rule_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its rule the eager and the traced test of an op fail."""
    sample = next(s for s in SMOOTH if s.op == name)
    monkeypatch.delitem(GRADIENTS, name)
    for run in RUNS.values():
        with pytest.raises(GradientError, match=f"{name} has no gradient"):
            test_first_derivative(sample, run)
