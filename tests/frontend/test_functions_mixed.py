"""Functions made of several ops promote once, keep the precision of the result's dtype, and have
slopes where PyTorch documents them: at zeros, too."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sley

WIDE, NARROW = sley.float64, sley.float32


@pytest.mark.parametrize(
    ("call", "want"),
    [
        (lambda: sley.xlogy(sley.tensor([3.0], dtype=WIDE), 2), 3 * math.log(2)),
        (lambda: sley.xlogy(sley.tensor([3.0], dtype=WIDE), sley.tensor(5)), 3 * math.log(5)),
        (lambda: sley.angle(sley.tensor([-1.0], dtype=WIDE)), math.pi),
        (lambda: sley.logaddexp2(sley.tensor([1.0], dtype=WIDE), sley.tensor(0.5)),
         math.log2(2 + 2**0.5)),
        (lambda: sley.ldexp(sley.tensor(0.1, dtype=WIDE), sley.tensor([3])), 0.8),
        (lambda: sley.fmod(sley.tensor([-5.5], dtype=WIDE), sley.tensor(True)), -0.5),
        (lambda: sley.hypot(sley.tensor([3.0], dtype=WIDE), sley.tensor(True)), math.sqrt(10)),
    ],
)  # fmt: skip
def test_float64_stays_exact(call: Callable[[], Any], want: float):
    found = call()
    if found.ndim and found.dtype is WIDE:
        assert found.item() == pytest.approx(want, rel=1e-14)
    else:
        assert found.dtype is NARROW and found.item() == pytest.approx(want, rel=1e-6)


def test_dtypes():
    ints, flags = sley.tensor([4, 6], dtype=sley.int32), sley.tensor([True, False])
    assert sley.gcd(ints, flags).dtype is sley.int32
    assert sley.lcm(sley.tensor([4], dtype=sley.uint8), flags[:1]).dtype is sley.uint8
    assert sley.copysign(sley.tensor([1.0]), sley.tensor(-1.0, dtype=WIDE)).dtype is NARROW
    assert sley.square(flags).tolist() == [1, 0] and sley.square(flags).dtype is sley.int64
    assert sley.float_power(sley.tensor([2.0]), 1j).dtype is sley.complex128
    assert sley.fmod(flags, 2).dtype is sley.int64
    assert sley.isclose(flags, sley.tensor([True, True])).tolist() == [True, False]
    half = sley.tensor([2.0], dtype=sley.bfloat16)
    assert sley.xlogy(half, 2).dtype is sley.bfloat16


def test_fmod_keeps_the_sign_of_zero():
    for dtype in (WIDE, NARROW):
        found = sley.fmod(sley.tensor([-0.0, 0.0, -4.0, 4.0], dtype=dtype), 2)
        assert np.signbit(found.numpy()).tolist() == [True, False, True, False]
    with pytest.raises(TypeError, match="no order"):
        sley.fmod(sley.tensor([1.0]), 2j)
    assert np.signbit(sley.asinh(sley.tensor([-0.0])).numpy()).all()


def slope(function: Callable[[Any], Any], *values: float) -> list[float]:
    x = sley.tensor(values, dtype=WIDE, requires_grad=True)
    function(x).sum().backward()
    assert x.grad is not None
    return x.grad.tolist()


def test_slopes_at_zero():
    assert slope(lambda x: sley.fmod(x, 2), 0.0, 2.0, -2.0) == [1.0, 1.0, 1.0]
    assert slope(lambda x: sley.xlogy(x, 2.0), 0.0) == [math.log(2.0)]
    assert slope(lambda x: x.std(), 1.0, 1.0) == [0.0, 0.0]
    for p in (0.5, 1.5, 3):
        assert slope(lambda x, p=p: sley.linalg.vector_norm(x, p), 0.0, 0.0) == [0.0, 0.0]
        assert slope(lambda x, p=p: sley.linalg.vector_norm(x, p), 0.0, 1.0) == [0.0, 1.0]
    assert sley.linalg.vector_norm(sley.zeros(2), -2).item() == 0.0


@pytest.mark.parametrize("dim", [None, (0,), 1.5, "x"], ids=str)
def test_an_axis_is_an_integer(dim: Any):
    with pytest.raises(sley.SleyError, match="an axis is an integer") as found:
        sley.ones(2).cumsum(dim)
    assert isinstance(found.value, TypeError) and "hint" in str(found.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.split(1), lambda x: x.chunk(2), lambda x: sley.tensor_split(x, 2),
        lambda x: x.unbind(), lambda x: sley.linalg.cross(x, x), lambda x: sley.linalg.vander(x),
        lambda x: sley.trapezoid(x),
    ],
)  # fmt: skip
def test_tensors_without_axes(call: Callable[[Any], Any]):
    with pytest.raises(ValueError, match="0-d tensor"):
        call(sley.tensor(1.0))


def test_cuts_and_turns():
    assert [list(part.shape) for part in sley.zeros(0).chunk(3)] == [[0]] * 3
    assert sley.tensor(2.0).roll(1, 0).item() == 2.0
    with pytest.raises(ValueError, match="0 sections"):
        sley.tensor_split(sley.ones(3), 0)
    with pytest.raises(ValueError, match="twice"):
        sley.ones(2, 2).flip(0, -2)


@pytest.mark.parametrize("given", [[1.0, 2.0], None, "x"], ids=str)
@pytest.mark.parametrize(
    "name",
    [
        "sum",
        "sort",
        "cumsum",
        "permute",
        "t",
        "flip",
        "nonzero",
        "bincount",
        "matmul",
        "mm",
        "cov",
        "searchsorted",
        "take",
        "real",
        "clone",
        "zeros_like",
        "linalg.inv",
        "linalg.norm",
        "linalg.solve",
    ],
)
def test_what_is_no_tensor(name: str, given: Any):
    function: Any = sley
    for part in name.split("."):
        function = getattr(function, part)
    more = [sley.ones(2, 2)] if name in ("matmul", "mm", "searchsorted", "linalg.solve") else []
    more += [0] if name in ("cumsum", "flip", "permute") else []
    more += [sley.tensor([0])] if name == "take" else []
    with pytest.raises(sley.SleyError, match=r"tensor") as found:
        function(given, *more)
    assert isinstance(found.value, TypeError)
    assert "test_functions_mixed" in str(found.value) and "hint" in str(found.value)
