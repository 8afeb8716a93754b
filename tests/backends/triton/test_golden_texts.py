"""Kernels' texts as they were last looked at, and what Triton makes of them without a GPU."""

from __future__ import annotations

import pytest
from golden_triton import CASES, FOLDER, kernels, text_of
from triton_texts import needs_triton

from sley.backends.triton.compile import CompiledText, Compiler
from sley.backends.triton.target import gpu_target
from sley.runtime.cache import ObjectCache

SPILLS = 64  # bytes of a thread


@pytest.mark.parametrize("name", CASES)
def test_texts_are_the_kept_ones(name: str) -> None:
    kept = (FOLDER / f"{name}.txt").read_text()
    assert text_of(name) == kept, f"python tests/golden_triton.py writes {name}.txt anew"


@pytest.fixture(scope="module")
def compiler(tmp_path_factory):
    compiler = Compiler(2, ObjectCache(tmp_path_factory.mktemp("cubins")))
    yield compiler
    compiler.close()


@needs_triton
@pytest.mark.parametrize("gpu", ["sm_80", "sm_90"])
def test_texts_become_machine_code(compiler: Compiler, gpu: str) -> None:
    texts = [(name, kernel) for name in CASES for kernel in kernels(name, gpu)]
    made = compiler.compile_all([kernel for _, kernel in texts], gpu_target(gpu))
    for (name, kernel), code in zip(texts, made, strict=True):
        assert isinstance(code, CompiledText), f"{name}: {code}"
        assert code.spill_bytes <= SPILLS, f"{name}: {kernel.name} spills {code.spill_bytes} bytes"
        products = "tl.dot(" in kernel.source and "*bf16" in str(kernel.arguments)
        if products:
            wanted = "wgmma.mma_async" if gpu == "sm_90" and _full(kernel.source) else "mma.sync"
            assert wanted in code.ptx, f"{name}: {kernel.name} has no {wanted}"


def _full(source: str) -> bool:
    """Whether a block has the 64 rows that the newer instruction multiplies."""
    return "tl.zeros([64," in source or "tl.zeros([128," in source
