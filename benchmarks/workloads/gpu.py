"""What is timed on a GPU: kernels large enough that the host is no limit, and the whole models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..workload import Workload
from . import whole
from .functions import floats, function

GROUPS = ("memory-bound", "products", "products in float32", "attention", "inference", "training")
_ROWS, _WIDTH = 16384, 4096
_TINY = [(3, 17), (17,), (17,)]


@dataclass(frozen=True)
class GpuCase:
    """A workload in one precision.

    Attributes:
        group: for the tables; that of the workload is the one that it has on a processor.
        precision: "bf16" (all floats are), "tf32" (float32, products by tensor cores) or "f32".
        elements: that must be read and written; 0: that is no limit.
        stateful: a call changes its tensors, so it has one set of them.
    """

    workload: Workload
    group: str
    precision: str = "bf16"
    elements: int = 0
    stateful: bool = False

    @property
    def name(self) -> str:
        return f"{self.workload.name}, {self.precision}"

    @property
    def nbytes(self) -> int:
        """Bytes that must be read and written."""
        return self.elements * (2 if self.precision == "bf16" else 4)


def _rows(name: str, elements: int, torch_like: Any, jax: Any, gradients: int = 0) -> GpuCase:
    """A function of rows, scales and shifts, or their gradients; `elements` for each of x."""
    given = [(_ROWS, _WIDTH), (_WIDTH,), (_WIDTH,)]
    tiny = list(_TINY)
    if gradients:
        given, tiny = [*given, (_ROWS, _WIDTH)], [*tiny, (3, 17)]
    return GpuCase(
        function(
            f"{name} {_ROWS}x{_WIDTH}", "rows and elementwise", floats(*given, tiny=tiny),
            torch_like, jax, gradients=gradients, tolerance=2e-2,
        ),
        "memory-bound", "bf16", elements * _ROWS * _WIDTH,
    )  # fmt: skip


def _norm(jax: Any, x: Any, w: Any, b: Any) -> Any:
    x = x - x.mean(-1, keepdims=True)
    return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * w + b


def _layer_norm(library: Any, x: Any, w: Any, b: Any) -> Any:
    return library.functional.layer_norm(x, (x.shape[-1],), w, b)


def _chain(library: Any, x: Any, w: Any, b: Any) -> Any:
    return library.functional.gelu(x * w + b) * 0.5 + x


_MEMORY = (
    _rows("softmax", 2, lambda library, x, w, b: x.softmax(-1),
          lambda jax, x, w, b: jax.nn.softmax(x, -1)),
    _rows("layer norm", 2, _layer_norm, _norm),
    _rows("layer norm, forward and backward", 6, _layer_norm, _norm, gradients=3),
    _rows("gelu chain", 2, _chain,
          lambda jax, x, w, b: jax.nn.gelu(x * w + b, approximate=False) * 0.5 + x),
    _rows("sum of columns", 1, lambda library, x, w, b: x.sum(0), lambda jax, x, w, b: x.sum(0)),
    _rows("log-sum-exp", 1, lambda library, x, w, b: x.logsumexp(-1),
          lambda jax, x, w, b: jax.nn.logsumexp(x, -1)),
)  # fmt: skip


def _product(m: int, k: int, n: int, precision: str = "bf16", gelu: bool = False) -> GpuCase:
    def torch_like(library: Any, a: Any, b: Any) -> Any:
        return library.functional.gelu(a @ b) if gelu else a @ b

    def jax_like(jax: Any, a: Any, b: Any) -> Any:
        return jax.nn.gelu(a @ b, approximate=False) if gelu else a @ b

    sides = f"{m}³" if len({m, k, n}) == 1 else f"{m}x{k}x{n}"
    return GpuCase(
        function(
            f"product {'with gelu ' if gelu else ''}{sides}", "matrix products",
            floats((m, k), (k, n), tiny=[(19, 17), (17, 23)]), torch_like, jax_like,
            flops=2 * m * k * n, tolerance=2e-2,
        ),
        "products" if precision == "bf16" else "products in float32", precision,
        m * k + k * n + m * n,
    )  # fmt: skip


def _attention(length: int, size: int, causal: bool, gradients: int = 0) -> GpuCase:
    batch, heads = 4, 16
    shape, tiny = (batch, heads, length, size), (1, 2, 7, 4)

    def torch_like(library: Any, q: Any, k: Any, v: Any) -> Any:
        return library.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

    def jax_like(jax: Any, q: Any, k: Any, v: Any) -> Any:
        q, k, v = (x.transpose(0, 2, 1, 3) for x in (q, k, v))
        return jax.nn.dot_product_attention(q, k, v, is_causal=causal).transpose(0, 2, 1, 3)

    count = 3 + bool(gradients)
    flops = 4 * batch * heads * length * length * size // (2 if causal else 1)
    words = f"{'causal ' if causal else ''}attention {length}, heads of {size}"
    return GpuCase(
        function(
            words + (", forward and backward" if gradients else ""), "attention",
            floats(*[shape] * count, tiny=[tiny] * count), torch_like, jax_like,
            gradients=gradients, flops=flops * 7 // 2 if gradients else flops, tolerance=3e-2,
        ),
        "attention",
    )  # fmt: skip


_PRODUCTS = (
    _product(8192, 8192, 8192), _product(8192, 8192, 8192, "tf32"),
    _product(4096, 4096, 4096, "f32"), _product(4096, 4096, 4096), _product(2048, 2048, 2048),
    _product(16384, 1024, 4096, gelu=True), _product(64, 8192, 8192), _product(1000, 1000, 1000),
)  # fmt: skip
_ATTENTION = tuple(
    _attention(4096, size, causal, gradients)
    for gradients in (0, 3) for size in (128, 64) for causal in (False, True)
)  # fmt: skip
_MODELS = (
    GpuCase(whole.training(whole.GPT, 8), "training", "bf16", stateful=True),
    GpuCase(whole.training(whole.BERT, 64), "training", "bf16", stateful=True),
    GpuCase(whole.training(whole.resnet(224), 64), "training", "tf32", stateful=True),
    GpuCase(whole.training(whole.UNET, 32), "training", "tf32", stateful=True),
    GpuCase(whole.training(whole.MLP, 512), "training", "tf32", stateful=True),
    GpuCase(whole.inference(whole.GPT, 8), "inference", "bf16", stateful=True),
    GpuCase(whole.inference(whole.BERT, 64), "inference", "bf16", stateful=True),
    GpuCase(whole.inference(whole.resnet(224), 64), "inference", "tf32", stateful=True),
)

_COPY = GpuCase(
    function(
        "copy 16384²", "rows and elementwise", floats((16384, 16384)), lambda library, x: -x,
        lambda jax, x: -x,
    ),
    "memory-bound", "bf16", 2 * 16384**2,
)  # fmt: skip

# What the limits follow from first.
CASES: tuple[GpuCase, ...] = (_COPY, *_PRODUCTS, *_MEMORY, *_ATTENTION, *_MODELS)


def named(name: str) -> GpuCase:
    """The case of this name."""
    (found,) = [case for case in CASES if case.name == name]
    return found
