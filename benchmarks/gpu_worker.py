"""One library on a GPU, in a process of its own: as `worker.py`, by lines of JSON.

{"do": "prepare", "case": NAME, "file": F} -> {"first": seconds of the first call}: writes there
what the first calls give, as far as it is compared
{"do": "time", "seconds": S, "runs": N} -> {"seconds": [of a call, for each sample]}
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .libraries import Sley, SleyEager, Torch, TorchCompiled
from .workload import Call
from .workloads import gpu
from .workloads.gpu import GpuCase

_CACHE = 64 << 20  # bytes: above the L2 cache of all GPUs of now
_MOST_SETS = 8  # of operands, which take turns
_COMPARED = 1 << 16  # elements of a result
_SAMPLE = 0.01  # seconds: shorter calls are timed several at once
IMPLEMENTATIONS = ("sley", "torch", "torch.compile", "torch.compile max-autotune", "jax")


# What each library has compiled. Not in the libraries themselves: what functions find there, their
# programs depend on.
_made: weakref.WeakKeyDictionary[Any, Callable[..., Any]] = weakref.WeakKeyDictionary()


def _once(library: Any, make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """What the first `make` for a library gives: a case's function for further operands is the
    same."""
    if library not in _made:
        _made[library] = make()
    return _made[library]


class TorchGpu(Torch):
    """torch, with all floats in one precision."""

    def __init__(self, precision: str) -> None:
        super().__init__()
        self.precision = precision
        self.module.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        # Convolutions have a setting of their own.
        self.module.backends.cudnn.allow_tf32 = precision == "tf32"

    def tensor(self, array: np.ndarray) -> Any:
        return self.place(super().tensor(array))

    def place(self, module: Any) -> Any:
        return _placed(self, module)

    def wait(self) -> None:
        self.module.cuda.synchronize()


class TorchCompiledGpu(TorchGpu):
    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return _once(self, lambda: TorchCompiled.compile(self, function))  # type: ignore[arg-type]


class TorchTunedGpu(TorchGpu):
    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        self.module.compiler.reset()
        tuned = lambda: self.module.compile(function, dynamic=False, mode="max-autotune")
        return _once(self, tuned)


class SleyGpu(Sley):
    """sley, compiled."""

    def __init__(self, precision: str) -> None:
        super().__init__()
        self.precision = precision
        self.module.set_float32_matmul_precision("high" if precision == "tf32" else "highest")

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return _once(self, lambda: Sley.compile(self, function))

    def tensor(self, array: np.ndarray) -> Any:
        return self.place(SleyEager.tensor(self, array))

    def place(self, module: Any) -> Any:
        return _placed(self, module)

    def wait(self) -> None:
        self.module.cuda.synchronize()


def _placed(library: Any, what: Any) -> Any:
    """A tensor or module on the GPU; floats in the library's precision."""
    floats = hasattr(what, "parameters") or what.is_floating_point()
    if library.precision == "bf16" and floats:
        what = what.to(library.module.bfloat16)
    return what.to("cuda")


class Jax:
    """jax, whose calls wait for their results."""

    def __init__(self, precision: str) -> None:
        import jax

        self.jax = jax
        self.precision = precision
        jax.config.update("jax_default_matmul_precision", "float32" if precision == "f32" else None)

    def tensor(self, array: np.ndarray) -> Any:
        half = self.precision == "bf16" and array.dtype.kind == "f"
        return self.jax.numpy.asarray(array, self.jax.numpy.bfloat16 if half else None)

    def wait(self) -> None:
        pass


_LIBRARIES: dict[str, Callable[[str], Any]] = {
    "sley": SleyGpu, "torch": TorchGpu, "torch.compile": TorchCompiledGpu,
    "torch.compile max-autotune": TorchTunedGpu, "jax": Jax,
}  # fmt: skip


def build(case: GpuCase, implementation: str, tiny: bool) -> tuple[Call, Callable[[], None]]:
    """The case on one library: a call that begins it once, on other operands than the last one,
    and what waits for all that was begun."""
    library = _LIBRARIES[implementation](case.precision)
    arrays = case.workload.inputs(tiny)
    if implementation == "jax":
        assert case.workload.jax is not None, case.name
        bind = lambda tensors: case.workload.jax(library.jax, tensors)
    else:
        bind = lambda tensors: case.workload.torch_like(library, tensors)
    nbytes = sum(array.nbytes for array in arrays)
    sets = 1 if case.stateful else min(_MOST_SETS, 1 + 2 * _CACHE // max(1, nbytes))
    calls = [bind([library.tensor(array) for array in arrays]) for _ in range(sets)]
    turn = 0

    def call() -> Any:
        nonlocal turn
        turn += 1
        return calls[turn % sets]()

    return call, library.wait


class Worker:
    """Answers requests for one library.

    Attributes:
        tiny: small sizes, to see that it works.
    """

    def __init__(self, implementation: str, tiny: bool = False) -> None:
        self.implementation = implementation
        self.tiny = tiny
        self.call: Call = lambda: None
        self.wait: Callable[[], None] = lambda: None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "prepare":
            return self.prepare(gpu.named(request["case"]), request["file"])
        return {"seconds": self.time(request["seconds"], request["runs"])}

    def prepare(self, case: GpuCase, file: str) -> dict[str, Any]:
        """Builds the case; writes what its first calls give."""
        self.call = lambda: None  # frees the last one's memory
        gc.collect()
        call, wait = build(case, self.implementation, self.tiny)
        start = time.perf_counter()
        first = call()
        wait()
        seconds = time.perf_counter() - start
        found = list(_compared(first))
        for _ in range(case.workload.checked_calls - 1):
            found += _compared(call())
        np.savez(file, *found)
        self.call, self.wait = call, wait
        return {"first": seconds}

    def time(self, seconds: float, runs: int) -> list[float]:
        """Seconds of a call, of many that follow each other, until both so many samples are there
        and so much time is over."""
        call, wait, clock = self.call, self.wait, time.perf_counter
        for _ in range(_MOST_SETS):
            call()
        wait()
        start = clock()
        call()
        wait()
        inner = max(1, min(1000, int(_SAMPLE / max(clock() - start, 1e-9))))
        samples: list[float] = []
        begin = clock()
        while len(samples) < runs or clock() - begin < seconds:
            start = clock()
            for _ in range(inner):
                call()
            wait()
            samples.append((clock() - start) / inner)
        return samples


def _compared(result: Any) -> Iterator[np.ndarray]:
    """The beginnings of results of any library."""
    if isinstance(result, (tuple, list)):
        for item in result:
            yield from _compared(item)
        return
    flat = result.reshape(-1)[:_COMPARED]
    if hasattr(flat, "detach"):
        flat = flat.detach().float().cpu()
        yield flat.numpy().copy()
    else:
        yield np.asarray(flat).astype(np.float32)


def main(arguments: Sequence[str]) -> None:
    worker = Worker(arguments[0], "--quick" in arguments)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes elsewhere
    for line in sys.stdin:
        request = json.loads(line)
        # Whatever a library raises is told, and the others go on.
        try:
            answer = worker.answer(request)
        except Exception as failure:
            traceback.print_exc()
            answer = {"failure": f"{type(failure).__name__}: {failure}"[:2000]}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
