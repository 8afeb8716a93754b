"""What a workload is, and the libraries that it runs on."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Arrays = Sequence[np.ndarray]
Call = Callable[[], Any]

# The order in which they take turns. "limit" is the machine's own: see limits.py.
PEERS = ("numpy", "jax", "torch")
IMPLEMENTATIONS = ("sley", *PEERS)


@dataclass(frozen=True)
class Workload:
    """Something to be timed.

    Attributes:
        name, group: for the tables.
        inputs: makes the arrays from a seed; with `tiny` small ones, for a test that all runs.
        numpy: (arrays) -> result, the reference.
        torch_like: (library, tensors) -> a function without arguments, for torch and sley.
        jax: (jax, arrays) -> a function without arguments.
        flops: floating point operations, where they are the limit.
        nbytes: bytes that must be read and written, where memory is the limit.
        threads: the numbers of threads to time it with.
        tolerance: of the results, relative to the largest element.
        checked_calls: the result of which call is compared with numpy's; a training step must be
            right several times.
    """

    name: str
    group: str
    inputs: Callable[[bool], Arrays]
    numpy: Callable[[Arrays], Call]
    torch_like: Callable[[Library, Sequence[Any]], Call]
    jax: Callable[[Any, Sequence[Any]], Call]
    flops: int = 0
    nbytes: int = 0
    threads: tuple[int, ...] = (1, 2)
    tolerance: float = 1e-5
    checked_calls: int = 1


class Library(Protocol):
    """What torch and sley have in common, and what they spell differently."""

    module: Any  # torch or sley
    functional: Any  # nn.functional

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` as it would be used in earnest: compiled by sley, as it is by torch."""

    def tensor(self, array: np.ndarray) -> Any:
        """A tensor with the array's elements."""


class Torch:
    """torch in its eager mode, which beats its own compiler in the workloads here."""

    def __init__(self) -> None:
        import torch

        self.module: Any = torch
        self.functional: Any = torch.nn.functional

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def tensor(self, array: np.ndarray) -> Any:
        return self.module.from_numpy(array.copy())


class Sley:
    def __init__(self) -> None:
        import sley

        self.module: Any = sley
        self.functional: Any = sley.nn.functional

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Callable[..., Any] = self.module.compile(function)
        return compiled

    def tensor(self, array: np.ndarray) -> Any:
        return self.module.tensor(array)


def is_installed(implementation: str) -> bool:
    """Whether the library can be imported."""
    return importlib.util.find_spec(implementation) is not None


def build(workload: Workload, implementation: str, tiny: bool = False) -> Call:
    """The workload on one library: a call of the result does it once and waits for the end."""
    arrays = workload.inputs(tiny)
    if implementation == "numpy":
        return workload.numpy(arrays)
    if implementation == "jax":
        import jax

        return workload.jax(jax, [jax.numpy.asarray(a) for a in arrays])
    library: Library = Torch() if implementation == "torch" else Sley()
    return workload.torch_like(library, [library.tensor(a) for a in arrays])


def as_array(result: Any) -> np.ndarray:
    """A result of any library as a numpy array."""
    if hasattr(result, "detach"):
        result = result.detach()
    return np.asarray(result)


def error(workload: Workload, call: Call, tiny: bool = False) -> float:
    """The largest difference of a result from numpy's, relative to the largest element. `call` must
    be new."""
    reference = build(workload, "numpy", tiny)
    for _ in range(workload.checked_calls):
        expected, got = np.asarray(reference()), as_array(call())
    if got.shape != expected.shape:
        raise ValueError(f"{workload.name}: the shape is {got.shape}, numpy's {expected.shape}")
    scale = max(float(np.abs(expected).max(initial=0.0)), 1e-30)
    return float(np.abs(got - expected).max(initial=0.0)) / scale
