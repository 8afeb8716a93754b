"""A compiled kernel may really write where `may_overwrite` allows: same bits as apart."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_running import Program
from random_graphs import Maker

from sley.ir.dims import evaluate
from sley.passes.fuse import fuse
from sley.passes.inplace import may_overwrite


def kernels_of(seed):
    graph = fuse(Maker(seed).make(14))
    launches = [n for n in graph.nodes if n.op.name == "launch"]
    return list(dict.fromkeys(n.attrs["kernel"] for n in launches))


def pairs(kernel):
    for i in range(len(kernel.inputs)):
        for k in range(kernel.outs):
            if may_overwrite(kernel, i, k):
                yield i, k


def make_buffers(kernel, sizes, rng):
    found = []
    for value in kernel.params:
        shape = [evaluate(d, sizes) for d in value.type.shape]
        if value.type.dtype.kind == "float":
            found.append(rng.standard_normal(shape).astype(value.type.dtype.numpy))
        else:
            found.append(rng.integers(0, 2, shape).astype(value.type.dtype.numpy))
    return found


@pytest.mark.parametrize("seed", range(25))
def test_results_over_operands(seed):
    rng = np.random.default_rng(seed)
    for kernel in kernels_of(seed):
        allowed = list(pairs(kernel))
        if not allowed:
            continue
        compiled = Program(kernel)
        first = len(kernel.inputs)
        for size in (1, 5, 70):
            sizes = {"N": size}
            buffers = make_buffers(kernel, sizes, rng)
            apart = [b.copy() for b in buffers]
            compiled(apart, sizes)
            for i, k in allowed:
                shared = [b.copy() for b in buffers]
                out = shared[first + k]
                shared[first + k] = shared[i].reshape(-1).view(out.dtype).reshape(out.shape)
                compiled(shared, sizes, pieces=min(2, evaluate(compiled.extent, sizes)))
                for number in range(kernel.outs):
                    assert np.array_equal(
                        shared[first + number], apart[first + number], equal_nan=True
                    ), f"result {k} over operand {i} with N={size} in\n{kernel}"
