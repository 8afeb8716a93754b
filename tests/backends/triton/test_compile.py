"""Triton text becomes machine code without a GPU; failures are answers, workers serve again."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from triton_texts import ADD, SOFTMAX, dot, needs_triton

from sley.backends.triton.compile import (
    CompiledText,
    CompileFailure,
    Compiler,
    content_key,
    triton_version,
    unpacked,
)
from sley.backends.triton.kernel import TritonKernel
from sley.backends.triton.target import gpu_target
from sley.backends.triton.workers import Crew, Failure
from sley.runtime.cache import ObjectCache

pytestmark = needs_triton
SM_80, SM_90 = gpu_target("sm_80"), gpu_target("sm_90")


@pytest.fixture(scope="module")
def compiler():
    compiler = Compiler(2)
    yield compiler
    compiler.close()


def with_source(kernel: TritonKernel, old: str, new: str) -> TritonKernel:
    assert old in kernel.source
    source = kernel.source.replace(old, new)
    return TritonKernel(kernel.name, source, kernel.arguments, kernel.divisible, kernel.grid, 4)


@pytest.mark.parametrize("target", [SM_80, SM_90], ids=lambda target: target.name)
def test_text_becomes_machine_code(compiler, target):
    made = compiler.compile(ADD, target)
    assert isinstance(made, CompiledText)
    assert made.cubin.startswith(b"\x7fELF")
    assert made.symbol == "add"
    assert made.warps == 4
    assert made.capability == target.capability
    assert f".target {target.name}" in made.ptx
    assert 8 <= made.registers <= 255 and made.spill_bytes == 0
    assert made.shared_bytes == made.global_scratch[0] == made.profile_scratch[0] == 0


def test_divisible_arguments_become_wide_accesses(compiler):
    whole = with_source(with_source(ADD, "i < N", "i < N // 16 * 16"), "128", "1024")
    plain = TritonKernel(whole.name, whole.source, whole.arguments, (), whole.grid, 4)
    wide, narrow = compiler.compile_all([whole, plain], SM_90)
    assert "ld.global.v4.b32" in wide.ptx
    assert "ld.global.v" not in narrow.ptx


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_products_of_halves_use_tensor_cores(compiler, dtype):
    made = compiler.compile(dot(dtype), SM_80)
    assert "mma.sync" in made.ptx
    assert made.shared_bytes > 0


def test_products_of_float32_are_exact_unless_asked_otherwise(compiler):
    exact, coarse = compiler.compile_all([dot("fp32"), dot("fp32", "tf32")], SM_80)
    assert "mma.sync" not in exact.ptx and "fma.rn.f32" in exact.ptx
    assert "tf32" in coarse.ptx


def test_fusing_of_product_and_sum_is_as_asked(compiler):
    text = with_source(ADD, " + tl.load(y + i, inside)", " * 3.7 + tl.load(y + i, inside)")
    fused = TritonKernel(
        text.name, text.source, text.arguments, text.divisible, text.grid, 4, fusing=True
    )
    apart, together = compiler.compile_all([text, fused], SM_90)
    assert "fma.rn.f32" not in apart.ptx and "mul.f32" in apart.ptx.replace("mul.rn.f32", "mul.f32")
    assert "fma.rn.f32" in together.ptx


def test_an_error_is_an_answer_with_the_text(compiler):
    failure = compiler.compile(with_source(ADD, "tl.load(y", "tl.lead(y"), SM_90)
    assert isinstance(failure, CompileFailure)
    assert failure.kind == "error"
    assert "lead" in failure.message
    assert "   5      tl.store(z + i" in str(failure)
    assert isinstance(compiler.compile(ADD, SM_90), CompiledText)


def test_more_shared_memory_than_there_is_is_an_answer(compiler):
    small = type(SM_90)("small", 90, 132, 1024, 50 << 20)
    failure = compiler.compile(dot("bf16"), small)
    assert isinstance(failure, CompileFailure) and failure.kind == "limit"
    assert "small has 1024" in failure.message


def test_a_time_out_is_an_answer_and_the_next_kernel_compiles():
    compiler = Compiler(1, limit_seconds=0.001)
    failure = compiler.compile(SOFTMAX, SM_90)
    assert isinstance(failure, CompileFailure) and failure.kind == "timeout"
    compiler.limit_seconds = 100.0
    assert isinstance(compiler.compile(SOFTMAX, SM_90), CompiledText)
    compiler.close()


def test_several_compile_beside_each_other_and_in_order(compiler):
    kernels = [with_source(ADD, "inside) +", f"inside) + {number} +") for number in range(4)]
    made = compiler.compile_all([*kernels, kernels[0]], SM_90)
    assert len({one.cubin for one in made}) == 4
    assert made[0] is made[4]
    assert compiler.compile(kernels[2], SM_90).cubin == made[2].cubin


def test_what_was_compiled_is_found_in_the_store(compiler, tmp_path: Path):
    store = ObjectCache(tmp_path, suffix=".cubin")
    kept = Compiler(1, store)
    made = kept.compile(ADD, SM_90)
    kept.close()
    absent = Compiler(1, store)
    absent._crew = None  # no process is asked
    assert absent.compile(ADD, SM_90) == made
    assert unpacked(made.packed()) == made


def test_the_key_tells_all_that_decides():
    fields = (ADD.name, ADD.source, ADD.arguments, ADD.divisible, ADD.grid)
    variants = [
        TritonKernel(*fields, 8),
        TritonKernel(*fields, 4, 2),
        TritonKernel(*fields, 4, fusing=True),
        TritonKernel(*fields[:3], (), ADD.grid, 4),
        with_source(ADD, "+ tl.load(y", "- tl.load(y"),
        TritonKernel(ADD.name, ADD.source, (*ADD.arguments[:3], ("N", "i32")), (0,), ADD.grid, 4),
    ]
    keys = {content_key(kernel, SM_90) for kernel in (ADD, *variants)}
    assert len(keys) == 1 + len(variants)
    assert content_key(ADD, SM_80) not in keys
    # How many programs run is not part of the machine code.
    assert content_key(TritonKernel(*fields[:4], (7, 1, 1), 4), SM_90) in keys
    assert triton_version() is not None


# ---------------------------------------------------------------------------------- the processes


SCRIPT = """
import os, signal, sys, time
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
connection.recv()
connection.send(("ready", None))
while True:
    word = connection.recv()
    if word == "die":
        print("no hope", flush=True)
        os.abort()
    if word == "sleep":
        time.sleep(60)
    connection.send(("error" if word == "bad" else "done", (word, os.getpid())))
