"""Adam and its relatives."""

from __future__ import annotations

from typing import Any

from ...ir.dtypes import f64
from ..composite import composite, updates
from ..functions.arguments import cast
from ..functions.math import abs, add, clamp, gt, maximum, mul, pow, sqrt, sub, true_divide, where
from ..functions.reduction import wide
from ..tensor import Tensor, here
from .formulas import decay, decayed, like, mean, number, parts, put, reals
from .group import ParamGroup
from .optimizer import Optimizer


def powers(group: ParamGroup, step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The count of steps in float64, and 1 - beta ** step for both betas."""
    count = cast(step, f64)
    first, second = (sub(1, pow(beta, count)) for beta in group.numbers("betas"))
    return count, first, second


class _Moments(Optimizer):
    """With running means of the gradient ("exp_avg") and of its square ("exp_avg_sq")."""

    _counts = True
    _names: tuple[str, ...] = ("exp_avg", "exp_avg_sq")

    def _fill_state(self, group: ParamGroup, parameter: Tensor, state: dict[str, Tensor]) -> None:
        for name in self._names:
            if name not in state:
                state[name] = like(parameter)

    def _moved(self, group: ParamGroup, parameter: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        """The running means after this gradient, which are also written back."""
        beta1, beta2 = group.numbers("betas")
        state = self.state[parameter]
        before = reals(state["exp_avg"])
        centre = add(before, mul(sub(grad, before), sub(1, beta1)))
        square = mean(state["exp_avg_sq"], mul(grad, grad), beta2)
        put(state["exp_avg"], centre)
        put(state["exp_avg_sq"], square)
        return centre, square


class Adam(_Moments):
    """p -= lr * m / (sqrt(v) + eps), with m and v the running means of the gradient and of its
    square, corrected for their start at 0 (Kingma and Ba, 2015). `amsgrad` takes the largest v so
    far (Reddi et al., 2018), `decoupled_weight_decay` decays as AdamW does. `foreach`, `fused`
    and `capturable` are accepted and mean nothing.

    Raises:
        ArgumentError: a number is out of its range.
    """

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay,
            "amsgrad": amsgrad, "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        super().__init__(params, defaults, differentiable)

    def _fill_state(self, group: ParamGroup, parameter: Tensor, state: dict[str, Tensor]) -> None:
        super()._fill_state(group, parameter, state)
        if group.option("amsgrad") and "max_exp_avg_sq" not in state:
            state["max_exp_avg_sq"] = like(parameter)

    def _update(self, group: ParamGroup, parameters: list[Tensor]) -> None:
        lr, betas = group.number("lr"), group.numbers("betas")
        numbers = lr, *betas, group.number("eps"), decay(group)
        options = group.option("decoupled_weight_decay"), group.option("maximize")
        for step, counted in self._counted(group, parameters):
            corrections = _corrections(step, lr, *betas)
            for parameter in counted:
                state, grad = self.state[parameter], parameter.grad
                assert grad is not None
                top = parts(state["max_exp_avg_sq"]) if group.option("amsgrad") else None
                _move(
                    parts(parameter), parts(state["exp_avg"]), parts(state["exp_avg_sq"]), top,
                    parts(grad), *corrections, *numbers, *options,
                )  # fmt: skip


@composite
def _corrections(step: Tensor, lr: Tensor, beta1: Tensor, beta2: Tensor) -> tuple[Tensor, Tensor]:
    """The size of a step, and the root of what the mean square lacks."""
    count = cast(step, f64)
    return true_divide(lr, sub(1, pow(beta1, count))), sqrt(sub(1, pow(beta2, count)))


@updates
def _move(
    parameter: Tensor, centre: Tensor, square: Tensor, top: Tensor | None, grad: Tensor,
    size: Tensor, root: Tensor, lr: Tensor, beta1: Tensor, beta2: Tensor, eps: Tensor,
    decay: Tensor | None, decoupled: bool, maximize: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The parameter and its means after a step."""
    value, change, before = wide(parameter), wide(-grad if maximize else grad), wide(centre)
    if decay is not None and decoupled:
        value = mul(value, sub(1, mul(lr, decay)))
    elif decay is not None:
        change = add(change, mul(value, decay))
    mean = add(before, mul(sub(change, before), sub(1, beta1)))
    mean_square = add(mul(wide(square), beta2), mul(mul(change, change), sub(1, beta2)))
    new = [mean, mean_square]
    if top is not None:
        new.append(maximum(wide(top), mean_square))
    scale = add(true_divide(sqrt(new[-1]), root), eps)
    new.insert(0, sub(value, mul(true_divide(mean, scale), size)))
    targets = (parameter, centre, square, top)
    return tuple(cast(n, here(t).spec.dtype) for n, t in zip(new, targets) if t is not None)


class AdamW(Adam):
    """Adam with the weight decay beside the gradient: p *= 1 - lr * weight_decay first
    (Loshchilov and Hutter, 2019)."""

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize,
                         differentiable=differentiable, decoupled_weight_decay=True)  # fmt: skip


