"""Kernels as Triton text, written by hand, for tests of what compiles and interprets such text."""

from __future__ import annotations

import importlib.util
import platform
import sys

import pytest

from sley.backends.triton.kernel import TritonKernel
from sley.ir.dims import Dim, symbol

# There are wheels of Triton for Linux only, and the extra "test" asks for it on x86-64 only.
HAS_TRITON = importlib.util.find_spec("triton") is not None
EXPECTED = sys.platform == "linux" and platform.machine() == "x86_64"
needs_triton = pytest.mark.skipif(
    not HAS_TRITON and not EXPECTED, reason="there is no Triton for this system"
)


def written(
    name: str,
    body: str,
    arguments: dict[str, str],
    grid: tuple[Dim, Dim, Dim] = (1, 1, 1),
    divisible: str = "",
    warps: int = 4,
    stages: int = 1,
) -> TritonKernel:
    """The kernel `name` with these lines as its body; `divisible` names arguments."""
    lines = "\n".join("    " + line for line in body.strip("\n").splitlines())
    source = f"@triton.jit\ndef {name}({', '.join(arguments)}):\n{lines}\n"
    hinted = tuple(list(arguments).index(one) for one in divisible.split())
    return TritonKernel(name, source, tuple(arguments.items()), hinted, grid, warps, stages)


N = symbol("N")

ADD = written(
    "add",
    """
i = tl.program_id(0).to(tl.int64) * 128 + tl.arange(0, 128)
inside = i < N
tl.store(z + i, tl.load(x + i, inside) + tl.load(y + i, inside), inside)
""",
    {"x": "*fp32", "y": "*fp32", "z": "*fp32", "N": "i64"},
    ((N + 127) // 128, 1, 1),
    "x y z",
)

SOFTMAX = written(
    "softmax",
    """
i = tl.program_id(0).to(tl.int64)
j = tl.arange(0, 64)
v = tl.load(x + i * 50 + j, j < 50, other=float("-inf"))
e = tl.exp(v - tl.max(v, 0))
tl.store(y + i * 50 + j, e / tl.sum(e, 0), j < 50)
""",
    {"x": "*fp32", "y": "*fp32", "N": "i64"},
    (N, 1, 1),
)


def dot(dtype: str, precision: str = "ieee") -> TritonKernel:
    """c[32, 64] of dtype fp32 = a[32, 48] b[48, 64] of `dtype`."""
    return written(
        "dot",
        f"""
m, n, k = tl.arange(0, 32)[:, None], tl.arange(0, 64)[None, :], tl.arange(0, 16)
acc = tl.zeros([32, 64], tl.float32)
for first in range(0, 48, 16):
    u = tl.load(a + m * 48 + (first + k)[None, :])
    v = tl.load(b + (first + k)[:, None] * 64 + n)
    acc = tl.dot(u, v, acc, input_precision="{precision}")
tl.store(c + m * 64 + n, acc)
""",
        {"a": f"*{dtype}", "b": f"*{dtype}", "c": "*fp32"},
        divisible="a b c",
    )
