"""Products of float32 by tensor cores, where the settings allow that."""

from __future__ import annotations

import re

import numpy as np
import pytest
from attend_building import attrs, kernel_of, operand_types
from triton_interpreter import interpret
from triton_texts import needs_triton

import sley
import sley.nn.functional as F
from sley.backends.triton.compile import CompiledText
from sley.backends.triton.emit.kernel import kernel_text
from sley.backends.triton.target import gpu_target
from sley.ir.numerics import Numerics
from sley.passes.schedule_blocks import schedule_blocks
from sley.runtime.cuda.cubins import cubin_compiler
from sley.runtime.cuda.texts import triton_texts

TF32 = Numerics(tf32=True)
SPILLS = 64


@pytest.fixture
def precision():
    yield sley.set_float32_matmul_precision
    sley.set_float32_matmul_precision("highest")


def model(x, w, q):
    return F.scaled_dot_product_attention(q, q, q).sum() + F.gelu(x @ w)


def test_the_setting_decides_and_compiles_again(precision):
    compiled = sley.compile(model)
    args = [sley.randn(40, 50), sley.randn(50, 60), sley.randn(2, 33, 32)]
    found = {}
    for name in ("highest", "high", "medium"):
        precision(name)
        text = compiled.lower(*args).text(level="triton")
        found[name] = set(re.findall(r'input_precision="(\w+)"', text)), compiled(*args).numpy()
    assert found["highest"][0] == {"ieee"}
    assert found["high"][0] == found["medium"][0] == {"tf32"}
    assert len(compiled.programs) == 3
    # A processor computes the same whatever is set.
    np.testing.assert_array_equal(found["highest"][1], found["high"][1])
    np.testing.assert_array_equal(found["highest"][1], found["medium"][1])


@pytest.mark.parametrize("dtype", [sley.float64, sley.bfloat16])
def test_other_dtypes_are_left_alone(dtype):
    graph = lowered(lambda x, w: x @ w, (40, 50), (50, 60), dtype=dtype)
    assert triton_texts(graph, numerics=TF32) == triton_texts(graph)


def lowered(function, *shapes, dtype=sley.float32):
    args = [sley.zeros(*shape, dtype=dtype) for shape in shapes]
    return sley.compile(function).lower(*args).graph


CASES = {
    "large": (lambda x, w: x @ w, ((4096, 4096), (4096, 4096))),
    "epilogue": (lambda x, w, r: F.gelu(x @ w) + r, ((4096, 1024), (1024, 4096), (4096, 4096))),
    "few rows": (lambda x, w: x @ w.T, ((4, 4096), (4096, 4096))),
    "odd": (lambda x, w: x @ w, ((203, 97), (97, 301))),
    "batched": (lambda x, w: x @ w, ((12, 65, 64), (12, 64, 70))),
    "convolution": (
        lambda x, w: F.conv2d(x, w, padding=1).relu(), ((32, 64, 28, 28), (64, 64, 3, 3)),
    ),
}  # fmt: skip


@needs_triton
def test_values_on_blocks():
    (text,) = triton_texts(lowered(*_case("odd")), numerics=TF32)
    assert "tf32" in text.source
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(203, 97)), rng.normal(size=(97, 301))
    out = np.empty((203, 301), np.float32)
    interpret(text, [a.astype(np.float32), b.astype(np.float32), out], {})
    np.testing.assert_allclose(out, a @ b, rtol=2e-2, atol=5e-2)


def _case(name: str):
    function, shapes = CASES[name]
    return function, *shapes


@needs_triton
@pytest.mark.parametrize("gpu", ["sm_80", "sm_90"])
def test_machine_code_uses_tensor_cores(gpu):
    target = gpu_target(gpu)
    texts = {}
    for name in CASES:
        found = triton_texts(lowered(*_case(name)), gpu, numerics=TF32)
        (texts[name],) = (text for text in found if "tl.dot(" in text.source)
    for size in (64, 128, 256):
        types = operand_types(4, (), 512, 512, size, size, "f32", None, False)
        for backward in (False, True):
            kernel = kernel_of(types, attrs(causal=True), backward)
            schedule = schedule_blocks(kernel, target, TF32)
            texts[f"attention {size} {backward}"] = kernel_text(kernel, schedule, "kernel")
    made = cubin_compiler().compile_all(list(texts.values()), target)
    for name, code in zip(texts, made, strict=True):
        assert isinstance(code, CompiledText), f"{name}: {code}"
        assert code.spill_bytes <= SPILLS, f"{name}: {code.spill_bytes} bytes of spills"
        assert "tf32" in code.ptx and "mma" in code.ptx, name
        if gpu == "sm_90" and name in ("large", "epilogue"):
            assert "wgmma.mma_async" in code.ptx, name
