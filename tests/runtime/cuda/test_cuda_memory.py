"""Blocks of a GPU's memory: reuse, figures, what is said where there is none; copies."""

from __future__ import annotations

import gc
from itertools import pairwise

import numpy as np
import pytest
from launches import add, launch, program
from simulated_gpu import SimulatedCompiler, SimulatedDriver, SimulatedGpu
from training_steps import mlp_step, step_arrays

from sley.backends.triton.target import gpu_target
from sley.ir.dims import symbol
from sley.ir.parser import parse
from sley.passes.pipeline import lower_launches, run_passes
from sley.runtime.cuda.errors import DriverError, OutOfMemoryError
from sley.runtime.cuda.memory import GRAIN, SEGMENT, SMALL, DevicePool
from sley.runtime.cuda.staging import Staging

MiB = 1 << 20
N = symbol("N")


@pytest.fixture
def driver():
    driver = SimulatedDriver(SimulatedCompiler(), 64 * MiB)
    driver.attach()
    return driver


@pytest.fixture
def pool(driver):
    return DevicePool(driver)


def test_blocks_do_not_overlap_and_are_aligned(pool):
    rng = np.random.default_rng(0)
    held, sizes = [], [int(2 ** rng.uniform(0, 21)) for _ in range(200)]
    for number, size in enumerate(sizes):
        held.append(pool.take(size))
        if number % 3 == 2:
            del held[int(rng.integers(len(held)))]
    ranges = sorted((b.address, b.address + b.nbytes) for b in held)
    assert all(end <= start for (_, end), (start, _) in pairwise(ranges))
    assert all(b.address % GRAIN == 0 for b in held)


def test_small_blocks_share_segments(pool, driver):
    held = [pool.take(1000) for _ in range(100)]
    assert len(driver.memory) == 1
    assert pool.statistics.reserved == SEGMENT
    assert pool.statistics.allocated == 100 * 1024
    del held
    again = [pool.take(1000) for _ in range(100)]
    assert len(driver.memory) == 1 and len(again) == 100


def test_a_block_of_nothing_is_a_block(pool):
    first, second = pool.take(0), pool.take(0)
    assert first.address != second.address and first.nbytes == 0


@pytest.mark.parametrize("nbytes", [100, SMALL, SMALL + 1, 3 * MiB])
def test_memory_comes_back_when_nobody_holds_it(pool, nbytes):
    block = pool.take(nbytes)
    address = block.address
    other = pool.take(nbytes)
    assert other.address != address
    del block
    assert pool.take(nbytes).address == address


def test_a_larger_idle_block_serves_but_no_much_larger_one(pool):
    address = pool.take(10 * MiB).address
    assert pool.take(9 * MiB).address == address
    assert pool.take(7 * MiB).address != address


def test_figures(pool):
    def figures():
        found = pool.statistics
        return found.allocated, found.reserved, found.max_allocated, found.max_reserved

    first = pool.take(4 * MiB)
    second = pool.take(8 * MiB)
    assert figures() == (12 * MiB, 12 * MiB, 12 * MiB, 12 * MiB)
    del first, second
    assert figures() == (0, 12 * MiB, 12 * MiB, 12 * MiB)
    pool.statistics.reset_peaks()
    assert figures() == (0, 12 * MiB, 0, 12 * MiB)
    pool.trim()
    assert figures() == (0, 0, 0, 12 * MiB)


def test_a_garbage_collection_inside_of_the_pool(pool, driver, monkeypatch):
    """Blocks that come back while the pool gives memory up are neither lost nor given up."""
    rings = []
    for size in (100, 300 << 10, MiB):
        ring = [pool.take(size)]
        ring.append(ring)  # only a collection finds out that nobody holds it
        rings.append(ring)
    held = [pool.take(2 * MiB), pool.take(3 * MiB)]
    trim = driver.trim

    def collecting():
        gc.collect()
        trim()

    monkeypatch.setattr(driver, "trim", collecting)
    del ring, rings, held
    pool.trim()
    assert pool.statistics.allocated == 0
    again = [pool.take(size) for size in (100, 300 << 10, MiB, 2 * MiB, 3 * MiB)]
    for block in again:
        driver.find(block.address, block.nbytes, "the test")
    assert pool.statistics.reserved == sum(len(m.data) for m in driver.memory.values())


def test_trimming_gives_up_what_is_idle_and_nothing_else(pool, driver):
    small, large = pool.take(100), pool.take(5 * MiB)
    others = [pool.take(200 << 10) for _ in range(30)] + [pool.take(6 * MiB)]
    before = len(driver.memory)
    del others
    pool.trim()
    assert len(driver.memory) < before
    assert pool.statistics.reserved == SEGMENT + 5 * MiB
    free, total = driver.memory_info()
    assert total - free == pool.statistics.reserved
    again = [pool.take(size) for size in (100, *[200 << 10] * 30, 6 * MiB)]
    for block in (small, large, *again):
        driver.find(block.address, block.nbytes, "the test")


def test_idle_memory_of_other_sizes_is_given_up_before_an_error(pool):
    held = [pool.take(20 * MiB), pool.take(30 * MiB)]
    held.clear()
    assert pool.take(60 * MiB).nbytes == 60 * MiB


