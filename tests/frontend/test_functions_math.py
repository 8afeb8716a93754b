"""Elementwise functions against numpy and scipy, their gradients, promotion and errors."""

from __future__ import annotations

import numpy as np
import pytest
from function_checks import agree, differentiates
from scipy import special

import sley
from sley import DTypeError

X = np.array([-2.5, -1.0, -0.3, 0.4, 0.75, 1.0, 3.2], np.float32)
Y = np.array([1.5, -2.0, 0.7, 3.0, -0.5, 2.0, 0.9], np.float32)
P = np.abs(X)
UNIT = np.array([-0.9, -0.5, -1e-3, 0.0, 1e-4, 0.6, 0.99], np.float32)
I = np.array([-7, -3, 0, 2, 5], np.int64)
J = np.array([2, -2, 3, 5, -3], np.int64)

UNARY = {
    "sqrt": (np.sqrt, P), "rsqrt": (lambda x: 1 / np.sqrt(x), P), "exp": (np.exp, X),
    "exp2": (np.exp2, X), "expm1": (np.expm1, X), "log": (np.log, P), "log2": (np.log2, P),
    "log10": (np.log10, P), "log1p": (np.log1p, P), "sin": (np.sin, X), "cos": (np.cos, X),
    "tan": (np.tan, X), "asin": (np.arcsin, UNIT), "acos": (np.arccos, UNIT),
    "atan": (np.arctan, X), "sinh": (np.sinh, X), "cosh": (np.cosh, X), "tanh": (np.tanh, X),
    "erf": (special.erf, X), "sigmoid": (special.expit, X), "square": (np.square, X),
    "neg": (np.negative, X), "abs": (np.abs, X), "reciprocal": (np.reciprocal, X),
    "asinh": (np.arcsinh, X), "acosh": (np.arccosh, P + 1), "atanh": (np.arctanh, UNIT),
    "logit": (special.logit, P / 4), "sinc": (np.sinc, X), "deg2rad": (np.deg2rad, X),
    "rad2deg": (np.rad2deg, X), "erfinv": (special.erfinv, UNIT),
}  # fmt: skip
STEPS = {
    "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "round": np.rint, "sign": np.sign,
    "frac": lambda x: x - np.trunc(x), "signbit": np.signbit, "isnan": np.isnan,
    "isinf": np.isinf, "isfinite": np.isfinite, "logical_not": np.logical_not,
}  # fmt: skip
BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "pow": np.power,
    "maximum": np.maximum, "minimum": np.minimum, "atan2": np.arctan2, "hypot": np.hypot,
    "copysign": np.copysign, "logaddexp": np.logaddexp, "logaddexp2": np.logaddexp2,
    "fmax": np.fmax, "fmin": np.fmin,
}  # fmt: skip
WHOLE = {
    "floor_divide": np.floor_divide, "remainder": np.remainder, "fmod": np.fmod,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "logical_and": np.logical_and, "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}  # fmt: skip

BINARY_IN_PLACE = """
    subtract multiply divide true_divide floor_divide remainder fmod pow copysign atan2
    arctan2 eq ne lt le gt ge not_equal less less_equal greater greater_equal logical_and
    logical_or logical_xor hypot xlogy ldexp
"""


@pytest.mark.parametrize("name", UNARY)
def test_smooth_functions_of_one_number(name):
    reference, x = UNARY[name]
    agree(getattr(sley, name), reference, x)
    assert getattr(sley, name)(sley.tensor([1, 1])).dtype.is_float or name in (
        "square",
        "neg",
        "abs",
    )
    away = x[np.abs(x) > 0.01].astype(np.float64)
    differentiates(getattr(sley, name), away, rtol=1e-4)


@pytest.mark.parametrize("name", STEPS)
def test_steps_and_tests_of_one_number(name):
    x = np.array([-2.5, -1.5, -0.0, 0.0, 0.5, 1.5, 2.6, np.inf, -np.inf, np.nan], np.float32)
    x = x[:7] if name == "frac" else x
    agree(getattr(sley, name), STEPS[name], x)


@pytest.mark.parametrize("name", BINARY)
def test_smooth_functions_of_two_numbers(name):
    x = P if name == "pow" else X
    agree(getattr(sley, name), BINARY[name], x, Y, rtol=1e-5)
    agree(getattr(sley, name), BINARY[name], x[:, None], Y[:3], rtol=1e-5)
    differentiates(getattr(sley, name), x[:, None], Y[:3], rtol=1e-4)


@pytest.mark.parametrize("name", WHOLE)
def test_functions_with_steps_of_two_numbers(name):
    agree(getattr(sley, name), WHOLE[name], X, Y)
    agree(getattr(sley, name), WHOLE[name], I, J)


def test_division_modes():
    x, y = sley.tensor([7, -7, 7, -7]), sley.tensor([2, 2, -2, -2])
    assert sley.div(x, y).tolist() == [3.5, -3.5, -3.5, 3.5]
    assert sley.div(x, y, rounding_mode="floor").tolist() == [3, -4, -4, 3]
    trunc = sley.div(x, y, rounding_mode="trunc")
    assert trunc.tolist() == [3, -3, -3, 3] and trunc.dtype is sley.int64
    assert sley.div(x.float(), 2.0, rounding_mode="trunc").tolist() == [3, -3, 3, -3]
    with pytest.raises(sley.ArgumentError):
        sley.div(x, y, rounding_mode="up")


def test_bits():
    x, y = sley.tensor([12, 10]), sley.tensor([10, 3])
    assert sley.bitwise_and(x, y).tolist() == [8, 2]
    assert sley.bitwise_or(x, y).tolist() == [14, 11]
    assert sley.bitwise_xor(x, y).tolist() == [6, 9]
    assert sley.bitwise_not(x).tolist() == [-13, -11]
    assert sley.bitwise_left_shift(x, 2).tolist() == [48, 40]
    assert sley.bitwise_right_shift(x, 1).tolist() == [6, 5]


def test_clamp_passes_the_gradient_at_its_bounds():
    x = sley.tensor([-2.0, -1.0, 0.0, 1.0, 2.0], requires_grad=True)
    sley.clamp(x, -1, 1).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]
    assert sley.clamp(sley.tensor([1, 5]), max=2.5).tolist() == [1, 2.5]
    assert np.isnan(sley.clamp(sley.tensor([np.nan]), 0, 1).item())
    with pytest.raises(sley.ArgumentError):
        sley.clamp(x)


