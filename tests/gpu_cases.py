"""What the script that checks a GPU is made of: cases, and programs compared with numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sley.ir.block_schedule import BlockSchedule
from sley.ir.dtypes import of_numpy
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph, Node
from sley.ir.numerics import EXACT, Numerics
from sley.passes.block_choices import block_choices
from sley.passes.pipeline import run_passes
from sley.runtime.cuda.build import CompileAll, Emit, build
from sley.runtime.cuda.device import Device
from sley.runtime.cuda.executable import CudaExecutable

TOLERANCE = {"f64": 1e-10, "f32": 2e-4, "f16": 2e-2, "bf16": 1e-1}


@dataclass
class Context:
    """A device, and how kernels for it are compiled."""

    device: Device
    emit: Emit
    compile_all: CompileAll

    def build(
        self,
        graph: Graph,
        donated: Mapping[int, int],
        numerics: Numerics = EXACT,
        number: int = 0,
    ) -> CudaExecutable:
        """A program, each of whose kernels has choice `number` of its schedules, or the first."""
        target = self.device.target
        lowered = run_passes(graph, target, donated=donated, numerics=numerics)

        def choose(kernels: Mapping[str, Node]) -> dict[str, BlockSchedule]:
            found = {
                k: block_choices(n.attrs["kernel"], target, numerics) for k, n in kernels.items()
            }
            return {k: (choices[number:] or choices)[0] for k, choices in found.items()}

        return build(lowered, self.device, self.emit, self.compile_all, choose=choose)


@dataclass
class Case:
    """`check` of what `prepare` gives; all of a group are prepared beside each other. It may give
    what it has found out."""

    name: str
    prepare: Callable[[], Any]
    check: Callable[[Any], str | None]


def near(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    """Raises AssertionError where arrays differ by more than their dtype explains."""
    assert len(found) == len(expected)
    for number, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert a.shape == b.shape and a.dtype == b.dtype, f"result {number}: {a.shape} {a.dtype}"
        if a.dtype.kind in "biu":
            assert np.array_equal(a, b), f"result {number}: {np.sum(a != b)} elements differ"
            continue
        known = of_numpy(a.dtype)
        assert known is not None
        wide = np.complex128 if known.is_complex else np.float64
        tolerance = TOLERANCE[known.to_real().name]
        np.testing.assert_allclose(
            a.astype(wide), b.astype(wide), tolerance, tolerance, err_msg=f"result {number}"
        )


def compared(
    context: Context,
    name: str,
    graph: Graph,
    inputs: Sequence[Sequence[np.ndarray]],
    donated: Mapping[int, int] | None = None,
    calls: int = 3,
    numerics: Numerics = EXACT,
) -> Case:
    """A case: `graph` for each list of arrays, against numpy; each call gives the same bits."""
    donated = donated or {}

    def prepare() -> Any:
        executable = context.build(graph, donated, numerics)
        return executable, [evaluate(graph, arrays) for arrays in inputs]

    def check(prepared: Any) -> None:
        executable, expected = prepared
        for arrays, wanted in zip(inputs, expected, strict=True):
            bits = set()
            for _ in range(calls):
                own = [array.copy() for array in arrays]
                fresh = iter(executable(own))
                found = [
                    own[donated[k]] if k in donated else next(fresh) for k in range(len(wanted))
                ]
                near(found, wanted)
                bits.add(tuple(array.tobytes() for array in found))
            assert len(bits) == 1, "calls differ"

    return Case(name, prepare, check)
