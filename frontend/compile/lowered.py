"""Every step of the compiler as text."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...ir.dtypes import is_foreign
from ...ir.graph import Graph
from ...ir.printer import save
from ...runtime.config import config
from ..context import ambient
from ..errors import ArgumentError, UnsupportedError

if TYPE_CHECKING:
    from ...runtime.cuda.executable import CudaExecutable
    from ...runtime.executable import Executable, KernelCode

LEVELS = ("tensor", "kernel", "loop", "llvm", "asm", "triton")
_OF_PROCESSORS = ("loop", "llvm", "asm")
_number = itertools.count()


class GpuKernel(NamedTuple):
    """A kernel of a GPU's program: its name, graph and schedule."""

    name: str
    graph: Graph
    schedule: Any


class Lowered:
    """A compiled program, to be read.

    Attributes:
        executable: the machine code, with its plan and kernels.
        device: what it runs on, "cpu" or "cuda".
    """

    def __init__(self, executable: Executable | CudaExecutable) -> None:
        self.executable: Any = executable
        self.device = "cpu" if hasattr(executable, "llvm") else "cuda"

    @property
    def passes(self) -> list[str]:
        """Names of the passes, in order; "trace" is the program as it was recorded."""
        return [name for name, _ in self.executable.stages]

    @property
    def graph(self) -> Graph:
        """The program as it was recorded."""
        found: Graph = self.executable.stages[0][1]
        return found

    @property
    def kernels(self) -> tuple[KernelCode | GpuKernel, ...]:
        """The distinct kernels, each with name, graph and schedule, and, of a processor's program,
        LLVM text and object code."""
        if self.device == "cpu":
            found: tuple[KernelCode, ...] = self.executable.kernels
            return found
        distinct: dict[Any, GpuKernel] = {}
        for node in self.executable.kernels:
            kernel, schedule = node.attrs["kernel"], node.attrs["schedule"]
            distinct.setdefault((kernel, str(schedule)), GpuKernel(kernel.name, kernel, schedule))
        return tuple(distinct.values())

    def text(self, after: str | None = None, level: str | None = None) -> str:
        """The program after the pass `after` (as recorded by default), or its distinct kernels.

        Args:
            after: a name of `passes`.
            level: "tensor" for the program (the default); for the kernels "kernel" (each with its
                schedule), "loop", "llvm" or "asm" (of a processor's programs); "triton" for what
                they would be on an NVIDIA H100 or H200 under the settings of now, for which no GPU
                is needed.

        Raises:
            ArgumentError: there is no such pass or level, or both `after` and a level of kernels.
        """
        if level in (None, "tensor"):
            return _with_newline(str(self._stage(after or "trace")))
        if level not in LEVELS:
            raise ArgumentError(f"level is one of {', '.join(LEVELS)}, not {level!r}")
        if after is not None:
            raise ArgumentError(f"level {level!r} shows the finished kernels, after no single pass")
        if level in _OF_PROCESSORS and self.device != "cpu":
            raise ArgumentError(
                f"level {level!r} shows programs of the processor, this one runs on a GPU",
                hint='take level="triton"',
            )
        if level == "kernel":
            return "\n".join(f"{k.graph}\nschedule @{k.name}: {k.schedule}\n" for k in self.kernels)
        if level == "loop":
            return "\n".join(map(str, self.executable.loops()))
        if level == "llvm":
            return str(self.executable.llvm())
        if level == "triton":
            return self._triton()
        return str(self.executable.assembly())

    def _triton(self) -> str:
        from ...runtime.cuda.texts import triton_texts, with_launches  # CPU programs need none

        try:
            numerics = ambient.context.numerics
            donated = self.executable.donated
            return with_launches(triton_texts(self.graph, donated=donated, numerics=numerics))
        except NotImplementedError as error:
            raise UnsupportedError(f"a kernel of @{self.graph.name}: {error}") from error

    def _stage(self, name: str) -> Any:
        for known, program in self.executable.stages:
            if known == name:
                return program
        raise ArgumentError(f"there is no pass {name!r}; there are {', '.join(self.passes)}")

    def __repr__(self) -> str:
        return f"<lowered @{self.graph.name}: {len(self.kernels)} distinct kernels>"

    def write(self, folder: Path) -> list[Path]:
        """Writes the text of every pass and of every level; the paths written.

        Large constants lie beside a program in FILE.npz, inputs that the passes have added in
        FILE.inputs.npz; `sley run FILE` reads both.
        """
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for number, (name, program) in enumerate(self.executable.stages):
            path = folder / f"{number:02d}-{re.sub('[^a-z0-9]+', '-', name)}.ir"
            if isinstance(program, Graph):
                save(program, path)
                self._save_inputs(program, path)
            else:
                path.write_text(_with_newline(str(program)))
            written.append(path)
        endings = {"kernel": "ir", "loop": "ir", "llvm": "ll", "asm": "s"}
        if self.device != "cpu":
            endings = {"kernel": "ir", "triton": "py"}
        for level, ending in endings.items():
            path = folder / f"kernels-{level}.{ending}"
            path.write_text(self.text(level=level))
            written.append(path)
        return written

    def _save_inputs(self, program: Graph, path: Path) -> None:
        """Writes the arrays of inputs that the recorded program has not, by their position; those
        that are prepared depend on the call."""
        preparation = self.executable.preparation
        first = len(self.graph.inputs) + (0 if preparation is None else len(preparation.types))
        arrays = self.executable.constants[: max(0, len(program.inputs) - first)]
        if arrays:
            named = {str(first + number): _plain(array) for number, array in enumerate(arrays)}
            np.savez(f"{path}.inputs.npz", **named)  # type: ignore[arg-type]


def _plain(array: np.ndarray) -> np.ndarray:
    """The array, or its bytes where numpy's files do not know its dtype (bfloat16, float8)."""
    return array.view(np.uint8) if is_foreign(array.dtype) else array


def _with_newline(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"


def dump(name: str, executable: Executable | CudaExecutable) -> None:
    """Writes all of a compilation where `SLEY_DUMP` says, if it does."""
    folder = config().dump
    if folder is not None:
        safe = re.sub("[^A-Za-z0-9_.]+", "-", name)
        Lowered(executable).write(folder / f"{next(_number):03d}-{safe}")
