"""Several schedules for one optimizer."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from ...errors import ArgumentError
from ..optimizer import Optimizer
from .base import LRScheduler


class SequentialLR(LRScheduler):
    """Several schedules one after the other: number k + 1 begins at epoch milestones[k]."""

    unsaved = ("optimizer", "_schedulers")

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        if len(milestones) != len(schedulers) - 1:
            raise ArgumentError(f"{len(schedulers)} schedules with {len(milestones)} milestones")
        self.optimizer = optimizer
        self._schedulers = list(schedulers)
        self.milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        # Making the schedules has moved the lr already: back to its beginning.
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for scheduler in self._schedulers:
            scheduler.last_epoch -= 1
        self._schedulers[0].step()
        self._last_lr = self._schedulers[0].get_last_lr()

    def step(self) -> None:
        self.last_epoch += 1
        number = bisect.bisect_right(self.milestones, self.last_epoch)
        scheduler = self._schedulers[number]
        if number and self.milestones[number - 1] == self.last_epoch:
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"]
            scheduler.last_epoch = -1
        scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(LRScheduler):
    """Several schedules at once: each changes what the one before has set."""

    unsaved = ("optimizer", "_schedulers")

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        self._schedulers = list(schedulers)
        self.optimizer = self._schedulers[0].optimizer if optimizer is None else optimizer
        self._last_lr = self._current()

    def step(self) -> None:
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._current()
