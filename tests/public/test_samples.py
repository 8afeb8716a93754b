"""Five checks of every sample of a public function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from public.samples import TOLERANCE, Bad, Sample, all_tables, parts

import sley

SAMPLES = [s for table in all_tables() for s in table.samples]
BAD = [b for table in all_tables() for b in table.bad]
# Programs for one sample each take most of their time for compiling: so many share one.
TOGETHER = 12


def tensors(sample: Sample, **kwargs: Any) -> list[sley.Tensor]:
    """The inputs as tensors over the very memory of the arrays (views stay views)."""
    made = [sley.from_numpy(a) if a.ndim else sley.tensor(a) for a in sample.arrays]
    if kwargs.get("requires_grad"):
        made = [t.detach().clone().requires_grad_() if _inexact(t) else t for t in made]
    return made


def _inexact(t: sley.Tensor) -> bool:
    return t.dtype.is_floating_point or t.dtype.is_complex


def arrays(result: Any) -> list[np.ndarray]:
    return [
        p.detach().resolve_conj().numpy() if isinstance(p, sley.Tensor) else np.asarray(p)
        for p in parts(result)
    ]


def wide(array: np.ndarray) -> np.ndarray:
    """Floats in float64, complex numbers in complex128, the rest as it is."""
    if array.dtype.kind == "c":
        return array.astype(np.complex128)
    exact = array.dtype.kind in "iub"
    return array if exact else array.astype(np.float64)


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert found.shape == expected.shape
    if tolerance == 0 or expected.dtype.kind in "iub":
        np.testing.assert_array_equal(wide(found), wide(expected))
        return
    scale = np.abs(wide(expected)[np.isfinite(wide(expected))]).max(initial=1.0)
    np.testing.assert_allclose(
        wide(found), wide(expected), rtol=tolerance, atol=tolerance * min(scale, 1e3)
    )


def tolerance_of(sample: Sample, found: np.ndarray) -> float:
    if sample.tolerance is not None:
        return sample.tolerance
    names = [str(a.dtype) for a in (*sample.arrays, found)]
    return max((TOLERANCE[n] for n in names if n in TOLERANCE), default=0.0)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_eager_value(sample: Sample) -> None:
    result = sample.call(*tensors(sample))
    if sample.dtype is not None:
        assert str(parts(result)[0].dtype) == f"sley.{sample.dtype}"
    if sample.reference is None:
        return
    with np.errstate(all="ignore"):
        expected = parts(sample.reference(*(wide(a) for a in sample.arrays)))
    found = arrays(result)
    assert len(found) == len(expected)
    for got, wanted in zip(found, expected, strict=True):
        wanted = np.asarray(wanted)
        if got.dtype.kind != wanted.dtype.kind and got.dtype.kind in "iub":
            wanted = wanted.astype(got.dtype)
        assert_close(got, wanted, tolerance_of(sample, got))


# Layers are made of functions, whose views are compiled in samples of their own.
COMPILED = [
    s
    for s in SAMPLES
    if s.compiled and not (s.name.startswith("nn.") and s.label.endswith("views"))
]
GROUPS = [COMPILED[k : k + TOGETHER] for k in range(0, len(COMPILED), TOGETHER)]


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: f"{g[0]}..{g[-1].name}")
def test_compiled_is_eager(group: list[Sample]) -> None:
    """Several samples in one program."""
    inputs = [tensors(s) for s in group]
    expected = [arrays(s.call(*i)) for s, i in zip(group, inputs, strict=True)]

    @sley.compile
    def all_of_them(inputs: list) -> list:
        return [parts(s.call(*i)) for s, i in zip(group, inputs, strict=True)]

    for sample, found, wanted in zip(group, all_of_them(inputs), expected, strict=True):
        for got, eager in zip(arrays(found), wanted, strict=True):
            assert got.dtype == eager.dtype, sample
            try:
                assert_close(got, eager, tolerance_of(sample, eager))
            except AssertionError as error:
                raise AssertionError(f"{sample}: {error}") from None


def _along(sample: Sample, inputs: list[sley.Tensor], seeds: list[Any]) -> sley.Tensor:
    """One number that every element of every result has a part in."""
    results = [p for p in parts(sample.call(*inputs)) if _inexact(p)]
    total = None
    for result, seed in zip(results, seeds, strict=True):
        weighted = result * sley.tensor(seed)
        part = weighted.real.sum() if result.dtype.is_complex else weighted.sum()
        total = part if total is None else total + part
    assert total is not None, f"{sample} has no result with a gradient"
    return total


def _directions(shapes: list[tuple[int, ...]], dtypes: list[np.dtype], seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    made = []
    for shape, dtype in zip(shapes, dtypes, strict=True):
        direction = np.asarray(rng.standard_normal(shape))
        if dtype.kind == "c":
            direction = direction + 1j * rng.standard_normal(shape)
        made.append(direction)
    return made


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.gradient], ids=str)
def test_gradient(sample: Sample) -> None:
    """First and second derivatives along one random direction."""
    moving = [k for k, a in enumerate(sample.arrays) if a.dtype.kind in "fc"]
    given = [sample.arrays[k] for k in moving]
    directions = _directions([a.shape for a in given], [a.dtype for a in given], 1)
    probe = [r for r in arrays(sample.call(*tensors(sample))) if r.dtype.kind in "fc"]
    seeds = _directions([r.shape for r in probe], [r.dtype for r in probe], 2)

    def inputs(step: float) -> list[sley.Tensor]:
        moved = list(sample.arrays)
        for k, direction in zip(moving, directions, strict=True):
            moved[k] = moved[k] + step * direction
        return [sley.tensor(a, requires_grad=k in moving) for k, a in enumerate(moved)]

    def slope(step: float, create_graph: bool = False) -> Any:
        at = inputs(step)
        wanted = [at[k] for k in moving]
        found = sley.autograd.grad(
            _along(sample, at, seeds), wanted, create_graph=create_graph, allow_unused=True
        )
        total = sley.zeros((), dtype=sley.float64)
        for g, direction in zip(found, directions, strict=True):
            if g is not None:
                part = g * sley.tensor(np.conj(direction))
                total = total + (part.real.sum() if g.dtype.is_complex else part.sum())
        return total, wanted

    step = 1e-6
    high, low = (_along(sample, inputs(s), seeds).item() for s in (step, -step))
    first = slope(0)[0].item()
    expected = (high - low) / (2 * step)
    assert first == pytest.approx(expected, rel=2e-5, abs=2e-6)

    total, wanted = slope(0, create_graph=True)
    expected = (slope(step)[0].item() - slope(-step)[0].item()) / (2 * step)
    second = 0.0
    if total.requires_grad:
        found = sley.autograd.grad(total, wanted, allow_unused=True)
        for g, direction in zip(found, directions, strict=True):
            if g is not None:
                second += float(np.real((g.numpy() * np.conj(direction)).sum()))
    assert second == pytest.approx(expected, rel=1e-4, abs=1e-4)


def _resized(sample: Sample, size: int) -> list[sley.Tensor]:
    """The inputs with another size along their batch axes, their elements repeated."""
    assert sample.batch is not None
    made = []
    for array, axis in zip(sample.arrays, sample.batch, strict=True):
        if axis is not None:
            places = np.arange(size) % array.shape[axis]
            array = np.take(array, places, axis)
        made.append(sley.tensor(array))
    return made


@pytest.mark.parametrize(
    "sample", [s for s in SAMPLES if s.batch is not None and s.compiled], ids=str
)
def test_symbolic_batch(sample: Sample) -> None:
    """One program for every size along the batch axis gives what eager gives."""
    compiled = sley.compile(sample.call, dynamic=True)
    for size in (6, 7):
        inputs = _resized(sample, size)
        eager = arrays(sample.call(*inputs))
        for got, wanted in zip(arrays(compiled(*inputs)), eager, strict=True):
            assert got.dtype == wanted.dtype
            assert_close(got, wanted, tolerance_of(sample, wanted))


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_input(bad: Bad) -> None:
    with pytest.raises(bad.error, match=bad.text or None) as caught:
        bad.call()
    if isinstance(caught.value, sley.SleyError):
        assert ".py" in str(caught.value), "the error does not name the user's line"