def test_where_promotes_and_needs_a_bool():
    condition = sley.tensor([True, False])
    assert sley.where(condition, sley.tensor([1, 2]), 0.5).dtype is sley.float32
    with pytest.raises(DTypeError):
        sley.where(sley.tensor([1, 0]), 1.0, 2.0)
    (places,) = sley.where(sley.tensor([0, 3, 4]))
    assert places.tolist() == [1, 2]


def test_compositions():
    agree(lambda x, y: sley.lerp(x, y, 0.25), lambda x, y: x + 0.25 * (y - x), X, Y)
    agree(lambda x, y: sley.addcmul(x, y, y, value=2), lambda x, y: x + 2 * y * y, X, Y)
    agree(lambda x, y: sley.addcdiv(x, x, y, value=2), lambda x, y: x + 2 * x / y, X, Y)
    agree(lambda x, y: sley.xlogy(x, y), special.xlogy, np.float32([0, 1, 2]), P[:3])
    agree(lambda x: sley.heaviside(x, 0.5), lambda x: np.heaviside(x, np.float32(0.5)), UNIT)
    special_values = np.array([np.nan, np.inf, -np.inf, 1], np.float32)
    agree(sley.nan_to_num, np.nan_to_num, special_values)
    agree(lambda x: sley.round(x, decimals=1), lambda x: np.round(x, 1), X)
    assert sley.isclose(sley.tensor([1.0, np.nan]), sley.tensor([1.0 + 1e-7, np.nan])).tolist() == [
        True, False,
    ]  # fmt: skip
    assert sley.allclose(sley.tensor([1.0]), sley.tensor([1.0]))
    assert not sley.equal(sley.tensor([1.0]), sley.tensor([2.0]))


