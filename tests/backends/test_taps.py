"""Gradients of convolutions' weights, as sums over the places of windows: random ones, against
numpy's evaluation in float64."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_running import Program

from sley.backends.llvm.target import host_target
from sley.ir import dtypes
from sley.ir.builder import Recording
from sley.ir.evaluate import evaluate
from sley.ir.ops import OPS
from sley.ir.ops.contraction import CONV
from sley.ir.schedule import parse_schedule
from sley.ir.types import tensor_type
from sley.passes.autodiff.backward import backward
from sley.passes.fuse import fuse
from sley.passes.schedule import schedule
from sley.passes.schedule_taps import _Chooser

BOUNDS = {"f32": 3e-5, "f64": 1e-12, "bf16": 3e-2, "f16": 5e-3}
PLAIN = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "lhs_dilation": (1, 1),
         "rhs_dilation": (1, 1), "groups": 1}  # fmt: skip


@pytest.fixture
def anyway(monkeypatch):
    """Places are summed over in a copy of the image whether that pays or not."""
    monkeypatch.setattr(_Chooser, "_pays", lambda *_: True)


def _program(x, w, dtype="f32", update=False, **attrs):
    """w's gradient, or w less it."""
    builder = Recording()
    kind = dtypes.by_name(dtype)
    image, weight = (builder.param(tensor_type(kind, shape)) for shape in (x, w))
    with builder:
        y = CONV(image, weight, **attrs)
        cotangent = builder.param(y.type)
        (found,) = backward([y], [cotangent], [weight])
        assert found is not None
        if update:
            found = weight - found * found
    return builder.finish("weights", [found])


def _launch(graph):
    """The launch of the product."""
    found = [n for n in fuse(graph).nodes if n.op.name == "launch"]
    return next(n for n in found if any(m.op.name == "contract" for m in n.attrs["kernel"].walk()))


def _operands(graph):
    """Numbers of the program's parameters that its one launch reads."""
    program = fuse(graph)
    (launch,) = (n for n in program.nodes if n.op.name == "launch")
    return [program.params.index(o) for o in launch.operands]


def _check(x, w, dtype="f32", cpu="host", update=False, seed=0, **attrs):
    graph = _program(x, w, dtype, update, **attrs)
    exact = _program(x, w, "f64", update, **attrs)
    program = fuse(graph)
    launches = [n for n in program.nodes if n.op.name == "launch"]
    if len(launches) != 1:  # its result is put in place by another kernel
        return None
    made = Program(launches[0].attrs["kernel"], cpu)
    rng = np.random.default_rng(seed)
    kind = dtypes.by_name(dtype).numpy
    arrays = [rng.standard_normal(p.type.shape).astype(kind) for p in graph.params]
    (want,) = evaluate(exact, [a.astype(np.float64) for a in arrays])
    by_param = dict(zip(program.params, arrays, strict=True))
    found = np.full(want.shape, 77, kind)
    made([*(by_param[o] for o in launches[0].operands), found], {}, pieces=3)
    error = np.abs(found.astype(np.float64) - want).max(initial=0)
    assert error <= BOUNDS[dtype] * max(1.0, np.abs(want).max(initial=0)), (x, w, attrs)
    return made.schedule.nests[0]


