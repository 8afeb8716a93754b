"""Learning rates that go up and down."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...errors import ArgumentError
from ..optimizer import Optimizer
from .base import LRScheduler, for_groups


class CosineAnnealingWarmRestarts(LRScheduler):
    """A cosine from the first lr to `eta_min` that begins again after T_0 epochs, then after T_mult
    times as many, and so on (Loshchilov and Hutter, 2017)."""

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if T_0 < 1 or T_mult < 1:
            raise ArgumentError("CosineAnnealingWarmRestarts: T_0 and T_mult are at least 1")
        self.T_0 = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        place, period = self.last_epoch, self.T_0
        while place >= period:
            place, period = place - period, period * self.T_mult
        share = (1 + math.cos(math.pi * place / period)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr in the first part of `total_steps`, then down to
    max_lr / div_factor / final_div_factor, the momentum the other way (Smith and Topin, 2019)."""

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Any,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ArgumentError("OneCycleLR needs total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(f"anneal_strategy={anneal_strategy!r} is not 'cos' or 'linear'")
        self.total_steps = total_steps
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        tops = [float(v) for v in for_groups(optimizer, max_lr)]
        first = pct_start * total_steps - 1
        starts = [top / div_factor for top in tops]
        ends = [start / final_div_factor for start in starts]
        low, high = base_momentum, max_momentum
        if three_phase:
            self.phases = [(first, starts, tops, high, low), (2 * first, tops, starts, low, high),
                           (total_steps - 1, starts, ends, high, high)]  # fmt: skip
        else:
            self.phases = [(first, starts, tops, high, low),
                           (total_steps - 1, tops, ends, low, high)]  # fmt: skip
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:
            raise ArgumentError(f"OneCycleLR: step {self.last_epoch} of {self.total_steps}")
        begin = 0.0
        for end, from_lrs, to_lrs, from_momentum, to_momentum in self.phases:
            if self.last_epoch <= end or end == self.phases[-1][0]:
                share = (self.last_epoch - begin) / (end - begin)
                if self.cycle_momentum:
                    momentum = self._between(from_momentum, to_momentum, share)
                    set_momentum(self.optimizer, momentum, "OneCycleLR")
                return [self._between(a, b, share) for a, b in zip(from_lrs, to_lrs, strict=True)]
            begin = end
        raise AssertionError("the last phase takes every step")

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "cos":
            return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
        return start + (end - start) * share


def set_momentum(optimizer: Optimizer, value: float, name: str) -> None:
    """Set the momentum, or the first beta, of all groups.

    Raises:
        ArgumentError: the optimizer has neither.
    """
    for group in optimizer.param_groups:
        if "betas" in group:
            group["betas"] = (value, *group["betas"][1:])
        elif "momentum" in group:
            group["momentum"] = value
        else:
            raise ArgumentError(f"{name}: cycle_momentum needs momentum or betas",
                                hint="give cycle_momentum=False")  # fmt: skip


class CyclicLR(LRScheduler):
    """Back and forth between `base_lr` and `max_lr` (Smith, 2017): "triangular" always, with
    "triangular2" half as high in each cycle, with "exp_range" by gamma ** step. `cycle_momentum`
    moves momentum (or the first beta) the other way, from `max_momentum` to `base_momentum`."""

    unsaved = ("optimizer", "scale_fn")

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: Any,
        max_lr: Any,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size = step_size_up + down
        self.step_ratio = step_size_up / self.total_size
        self.mode, self.gamma, self.scale_fn, self.scale_mode = mode, gamma, scale_fn, scale_mode
        self.cycle_momentum = cycle_momentum
        self.base_momentum, self.max_momentum = base_momentum, max_momentum
        self.max_lrs = [float(v) for v in for_groups(optimizer, max_lr)]
        for group, lr in zip(optimizer.param_groups, for_groups(optimizer, base_lr), strict=True):
            group["lr"] = lr
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        place = 1 + self.last_epoch / self.total_size - cycle
        ratio = self.step_ratio
        height = place / ratio if place <= ratio else (place - 1) / (ratio - 1)
        scale = self._scale(cycle)
        if self.cycle_momentum:
            span = self.max_momentum - self.base_momentum
            set_momentum(self.optimizer, self.max_momentum - span * height * scale, "CyclicLR")
        pairs = zip(self.base_lrs, self.max_lrs, strict=True)
        return [base + (top - base) * height * scale for base, top in pairs]

    def _scale(self, cycle: int) -> float:
        if self.scale_fn is not None:
            return self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.mode == "triangular":
            return 1.0
        if self.mode == "triangular2":
            return 1 / 2.0 ** (cycle - 1)
        if self.mode == "exp_range":
            return self.gamma**self.last_epoch
        raise ArgumentError(f"CyclicLR: mode={self.mode!r}")
