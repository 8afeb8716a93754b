"""What LLVM says of this machine, from the disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sley.backends.llvm import native
from sley.runtime import config, processor

PROGRAM = """
import sys
import sley
sley.manual_seed(0)
layer = sley.nn.Linear(33, 7)
step = sley.compile(lambda x: layer(x).softmax(-1).sum())
print(float(step(sley.ones(5, 33)).item()), "llvmlite.binding" in sys.modules)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEY_CACHE_DIR", str(tmp_path))
    config.reload()
    processor.identity.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    config.reload()
    processor.identity.cache_clear()


needs_cpuinfo = pytest.mark.skipif(processor._key() is None, reason="needs /proc/cpuinfo")


def _files(folder: Path) -> list[Path]:
    return list((folder / "processors").glob("*.json"))


@needs_cpuinfo
def test_it_is_asked_for_once(folder, monkeypatch):
    assert processor.identity() == native.identity()
    assert len(_files(folder)) == 1
    processor.identity.cache_clear()
    monkeypatch.setattr(native, "identity", lambda: pytest.fail("asked again"))
    assert processor.identity() == _identity()
    assert processor.host("x86-64").vector_bytes == 16


_identity = native.identity


@needs_cpuinfo
def test_a_damaged_file_is_written_anew(folder):
    processor.identity()
    (file,) = _files(folder)
    file.write_bytes(file.read_bytes()[:-5])
    processor.identity.cache_clear()
    assert processor.identity() == native.identity()
    assert len(_files(folder)) == 1


def test_systems_that_say_nothing(tmp_path):
    assert processor._key(str(tmp_path / "absent")) is None
    (tmp_path / "info").write_text("processor\t: 0\nBogoMIPS\t: 50.0\n\nprocessor\t: 1\n")
    assert processor._key(str(tmp_path / "info")) is None


def test_another_processor_has_another_key(tmp_path):
    rows = {"vendor_id": "a", "cpu family": "6", "model": "1", "stepping": "2", "flags": "fpu sse"}
    keys = set()
    for flags in ("fpu sse", "fpu sse avx"):
        text = "".join(f"{name}\t: {value}\n" for name, value in {**rows, "flags": flags}.items())
        (tmp_path / "info").write_text(text + "cpu MHz\t: 2600\n\nprocessor\t: 1\n")
        keys.add(processor._key(str(tmp_path / "info")))
    assert len(keys) == 2 and None not in keys


@needs_cpuinfo
@pytest.mark.skipif(native.host().triple[:6] != "x86_64", reason="LLVM links for others")
def test_a_program_on_disk_needs_no_llvm(tmp_path):
    environment = {**os.environ, "SLEY_CACHE_DIR": str(tmp_path)}
    environment.pop("SLEY_VERIFY", None)
    lines = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=environment, capture_output=True, text=True, check=True, timeout=120,
        ).stdout.split()
        for _ in range(2)
    ]  # fmt: skip
    assert [line[1] for line in lines] == ["True", "False"]
    assert lines[0][0] == lines[1][0]
