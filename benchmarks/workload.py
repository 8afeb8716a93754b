"""What a workload is, and what its results are checked against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .libraries import Library, is_installed, library_of

Arrays = Sequence[np.ndarray]
Call = Callable[[], Any]


@dataclass(frozen=True)
class Workload:
    """Something to be timed.

    Attributes:
        name, group: for the tables.
        inputs: makes the arrays from a seed; with `tiny` small ones, for a test that all runs.
        torch_like: (library, tensors) -> a function without arguments, for torch and sley.
        jax: (jax, arrays) -> a function without arguments.
        numpy: (arrays) -> result, the reference where there is one; else that is torch.
        flops: floating point operations that cannot be avoided.
        nbytes: bytes that must be read and written.
        counted: `flops` and `nbytes` are counted in the traced program instead.
        threads: the numbers of threads to time it with; any by default.
        tolerance: of the results, relative to the largest element.
        checked_calls: the results of so many calls are compared with the reference's; a training
            step must be right several times.
        exported: whether it can run in onnxruntime: no gradients, no state.
        eager: whether sley runs it without compiling.
        only: the libraries that it is for, all by default.
    """

    name: str
    group: str
    inputs: Callable[[bool], Arrays]
    torch_like: Callable[[Library, Sequence[Any]], Call]
    jax: Callable[[Any, Sequence[Any]], Call] | None = None
    numpy: Callable[[Arrays], Call] | None = None
    flops: int = 0
    nbytes: int = 0
    counted: bool = False
    threads: tuple[int, ...] | None = None
    tolerance: float = 1e-5
    checked_calls: int = 1
    exported: bool = False
    eager: bool = False
    only: tuple[str, ...] | None = None

    def runs_on(self, implementation: str) -> bool:
        """Whether it is written for the library."""
        if self.only is not None and implementation not in self.only:
            return False
        written = {"numpy": self.numpy, "jax": self.jax, "onnxruntime": self.exported or None}
        return written.get(implementation, self) is not None

    @property
    def reference(self) -> str:
        """What gives the right results."""
        if self.numpy is not None:
            return "numpy"
        return "torch" if is_installed("torch") else "sley eager"


def build(workload: Workload, implementation: str, tiny: bool = False) -> Call:
    """The workload on one library: a call of the result does it once and waits for the end."""
    arrays = workload.inputs(tiny)
    if implementation == "numpy":
        assert workload.numpy is not None, workload.name
        return workload.numpy(arrays)
    if implementation == "jax":
        import jax

        assert workload.jax is not None, workload.name
        return workload.jax(jax, [jax.numpy.asarray(a) for a in arrays])
    if workload.eager and implementation == "sley":
        implementation = "sley eager"
    library = library_of(implementation)
    return workload.torch_like(library, [library.tensor(a) for a in arrays])


def results(workload: Workload, call: Call) -> list[np.ndarray]:
    """What the first calls give. `call` must be new."""
    return [array for _ in range(workload.checked_calls) for array in _arrays(call())]


def _arrays(result: Any) -> Iterator[np.ndarray]:
    """The results of any library as numpy arrays."""
    if isinstance(result, (tuple, list)):
        for item in result:
            yield from _arrays(item)
    else:
        if hasattr(result, "detach"):
            result = result.detach()
            if str(result.dtype).endswith("bfloat16"):
                result = result.float()  # torch has no numpy array of these
        array = np.asarray(result)
        yield array.copy()  # a later call may write there


def error(workload: Workload, expected: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> float:
    """The largest difference of results, each relative to its largest element.

    Raises:
        ValueError: other shapes, or another number of them.
    """
    if [a.shape for a in got] != [a.shape for a in expected]:
        raise ValueError(
            f"{workload.name}: shapes are {[a.shape for a in got]}, those of the reference "
            f"{[a.shape for a in expected]}"
        )
    return max(map(_difference, expected, got))


def _difference(expected: np.ndarray, got: np.ndarray) -> float:
    wide = np.asarray(expected, np.float64)
    scale = max(float(np.abs(wide).max(initial=0.0)), 1e-30)
    return float(np.abs(np.asarray(got, np.float64) - wide).max(initial=0.0)) / scale
