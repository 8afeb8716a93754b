"""LLVM text to code: widths by processor, errors with the text's path, libraries, threads."""

import ctypes
import gc
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sley.backends.llvm import native

SQUARE = """
define void @square(ptr %from, ptr %to) {
  %x = load <16 x float>, ptr %from, align 4
  %y = fmul <16 x float> %x, %x
  store <16 x float> %y, ptr %to, align 4
  ret void
}
"""

SUM_LOOP = """
define float @total(ptr %x, i64 %n) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %sum = phi float [ 0.0, %entry ], [ %sum_next, %loop ]
  %at = getelementptr float, ptr %x, i64 %i
  %value = load float, ptr %at
  %sum_next = fadd fast float %sum, %value
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %end
end:
  ret float %sum_next
}
"""


def target(cpu="host"):
    info = native.host(cpu)
    return {"cpu": info.cpu, "features": info.features, "triple": info.triple}


def compiled(*texts):
    return [native.compile_object(text, **target()) for text in texts]


@pytest.mark.parametrize("cpu", native.CPU_NAMES)
def test_host_describes_a_processor(cpu):
    info = native.host(cpu)
    assert info is native.host(cpu)
    assert info.vector_bytes in (16, 32, 64)
    assert 4 << 10 <= info.l1d <= info.l2 <= info.l3
    assert info.cores >= 1


def test_host_refuses_an_unknown_name():
    with pytest.raises(ValueError, match="x86-64-v4"):
        native.host("z80")


def test_this_machine_can_run_its_own_code():
    assert native.host().runnable


@pytest.mark.parametrize(
    ("cpu", "register", "multiplications"),
    [("x86-64", "xmm", 4), ("x86-64-v3", "ymm", 2), ("x86-64-v4", "zmm", 1)],
)
def test_vectors_have_the_width_of_the_processor(cpu, register, multiplications):
    text = native.assembly(SQUARE, **target(cpu))
    found = re.findall(r"mulps.*%([xyz]mm)", text)
    assert found == [register] * multiplications


def test_aarch64_uses_neon():
    text = native.assembly(SQUARE, **target("aarch64"))
    assert len(re.findall(r"fmul\s+v\d+\.4s", text)) == 4


def test_the_host_uses_its_widest_registers():
    info = native.host()
    if not info.triple.startswith("x86_64"):
        pytest.skip("the register names are x86's")
    register = {16: "xmm", 32: "ymm", 64: "zmm"}[info.vector_bytes]
    text = native.assembly(SQUARE, **target())
    assert len(re.findall(r"mulps.*%" + register, text)) == 64 // info.vector_bytes


def test_the_vectorizers_are_off_unless_asked_for():
    assert "x float>" not in native.optimized(SUM_LOOP, **target())
    assert "x float>" in native.optimized(SUM_LOOP, **target(), vectorize=True)


def test_the_same_text_gives_the_same_object():
    assert compiled(SQUARE) == compiled(SQUARE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("define void @f() { ret i32 0 }", "result type"),
        ("define void @f() { nonsense }", "cannot parse"),
        (
            "define i32 @f(i1 %c) {\nentry:\n  br i1 %c, label %a, label %b\n"
            "a:\n  %x = add i32 1, 2\n  br label %b\nb:\n  ret i32 %x\n}",
            "dominate",
        ),
    ],
)
def test_a_bad_program_is_kept_in_a_file(text, message):
    with pytest.raises(native.LLVMError, match=message) as caught:
        native.compile_object(text, **target())
    kept = Path(caught.value.path)
    try:
        assert str(kept) in str(caught.value)
        assert kept.read_text() == text
    finally:
        kept.unlink()


def test_calls_between_objects_and_into_libc():
    caller = """
    declare void @square(ptr, ptr)
    declare ptr @memcpy(ptr, ptr, i64)
    define void @square_in_place(ptr %x, ptr %spare) {
      call void @square(ptr %x, ptr %spare)
      call ptr @memcpy(ptr %x, ptr %spare, i64 64)
      ret void
    }
    """
    library = native.Library(compiled(caller, SQUARE))
    x, spare = np.arange(16, dtype=np.float32), np.zeros(16, np.float32)
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
    function(library.address("square_in_place"))(x.ctypes.data, spare.ctypes.data)
    np.testing.assert_array_equal(x, np.arange(16, dtype=np.float32) ** 2)


def test_symbols_given_by_address_and_global_variables():
    text = """
    @counter = global i64 40
    declare i64 @given(i64)
    define i64 @ask() {
      %x = load i64, ptr @counter
      %y = call i64 @given(i64 %x)
      ret i64 %y
    }
    """
    signature = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
    given = signature(lambda x: x + 2)
    address = ctypes.cast(given, ctypes.c_void_p).value
    library = native.Library(compiled(text), symbols={"given": address})
    ask = ctypes.CFUNCTYPE(ctypes.c_int64)(library.address("ask"))
    assert ask() == 42
    ctypes.c_int64.from_address(library.address("counter")).value = 1
    assert ask() == 3


def test_library_errors():
    with pytest.raises(native.LLVMError, match="nowhere"):
        native.Library(compiled(SQUARE)).address("nowhere")
    with pytest.raises(native.LLVMError, match="square"):
        native.Library(compiled(SQUARE, SQUARE))
    with pytest.raises(native.LLVMError, match="object file"):
        native.Library([b"not an object"])
    missing = (
        "declare void @sley_is_not_there()\ndefine void @f() {\n"
        "  call void @sley_is_not_there()\n  ret void\n}"
    )
    with pytest.raises(native.LLVMError, match="f"):
        native.Library(compiled(missing)).address("f")


def test_libraries_are_unloaded():
    objects = compiled(SQUARE)

    def mapped():
        return len(Path("/proc/self/maps").read_text().splitlines())

    if not Path("/proc/self/maps").exists():
        pytest.skip("needs /proc")
    for _ in range(5):
        native.Library(objects).address("square")
    gc.collect()
    before = mapped()
    for _ in range(100):
        native.Library(objects).address("square")
    gc.collect()
    assert mapped() < before + 50
    kept = [native.Library(objects) for _ in range(50)]
    assert len({library.address("square") for library in kept}) == 50


def test_compiling_from_several_threads():
    texts = [SQUARE.replace("@square", f"@square_{i}") for i in range(24)]
    texts += [SUM_LOOP.replace("@total", f"@total_{i}") for i in range(24)]
    expected = compiled(*texts)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda text: native.compile_object(text, **target()), texts * 4))
    assert got == expected * 4


def test_errors_from_several_threads():
    def fails(_):
        with pytest.raises(native.LLVMError) as caught:
            native.compile_object("define", **target())
        Path(caught.value.path).unlink()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(fails, range(50))) == [None] * 50


def test_cache_sizes_fall_back(tmp_path):
    assert native.cache_bytes(1, str(tmp_path)) == 32 << 10
    folder = tmp_path / "index2"
    folder.mkdir()
    for name, text in (("level", "2\n"), ("type", "Unified\n"), ("size", "2M\n")):
        (folder / name).write_text(text)
    assert native.cache_bytes(2, str(tmp_path)) == 2 << 20
    (folder / "size").write_text("\n")
    assert native.cache_bytes(2, str(tmp_path)) == 1 << 20


def test_a_live_library_at_exit():
    script = (
        "from sley.backends.llvm import native\n"
        "h = native.host()\n"
        f"text = {SQUARE!r}\n"
        "kept = native.Library([native.compile_object(text, cpu=h.cpu, "
        "features=h.features)])\n"
        "print(kept.address('square') > 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
