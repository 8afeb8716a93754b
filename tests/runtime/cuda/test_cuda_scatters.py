"""Scatters on the simulated GPU, by their texts: joined by atomics, and added up in order."""

from __future__ import annotations

import re

import ml_dtypes
import numpy as np
import pytest
from interpreted_gpu import InterpretedGpu
from triton_texts import needs_triton

import sley
import sley.nn.functional as F
from sley.backends.triton.compile import CompiledText
from sley.backends.triton.target import gpu_target
from sley.ir.evaluate import evaluate
from sley.ir.numerics import EXACT, Numerics
from sley.passes.pipeline import run_passes
from sley.runtime.cuda.cubins import cubin_compiler
from sley.runtime.cuda.texts import triton_texts

ORDER = Numerics(deterministic=True)
HALF = np.dtype(ml_dtypes.bfloat16)
pytestmark = needs_triton


def embedding(w, i):
    return sley.func.grad(lambda w: F.embedding(i, w).square().sum())(w)


def rows(x, i, u):
    return x.index_add(0, i, u)


def columns(x, i, u):
    return x.index_add(1, i, u)


def elements(x, i, u):
    return x.scatter_add(1, i, u)


def floats(*shape, dtype=np.float32):
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


def indices(most, *shape):
    return np.random.default_rng(2).integers(0, most, shape)


CASES = {
    "embedding": (embedding, floats(37, 20), indices(37, 3, 33)),
    "embedding of halves": (embedding, floats(37, 20, dtype=HALF), indices(37, 3, 33)),
    "rows": (rows, floats(9, 70), indices(9, 50), floats(50, 70)),
    "columns": (columns, floats(3, 9, 5), indices(9, 40), floats(3, 40, 5)),
    "elements": (elements, floats(4, 30), indices(30, 4, 33), floats(4, 33)),
    "elements of halves": (
        elements, floats(4, 30, dtype=HALF), indices(30, 4, 33), floats(4, 33, dtype=HALF),
    ),
}  # fmt: skip


def graph_of(name):
    function, *arrays = CASES[name]
    return sley.compile(function).lower(*map(sley.tensor, arrays)).graph, arrays


@pytest.mark.parametrize("numerics", [EXACT, ORDER], ids=["atomics", "ordered"])
@pytest.mark.parametrize("name", CASES)
def test_values(name, numerics):
    graph, arrays = graph_of(name)
    gpu = InterpretedGpu()
    executable = gpu.build(run_passes(graph, gpu.device.target, numerics=numerics))
    assert not executable.on_host
    for found, wanted in zip(executable(arrays), evaluate(graph, arrays), strict=True):
        exact = 3e-2 if wanted.dtype == HALF else 1e-5
        pair = (a.astype(np.float64) for a in (found, wanted))
        np.testing.assert_allclose(*pair, rtol=exact, atol=exact)


@pytest.mark.parametrize("gpu", ["sm_80", "sm_90"])
def test_machine_code(gpu):
    texts = {}
    for name in CASES:
        for numerics in (EXACT, ORDER):
            found = triton_texts(graph_of(name)[0], gpu, numerics=numerics)
            texts |= {(name, numerics.deterministic, t.name): t for t in found}
    made = cubin_compiler().compile_all(list(texts.values()), gpu_target(gpu))
    for (name, ordered, kernel), code in zip(texts, made, strict=True):
        assert isinstance(code, CompiledText), f"{name}, {kernel}: {code}"
        assert code.spill_bytes <= 64, f"{name}, {kernel}"
        kinds = {
            kind for _, kind in re.findall(r"\b(red|atom)\.global\S*add\.(?:v\d\.)?(\w)", code.ptx)
        }
        if ordered:  # numbers that are added are the same in any order
            assert kinds == ({"u"} if kernel.endswith("_order") else set()), f"{name}, {kernel}"
        else:
            assert kinds == ({"f"} if kernel.endswith("_updates") else set()), f"{name}, {kernel}"