def test_what_is_said_where_there_is_no_memory(pool):
    held = pool.take(40 * MiB)
    idle = pool.take(8 * MiB)
    del idle
    with pytest.raises(OutOfMemoryError) as caught:
        pool.take(32 * MiB, lambda: ["32 MiB: f32[N] (model.py:3 in forward)"])
    error = caught.value
    assert (error.asked, error.allocated, error.reserved) == (32 * MiB, 40 * MiB, 40 * MiB)
    assert (error.free, error.total) == (24 * MiB, 64 * MiB)
    assert str(error) == (
        "the GPU has no memory left: 32.00 MiB asked for, sley holds 40.00 MiB (40.00 MiB in use), "
        "24.00 MiB of 64.00 MiB are free\n"
        "  32 MiB: f32[N] (model.py:3 in forward)"
    )
    assert held.nbytes == 40 * MiB and pool.take(20 * MiB)


LARGE = """
graph @large(%x: f32[N, 1024], %w: f32[1024, 1024]) -> (f32[N, 1024]) {
  %a = dot_general(%x, %w) {lhs_contract=[1], rhs_contract=[0], lhs_batch=[], rhs_batch=[]}    // model.py:3 in forward
  %b = dot_general(%a, %w) {lhs_contract=[1], rhs_contract=[0], lhs_batch=[], rhs_batch=[]}    // model.py:4 in forward
  yield %b
}
"""  # noqa: E501


def test_a_program_without_memory_names_its_lines_and_writes_nothing():

    gpu = SimulatedGpu(total_bytes=24 * MiB)
    graph = parse(LARGE)
    executable = gpu.build(run_passes(graph, gpu_target("sm_90"), donated={0: 0}))
    x = np.ones((3000, 1024), np.float32)
    block, w = gpu.device.put(x), gpu.device.put(np.ones((1024, 1024), np.float32))
    with pytest.raises(OutOfMemoryError, match="@large needs") as caught:
        executable.run([block.address, w.address], (3000,))
    assert "f32[N, 1024] (model.py:3 in forward)" in str(caught.value)
    assert np.array_equal(gpu.device.get(block.address, x.shape, x.dtype), x)
    del caught
    assert executable.run([block.address, w.address], (10,)) == []  # fewer rows fit
    assert (gpu.device.get(block.address, (10, 1024), x.dtype) == 1024.0**2).all()


def test_memory_of_many_calls_does_not_grow():
    gpu = SimulatedGpu()
    graph, donated = mlp_step((7, 5, 10))
    executable = gpu.build(run_passes(graph, gpu_target("sm_90"), donated=donated))
    figures = []
    for _ in range(6):
        executable(step_arrays(graph, 9))
        figures.append((gpu.device.pool.statistics.allocated, len(gpu.driver.memory)))
    assert len(set(figures)) == 1


@pytest.mark.parametrize("nbytes", [0, 1, 63, 64, 65, 1000, 4096, 10_000])
def test_copies_of_any_size(driver, nbytes):
    staging = Staging(driver, half=256)
    address = driver.allocate(10_000)
    for seed in range(3):
        data = np.random.default_rng(seed).integers(0, 256, nbytes, np.uint8)
        expected = data.copy()
        staging.upload(address, data.ctypes.data, nbytes)
        data[:] = 0  # the caller may write to it at once
        found = np.empty_like(data)
        staging.download(found.ctypes.data, address, nbytes)
        assert np.array_equal(found, expected)


def test_many_copies_one_after_another(driver):
    """Nothing is waited for in between, so pinned memory must not be written over too early."""
    staging = Staging(driver, half=256)
    address = driver.allocate(100 * 40)
    data = np.random.default_rng(0).integers(0, 256, (40, 100), np.uint8)
    for number, row in enumerate(data):
        staging.upload(address + 100 * number, row.copy().ctypes.data, 100)
    found = np.empty_like(data)
    staging.download(found.ctypes.data, address, found.nbytes)
    assert np.array_equal(found, data)


def test_the_simulated_device_notices_wrong_accesses(driver):
    """What the other tests stand on."""
    staging, address = Staging(driver), driver.allocate(100)
    out = np.empty(200, np.uint8)
    with pytest.raises(DriverError, match="nobody has written"):
        staging.download(out.ctypes.data, address, 10)
    with pytest.raises(DriverError, match="nobody has written"):
        driver.synchronize()  # for good


@pytest.mark.parametrize("wrong", ["freed", "outside", "overlap"])
def test_the_simulated_device_notices_wrong_launches(wrong):
    gpu = SimulatedGpu()
    graph = program([(N,), (N,)], lambda x, y: [launch(add((N,)), x, y)])
    executable = gpu.build(lower_launches(graph, gpu_target("sm_90")))
    x, y = (gpu.device.put(np.ones(512, np.float32)) for _ in range(2))
    executable.run([x.address, y.address], (512,))
    gpu.device.synchronize()
    if wrong == "freed":
        other = gpu.driver.allocate(2048)
        gpu.driver.free(other)
        executable.run([x.address, other], (512,))
    elif wrong == "outside":
        executable.run([x.address, y.address], (1 << 20,))
    else:
        executable.run([x.address, x.address + 256], (512,))
    if wrong == "overlap":
        gpu.device.synchronize()  # two inputs may overlap
        executable = gpu.build(lower_launches(graph, gpu_target("sm_90"), donated={0: 0}))
        executable.run([x.address, x.address + 256], (384,))
    with pytest.raises(RuntimeError, match="ILLEGAL_ADDRESS in a kernel"):
        gpu.device.synchronize()
