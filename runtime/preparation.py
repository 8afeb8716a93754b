"""What a program computes of inputs that stay the same, apart from it (`passes/prepare.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..ir.types import TensorType

if TYPE_CHECKING:
    from .executable import Executable


@dataclass(frozen=True, slots=True, eq=False)
class Preparation:
    """What follows from some inputs of a program alone, computed apart from it.

    Attributes:
        slots: the numbers of these inputs.
        executable: computes it of them.
    """

    slots: tuple[int, ...]
    executable: Executable

    @property
    def types(self) -> list[TensorType]:
        """Of what it gives."""
        return [value.type for value in self.executable.graph.yields]

    def run(self, pointers: Sequence[int]) -> tuple[list[np.ndarray], list[int]]:
        """New arrays with where they lie; `pointers` are those of all the program's inputs."""
        return self.executable.run_placed([pointers[slot] for slot in self.slots])
