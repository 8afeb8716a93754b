"""A list of commands that always run together, at addresses that may differ from run to run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .device import Device
from .driver import Command, CommandGraph
from .uninterrupted import Uninterrupted


class Ref(NamedTuple):
    """An address: `offset` bytes behind where buffer number `base` begins in this run."""

    base: int
    offset: int


class Use(NamedTuple):
    """Command number `command` takes address `which` from `ref`."""

    command: int
    which: int
    ref: Ref


class Segment:
    """Commands without a decision between them.

    Once a run finds most buffers where they were, the commands become one graph of the driver.
    Where buffers have moved, the nodes that use them are told so: what the caller holds need not be
    copied, and results lie in blocks of their own. A run for which most commands change issues them
    one by one instead.

    Args:
        names: of each command's kernel, with the user's line.
        uses: of all commands.
    """

    def __init__(
        self, commands: Sequence[Command], names: Sequence[str], uses: Sequence[Use]
    ) -> None:
        self.commands = tuple(commands)
        self._names = tuple(names)
        self._uses: dict[int, list[Use]] = {}
        for use in uses:
            self._uses.setdefault(use.ref.base, []).append(use)
        self._bases: list[int] = []
        self._graph: CommandGraph | None = None
        self._stale: set[int] = set()  # commands of which the graph has old addresses

    @property
    def replayed(self) -> bool:
        """Whether there is a graph."""
        return self._graph is not None

    def run(self, device: Device, bases: Sequence[int]) -> None:
        """Issues the commands.

        Args:
            bases: where each buffer begins.
        """
        changed = self._place(bases)
        if len(self.commands) == 1 or device.blocking or 2 * changed > len(self.commands):
            self._issue(device)
            return
        if self._graph is None:
            self._graph = device.driver.graph(self.commands)
            self._stale.clear()
        device.launch(self._graph, self._stale)
        self._stale.clear()

    def _issue(self, device: Device) -> None:
        if len(self.commands) == 1:  # which is one call of the driver
            device.issue(self.commands[0], self._names[0])
            return
        with Uninterrupted():
            for command, name in zip(self.commands, self._names, strict=True):
                device.issue(command, name)

    def _place(self, bases: Sequence[int]) -> int:
        """Writes the addresses of buffers that have moved into the commands; how many of these
        there are."""
        old = self._bases
        if old == bases:
            return 0
        changed = set()
        for base, uses in self._uses.items():
            if old and old[base] == bases[base]:
                continue
            for number, which, ref in uses:
                self.commands[number].place(which, bases[base] + ref.offset)
                changed.add(number)
        self._bases = list(bases)
        self._stale |= changed
        return len(changed)
