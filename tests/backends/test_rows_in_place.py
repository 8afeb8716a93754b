"""Gradients of convolutions' inputs: weights with their channels exchanged and their windows turned
around are read where they lie, in two runs. Random ones, against numpy's evaluation in float64."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_running import Program

from sley.ir import dtypes
from sley.ir.builder import Recording
from sley.ir.evaluate import evaluate
from sley.ir.ops.contraction import CONV
from sley.ir.types import tensor_type
from sley.passes.autodiff.backward import backward
from sley.passes.fuse import fuse
from sley.passes.schedule_windows import _Chooser
from sley.passes.simplify import simplify

BOUNDS = {"f32": 2e-5, "f64": 1e-12}


def _program(x, w, dtype, attrs):
    """The input's gradient."""
    builder = Recording()
    kind = dtypes.by_name(dtype)
    image, weight = (builder.param(tensor_type(kind, shape)) for shape in (x, w))
    with builder:
        y = CONV(image, weight, **attrs)
        cotangent = builder.param(y.type)
        (found,) = backward([y], [cotangent], [image])
        assert found is not None
    return simplify(builder.finish("images", [found]))


def _check(x, w, dtype="f32", cpu="host", seed=0, **attrs):
    """The nest of the product; None where the program has several kernels."""
    graph = _program(x, w, dtype, attrs)
    program = fuse(graph)
    launches = [n for n in program.nodes if n.op.name == "launch"]
    if len(launches) != 1:
        return None
    made = Program(launches[0].attrs["kernel"], cpu)
    rng = np.random.default_rng(seed)
    kind = dtypes.by_name(dtype).numpy
    arrays = [rng.standard_normal(p.type.shape).astype(kind) for p in graph.params]
    (want,) = evaluate(_program(x, w, "f64", attrs), [a.astype(np.float64) for a in arrays])
    by_param = dict(zip(program.params, arrays, strict=True))
    found = np.full(want.shape, 77, kind)
    made([*(by_param[o] for o in launches[0].operands), found], {}, pieces=3)
    error = np.abs(found.astype(np.float64) - want).max(initial=0)
    assert error <= BOUNDS[dtype] * max(1.0, np.abs(want).max(initial=0)), (x, w, attrs)
    return made.schedule.nests[0]


def _in_place(nest):
    if nest is None or nest.taps is not None:
        return False
    return nest.windows.direct if nest.windows else nest.contract.rows == "direct"


def _random(rng):
    count = int(rng.integers(1, 4))
    groups = int(rng.choice([1, 1, 2, 3]))
    most = (60, 20, 7)[count - 1]
    x = (int(rng.integers(1, 3)), groups * int(rng.integers(1, 40)),
         *rng.integers(1, most, count).tolist())  # fmt: skip
    w = (groups * int(rng.integers(1, 30)), x[1] // groups, *rng.integers(1, 6, count).tolist())
    dilation = tuple(rng.choice([1, 1, 2], count).tolist())
    padding = tuple(map(tuple, rng.integers(0, 4, (count, 2)).tolist()))
    reach = [(k - 1) * d + 1 for k, d in zip(w[2:], dilation, strict=True)]
    if any(n + sum(p) < r for n, p, r in zip(x[2:], padding, reach, strict=True)):
        return None
    attrs = {
        "strides": (1,) * count, "padding": padding, "lhs_dilation": (1,) * count,
        "rhs_dilation": dilation, "groups": groups,
    }  # fmt: skip
    return x, w, attrs


@pytest.mark.parametrize("windows", [True, False])
@pytest.mark.parametrize("cpu, dtype, cases", [
    ("host", "f32", 16), ("host", "f64", 6), ("x86-64-v3", "f32", 6), ("x86-64", "f32", 4),
])  # fmt: skip
def test_random_gradients(monkeypatch, cpu, dtype, cases, windows):
    monkeypatch.setattr(_Chooser, "_form", lambda *_: "places" if windows else "panels")
    rng = np.random.default_rng(len(cpu) + cases)
    found = 0
    for number in range(20 * cases):
        drawn = _random(rng)
        if drawn is None:
            continue
        x, w, attrs = drawn
        found += _in_place(_check(x, w, dtype, cpu, seed=number, **attrs))
        if found == cases:
            return
    raise AssertionError("too few of them read rows in place")


PLAIN = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "lhs_dilation": (1, 1),
         "rhs_dilation": (1, 1), "groups": 1}  # fmt: skip


def test_several_blocks_of_terms(monkeypatch):
    monkeypatch.setattr(_Chooser, "_form", lambda *_: "panels")
    nest = _check((2, 30, 4, 5), (2000, 30, 3, 3), **PLAIN)
    assert nest.contract.rows == "direct"
    assert nest.contract.kc % 9 == 0 and nest.contract.kc < 18000


def test_many_tiles_have_panels():
    nest = _check((4, 8, 40, 40), (8, 8, 3, 3), **PLAIN)
    assert not _in_place(nest)
