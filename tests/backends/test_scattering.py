"""Scattered rows: sizes around vectors and turns of tasks, indices out of range, repeated ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from kernel_running import compile_and_run

from sley.backends.llvm.expand import expand
from sley.backends.llvm.target import host_target
from sley.ir.builder import Recording
from sley.ir.dims import symbol
from sley.ir.dtypes import by_name
from sley.ir.evaluate import bind_sizes
from sley.ir.evaluate_kernel import evaluate_kernel, fresh_outputs
from sley.ir.ops import OPS
from sley.ir.types import tensor_type
from sley.ir.verifier import verify
from sley.passes.fuse import fuse
from sley.passes.schedule import schedule

CPUS = ("host", "x86-64-v3", "x86-64")
N, D, J = symbol("N"), symbol("D"), symbol("J")
RNG = np.random.default_rng(23)
UFUNCS = {"add": np.add, "mul": np.multiply, "maximum": np.maximum, "minimum": np.minimum}


def scatter(base, indices, axis=0, combine="add", dtype="f32", index="i64"):
    """The kernel of one scatter of f(updates): base and indices of these shapes."""
    builder = Recording()
    shape = (*base[:axis], *indices, *base[axis + 1 :])
    x = builder.param(tensor_type(by_name(dtype), base), "x")
    i = builder.param(tensor_type(by_name(index), indices), "i")
    u = builder.param(tensor_type(by_name(dtype), shape), "u")
    with builder:
        result = OPS["scatter"](x, i, u, axis=axis, combine=combine)
    graph = fuse(builder.finish("scattered", [result]))
    (launch,) = graph.nodes
    kernel = launch.attrs["kernel"]
    order = [graph.params.index(v) for v in launch.operands]
    return kernel, order


def expected(x, i, u, axis, combine):
    out = np.moveaxis(x, axis, 0).copy()
    values = np.moveaxis(u, range(axis, axis + i.ndim), range(i.ndim))
    for where in np.ndindex(i.shape):
        if 0 <= i[where] < len(out):
            if combine == "set":
                out[i[where]] = values[where]
            else:
                out[i[where]] = UFUNCS[combine](out[i[where]], values[where]).astype(out.dtype)
    return np.moveaxis(out, 0, axis)


def arrays(base, indices, axis, dtype=np.float32):
    shape = (*base[:axis], *indices, *base[axis + 1 :])
    x, u = (RNG.standard_normal(s) * 4 for s in (base, shape))
    i = RNG.integers(-1, base[axis] + 1, indices)
    return x.astype(dtype), i, u.astype(dtype)


def check(base, indices, axis=0, combine="add", *, shared=None, symbolic=None, **options):
    dtype = options.pop("dtype", "f32")
    types = symbolic or (base, indices)
    kernel, order = scatter(*types, axis=axis, combine=combine, dtype=dtype)
    given = arrays(base, indices, axis, by_name(dtype).numpy)
    chosen = schedule(kernel, host_target(options.get("cpu", "host")))
    if shared is not None:
        first, *others = chosen.nests
        assert first.shared is not None
        nests = (dataclasses.replace(first, shared=shared), *others)
        chosen = dataclasses.replace(chosen, nests=nests)
    inputs = [given[k] for k in order]
    sizes = bind_sizes(kernel.inputs, inputs)
    (found,) = compile_and_run(kernel, inputs, sizes, schedule=chosen, **options)
    np.testing.assert_array_equal(found, expected(*given, axis, combine))


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("d", [1, 15, 16, 33, 65, 130])
def test_rows_of_every_width(cpu, d):
    for n, j in ((1, 3), (7, 0), (13, 40)):
        check((n, d), (j,), cpu=cpu)


@pytest.mark.parametrize("shared", [(1, 1), (2, 1), (2, 3), (3, 2), (4, 5), (16, 4)])
@pytest.mark.parametrize("pieces", [1, 3])
def test_tasks_share_the_rows(shared, pieces):
    check((13, 37), (60,), shared=shared, pieces=pieces)


@pytest.mark.parametrize("combine", ["set", *UFUNCS])
def test_ways_to_combine(combine):
    check((9, 40), (30,), combine=combine, shared=(2, 2), pieces=2)


@pytest.mark.parametrize("dtype", ["f64", "i32", "i64", "i8", "bf16", "f16"])
def test_element_types(dtype):
    check((9, 70), (25,), dtype=dtype, combine="maximum", shared=(2, 2), pieces=2)


@pytest.mark.parametrize(
    ("base", "axis"),
    [((3, 11, 40), 1), ((2, 11, 3), 1), ((40, 11), 1), ((11,), 0), ((5, 1, 64), 1)],
)
@pytest.mark.parametrize("indices", [(17,), (4, 5), (3, 1, 2)])
def test_axes_and_shapes_of_indices(base, axis, indices):
    check(base, indices, axis, pieces=2)
    check(base, indices, axis, "set", pieces=2)


@pytest.mark.parametrize("pieces", [1, 2, 4])
def test_symbolic_sizes(pieces):
    for n, d, j in ((1, 1, 0), (9, 64, 20), (33, 1027, 5)):
        check((n, d), (j,), symbolic=((N, D), (J,)), pieces=pieces)
        check((n, 48), (j,), symbolic=((N, 48), (J,)), pieces=pieces)


def test_a_wide_row_is_shared_and_a_narrow_one_is_not():
    target = dataclasses.replace(host_target(), threads=4)
    kernel, _ = scatter((1000, 256), (50,))
    tasks, rows = schedule(kernel, target).nests[0].shared
    assert tasks == 4 and 1 <= rows <= 1000 // 32
    kernel, _ = scatter((1000, 4), (50,))
    assert schedule(kernel, target).nests[0].shared == (1, 1)
    kernel, _ = scatter((8, 1000, 256), (50,), axis=1)
    assert schedule(kernel, target).nests[0].shared == (1, 1)


def test_loops_by_the_interpreter():
    kernel, order = scatter((13, 37), (20,))
    chosen = schedule(kernel, dataclasses.replace(host_target(), threads=2))
    loops = expand(kernel, chosen, host_target())
    verify(loops)
    given = arrays((13, 37), (20,), 0)
    inputs = [given[k] for k in order]
    before = list(fresh_outputs(kernel, {}).values())
    (found,) = evaluate_kernel(loops, inputs, None, before)
    np.testing.assert_array_equal(found, expected(*given, 0, "add"))
