"""What a program computes of captured memory alone, kept while that is unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..storage import Storage

if TYPE_CHECKING:
    import numpy as np

    from ...runtime.preparation import Preparation


class State(NamedTuple):
    """What was made, where it lies, and of which memory in which versions."""

    storages: list[Storage]
    versions: list[int]
    arrays: list[np.ndarray]
    addresses: list[int]


class Prepared:
    """The prepared values of one program.

    A write to a tensor gives its storage another version, after the elements are there; so what was
    made while another thread wrote is made again at the next call. Memory that numpy or another
    library may write has no versions: what is made of it is not kept.

    Attributes:
        slots: the inputs of the program that it is made of.
        state: what is kept.
    """

    def __init__(self, preparation: Preparation) -> None:
        self.slots = preparation.slots
        self._preparation = preparation
        self.state: State | None = None

    def at(self, pointers: Sequence[int], storages: list[Storage]) -> State:
        """The values for what the captured memory holds now. Who runs the program with them holds
        on to what this gives.

        Args:
            pointers: of all inputs of the program.
            storages: those of the inputs `slots`; another list where one of them is another.
        """
        state = self.state
        versions = [storage.version for storage in storages]
        kept = True not in [storage.handed_out for storage in storages]
        if state is not None and kept:
            if state.storages is storages and state.versions == versions:
                return state
        # The memory of the old ones serves again, unless a call is under way with them.
        self.state = state = None
        state = State(storages, versions, *self._preparation.run(pointers))
        if kept:
            self.state = state
        return state
