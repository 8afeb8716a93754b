"""Averages of weights over the course of training: stochastic weight averaging (Izmailov et al.,
2018) and exponential moving averages."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

from ...ir.dtypes import i64
from ..context import setting
from ..errors import ArgumentError
from ..functions.arguments import cast
from ..functions.creation import zeros
from ..functions.math import add, eq, lerp, sub, true_divide, where
from ..nn.module import Module
from ..nn.normalization import _BatchNorm
from ..tensor import Tensor
from .lr_scheduler.base import LRScheduler, for_groups
from .optimizer import Optimizer

Average = Callable[[Tensor, Tensor, Any], Tensor]
AverageAll = Callable[[list[Tensor], list[Tensor], Any], None]


def get_swa_avg_fn() -> Average:
    """The plain mean, of one parameter: averaged + (current - averaged) / (count + 1)."""

    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        with setting(grad_enabled=False):
            gap = sub(current_param, averaged_param)
            return add(averaged_param, cast(true_divide(gap, add(num_averaged, 1)), gap.dtype))

    return swa_update


def _decay_checked(decay: float) -> None:
    if not 0 <= decay <= 1:
        raise ArgumentError(f"an exponential moving average with decay={decay}",
                            hint="the decay is in [0, 1]")  # fmt: skip


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """The exponential moving average of one parameter: decay * averaged + (1 - decay) * current."""
    _decay_checked(decay)

    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        with setting(grad_enabled=False):
            return add(ema_param * decay, current_param * (1 - decay))

    return ema_update


def get_swa_multi_avg_fn() -> AverageAll:
    """The plain mean, of a list of parameters, in place."""
    average = get_swa_avg_fn()

    def swa_update(averaged: list[Tensor], current: list[Tensor], num_averaged: Any) -> None:
        with setting(grad_enabled=False):
            for mean, new in zip(averaged, current, strict=True):
                mean.copy_(average(mean, new, num_averaged))

    return swa_update


def get_ema_multi_avg_fn(decay: float = 0.999) -> AverageAll:
    """The exponential moving average of a list of parameters, in place."""
    _decay_checked(decay)

    def ema_update(ema: list[Tensor], current: list[Tensor], num_averaged: Any) -> None:
        with setting(grad_enabled=False):
            for mean, new in zip(ema, current, strict=True):
                mean.copy_(lerp(mean, cast(new, mean.dtype), 1 - decay))

    return ema_update


class AveragedModel(Module):
    """A copy of a model whose parameters are averages: `update_parameters(model)` takes the model's
    into account, and a call runs the copy. The first update copies.

    Attributes:
        module: the copy.
        n_averaged: int64[], the number of updates.

    Args:
        avg_fn: (averaged, current, count) -> averaged, of one parameter; the plain mean unless
            given.
        multi_avg_fn: the same of lists of parameters, in place.
        use_buffers: average the buffers, too, instead of copying them.

    Raises:
        ArgumentError: both functions are given.
    """

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: AverageAll | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ArgumentError("AveragedModel: both avg_fn and multi_avg_fn are given")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module.to(device)
        self.register_buffer("n_averaged", zeros((), dtype=i64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the parameters of `model` into the averages."""
        with setting(grad_enabled=False):
            own, given = self._averaged(self.module), self._averaged(model)
            first = eq(self.n_averaged, 0)
            begun = [where(first, new, mean) for mean, new in zip(own, given, strict=True)]
            if self.multi_avg_fn is not None:
                for mean, start in zip(own, begun, strict=True):
                    mean.copy_(start)
                self.multi_avg_fn(own, given, self.n_averaged)
            else:
                average = self.avg_fn or get_swa_avg_fn()
                for mean, new in zip(own, given, strict=True):
                    mean.copy_(average(mean, new, self.n_averaged))
            for mean, start in zip(own, begun, strict=True):
                mean.copy_(where(first, start, mean))
            if not self.use_buffers:
                for mean, new in zip(self.module.buffers(), model.buffers(), strict=True):
                    mean.copy_(new)
            self.n_averaged.add_(1)

    def _averaged(self, model: Module) -> list[Tensor]:
        parts: Iterable[Tensor] = model.parameters()
        if self.use_buffers:
            parts = itertools.chain(parts, model.buffers())
        return [p.detach() for p in parts]


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Let the running statistics of the model's batch norms be those over a loader of inputs (or
    of tuples that begin with them)."""
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    training = model.training
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches
    try:
        with setting(grad_enabled=False):
            for batch in loader:
                input = batch[0] if isinstance(batch, (list, tuple)) else batch
                model(input if device is None else input.to(device))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(training)


class SWALR(LRScheduler):
    """From each group's lr to `swa_lr` within `anneal_epochs`, along a cosine or a line; there it
    stays."""

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: Any,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(f"SWALR: anneal_strategy={anneal_strategy!r} is not 'cos' or "
                                "'linear'")  # fmt: skip
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ArgumentError(f"SWALR: anneal_epochs={anneal_epochs!r}")
        self.swa_lrs = [float(lr) for lr in for_groups(optimizer, swa_lr)]
        self.anneal_epochs = anneal_epochs
        self.anneal_strategy = anneal_strategy
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """How much of swa_lr there is at a step."""
        place = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return place if self.anneal_strategy == "linear" else (1 - math.cos(math.pi * place)) / 2

    def get_lr(self) -> list[float]:
        step = max(1, self.last_epoch) if self.anneal_epochs == 0 else self.last_epoch
        before, now = self._share(step - 1), self._share(step)
        found = []
        for lr, last in zip(self._current(), self.swa_lrs, strict=True):
            first = last if before == 1 else (lr - before * last) / (1 - before)
            found.append(last * now + first * (1 - now))
        return found


__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]
