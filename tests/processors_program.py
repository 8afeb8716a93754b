"""Programs of every kind of kernel, compiled and compared with eager; run by tests as a process of
its own, under the environment that they choose."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import sley
import sley.nn.functional as F

_rng = np.random.default_rng(11)


def arguments(shapes, dtype):
    return [sley.tensor(_rng.standard_normal(shape)).to(dtype) for shape in shapes]


def _with_gradient(function):
    def both(*args):
        found, pull = sley.func.vjp(function, *args)
        return found, pull(found * 2)

    return both


def _recurrent(x, w):
    return sley.scan(lambda h, row: ((h @ w + row).tanh(),) * 2, x[0] * 0, x)[1]


def _classes(x):
    target = sley.arange(x.shape[0])
    return F.cross_entropy(x, target, label_smoothing=0.1, reduction="sum")


# name, function, shapes of the arguments: odd ones, below and above vectors and tiles.
PROGRAMS = [
    ("product", lambda a, b: a @ b, [(1, 1), (1, 1)]),
    ("product", lambda a, b: a @ b, [(17, 33), (33, 65)]),
    ("product", lambda a, b: F.relu(a @ b.T), [(129, 7), (31, 7)]),
    ("rows of a vector", lambda a, b: a @ b, [(67, 301), (301,)]),
    ("batched", lambda a, b: a @ b, [(3, 5, 19), (3, 19, 37)]),
    ("linear", _with_gradient(lambda x, w: F.gelu(x @ w)), [(13, 29), (29, 11)]),
    ("softmax", _with_gradient(lambda x: F.softmax(x, -1)), [(5, 131)]),
    ("layer norm", _with_gradient(lambda x: F.layer_norm(x, (67,))), [(9, 67)]),
    ("columns", lambda x: (x.sum(0), x.amax(0), x.argmax(0)), [(37, 41)]),
    ("cumulative", lambda x: (x.cumsum(1), x.cumsum(0), x.cummax(1).values), [(7, 83)]),
    ("transposed", lambda x: x.transpose(0, 2).contiguous() + 1, [(5, 18, 35)]),
    ("elementary", lambda x: x.exp() + x.tanh() + x.erf() + x.sin() + x.sigmoid(), [(1003,)]),
    ("sorted", lambda x: x.sort(-1), [(4, 57)]),
    ("top", lambda x: x.topk(3), [(4, 57)]),
    ("indexed", lambda x: x[:, sley.tensor([5, 0, 2, 5])].cumsum(0), [(3, 6)]),
    ("conv", _with_gradient(lambda x, w: F.conv2d(x, w, padding=1)), [(2, 3, 9, 7), (5, 3, 3, 3)]),
    ("strided", _with_gradient(lambda x, w: F.conv2d(x, w, None, 2)), [(1, 4, 9, 8), (6, 4, 3, 2)]),
    ("groups", _with_gradient(lambda x, w: F.conv2d(x, w, groups=6)), [(2, 6, 7, 5), (6, 1, 3, 3)]),
    ("conv 1-d", _with_gradient(lambda x, w: F.conv1d(x, w, dilation=2)), [(2, 3, 31), (4, 3, 5)]),
    ("pooled", _with_gradient(lambda x: F.max_pool2d(x, 3, 2, 1)), [(2, 3, 11, 9)]),
    ("averaged", _with_gradient(lambda x: F.avg_pool2d(x, 2)), [(1, 3, 8, 7)]),
    (
        "attention",
        _with_gradient(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)),
        [(1, 2, 19, 13)] * 3,
    ),
    ("recurrent", _with_gradient(_recurrent), [(7, 3, 10), (10, 10)]),
    ("product", lambda a, b: a @ b, [(32, 32), (32, 33)]),
    (
        "attention",
        _with_gradient(F.scaled_dot_product_attention),
        [(2, 17, 9), (2, 5, 9), (2, 5, 33)],
    ),
    ("column factor", _with_gradient(lambda a, b: (a * b.tanh()).exp()), [(33, 13), (1, 13)]),
    (
        "transposed conv",
        _with_gradient(lambda x, w: F.conv_transpose2d(x, w, None, 2, 1)),
        [(1, 3, 5, 4), (3, 4, 3, 4)],
    ),
    ("updates", lambda *t: [w - 0.1 * w.sin() for w in t], [(3, 5), (17,), (1,), (65, 2)]),
    ("narrowed", lambda x: (x.to(sley.bfloat16), (x * 9).to(sley.int8), x > 0), [(65,)]),
    ("classes", _with_gradient(_classes), [(5, 33)]),
    ("empty", lambda x: (x.sum(0), x @ x.T), [(0, 5)]),
]  # fmt: skip
EVERY_DTYPE = {"product", "softmax", "elementary", "conv", "attention", "cumulative"}


def check(name, function, shapes, dtype) -> None:
    args = arguments(shapes, dtype)
    expected, found = function(*args), sley.compile(function)(*args)
    tolerance = {sley.float64: 1e-10, sley.float32: 2e-4}.get(dtype, 6e-2)
    for a, b in zip(_flat(expected), _flat(found), strict=True):
        a, b = a.double().numpy(), b.double().numpy()
        scale = max(1.0, float(np.abs(a).max(initial=0)))
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance * scale, err_msg=name)


PROGRAM = str(Path(__file__).resolve())


def in_a_process(code: list[str], **environment: str) -> subprocess.CompletedProcess:
    """Run Python with these variables and nothing kept on disk."""
    paths = os.pathsep.join(map(str, sys.path))
    settings = {**os.environ, **environment, "SLEY_CACHE_DIR": "off", "PYTHONPATH": paths}
    command = [sys.executable, *code]
    return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=600)


def _flat(value):
    if isinstance(value, (tuple, list)):
        return [x for part in value for x in _flat(part)]
    return [value]


def main() -> None:
    for name, function, shapes in PROGRAMS:
        dtypes = [sley.float32]
        if name in EVERY_DTYPE:
            dtypes += [sley.float64, sley.bfloat16, sley.float16]
        for dtype in dtypes:
            check(name, function, shapes, dtype)
    print("all agree")


if __name__ == "__main__":
    main()
