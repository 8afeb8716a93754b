"""Every step of the compiler as text."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...ir.graph import Graph
from ...ir.printer import save
from ...runtime.config import config
from ..errors import ArgumentError

if TYPE_CHECKING:
    from ...runtime.executable import Executable, KernelCode

LEVELS = ("tensor", "kernel", "loop", "llvm", "asm")
_number = itertools.count()


class Lowered:
    """A compiled program, to be read.

    Attributes:
        executable: the machine code, with its plan and kernels.
    """

    def __init__(self, executable: Executable) -> None:
        self.executable = executable

    @property
    def passes(self) -> list[str]:
        """Names of the passes, in order; "trace" is the program as it was recorded."""
        return [name for name, _ in self.executable.stages]

    @property
    def graph(self) -> Graph:
        """The program as it was recorded."""
        return self.executable.stages[0][1]

    @property
    def kernels(self) -> tuple[KernelCode, ...]:
        """The distinct kernels, each with graph, schedule, LLVM text and object code."""
        return self.executable.kernels

    def text(self, after: str | None = None, level: str | None = None) -> str:
        """The program after the pass `after` (the first by default), or its kernels at `level`:
        "kernel", "loop", "llvm" or "asm".

        Raises:
            ArgumentError: there is no such pass or level.
        """
        if level in (None, "tensor"):
            return str(self._stage(after or "trace"))
        if level == "kernel":
            return "\n".join(f"{k.graph}// {k.schedule}\n" for k in self.kernels)
        if level == "loop":
            return "\n".join(map(str, self.executable.loops()))
        if level == "llvm":
            return self.executable.llvm()
        if level == "asm":
            return self.executable.assembly()
        raise ArgumentError(f"level is one of {', '.join(LEVELS)}, not {level!r}")

    def _stage(self, name: str) -> Any:
        for known, program in self.executable.stages:
            if known == name:
                return program
        raise ArgumentError(f"there is no pass {name!r}; there are {', '.join(self.passes)}")

    def __repr__(self) -> str:
        return f"<lowered @{self.graph.name}: {len(self.kernels)} distinct kernels>"

    def write(self, folder: Path) -> list[Path]:
        """Writes the text of every pass and of every level; the paths written."""
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for number, (name, program) in enumerate(self.executable.stages):
            file = f"{number:02d}-{re.sub('[^a-z0-9]+', '-', name)}.ir"
            if isinstance(program, Graph):
                save(program, folder / file)
                written.append(folder / file)
            else:
                written.append(_write(folder / file, str(program)))
        for level, ending in (("kernel", "ir"), ("loop", "ir"), ("llvm", "ll"), ("asm", "s")):
            written.append(_write(folder / f"kernels-{level}.{ending}", self.text(level=level)))
        return written


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def dump(name: str, executable: Executable) -> None:
    """Writes all of a compilation where `SLEY_DUMP` says, if it does."""
    folder = config().dump
    if folder is not None:
        safe = re.sub("[^A-Za-z0-9_.]+", "-", name)
        Lowered(executable).write(folder / f"{next(_number):03d}-{safe}")
