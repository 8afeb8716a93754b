"""Schedules that a tuner tries out: each computes what the first choice does."""

from __future__ import annotations

import numpy as np
import pytest
from attend_building import arrays_for, attrs, coherent, kernel_of, operand_types
from golden_triton import CASES, SIZES
from triton_interpreter import interpret
from triton_texts import needs_triton

import sley
from sley.backends.triton.emit.kernel import kernel_text
from sley.backends.triton.target import gpu_target
from sley.ir.evaluate_kernel import evaluate_kernel
from sley.ir.graph import Graph
from sley.ir.ops.attention import ATTENTION, ATTENTION_GRADIENT
from sley.ir.plan import Launch
from sley.passes.block_choices import MOST, block_choices
from sley.passes.pipeline import run_passes

TARGET = gpu_target("sm_90")


def normal(*shape):
    return sley.zeros(shape)


def kernels(function, *args) -> list[Graph]:
    graph = sley.compile(function).lower(*args).graph
    plan = run_passes(graph, TARGET).plan
    return list(dict.fromkeys(s.node.attrs["kernel"] for s in plan.walk() if isinstance(s, Launch)))


@pytest.mark.parametrize("name", CASES)
def test_there_is_a_choice(name):
    function, args = CASES[name]
    for kernel in kernels(function, *args):
        found = block_choices(kernel, TARGET)
        assert 1 <= len(found) <= MOST and len(set(found)) == len(found)
        for schedule in found:
            kernel_text(kernel, schedule, "kernel")
        if name in ("large_product", "attention", "softmax", "column_sum", "transposition"):
            assert len(found) >= 4


def adamw(*tensors):
    return [0.9 * t + t.sqrt() for t in tensors]


KINDS = {
    "loop": (lambda x: x * 2 + 1, (normal(1500),)),
    "turned": (lambda x: (x.transpose(1, 2) + 1).contiguous(), (normal(2, 70, 33),)),
    "rows": (lambda x: x.softmax(-1), (normal(5, 67),)),
    "long rows": (lambda x: x.logsumexp(-1) + x.sum(-1), (normal(2, 17_000),)),
    "columns": (lambda x: x.square().sum(0), (normal(69, 70),)),
    "prefixes": (lambda x: x.cumsum(-1), (normal(3, 65),)),
    "product": (lambda x, w: (x @ w).relu(), (normal(33, 40), normal(40, 65))),
    "large product": (lambda x, w: x @ w, (sley.zeros(70, 130, dtype=sley.bfloat16),
                                           sley.zeros(130, 140, dtype=sley.bfloat16))),
    "many": (adamw, tuple(normal(*size) for size in SIZES)),
}  # fmt: skip


@needs_triton
@pytest.mark.parametrize("name", KINDS)
def test_each_computes_the_same(name):
    function, args = KINDS[name]
    rng = np.random.default_rng(0)
    for kernel in kernels(function, *args):
        arrays = [
            np.abs(rng.normal(size=p.type.shape)).astype(p.type.dtype.numpy) for p in kernel.inputs
        ]
        expected = evaluate_kernel(kernel, arrays, {})
        for schedule in block_choices(kernel, TARGET):
            outputs = [np.full(a.shape, 77, a.dtype) for a in expected]
            interpret(kernel_text(kernel, schedule, "kernel"), [*arrays, *outputs], {})
            tolerance = 2e-2 if expected[0].dtype.itemsize == 2 else 1e-4
            for found, wanted in zip(outputs, expected, strict=True):
                pair = (a.astype(np.float64) for a in (found, wanted))
                np.testing.assert_allclose(*pair, tolerance, tolerance, err_msg=str(schedule))


@needs_triton
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_attention(backward):
    given = attrs(causal=True)
    types = operand_types(1, (2,), 70, 70, 20, 9, "f32", None, False)
    kernel = kernel_of(types, given, backward)
    arrays = arrays_for(kernel, {}, given, 0)
    arrays = coherent(arrays, given) if backward else arrays
    expected = (ATTENTION_GRADIENT if backward else ATTENTION).evaluate(arrays, given)
    for schedule in block_choices(kernel, TARGET):
        outputs = [np.full(a.shape, 77, a.dtype) for a in expected]
        interpret(kernel_text(kernel, schedule, "kernel"), [*arrays, *outputs], {})
        for found, wanted in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(found, wanted, 1e-4, 1e-4, err_msg=str(schedule))
