"""Programs of every kind of kernel for processors other than this one."""

from __future__ import annotations

import pytest
from processors_program import PROGRAM, PROGRAMS, arguments, in_a_process

import sley
from sley.backends.llvm.native import host
from sley.backends.llvm.target import host_target
from sley.passes.pipeline import run_passes
from sley.runtime.build import assemble


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3"])
def test_they_compute_the_same(cpu):
    if not host(cpu).runnable:
        pytest.skip(f"this machine does not run {cpu}")
    done = in_a_process([PROGRAM], SLEY_CPU=cpu, SLEY_GUARD="end")
    assert done.stdout == "all agree\n", done.stderr


@pytest.mark.parametrize("name", dict.fromkeys(name for name, _, _ in PROGRAMS))
def test_llvm_makes_objects_for_aarch64(name):
    target = host_target("aarch64")
    for _, function, shapes in (p for p in PROGRAMS if p[0] == name):
        lowered = sley.compile(function).lower(*arguments(shapes, sley.float32))
        image, _ = assemble(run_passes(lowered.graph, target), target)
        machine = {item.code[18:20] for item in image.objects}  # e_machine of ELF: 183 is AArch64
        assert machine == {(183).to_bytes(2, "little")}
