"""Runs Triton text with no GPU: Triton's interpreter on numpy arrays, in a process of its own.

The interpreter computes with numpy what each program of the grid would, one after the other. It is
made to find accesses outside of the arguments, reads of what nobody chose (masked lanes without
`other` are NaN, or a strange number), hints that are not true, and elements that two programs race
for. It knows nothing of registers, shared memory, and which blocks the compiler takes.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sley.backends.triton.kernel import TritonKernel
from sley.backends.triton.workers import Crew, Failure
from sley.ir.dims import evaluate

_PROCESS = Path(__file__).with_name("triton_interpreter_process.py")
_LIMIT_SECONDS = 300.0


class InterpretationError(AssertionError):
    """A kernel does what it must not, or fails. The message has its text."""


def interpret(
    kernel: TritonKernel, arrays: Sequence[np.ndarray], sizes: Mapping[str, int] | None = None
) -> None:
    """Run all programs of the kernel's grid.

    Args:
        kernel: the text.
        arrays: for each pointer among its arguments, dense, and written in place. An array that is
            given twice is one buffer.
        sizes: the values of the other arguments, and of the grid's symbols, by name.

    Raises:
        InterpretationError: an access out of range, a race, a wrong hint, a failure in the text.
    """
    sizes = sizes or {}
    pointers = [name for name, kind in kernel.arguments if kind.startswith("*")]
    assert len(pointers) == len(arrays), f"{kernel.name}{pointers} takes {len(pointers)} arrays"
    distinct = {id(array): array for array in arrays}
    positions = {key: number for number, key in enumerate(distinct)}
    request = {
        "name": kernel.name,
        "source": kernel.source,
        "arguments": kernel.arguments,
        "divisible": kernel.divisible,
        "grid": [evaluate(dim, sizes) for dim in kernel.grid],
        "buffers": [array.tobytes() for array in distinct.values()],
        "pointers": [positions[id(array)] for array in arrays],
        "scalars": [sizes[name] for name, kind in kernel.arguments if not kind.startswith("*")],
    }
    answer = interpreters().ask(request, _LIMIT_SECONDS)
    if isinstance(answer, Failure):
        lines = enumerate(kernel.source.splitlines(), 1)
        text = "\n".join(f"{number:4}  {line}" for number, line in lines)
        raise InterpretationError(f"{answer.kind}: {answer.message}\n{text}")
    for array, content in zip(distinct.values(), answer, strict=True):
        assert array.flags.c_contiguous, "an array that is not dense cannot be written in place"
        array.reshape(-1)[...] = np.frombuffer(content, array.dtype)


@functools.cache
def interpreters() -> Crew:
    """The processes that interpret; they serve the whole session."""
    return Crew(_PROCESS, {**os.environ, "TRITON_INTERPRET": "1"})