"""


@pytest.fixture
def crew(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    crew = Crew(script)
    yield crew
    crew.close()


def test_a_worker_serves_again(crew):
    assert crew.ask("one", 60.0) == ("one", pid := crew.ask("two", 60.0)[1])
    failure = crew.ask("bad", 60.0)
    assert failure == Failure("error", ("bad", pid))
    assert crew.ask("three", 60.0)[1] == pid


def test_a_crash_tells_how_and_what_was_written(crew):
    failure = crew.ask("die", 60.0)
    assert failure.kind == "crash"
    assert "SIGABRT" in failure.message and "no hope" in failure.message
    assert crew.ask("one", 60.0)[0] == "one"


def test_a_worker_that_died_while_idle_is_replaced(crew):
    pid = crew.ask("one", 60.0)[1]
    worker = crew._idle.get()
    worker.process.kill()
    worker.process.wait()
    crew._idle.put(worker)
    assert crew.ask("two", 60.0)[1] != pid


def test_a_time_out_ends_the_worker(crew):
    crew.ask("one", 60.0)
    worker = crew._idle.get()
    crew._idle.put(worker)
    assert crew.ask("sleep", 0.05).kind == "timeout"
    assert worker.process.returncode is not None


def test_threads_have_workers_of_their_own(crew):
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(crew.ask("one", 60.0))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 3
    assert crew._idle.qsize() == len({pid for _, pid in answers})


def test_workers_end_with_what_asked_them(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    crew = Crew(script)
    crew.ask("one", 60.0)
    worker = crew._idle.get()
    process = worker.process
    crew._idle.put(worker)
    del worker, crew
    assert process.returncode is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_starts_workers_of_its_own(crew):
    pid = crew.ask("one", 60.0)[1]
    process = os.fork()
    if process == 0:
        os._exit(0 if crew.ask("two", 60.0)[1] != pid else 1)
    assert os.waitpid(process, 0)[1] == 0
    assert crew.ask("three", 60.0)[1] == pid
