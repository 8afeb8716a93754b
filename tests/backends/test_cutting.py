"""Loops that are cut at the borders of what they read: every point is stored once, by its part."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from kernel_building import op
from kernel_running import PAINT, Program

from sley.backends.llvm.expand import expand
from sley.backends.llvm.target import host_target
from sley.ir import dtypes
from sley.ir.access import Expressions, axes
from sley.ir.borders import border, deciding, specialised
from sley.ir.builder import Recording
from sley.ir.dims import evaluate as evaluate_dim
from sley.ir.dims import symbol
from sley.ir.evaluate import evaluate
from sley.ir.evaluate_kernel import evaluate_kernel, fresh_outputs
from sley.ir.schedule import parse_schedule
from sley.ir.types import tensor_type
from sley.ir.verifier import verify
from sley.passes import schedule_cuts
from sley.passes.fuse import fuse
from sley.passes.schedule import schedule

CPUS = ("host", "x86-64-v3", "x86-64")
N, M = symbol("N"), symbol("M")
RNG = np.random.default_rng(31)
NUMPY = {
    "f32": np.float32, "f64": np.float64, "bf16": ml_dtypes.bfloat16, "f16": np.float16,
    "i8": np.int8, "i64": np.int64, "bool": np.bool_,
}  # fmt: skip


def made(body, *inputs):
    """(program, its one kernel) of `body(*values)` on inputs (dtype name, shape)."""
    builder = Recording()
    with builder:
        values = [
            builder.param(tensor_type(dtypes.by_name(d), shape), f"x{k}")
            for k, (d, shape) in enumerate(inputs)
        ]
        result = body(*values)
    graph = builder.finish("main", [result])
    (launch,) = fuse(graph).nodes
    return graph, launch.attrs["kernel"]


def rolled(x, shift, axis):
    """x rolled by `shift` along `axis`."""
    shape, zeros, ones = x.type.shape, (0,) * x.type.ndim, (1,) * x.type.ndim
    size = shape[axis]

    def part(start, count):
        starts, sizes = list(zeros), list(shape)
        starts[axis], sizes[axis] = start, count
        return op["slice"](x, starts=tuple(starts), sizes=tuple(sizes), steps=ones)

    return op["concat"](part(size - shift, shift), part(0, size - shift), axis=axis)


def flipped_before(x):
    """x backwards, x, and its first column."""
    n, m = x.type.shape
    back = op["slice"](x, starts=(0, m - 1), sizes=(n, m), steps=(1, -1))
    first = op["slice"](x, starts=(0, 0), sizes=(n, 1), steps=(1, 1))
    return op["concat"](back, x, first, axis=1)


def lower_triangle(x):
    """x up to the diagonal, zeros after it."""
    shape = x.type.shape
    i, j = (op["iota"](shape=shape, axis=a, dtype=dtypes.i64) for a in (0, 1))
    zero = op["mul"](x, op["sub"](x, x))
    return op["where"](op["le"](j, i), x, zero)


def padded(x):
    zero = op["slice"](x, starts=(0, 0), sizes=(1, 1), steps=(1, 1))
    fill = op["reshape"](zero, shape=())
    return op["pad"](x, fill, low=(1, 3), high=(2, 1), interior=(0, 0))


@pytest.fixture
def always(monkeypatch):
    """Loops are cut wherever they can be."""
    monkeypatch.setattr(schedule_cuts, "BEGIN", -(10**6))
    monkeypatch.setattr(schedule_cuts, "MOVING", -(10**6))


def drawn(dtype, *shape):
    return RNG.integers(-9, 10, shape).astype(NUMPY[dtype])


def check(program, *calls, cpu="host", is_cut=True):
    """Compares with numpy for each call: (arrays, sizes)."""
    graph, kernel = program
    target = host_target(cpu)
    chosen = schedule(kernel, target)
    assert bool(chosen.nests[0].cuts) is is_cut
    assert parse_schedule(str(chosen)) == chosen
    names = [p.name for p in graph.params]
    run = Program(kernel, cpu)
    for arrays, sizes in calls:
        (expected,) = evaluate(graph, arrays, sizes)
        reads = [arrays[names.index(p.name)] for p in kernel.inputs]
        for pieces in (1, 3):
            found = np.empty_like(expected)
            found.reshape(-1).view(np.uint8)[:] = 0 if found.dtype == np.bool_ else PAINT
            run([*reads, found], sizes, pieces)
            np.testing.assert_array_equal(found, expected)


def test_loops_verify_and_store_each_point_once(always):
    _, kernel = made(lambda x: rolled(rolled(x, 3, 0), 5, 1), ("f32", (7, 37)))
    target = host_target("x86-64-v3")
    loops = expand(kernel, schedule(kernel, target), target)
    verify(loops)
    x = drawn("f32", 7, 37)
    before = list(fresh_outputs(kernel, {}).values())
    (found,) = evaluate_kernel(loops, [x], None, before)
    np.testing.assert_array_equal(found, np.roll(x, (3, 5), (0, 1)))
    assert len([n for n in loops.walk() if n.op.name == "if"]) == 2


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("widths", [(1, 2), (15, 17), (16, 64), (63, 65, 1), (7, 0, 131)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_concatenation_of_unequal_parts(always, cpu, widths, axis):
    shapes = [(3, 5, 7)[:axis] + (w,) + (3, 5, 7)[axis + 1 :] for w in widths]
    program = made(lambda *x: op["concat"](*x, axis=axis), *(("f32", s) for s in shapes))
    check(program, ([drawn("f32", *s) for s in shapes], {}), cpu=cpu)


@pytest.mark.parametrize("dtype", list(NUMPY))
def test_dtypes(always, dtype):
    program = made(lambda x: rolled(rolled(x, 2, 0), 70, 1), (dtype, (5, 203)))
    check(program, ([drawn(dtype, 5, 203)], {}))
    check(made(flipped_before, (dtype, (4, 67))), ([drawn(dtype, 4, 67)], {}))


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 16), (5, 2), (3, 15), (4, 65)])
def test_pads_rolls_flips_and_triangles(always, cpu, shape):
    x = drawn("f32", *shape)
    for body in (padded, flipped_before):
        check(made(body, ("f32", shape)), ([x], {}), cpu=cpu)
    check(made(lower_triangle, ("f32", shape)), ([x], {}), cpu=cpu, is_cut=shape[1] > 1)


@pytest.mark.parametrize("cpu", CPUS)
def test_symbolic_sizes(cpu):
    joined = made(
        lambda x, y, z: op["concat"](x, y, z, axis=1), *(("f32", (N, m)) for m in (M, N, 3))
    )
    inner = made(lambda x, y: op["concat"](x, y, axis=1), ("f32", (2, N, 8)), ("f32", (2, M, 8)))
    triangle, around = made(lower_triangle, ("f32", (N, M))), made(padded, ("f32", (N, M)))
    turned = made(lambda x: rolled(x, M, 1), ("f32", (3, N + M)))
    sizes = [{"N": n, "M": m} for n, m in ((1, 1), (2, 40), (33, 5), (17, 64), (3, 129))]

    def calls(*shapes):
        return [
            ([drawn("f32", *(evaluate_dim(d, at) for d in shape)) for shape in shapes], at)
            for at in sizes
        ]

    check(joined, *calls((N, M), (N, N), (N, 3)), cpu=cpu)
    check(inner, *calls((2, N, 8), (2, M, 8)), cpu=cpu)
    check(turned, *calls((3, N + M)), cpu=cpu)
    for program in (triangle, around):
        check(program, *calls((N, M)), cpu=cpu)


def test_where_it_does_not_pay():
    """Short parts stay masks; of many parts the pieces are less code than the masks."""
    short = made(lambda x, y: op["concat"](x, y, axis=1), ("f32", (64, 5)), ("f32", (64, 6)))
    check(short, ([drawn("f32", 64, 5), drawn("f32", 64, 6)], {}), is_cut=False)
    for count, is_cut in ((30, True), (129, False)):
        many = [("f32", (4, 20 + k)) for k in range(count)]
        _, kernel = made(lambda *x: op["concat"](*x, axis=1), *many)
        assert bool(schedule(kernel, host_target()).nests[0].cuts) is is_cut


def test_an_inner_axis_joins_the_vectors():
    """A border along the axis before the contiguous one is one along both together."""
    _, kernel = made(
        lambda x, y: op["concat"](x, y, axis=1), ("f32", (4, 9, 24)), ("f32", (4, 4, 24))
    )
    (nest,) = schedule(kernel, host_target()).nests
    assert nest.groups == ((0,), (1, 2)) and nest.vector == 1
    assert nest.cuts[0] == () and len(nest.cuts[1]) == 1


def test_folding_a_body():
    """What is known folds: one load is left in each piece, without a guard."""
    _, kernel = made(lambda x, y: op["concat"](x, y, axis=1), ("f32", (4, 90)), ("f32", (4, 30)))
    (loop,) = kernel.nodes
    body, variables = loop.regions[0], axes(loop)[0]
    (condition,) = deciding(body)
    where = border(condition, Expressions(dict.fromkeys(variables)), variables[1])
    assert where is not None and (where.place, where.rising) == (90, False)
    for holds, name in ((True, kernel.inputs[0]), (False, kernel.inputs[1])):
        nodes = specialised(body, {condition.results[0]: holds}).nodes
        assert [n.op.name for n in nodes] == ["load", "store"]
        assert nodes[0].operands[0] is name and not nodes[0].attrs.get("guarded")


def test_what_bounds_decide_is_no_condition():
    """Of a pad the inside is read without a guard, and what lies beside not at all."""

    def columns(first, count):
        def body(x):
            starts = (1, first)
            return op["slice"](padded(x), starts=starts, sizes=(4, count), steps=(1, 1))

        return made(body, ("f32", (4, 20)))[1]

    for first, count, names in ((3, 20, ["load"]), (0, 3, ["load"]), (2, 20, ["ge", "where"])):
        found = [n.op.name for n in columns(first, count).walk()]
        assert all(name in found for name in names)
        assert ("ge" in found) == ("ge" in names)