def _random(rng):
    count = int(rng.integers(1, 4))
    groups = int(rng.choice([1, 1, 2, 3]))
    most = (90, 24, 9)[count - 1]
    x = (int(rng.integers(1, 5)), groups * int(rng.integers(1, 6)),
         *rng.integers(1, most, count).tolist())  # fmt: skip
    w = (groups * int(rng.integers(1, 40)), x[1] // groups, *rng.integers(1, 6, count).tolist())
    strides = tuple(rng.choice([1, 1, 2, 3], count).tolist())
    dilation = tuple(rng.choice([1, 1, 2], count).tolist())
    padding = tuple(map(tuple, rng.integers(-1, 4, (count, 2)).tolist()))
    reach = [(k - 1) * d + 1 for k, d in zip(w[2:], dilation, strict=True)]
    if any(n + sum(p) < r for n, p, r in zip(x[2:], padding, reach, strict=True)):
        return None
    attrs = {
        "strides": strides, "padding": padding, "lhs_dilation": (1,) * count,
        "rhs_dilation": dilation, "groups": groups,
    }  # fmt: skip
    return x, w, attrs


@pytest.mark.parametrize("cpu, dtype, cases", [
    ("host", "f32", 24), ("host", "f64", 8), ("host", "bf16", 5), ("host", "f16", 3),
    ("x86-64-v3", "f32", 8), ("x86-64", "f32", 4), ("x86-64-v3", "bf16", 3),
])  # fmt: skip
def test_random_convolutions(anyway, cpu, dtype, cases):
    rng = np.random.default_rng(len(cpu) + cases)
    found = 0
    for _ in range(20 * cases):
        drawn = _random(rng)
        if drawn is None:
            continue
        x, w, attrs = drawn
        nest = _check(x, w, dtype, cpu, update=bool(found % 2), seed=found, **attrs)
        found += nest is not None and nest.taps is not None
        if found == cases:
            return
    raise AssertionError("too few of them sum over places")


@pytest.mark.parametrize("rows", [16, 17, 31, 32, 33, 50])
def test_rows_around_a_vector(anyway, rows):
    assert _check((2, 3, 9, 10), (rows, 3, 3, 3), **PLAIN).taps is not None


@pytest.mark.parametrize("size", [4, 7, 15, 16, 17, 32, 33, 50])
def test_lines_around_a_vector(anyway, size):
    attrs = {**PLAIN, "groups": 3}
    assert _check((2, 3, 9, size), (6, 1, 3, 3), **attrs).taps.form == "places"
    odd = {"strides": (2, 2), "padding": ((2, 1), (0, 2)), "groups": 3, "rhs_dilation": (1, 2)}
    assert _check((3, 6, 8, size + 4), (3, 2, 3, 2), **{**PLAIN, **odd}) is not None


@pytest.mark.parametrize("rows", [1, 3, 5, 15])
def test_few_rows(anyway, rows):
    attrs = {"strides": (1, 1), "padding": ((3, 3), (3, 3)), "rhs_dilation": (1, 1)}
    nest = _check((2, 2, 21, 25), (rows, 2, 7, 7), **{**PLAIN, **attrs})
    assert nest.taps.form == "places" and nest.taps.parts > 1


@pytest.mark.parametrize("rows", [1, 16])
def test_infinite_elements_stay_where_they_are(anyway, rows):
    """The margin and the ends of lines multiply nothing that would become no number."""
    graph = _program((1, 2, 5, 19), (rows, 2, 3, 3), **PLAIN)
    launch = _launch(graph)
    program = Program(launch.attrs["kernel"])
    assert program.schedule.nests[0].taps is not None
    arrays = [np.ones(p.type.shape, np.float32) for p in graph.params]
    arrays[0][0, 0, 0, 0] = np.inf
    (want,) = evaluate(graph, arrays)
    found = np.zeros(want.shape, np.float32)
    program([*(arrays[number] for number in _operands(graph)), found])
    np.testing.assert_allclose(found, want, rtol=1e-5)
    assert np.isfinite(want).any() and np.isinf(want).any()


def test_several_blocks_of_an_image(anyway):
    nest = _check((2, 60, 130, 70), (17, 60, 3, 3), **PLAIN)
    assert nest.taps.block < 130


def test_several_images_in_a_block(anyway):
    nest = _check((5, 7, 9, 9), (33, 7, 3, 3), **PLAIN)
    assert nest.taps.slides[0].tap is None and nest.taps.block > 1


def test_elements_outside_are_not_read(anyway):
    """A part of a larger image: what lies around it is no number."""
    builder = Recording()
    x = builder.param(tensor_type(dtypes.f32, (2, 3, 12, 40)))
    g = builder.param(tensor_type(dtypes.f32, (2, 20, 10, 37)))
    w = builder.param(tensor_type(dtypes.f32, (20, 3, 3, 3)))
    with builder:
        part = OPS["slice"](x, starts=(0, 0, 1, 2), sizes=(2, 3, 10, 37), steps=(1, 1, 1, 1))
        (found,) = backward([CONV(part, w, **PLAIN)], [g], [w])
    graph = builder.finish("weights", [found])
    launch = _launch(graph)
    program = Program(launch.attrs["kernel"])
    assert program.schedule.nests[0].taps is not None
    rng = np.random.default_rng(0)
    whole = np.full((2, 3, 12, 40), np.nan, np.float32)
    whole[:, :, 1:11, 2:39] = rng.standard_normal((2, 3, 10, 37))
    cotangent = rng.standard_normal((2, 20, 10, 37)).astype(np.float32)
    result = np.zeros((20, 3, 3, 3), np.float32)
    program(
        [*(whole if o.type.shape == whole.shape else cotangent for o in launch.operands), result]
    )
    (want,) = evaluate(graph, [whole, cotangent, result])
    np.testing.assert_allclose(result, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_any_number_of_threads_gives_the_same(threads):
    kernel = _launch(_program((4, 8, 20, 20), (64, 8, 3, 3), **PLAIN)).attrs["kernel"]
    chosen = schedule(kernel, host_target(threads=threads))
    tiles = chosen.nests[0].taps
    assert tiles is not None
    assert parse_schedule(str(chosen)) == chosen
    assert -(-64 // tiles.mc) <= max(1, threads)
    usual = schedule(kernel, host_target(threads=1)).nests[0].taps
    assert (tiles.block, tiles.slides) == (usual.block, usual.slides)


def test_panels_where_results_are_many_and_sums_short():
    kernel = _launch(_program((8, 64, 2, 2), (64, 64, 3, 3), **PLAIN)).attrs["kernel"]
    assert schedule(kernel, host_target()).nests[0].contract is not None
