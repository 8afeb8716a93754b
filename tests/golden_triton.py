"""Programs whose kernels' Triton texts are kept in tests/golden/triton.

`python tests/golden_triton.py` writes the texts anew: look at the difference before you commit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import sley
import sley.nn.functional as F
from sley.backends.triton.kernel import TritonKernel
from sley.runtime.cuda.texts import triton_texts, with_launches

FOLDER = Path(__file__).resolve().parent / "golden" / "triton"


def gradient(function: Callable) -> Callable:
    """All gradients of the sum of squares of what `function` gives."""

    def pulled(*args):
        count = tuple(range(sum(a.is_floating_point() for a in args)))
        return sley.func.grad(lambda *a: function(*a).float().square().sum(), count)(*args)

    return pulled


def normal(*shape: int, dtype: sley.dtype = sley.float32) -> sley.Tensor:
    return sley.zeros(shape, dtype=dtype)


def half(*shape: int) -> sley.Tensor:
    return normal(*shape, dtype=sley.bfloat16)


def indices(*shape: int) -> sley.Tensor:
    return sley.zeros(shape, dtype=sley.int64)


def norm(x, w, b):
    return F.layer_norm(x, x.shape[-1:], w, b)


def adamw(*tensors):
    updated = []
    for k in range(0, len(tensors), 4):
        w, g, m, v = tensors[k : k + 4]
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        updated += [w - 1e-3 * (m / (v.sqrt() + 1e-8) + 0.01 * w), m, v]
    return updated


def attention(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


SIZES = ((784, 128), (128,), (33, 10))
CASES: dict[str, tuple[Callable, tuple]] = {
    "gelu_chain": (lambda x, b: F.gelu(x + b) * 0.5, (half(1000, 257), half(257))),
    "dropout": (lambda x: F.dropout(x, 0.3), (normal(1000),)),
    "transposition": (lambda x: x.transpose(1, 2).contiguous(), (normal(4, 200, 300),)),
    "softmax": (lambda x: x.softmax(-1), (half(64, 1000),)),
    "softmax_of_long_rows": (lambda x: x.softmax(-1), (normal(8, 50_000),)),
    "layer_norm": (norm, (normal(64, 768), normal(768), normal(768))),
    "layer_norm_gradient": (gradient(norm), (normal(64, 768), normal(768), normal(768))),
    "cross_entropy": (F.cross_entropy, (normal(32, 1000), indices(32))),
    "cross_entropy_gradient": (gradient(F.cross_entropy), (normal(32, 1000), indices(32))),
    "column_sum": (lambda x: x.sum(0), (normal(300, 1001),)),
    "argmax": (lambda x: x.argmax(-1), (normal(64, 1000),)),
    "prefix_sum": (lambda x: x.cumsum(-1), (normal(8, 3000),)),
    "argsort": (lambda x: x.argsort(descending=True), (normal(64, 100),)),
    "sort_of_long_rows": (lambda x: x.sort(-1)[0], (indices(4, 1500),)),
    "gather": (lambda x, i: x[i], (normal(100, 64), indices(33))),
    "embedding_gradient": (gradient(lambda w, i: w[i]), (normal(100, 64), indices(33))),
    "adamw": (adamw, tuple(normal(*size) for size in SIZES for _ in range(4))),
    "product": (lambda x, w: x @ w, (half(512, 784), half(784, 128))),
    "product_gelu": (
        lambda x, w, b: F.gelu(x @ w + b), (normal(512, 784), normal(784, 128), normal(128)),
    ),
    "large_product": (lambda x, w: x @ w, (half(4096, 1024), half(1024, 4096))),
    "product_gradient": (gradient(lambda x, w: x @ w), (half(512, 784), half(784, 128))),
    "batched_product": (lambda x, w: x @ w, (half(12, 65, 64), half(12, 64, 70))),
    "convolution": (
        lambda x, w: F.conv2d(x, w, padding=1).relu(), (half(8, 16, 28, 28), half(32, 16, 3, 3)),
    ),
    "convolution_gradient": (
        gradient(lambda x, w: F.conv2d(x, w, padding=1)),
        (normal(8, 16, 28, 28), normal(32, 16, 3, 3)),
    ),
    "max_pool": (lambda x: F.max_pool2d(x, 2), (normal(8, 16, 28, 28),)),
    "attention": (attention, tuple(half(2, 4, 256, 64) for _ in range(3))),
    "attention_gradient": (gradient(attention), tuple(half(2, 4, 256, 64) for _ in range(3))),
}  # fmt: skip


def kernels(name: str, gpu: str = "sm_90") -> list[TritonKernel]:
    """The kernels of a case, as texts; equal ones once."""
    function, args = CASES[name]
    return triton_texts(sley.compile(function).lower(*args).graph, gpu)


def text_of(name: str) -> str:
    """All kernels of a case, each with how it is launched."""
    return with_launches(kernels(name))


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        (FOLDER / f"{case}.txt").write_text(text_of(case))
