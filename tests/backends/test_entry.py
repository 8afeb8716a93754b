"""The entry of a program: sizes as `dims` computes them, threads where the work is worth it."""

from __future__ import annotations

import ctypes
import random

import pytest
from launches import launch, program, scale

from sley.backends.llvm.dim_text import DimText
from sley.backends.llvm.entry import (
    FIRST_SYMBOL,
    IS_SHORT,
    SHORT,
    WORTH_A_CHUNK,
    WORTH_THREADS,
    KernelCall,
    entry_text,
    frame_of,
)
from sley.backends.llvm.native import Library, compile_object
from sley.backends.llvm.target import host_target
from sley.ir.dims import evaluate, maximum, minimum, symbol
from sley.passes.pipeline import lower_launches

N, M = symbol("N"), symbol("M")
TARGET = host_target()

RUN = ctypes.CFUNCTYPE(
    None, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64
)
KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


def linked(text, symbols=None):
    code = compile_object(text, cpu=TARGET.cpu, features=TARGET.features, opt_level=1)
    return Library([code], symbols)


@pytest.mark.parametrize(
    "works, is_short", [([100], 1), ([SHORT, 1], 0), ([SHORT - 1, 1], 1), ([N], 0)]
)
def test_whether_a_program_is_short(works, is_short):
    plan = lower_launches(
        program([(N,)], lambda x: [launch(scale((N,)), x) for _ in works]), TARGET
    ).plan
    calls = [KernelCall("kernel", (), 1, work) for work in works]
    text = entry_text(plan, frame_of(plan, ("N",)), calls)
    assert f"@{IS_SHORT} = constant i64 {is_short}," in text


def call_entry(sizes, extent, work, grain=1, threads=True):
    """What the entry of a program of one launch calls: ("shared" or "alone", its numbers)."""
    calls = []

    @RUN
    def run(pool, kernel, args, total, chunk, scratch, stride):
        calls.append(("shared", total, chunk, pool, scratch, stride))

    @KERNEL
    def kernel(args, lo, hi, scratch):
        slots = (ctypes.c_int64 * 3).from_address(args)
        calls.append(("alone", lo, hi, scratch, tuple(slots)))

    plan = lower_launches(program([(N,)], lambda x: [launch(scale((N,)), x)]), TARGET).plan
    frame = frame_of(plan, ("N", "M"))
    text = entry_text(plan, frame, [KernelCall("kernel", (M,), extent, work, grain)])
    library = linked(text, {"kernel": ctypes.cast(kernel, ctypes.c_void_p).value})
    address = ctypes.cast(run, ctypes.c_void_p).value if threads else 0
    slots = (ctypes.c_int64 * frame.slots)(11, address, 22, 33, 0, 0, *sizes, 44, 55)
    assert FIRST_SYMBOL == 6
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(library.address("sley_entry"))(ctypes.addressof(slots))
    (made,) = calls
    return made


def test_little_work_is_done_alone():
    assert call_entry((7, 5), N, N * 2) == ("alone", 0, 7, 22, (44, 55, 5))
    assert call_entry((0, 0), N, N * 2)[:3] == ("alone", 0, 0)
    assert call_entry((WORTH_THREADS, 1), N, N)[0] == "shared"
    assert call_entry((WORTH_THREADS - 1, 1), N, N)[0] == "alone"


def test_one_task_or_no_pool_is_done_alone():
    assert call_entry((1, 10**9), N, M)[0] == "alone"
    assert call_entry((5, 10**9), N, M, grain=5)[0] == "alone"
    assert call_entry((6, 10**9), N, M, grain=5)[0] == "shared"
    assert call_entry((10**9, 1), N, N, threads=False)[0] == "alone"


def test_chunks_have_enough_work():
    tasks = 1000
    assert call_entry((tasks, WORTH_A_CHUNK), N, N * M) == ("shared", tasks, 1, 11, 22, 33)
    assert call_entry((tasks, WORTH_A_CHUNK // 4), N, N * M)[2] == 4
    assert call_entry((tasks, WORTH_A_CHUNK), N, N * M, grain=9)[2] == 9


def test_what_is_known_to_be_small_asks_for_no_pool():
    plan = lower_launches(program([(4,)], lambda x: [launch(scale((4,)), x)]), TARGET).plan
    text = entry_text(plan, frame_of(plan, ()), [KernelCall("kernel", (), 1, 100)])
    assert "call void @kernel(" in text


def random_dim(rng, depth):
    if depth == 0:
        return rng.choice([N, M, rng.randint(0, 9), rng.randint(1, 9)])
    a, b = random_dim(rng, depth - 1), random_dim(rng, depth - 1)
    return rng.choice(
        [
            lambda: a + b,
            lambda: a - b,
            lambda: a * b,
            lambda: a // rng.randint(1, 7),
            lambda: a % rng.randint(1, 7),
            lambda: a // (N + 1),
            lambda: minimum(a, b),
            lambda: maximum(a, b),
        ]
    )()


@pytest.mark.parametrize("seed", range(4))
def test_sizes_are_computed_as_dims_are(seed):
    rng = random.Random(seed)
    dims = [random_dim(rng, depth) for depth in (1, 2, 2, 3, 3, 3, 4, 4) for _ in range(4)]
    lines: list[str] = []

    def emit(text):
        lines.append(f"  %v{len(lines)} = {text}")
        return f"%v{len(lines) - 1}"

    text = DimText(emit, {"N": "%n", "M": "%m"}.__getitem__)
    for k, dim in enumerate(dims):
        value = text.of(dim)
        at = emit(f"getelementptr i64, ptr %out, i64 {k}")
        lines.append(f"  store i64 {value}, ptr {at}")
    body = "\n".join(lines)
    library = linked(f"define void @f(i64 %n, i64 %m, ptr %out) {{\n{body}\n  ret void\n}}")
    function = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    out = (ctypes.c_int64 * len(dims))()
    for sizes in ((0, 0), (1, 0), (0, 7), (5, 3), (64, 1000)):
        function(library.address("f"))(*sizes, ctypes.addressof(out))
        known = dict(zip("NM", sizes, strict=True))
        assert list(out) == [evaluate(dim, known) for dim in dims]