class Adamax(_Moments):
    """Adam with the largest recent gradient in the place of the mean square (Kingma and Ba,
    2015)."""

    _names = ("exp_avg", "exp_inf")

    def __init__(
        self,
        params: Any,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay,
            "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults, differentiable)

    def _update(self, group: ParamGroup, parameters: list[Tensor]) -> None:
        beta1, beta2 = group.numbers("betas")
        for step, counted in self._counted(group, parameters):
            size = true_divide(group.number("lr"), powers(group, step)[1])
            for parameter in counted:
                state = self.state[parameter]
                value, grad = decayed(group, parameter)
                before = reals(state["exp_avg"])
                centre = add(before, mul(sub(grad, before), sub(1, beta1)))
                top = maximum(
                    mul(reals(state["exp_inf"]), beta2), add(abs(grad), group.number("eps"))
                )
                put(state["exp_avg"], centre)
                put(state["exp_inf"], top)
                put(parameter, sub(value, mul(true_divide(centre, top), size)))


class NAdam(_Moments):
    """Adam with Nesterov's momentum (Dozat, 2016)."""

    def __init__(
        self,
        params: Any,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay,
            "momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults, differentiable)

    def _fill_state(self, group: ParamGroup, parameter: Tensor, state: dict[str, Tensor]) -> None:
        super()._fill_state(group, parameter, state)
        if "mu_product" not in state:
            state["mu_product"] = number(1.0)

    def _update(self, group: ParamGroup, parameters: list[Tensor]) -> None:
        lr, eps, beta1 = group.number("lr"), group.number("eps"), group.numbers("betas")[0]
        for step, counted in self._counted(group, parameters):
            count, _, second = powers(group, step)
            decay = group.number("momentum_decay")
            now, later = (
                mul(beta1, sub(1, mul(pow(0.96, mul(add(count, k), decay)), 0.5))) for k in (0, 1)
            )
            for parameter in counted:
                state = self.state[parameter]
                product = mul(state["mu_product"], now)
                put(state["mu_product"], product)
                value, grad = decayed(group, parameter)
                centre, square = self._moved(group, parameter, grad)
                scale = add(sqrt(true_divide(square, second)), eps)
                by_grad = true_divide(mul(lr, sub(1, now)), sub(1, product))
                by_mean = true_divide(mul(lr, later), sub(1, mul(product, later)))
                change = add(mul(true_divide(grad, scale), by_grad),
                             mul(true_divide(centre, scale), by_mean))  # fmt: skip
                put(parameter, sub(value, change))


class RAdam(_Moments):
    """Adam that adapts only once the variance of its step sizes is bounded (Liu et al., 2020)."""

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults, differentiable)

    def _update(self, group: ParamGroup, parameters: list[Tensor]) -> None:
        lr, eps, beta2 = group.number("lr"), group.number("eps"), group.numbers("betas")[1]
        for step, counted in self._counted(group, parameters):
            count, first, second = powers(group, step)
            limit = sub(true_divide(2, sub(1, beta2)), 1)
            rho = sub(limit, true_divide(mul(mul(count, 2), pow(beta2, count)), second))
            adapts = gt(rho, 5)
            safe = clamp(rho, min=5.0)
            over = mul(mul(sub(safe, 4), sub(safe, 2)), limit)
            under = mul(mul(sub(limit, 4), sub(limit, 2)), safe)
            rectified = mul(sqrt(true_divide(over, under)), sqrt(second))
            for parameter in counted:
                value, grad = decayed(group, parameter)
                centre, square = self._moved(group, parameter, grad)
                size = mul(true_divide(centre, first), lr)
                adapted = true_divide(mul(size, rectified), add(sqrt(square), eps))
                put(parameter, sub(value, where(adapts, adapted, size)))
