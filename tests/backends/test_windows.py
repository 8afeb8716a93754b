"""Convolutions that read windows from a copy of the image: random ones, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_running import Program

import sley
import sley.nn.functional
from sley.backends.llvm.target import host_target
from sley.ir import dtypes
from sley.ir.builder import Recording
from sley.ir.dims import symbol
from sley.ir.ops import OPS
from sley.ir.ops.contraction import CONV
from sley.ir.schedule import parse_schedule
from sley.ir.types import tensor_type
from sley.passes.fuse import fuse
from sley.passes.schedule import schedule
from sley.passes.schedule_windows import _Chooser

BOUNDS = {"f32": 2e-5, "f64": 1e-12, "bf16": 2e-2, "f16": 3e-3}


@pytest.fixture(params=["places", "channels"])
def anyway(request, monkeypatch):
    """Windows are read from a copy whether that pays or not."""
    monkeypatch.setattr(_Chooser, "_form", lambda *_: request.param)


def _launch(x, w, dtype="f32", epilogue=False, **attrs):
    """(the launch of a convolution, its program)."""
    builder = Recording()
    params = [builder.param(tensor_type(dtypes.by_name(dtype), shape)) for shape in (x, w)]
    with builder:
        y = CONV(*params, **attrs)
        if epilogue:
            y = OPS["maximum"](y * y, y)
    program = fuse(builder.finish("conv", [y]))
    (launch,) = (n for n in program.nodes if n.op.name == "launch")
    return launch, program


def _check(x, w, dtype="f32", cpu="host", sizes=None, epilogue=False, seed=0, **attrs):
    launch, program = _launch(x, w, dtype, epilogue, **attrs)
    made = Program(launch.attrs["kernel"], cpu)
    rng = np.random.default_rng(seed)
    numbers = sizes or {}
    known = [tuple(numbers.get(str(d), d) for d in shape) for shape in (x, w)]
    kind = dtypes.by_name(dtype).numpy
    arrays = [rng.standard_normal(shape).astype(kind) for shape in known]
    (want,) = CONV.evaluate([a.astype(np.float64) for a in arrays], attrs)
    if epilogue:
        want = np.maximum(want * want, want)
    by_param = dict(zip(program.params, arrays, strict=True))
    y = np.full(want.shape, 77, kind)
    made([*(by_param[o] for o in launch.operands), y], numbers, pieces=3)
    error = np.abs(y.astype(np.float64) - want).max(initial=0)
    assert error <= BOUNDS[dtype] * max(1.0, np.abs(want).max(initial=0)), (x, w, attrs)
    return made.schedule.nests[0]


def _random(rng):
    count = int(rng.integers(1, 4))
    groups = int(rng.choice([1, 1, 2, 3]))
    most = (60, 24, 9)[count - 1]
    x = (int(rng.integers(1, 4)), groups * int(rng.integers(1, 4)),
         *rng.integers(1, most, count).tolist())  # fmt: skip
    w = (groups * int(rng.integers(1, 20)), x[1] // groups, *rng.integers(1, 6, count).tolist())
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
    ("host", "f32", 30), ("host", "f64", 10), ("host", "bf16", 8), ("host", "f16", 6),
    ("x86-64-v3", "f32", 10), ("x86-64", "f32", 5), ("x86-64-v3", "bf16", 4),
])  # fmt: skip
def test_random_convolutions(anyway, cpu, dtype, cases):
    rng = np.random.default_rng(len(cpu) + cases)
    found = 0
    while found < cases:
        drawn = _random(rng)
        if drawn is None:
            continue
        x, w, attrs = drawn
        nest = _check(x, w, dtype, cpu, epilogue=bool(found % 2), seed=found, **attrs)
        found += nest.windows is not None


PLAIN = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "lhs_dilation": (1, 1),
         "rhs_dilation": (1, 1), "groups": 1}  # fmt: skip


@pytest.mark.parametrize("size", [14, 15, 16, 17, 31, 32, 33])
def test_lines_around_a_vector(anyway, size):
    assert _check((2, 3, 5, size), (15, 3, 3, 3), **PLAIN).windows is not None


def test_several_blocks_of_an_image(anyway):
    x, w = (1, 40, 150, 90), (14, 40, 3, 3)
    nest = _check(x, w, **PLAIN)
    assert nest.windows.block < 150


def test_any_number_of_images():
    n = symbol("N")
    for images in (0, 1, 3):
        nest = _check((n, 6, 40, 40), (6, 1, 3, 3), sizes={"N": images}, **{**PLAIN, "groups": 6})
        assert nest.windows is not None


def test_elements_outside_are_not_read(anyway):
    """A part of a larger image: what lies around it is no number."""
    builder = Recording()
    x = builder.param(tensor_type(dtypes.f32, (2, 3, 12, 40)))
    w = builder.param(tensor_type(dtypes.f32, (4, 3, 3, 3)))
    with builder:
        part = OPS["slice"](x, starts=(0, 0, 1, 2), sizes=(2, 3, 10, 37), steps=(1, 1, 1, 1))
        y = CONV(part, w, **PLAIN)
    (launch,) = fuse(builder.finish("conv", [y])).nodes
    program = Program(launch.attrs["kernel"])
    assert program.schedule.nests[0].windows is not None
    rng = np.random.default_rng(0)
    whole = np.full((2, 3, 12, 40), np.nan, np.float32)
    whole[:, :, 1:11, 2:39] = rng.standard_normal((2, 3, 10, 37))
    weight = rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
    found = np.zeros((2, 4, 10, 37), np.float32)
    program([*(whole if o.type.shape == whole.shape else weight for o in launch.operands), found])
    (want,) = CONV.evaluate([whole[:, :, 1:11, 2:39].astype(np.float64), weight], PLAIN)
    np.testing.assert_allclose(found, want, atol=1e-5)


def test_the_schedule_is_text():
    launch, _ = _launch((2, 8, 20, 20), (8, 1, 3, 3), **{**PLAIN, "groups": 8})
    chosen = schedule(launch.attrs["kernel"], host_target())
    assert chosen.nests[0].windows is not None
    assert parse_schedule(str(chosen)) == chosen


def test_panels_where_no_windows_share_elements(anyway):
    attrs = {**PLAIN, "strides": (2, 2), "padding": ((0, 0), (0, 0))}
    launch, _ = _launch((2, 8, 20, 20), (8, 8, 2, 2), **attrs)
    assert schedule(launch.attrs["kernel"], host_target()).nests[0].contract is not None


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("images", [1, 3, 40])
def test_threads_share_few_images_evenly(threads, images):
    rows = 64
    launch, _ = _launch((images, 32, 14, 14), (rows, 32, 3, 3), **PLAIN)
    chosen = schedule(launch.attrs["kernel"], host_target(threads=threads)).nests[0].windows
    assert chosen is not None
    tasks = images * -(-rows // chosen.mc)
    slowest = -(-tasks // threads) * min(chosen.mc, rows)
    assert slowest * threads <= 1.35 * images * rows


def test_no_images_of_groups():
    """As many threads as there may be share them."""
    x, w = sley.zeros(0, 6, 15, 16), sley.ones(24, 2, 4, 4)

    def convolved(x, w):
        return sley.nn.functional.conv2d(x, w, groups=3)

    assert sley.compile(convolved)(x, w).shape == (0, 24, 12, 13)


@pytest.mark.parametrize("x, w, form", [
    ((8, 64, 7, 7), (64, 64, 3, 3), "channels"),  # lanes at the ends of lines would be a quarter
    ((8, 3, 28, 28), (32, 3, 3, 3), "places"),  # few terms: sums would be turned for little
    ((8, 16, 30, 64), (20, 16, 3, 3), "places"),  # rows fill no vectors
])  # fmt: skip
def test_what_runs_over_the_lanes(x, w, form):
    launch, _ = _launch(x, w, **PLAIN)
    chosen = schedule(launch.attrs["kernel"], host_target(threads=1)).nests[0].windows
    assert chosen is not None and chosen.form == form


@pytest.mark.parametrize("attrs", [PLAIN, {**PLAIN, "strides": (2, 2), "rhs_dilation": (1, 2)}])
def test_either_form_adds_in_the_same_order(monkeypatch, attrs):
    rng = np.random.default_rng(5)
    x, w = (3, 5, 19, 23), (37, 5, 3, 5)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in (x, w)]
    found = []
    for form in ("places", "channels"):
        monkeypatch.setattr(_Chooser, "_form", lambda *_, form=form: form)
        launch, program = _launch(x, w, **attrs)
        by_param = dict(zip(program.params, arrays, strict=True))
        y = np.zeros(launch.results[0].type.shape, np.float32)
        made = Program(launch.attrs["kernel"])
        assert made.schedule.nests[0].windows.form == form
        made([*(by_param[o] for o in launch.operands), y])
        found.append(y)
    np.testing.assert_array_equal(*found)
