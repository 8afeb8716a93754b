"""Object files that are put into memory without LLVM: what they compute, where they lie, and what
is left to LLVM."""

from __future__ import annotations

import ctypes
import gc
import platform
import struct
import sys
from pathlib import Path

import pytest

from sley.backends.llvm import loading, native

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="known for x86-64 Linux"
)

UNARY = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)

# Constants, a call of another object, of libm (too far for a call) and of a given address.
ALL = """
@table = internal constant [4 x double] [double 1.0, double 2.0, double 3.0, double 4.0]
declare double @fmod(double, double)
declare double @more(double)
declare double @given(double)
define double @all(i64 %i, double %x) {
  %place = getelementptr double, ptr @table, i64 %i
  %divisor = load double, ptr %place
  %rest = call double @fmod(double %x, double %divisor)
  %next = call double @more(double %rest)
  %last = call double @given(double %next)
  ret double %last
}
define ptr @address() {
  ret ptr @more
}
define internal <8 x double> @own(<8 x double> %x) noinline {
  %y = fadd <8 x double> %x, <double 1.0, double 2.0, double 3.0, double 4.0,
                              double 5.0, double 6.0, double 7.0, double 8.0>
  ret <8 x double> %y
}
define void @vectors(ptr %x) {
  %old = load <8 x double>, ptr %x, align 8
  %new = call <8 x double> @own(<8 x double> %old)
  store <8 x double> %new, ptr %x, align 8
  ret void
}
"""
MORE = "define double @more(double %x) {\n  %y = fadd double %x, 1.0\n  ret double %y\n}\n"


def compiled(*texts: str, cpu: str = "host") -> list[bytes]:
    host = native.host(cpu)
    return [
        native.compile_object(t, cpu=host.cpu, features=host.features, triple=host.triple)
        for t in texts
    ]


def test_constants_calls_and_addresses():
    times_ten = UNARY(lambda x: x * 10)
    given = {"given": ctypes.cast(times_ten, ctypes.c_void_p).value or 0}
    loaded = loading.load(compiled(ALL, MORE), given)
    assert loaded is not None
    assert set(loaded.addresses) == {"all", "address", "vectors", "more"}
    function = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64, ctypes.c_double)
    found = [function(loaded.addresses["all"])(i, 7.5) for i in range(4)]
    assert found == [(7.5 % d + 1) * 10 for d in (1, 2, 3, 4)]
    address = ctypes.CFUNCTYPE(ctypes.c_uint64)(loaded.addresses["address"])()
    assert address == loaded.addresses["more"]
    assert UNARY(address)(41.0) == 42.0
    vector = (ctypes.c_double * 8)(*range(8))
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(loaded.addresses["vectors"])(ctypes.addressof(vector))
    assert list(vector) == [2 * k + 1 for k in range(8)]


def test_the_given_address_comes_before_the_process():
    (code,) = compiled(
        "declare double @fabs2(double)\ndefine double @f(double %x) {\n"
        "  %y = call double @fabs2(double %x)\n  ret double %y\n}\n"
    )
    assert loading.load([code], {}) is None
    own = UNARY(lambda x: -x)
    loaded = loading.load([code], {"fabs2": ctypes.cast(own, ctypes.c_void_p).value or 0})
    assert loaded is not None
    assert UNARY(loaded.addresses["f"])(3.0) == -3.0


def test_code_is_never_writable_and_given_back():
    loaded = loading.load(compiled(MORE), {})
    assert loaded is not None
    address = loaded.addresses["more"]
    assert address % 64 == 0
    assert [rights for first, last, rights in _maps() if first <= address < last] == ["r-xp"]
    del loaded
    gc.collect()
    assert not [rights for first, last, rights in _maps() if first <= address < last]


def test_data_that_is_written_to():
    (code,) = compiled(
        "@counter = global i64 40\n@zeros = global [3 x i64] zeroinitializer\n"
        "define i64 @next() {\n"
        "  %place = getelementptr i64, ptr @zeros, i64 2\n"
        "  %old = load i64, ptr @counter\n  %zero = load i64, ptr %place\n"
        "  %new = add i64 %old, 1\n  store i64 %new, ptr @counter\n"
        "  store i64 %new, ptr %place\n"
        "  %both = add i64 %new, %zero\n  ret i64 %both\n}\n"
    )
    loaded = loading.load([code, *compiled(MORE)], {})
    assert loaded is not None
    step = ctypes.CFUNCTYPE(ctypes.c_int64)(loaded.addresses["next"])
    assert [step(), step(), step()] == [41, 42 + 41, 43 + 42]
    ctypes.c_int64.from_address(loaded.addresses["counter"]).value = 1
    assert step() == 2 + 43
    for name, rights in (("counter", "rw-p"), ("zeros", "rw-p"), ("next", "r-xp")):
        at = loaded.addresses[name]
        assert [r for first, last, r in _maps() if first <= at < last] == [rights]


def _maps() -> list[tuple[int, int, str]]:
    rows = [row.split() for row in Path("/proc/self/maps").read_text().splitlines()]
    return [(*(int(n, 16) for n in row[0].split("-")), row[1]) for row in rows]  # type: ignore


@pytest.mark.parametrize(
    "texts",
    [
        ["@counter = common global i64 0\n"],
        ["@own = thread_local global i64 1\n"],
        [MORE, MORE],
        ["declare void @sley_is_not_there()\ndefine void @f() {\n"
         "  call void @sley_is_not_there()\n  ret void\n}\n"],
    ],
    ids=["common", "of a thread", "twice", "missing"],
)  # fmt: skip
def test_what_is_left_to_llvm(texts):
    assert loading.load(compiled(*texts), {}) is None


def test_other_machines_and_damaged_files():
    assert loading.load(compiled(MORE, cpu="aarch64"), {}) is None
    (code,) = compiled(ALL.replace("@given(", "@fabs("))
    assert loading.load([code, *compiled(MORE)], {}) is not None
    for end in (0, 5, 40, 63, 70, len(code) // 2, len(code) - 1):
        assert loading.load([code[:end], *compiled(MORE)], {}) is None, end


def test_a_relocation_of_another_kind():
    """One that an object of kernels never has is not taken for one of those that it has."""
    (code,) = compiled(MORE)
    assert loading.load([code], {}) is not None
    changed = bytearray(code)
    file = loading._Object(code)
    table = next(s for s in file.sections if s.type == 4 and s.size and s.info == 2)
    struct.pack_into("<Q", changed, table.offset + 8, 10 | 1 << 32)
    assert loading.load([bytes(changed)], {}) is None
