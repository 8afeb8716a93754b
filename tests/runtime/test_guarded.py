"""Under `SLEY_GUARD` a kernel that leaves its buffers is caught, and no kernel of ours does."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
from kernel_building import kernel, load, parallel, store
from launches import launch, program
from processors_program import PROGRAM, in_a_process

from sley.backends.llvm.target import host_target
from sley.passes.pipeline import lower_launches
from sley.runtime.build import build
from sley.runtime.config import reload
from sley.runtime.guarded import GuardedBuffer, GuardError


@pytest.mark.parametrize(("edge", "threads"), [("start", "1"), ("end", "2")])
def test_kernels_stay_inside_their_buffers(edge, threads):
    done = in_a_process(["-X", "faulthandler", PROGRAM], SLEY_GUARD=edge, SLEY_NUM_THREADS=threads)
    assert done.stdout == "all agree\n", done.stderr


def shifted(by: int):
    """A kernel that reads or writes `by` elements beside its place."""

    def body(x, out):
        with parallel(1024) as (i,):
            store(out, load(x, i + min(by, 0)), i + max(by, 0))

    return kernel([("f32", (1024,))], [("f32", (1024,))], body, "shifted")


def run_shifted(by: int) -> None:
    graph = program([(1024,)], lambda x: [launch(shifted(by), x)])
    target = host_target()
    build(lower_launches(graph, target), target)([np.ones(1024, np.float32)])


@pytest.mark.parametrize(("edge", "by"), [("end", 1), ("start", -1)])
def test_a_kernel_that_leaves_its_buffer_ends_the_process(edge, by):
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})"
    script += f"; import test_guarded; test_guarded.run_shifted({by}); print('lived')"
    done = in_a_process(["-c", script], SLEY_GUARD=edge, SLEY_NUM_THREADS="1")
    assert done.returncode == -signal.SIGSEGV, (done.stdout, done.stderr)


def test_a_write_on_the_other_side_is_found_after_the_call(monkeypatch):
    monkeypatch.setenv("SLEY_GUARD", "start")
    reload()
    try:
        with pytest.raises(GuardError, match="wrote beside result 0, a buffer of 4092 bytes"):
            graph = program([(1023,)], lambda x: [launch(short_by_one(), x)])
            target = host_target()
            build(lower_launches(graph, target), target)([np.ones(1023, np.float32)])
    finally:
        monkeypatch.delenv("SLEY_GUARD")
        reload()


def short_by_one():
    def body(x, out):
        with parallel(1023) as (i,):
            store(out, load(x, i), i + 1)

    return kernel([("f32", (1023,))], [("f32", (1023,))], body, "short")


def test_a_buffer_of_nothing():
    GuardedBuffer("nothing", 0, "end").close()