def test_large_and_extreme_arguments():
    big = np.array([1e20, 3e38, -1e30], np.float32)
    agree(sley.asinh, np.arcsinh, big)
    agree(sley.acosh, np.arccosh, np.abs(big))
    agree(sley.hypot, np.hypot, np.float32([3e38, np.inf, 0]), np.float32([1e38, np.nan, 0]))
    agree(sley.logaddexp, np.logaddexp, np.float32([-np.inf, np.inf, 88]),
          np.float32([-np.inf, np.inf, 89]))  # fmt: skip
    assert np.isnan(sley.acosh(sley.tensor(0.5)).item())
    agree(sley.erfinv, special.erfinv, np.array([-1, 1, 1 - 1e-9, 1e-12], np.float64), rtol=1e-12)


def test_every_in_place_form_writes_what_the_function_gives():
    from sley.frontend.methods import INPLACE

    positive = np.array([[0.2, 0.7], [0.4, 0.9]], np.float32)
    whole = np.array([[2, 3], [5, 7]])
    arguments = {
        "lerp": (positive, 0.5), "clamp": (0.3, 0.6), "clip": (0.3, 0.6), "clamp_min": (0.5,),
        "clamp_max": (0.5,), "cumsum": (0,), "cumprod": (1,), "heaviside": (positive,),
        "masked_fill": (positive > 0.5, 9.0), "scatter": (0, whole * 0, positive),
        "scatter_add": (0, whole * 0, positive), "index_add": (0, whole[0] * 0, positive),
        "index_copy": (0, np.array([1, 0]), positive), "index_fill": (0, np.array([1]), 3.0),
        "index_put": ((np.array([1]), np.array([0])), 3.0), "addmm": (positive, positive),
        "addmv": (positive, positive[0]), "baddbmm": (positive[None], positive[None]),
        "masked_scatter": (positive > 0.5, positive), "put": (whole[0] % 2, positive[0]),
        "scatter_reduce": (0, whole * 0, positive, "amax"), "gcd": (whole.T,), "lcm": (whole.T,),
        "index_reduce": (0, np.array([1, 0]), positive, "prod"),
        "acosh": (), "arccosh": (), "float_power": (2,), "logit": (0.1,),
    }  # fmt: skip
    one = {"float_power"}  # gives float64, which is stored as float32
    binary = set(BINARY_IN_PLACE.split())
    bits = [n for n in INPLACE.split() if n.startswith("bitwise") or n in ("gcd", "lcm")]

    def wrapped(value):
        if isinstance(value, tuple):
            return tuple(wrapped(v) for v in value)
        return sley.tensor(value) if isinstance(value, np.ndarray) else value

    for name in INPLACE.split():
        data = whole if name in bits else positive[None] if name == "baddbmm" else positive
        given = arguments.get(name)
        if given is None:
            given = () if name == "bitwise_not" else (whole,) if name in bits else (
                (positive,) if name in binary else ()
            )  # fmt: skip
        x = sley.tensor(data)
        expected = getattr(x, name)(*wrapped(given))
        assert getattr(x, f"{name}_")(*wrapped(given)) is x, name
        np.testing.assert_allclose(
            x.array, expected.array.astype(x.array.dtype), rtol=1e-6 if name in one else 0
        )


def test_results_of_a_higher_kind_are_not_stored():
    with pytest.raises(DTypeError, match="cannot be stored"):
        sley.tensor([1, 2]).sqrt_()


def test_sums_of_numpy_arrays_and_tensors_are_tensors():
    array = np.ones(2, np.float32)
    assert isinstance(array + sley.ones(2), sley.Tensor)
    assert sley.mul(sley.ones(2), array).tolist() == [1, 1]
    with pytest.raises(DTypeError):
        sley.exp([1.0])
