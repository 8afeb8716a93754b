"""Adafactor: the mean squares of a matrix of gradients kept by row and by column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...ir.dtypes import f64
from ..errors import ArgumentError
from ..functions.arguments import cast
from ..functions.creation import full_like
from ..functions.info import finfo
from ..functions.math import (
    add,
    clamp,
    maximum,
    minimum,
    mul,
    pow,
    rsqrt,
    sqrt,
    square,
    sub,
    true_divide,
)
from ..functions.matrix import matmul
from ..functions.reduction import mean
from ..tensor import Tensor
from .formulas import gradient, put, reals
from .group import ParamGroup
from .optimizer import Optimizer


class Adafactor(Optimizer):
    """p -= lr' * u / max(1, rms(u) / d), with u the gradient over the root of its running mean
    square, and lr' = max(eps[1], rms(p)) * min(lr, 1 / sqrt(t)) (Shazeer and Stern, 2018). Of a
    tensor with two axes or more only the means over rows and over columns are kept. The share of
    the newest square in the mean is t ** beta2_decay.

    Args:
        eps: the least of the mean squares' roots (None: the eps of the parameter's dtype), and of
            rms(p).
        d: above which root mean square updates are scaled down.

    Raises:
        ArgumentError: a number is out of its range.
        DTypeError: a parameter is complex.
    """

    _counts = True
    _complex = False

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "beta2_decay": beta2_decay, "eps": tuple(eps), "d": d,
            "weight_decay": weight_decay, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _check(self, values: Mapping[str, Any]) -> None:
        super()._check(values)
        for eps in values["eps"]:
            if eps is not None and eps < 0:
                raise ArgumentError(f"Adafactor: eps={values['eps']} has a negative number")
        if values["d"] < 1:
            raise ArgumentError(f"Adafactor: d={values['d']} is less than 1")
        if values["beta2_decay"] > 0:
            raise ArgumentError(f"Adafactor: beta2_decay={values['beta2_decay']} is positive")

    def _fill_state(self, group: ParamGroup, parameter: Tensor, state: dict[str, Tensor]) -> None:
        if "row_var" in state or "variance" in state:
            return
        zeros = full_like(parameter.detach(), 0)
        if parameter.ndim > 1:
            state["row_var"] = zeros.new_zeros((*parameter.shape[:-1], 1))
            state["col_var"] = zeros.new_zeros((*parameter.shape[:-2], 1, parameter.shape[-1]))
        else:
            state["variance"] = zeros

    def _update(self, group: ParamGroup, parameters: list[Tensor]) -> None:
        lr = group.number("lr")
        for step, counted in self._counted(group, parameters):
            count = cast(step, f64)
            share = pow(count, group.number("beta2_decay"))
            rate = minimum(lr, true_divide(1, sqrt(count)))
            for parameter in counted:
                value, grad = reals(parameter), gradient(parameter, group)
                low, least = _eps(group, parameter)
                size = mul(maximum(_rms(value), least), rate)
                if group.uses("weight_decay"):
                    value = mul(value, sub(1, mul(lr, group.number("weight_decay"))))
                squares = self._mean_squares(parameter, grad, share, low)
                change = mul(rsqrt(clamp(squares, min=mul(low, low))), grad)
                over = maximum(true_divide(_rms(change), group.number("d")), 1)
                put(parameter, sub(value, mul(change, true_divide(size, over))))

    def _mean_squares(self, parameter: Tensor, grad: Tensor, share: Tensor, low: Any) -> Tensor:
        """The running mean of the squared gradient, as far as it is kept; also written back."""
        state, squares = self.state[parameter], square(grad)
        if "variance" in state:
            return _moved(state["variance"], squares, share)
        rows = _moved(state["row_var"], mean(squares, -1, keepdim=True), share)
        columns = _moved(state["col_var"], mean(squares, -2, keepdim=True), share)
        whole = clamp(mean(rows, -2, keepdim=True), min=low)
        return true_divide(matmul(rows, columns), whole)


def _moved(state: Tensor, new: Tensor, share: Tensor) -> Tensor:
    before = reals(state)
    after = add(before, mul(sub(new, before), share))
    put(state, after)
    return after


def _rms(value: Tensor) -> Tensor:
    return sqrt(mean(square(value)))


def _eps(group: ParamGroup, parameter: Tensor) -> tuple[Any, Any]:
    first, second = group.option("eps") if "eps" in group.options else group.numbers("eps")
    return finfo(parameter.dtype).eps if first is None else first, second
