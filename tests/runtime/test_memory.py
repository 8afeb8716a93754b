"""Blocks of results are used again once nobody holds them, and never before."""

from __future__ import annotations

import ctypes

import numpy as np

from sley.runtime.memory import ALIGNMENT, SMALL, BlockPool, aligned, result_allocator, size_class


def array_on(block):
    return np.ndarray((16,), np.float32, block)


def test_a_block_stays_while_a_view_is_held():
    pool = BlockPool()
    size = size_class(100_000)
    array = array_on(pool.take(size))
    address = array.ctypes.data
    view = array[3:]
    del array
    assert pool.idle_bytes == 0
    other = pool.take(size)
    assert ctypes.addressof(other) != address
    del view
    assert pool.idle_bytes == size
    assert ctypes.addressof(pool.take(size)) == address
    del other


def test_a_block_is_used_again():
    pool = BlockPool()
    block = pool.take(8192)
    address = ctypes.addressof(block)
    del block
    assert pool.idle_bytes == 8192
    assert ctypes.addressof(pool.take(8192)) == address


def test_idle_memory_is_bounded():
    pool = BlockPool(max_idle=10_000)
    blocks = [pool.take(8192) for _ in range(3)]
    del blocks
    assert pool.idle_bytes == 8192
    pool.trim()
    assert pool.idle_bytes == 0


def test_size_classes_waste_at_most_an_eighth():
    for nbytes in (4096, 5000, 65_537, 1_000_001, 123_456_789):
        assert nbytes <= size_class(nbytes) <= max(nbytes * 1.125, nbytes + 4096)
        assert size_class(size_class(nbytes)) == size_class(nbytes)


def test_allocators_give_enough():
    for nbytes in (0, 1, SMALL - 1, SMALL, 100_000):
        block = result_allocator(nbytes)()
        assert ctypes.sizeof(block) >= nbytes


def test_alignment():
    for nbytes in (0, 1, 1000):
        owner, address = aligned(nbytes)
        assert address % ALIGNMENT == 0
        assert owner.ctypes.data <= address
        assert address + nbytes <= owner.ctypes.data + owner.nbytes
