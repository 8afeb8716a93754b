"""The loops of the golden kernels: as text, verified, and run by the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_cases import CASES, text

from sley.backends.llvm.expand import expand
from sley.backends.llvm.target import host_target
from sley.ir.evaluate import bind_sizes
from sley.ir.evaluate_kernel import evaluate_kernel, fresh_outputs
from sley.ir.isomorphic import difference
from sley.ir.parser import parse, parse_program
from sley.ir.printer import print_graph
from sley.ir.verifier import verify
from sley.passes.schedule import schedule

TARGET = host_target("x86-64-v3")
QUICK = ("softmax", "split_column_sum", "conv_weight_gradient", "flash_attention")


@pytest.mark.parametrize("name", sorted(CASES))
def test_loops_verify_and_round_trip(name: str) -> None:
    for kernel in parse_program(text(name)):
        if kernel.level == "kernel":
            loops = expand(kernel, schedule(kernel, TARGET), TARGET)
            verify(loops)
            assert difference(loops, parse(print_graph(loops))) is None


@pytest.mark.parametrize("name", QUICK)
def test_loops_compute_what_the_kernel_does(name: str) -> None:
    arrays, expected = CASES[name]()
    kernel = parse(text(name))
    loops = expand(kernel, schedule(kernel, TARGET), TARGET)
    sizes = bind_sizes(kernel.inputs, arrays)
    before = list(fresh_outputs(kernel, sizes).values())
    for result, wanted in zip(evaluate_kernel(loops, arrays, None, before), expected, strict=True):
        np.testing.assert_allclose(result, wanted, rtol=2e-4, atol=2e-5)
