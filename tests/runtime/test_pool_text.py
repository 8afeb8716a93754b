"""The LLVM text of the thread pool, for this system and others."""

from __future__ import annotations

import pytest

from sley.backends.llvm import native
from sley.backends.llvm.pool import LAYOUT, SIZE, can_park, pool_text


def test_the_layout_fits():
    offsets = sorted(LAYOUT.values())
    assert offsets[-1] + 8 <= SIZE
    assert len(set(offsets)) == len(offsets)


@pytest.mark.parametrize(
    ("system", "cpu", "machine", "triple"),
    [
        ("Linux", "x86-64", "x86_64", None),
        ("Linux", "aarch64", "aarch64", None),
        ("Darwin", "aarch64", "arm64", "arm64-apple-darwin"),
        ("Windows", "x86-64", "AMD64", "x86_64-pc-windows-msvc"),
    ],
)
def test_the_text_compiles_for_other_systems(system, cpu, machine, triple):
    host = native.host(cpu)
    text = native.assembly(
        pool_text(system, machine),
        cpu=host.cpu,
        features=host.features,
        triple=triple or host.triple,
    )
    parks = can_park(system, machine)
    assert parks == ("syscall" in text) == (system == "Linux")
    pause = {"x86_64": "pause", "aarch64": "isb"}.get(machine)
    assert pause is None or pause in text
