"""Gradients in float16 underflow: the loss is scaled up before `backward()`, the gradients down
before the step, and a step whose gradients overflowed is left out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ...ir.dtypes import DType, f16, f32, f64
from ..context import ambient, setting
from ..device import Device
from ..errors import ArgumentError, AutogradError, DTypeError, FirstCallError, LoadError
from ..functions.arguments import cast
from ..functions.logic import isfinite, logical_and, logical_not, logical_or
from ..functions.math import add, eq, mul, reciprocal, where
from ..functions.reduction import all
from ..moves import to_device
from ..optim.optimizer import Optimizer
from ..tensor import Tensor, of_array
from .autocast import is_autocast_available

State = dict[tuple[Tensor, str], Tensor]


class GradScaler:
    """Scales losses, and steps optimizers by gradients without the scale where these are finite.

    The scale halves (`backoff_factor`) with each step that was left out, and doubles
    (`growth_factor`) after `growth_interval` steps that were not. Its numbers are tensors: a
    compiled step reads and writes them, and leaves a step out by `where`. They go to the device of
    the first loss.

    Args:
        device: "cpu" or "cuda". Where there is no GPU, "cuda" gives a warning, and nothing is
            scaled.

    Raises:
        ArgumentError: a factor or the interval out of its range.

    >>> import sley
    >>> w = sley.nn.Parameter(sley.ones(2))
    >>> optimizer, scaler = sley.optim.SGD([w], lr=0.5), sley.amp.GradScaler(init_scale=8.0)
    >>> scaler.scale((w * w).sum()).backward()
    >>> w.grad
    tensor([16., 16.])
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> w.detach(), scaler.get_scale()
    (tensor([0., 0.]), 8.0)
    """

    def __init__(
        self,
        device: str = "cpu",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._enabled = bool(enabled) and is_autocast_available(device)
        if enabled and not self._enabled:
            warnings.warn(
                f"GradScaler({device!r}): there is no such device; it is off", stacklevel=2
            )
        self._scale = _number(init_scale, f32)
        self._growth_tracker = of_array(np.array(0, np.int32))
        # Of each optimizer since the last update(): whether a gradient was not finite, and
        # whether it has made its step.
        self._found: dict[Optimizer, Tensor] = {}
        self._stepped: set[Optimizer] = set()
        self.set_growth_factor(growth_factor)
        self.set_backoff_factor(backoff_factor)
        self.set_growth_interval(growth_interval)

    # A step

    def scale(self, outputs: Any) -> Any:
        """A tensor, or each in a list or tuple, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            self._go_to(outputs.device)
            return mul(outputs, self._scale)
        if isinstance(outputs, Iterable):
            kind = type(outputs) if isinstance(outputs, (list, tuple)) else list
            return kind(map(self.scale, outputs))
        raise DTypeError(f"scale() takes tensors, not a {type(outputs).__name__}")

    def _go_to(self, device: Device) -> None:
        """Let the numbers lie on the device of the losses.

        Raises:
            FirstCallError: they have to be moved while a function is recorded.
        """
        if self._scale.device is device:
            return
        if ambient.trace is not None:
            raise FirstCallError(f"the numbers of a GradScaler go to {device}")
        with setting(grad_enabled=False):
            self._scale = to_device(self._scale, device)
            self._growth_tracker = to_device(self._growth_tracker, device)

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer's parameters by the scale, in place: before they are
        clipped. `step` does it where it was not done.

        Raises:
            AutogradError: it was done since the last `update()`.
            DTypeError: gradients are float16: their parameters should be float32.
        """
        if not self._enabled:
            return
        if optimizer in self._found:
            raise AutogradError(
                "unscale_() has already been called on this optimizer since the last update()"
            )
        with setting(grad_enabled=False, autocast=None):
            factor = cast(reciprocal(cast(self._scale, f64)), f32)
            gradients = [p.grad for p in _trained(optimizer)]
            if any(g.dtype is f16 for g in gradients if g is not None):
                raise DTypeError(
                    "gradients in float16 cannot be unscaled",
                    hint="keep the parameters in float32 and use autocast",
                )
            found: Tensor = of_array(np.array(False))
            for gradient in gradients:
                assert gradient is not None
                found = logical_or(found, logical_not(all(isfinite(gradient))))
                gradient.mul_(factor)
        self._found[optimizer] = found

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step(...)` by the gradients without the scale, unless one is not finite.

        Raises:
            AutogradError: it was called since the last `update()`, or there is no gradient.
            ArgumentError: with a closure, whose gradients could not be checked.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs or args:
            raise ArgumentError("step(optimizer, closure) is not possible with a scale")
        if optimizer in self._stepped:
            raise AutogradError("step() has already been called since the last update()")
        if optimizer not in self._found:
            self.unscale_(optimizer)
        if not _trained(optimizer):
            raise AutogradError("no parameter of the optimizer has a gradient")
        self._stepped.add(optimizer)
        found = self._found[optimizer]
        if found.is_cuda:  # whether there is a step follows from data there, and so do counts
            optimizer.numbers_to(found.device)
        if ambient.trace is None:
            return None if found.item() else optimizer.step(**kwargs)
        return self._traced_step(optimizer, found, kwargs)

    def _traced_step(self, optimizer: Optimizer, found: Tensor, kwargs: dict[str, Any]) -> Any:
        """A step whose results are taken where `found` does not hold."""
        with setting(grad_enabled=False, autocast=None):
            before = {key: tensor.clone() for key, tensor in _state(optimizer)}
            result = optimizer.step(**kwargs)
            seen = set()
            for key, tensor in _state(optimizer):
                if id(tensor) not in seen and key in before:
                    seen.add(id(tensor))
                    tensor.copy_(where(found, before[key], tensor))
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapt the scale after a step, or set it.

        Raises:
            AutogradError: no gradient was checked since the last `update()`.
        """
        if not self._enabled:
            return
        with setting(grad_enabled=False, autocast=None):
            if new_scale is not None:
                self._scale.copy_(new_scale)
            elif not self._found:
                raise AutogradError("no step() or unscale_() since the last update()")
            else:
                self._adapt()
        self._found.clear()
        self._stepped.clear()

    def _adapt(self) -> None:
        found, *more = self._found.values()
        for other in more:
            found = logical_or(found, other)
        count = where(found, 0, add(self._growth_tracker, 1))
        grown = mul(self._scale, self._growth_factor)
        full = eq(count, self._growth_interval)
        kept = where(logical_and(full, isfinite(grown)), grown, self._scale)
        self._scale.copy_(where(found, mul(self._scale, self._backoff_factor), kept))
        self._growth_tracker.copy_(where(full, 0, count))

    # Numbers

    def get_scale(self) -> float:
        """The scale; 1 where this scaler is not enabled."""
        return self._scale.item() if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """By how much the scale grows."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set by how much the scale grows: more than 1."""
        if not new_factor > 1:
            raise ArgumentError(f"the growth factor is more than 1, not {new_factor}")
        self._growth_factor = float(new_factor)

    def get_backoff_factor(self) -> float:
        """What the scale is multiplied by when a gradient is not finite."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the scale is multiplied by when a gradient is not finite: less than 1."""
        if not 0 < new_factor < 1:
            raise ArgumentError(f"the backoff factor is between 0 and 1, not {new_factor}")
        self._backoff_factor = float(new_factor)

    def get_growth_interval(self) -> int:
        """After how many steps the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set after how many steps without overflow the scale grows."""
        if new_interval < 1:
            raise ArgumentError(f"the growth interval is at least 1, not {new_interval}")
        self._growth_interval = int(new_interval)

    def is_enabled(self) -> bool:
        """Whether this scaler does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The numbers, for `load_state_dict`; empty where this scaler is not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker.item(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict()` gave.

        Raises:
            LoadError: a number is missing: it was saved where no scaler was enabled.
        """
        if not self._enabled:
            return
        missing = self.state_dict().keys() - state_dict.keys()
        if missing:
            raise LoadError(f"the state of a GradScaler lacks {sorted(missing)}")
        self.set_growth_factor(state_dict["growth_factor"])
        self.set_backoff_factor(state_dict["backoff_factor"])
        self.set_growth_interval(state_dict["growth_interval"])
        with setting(grad_enabled=False):
            self._scale.fill_(state_dict["scale"])
            self._growth_tracker.fill_(state_dict["_growth_tracker"])


def _number(value: float, dtype: DType) -> Tensor:
    return of_array(np.array(value, dtype.numpy))


def _trained(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group.trained()]


def _state(optimizer: Optimizer) -> Iterator[tuple[tuple[Tensor, str], Tensor]]:
    """What a step writes: parameters and their state, by parameter and name."""
    for parameter in _trained(optimizer):
        yield (parameter, ""), parameter
        for name, tensor in optimizer.state[parameter].items():
            yield (parameter, name), tensor
