"""`sley.cuda`: marks, the stream, the choice of a GPU, figures."""

from __future__ import annotations

import gc

import pytest
from cuda_device import as_cuda
from simulated_gpu import SimulatedGpu

import sley
from sley.frontend import cuda_streams, device
from sley.frontend.device import current


@pytest.fixture(autouse=True)
def gpu():
    with as_cuda(SimulatedGpu()) as gpu:
        yield gpu


def test_marks_take_times(gpu):
    gpu.driver.clock = lambda kernel: 2.0
    first, last = (sley.cuda.Event(enable_timing=True) for _ in range(2))
    assert first.query() and first.device is None
    x = sley.ones(4, 4, device="cuda")
    first.record()
    x.exp().sum(0)
    last.record(sley.cuda.current_stream())
    assert not last.query()
    assert first.elapsed_time(last) == pytest.approx(4.0, abs=0.1)
    assert last.query() and last.device == sley.device("cuda", 0)


def test_marks_that_tell_no_time():
    first, last = sley.cuda.Event(), sley.cuda.Event(enable_timing=True)
    with pytest.raises(sley.ArgumentError, match="enable_timing=True"):
        first.elapsed_time(last)
    with pytest.raises(sley.ArgumentError, match="recorded on one GPU"):
        last.elapsed_time(last)


def test_marks_are_used_again():
    for _ in range(3):
        event = sley.cuda.Event()
        event.record()
        marks = event._mark
        del event
        gc.collect()
    assert cuda_streams._marks[sley.device("cuda", 0)][-1] == marks
    again = sley.cuda.Event()
    again.record()
    assert again._mark == marks


def test_there_is_one_stream(gpu):
    x = sley.ones(3, device="cuda")
    stream = sley.cuda.Stream(priority=-1)
    assert stream == sley.cuda.current_stream("cuda") == sley.cuda.default_stream(0)
    assert len({stream, sley.cuda.Stream()}) == 1 and "cuda:0" in repr(stream)
    stream.wait_stream(sley.cuda.current_stream())
    with sley.cuda.stream(stream), sley.cuda.stream(None):
        y = x * 2
    event = stream.record_event()
    stream.wait_event(event)
    event.wait()
    assert not stream.query()
    stream.synchronize()
    assert event.query() and y.tolist() == [2, 2, 2]


def test_a_gpu_is_chosen_for_a_while():
    with sley.cuda.device(0), sley.cuda.device(None), sley.cuda.device_of(sley.ones(1)):
        assert current() == 0 and sley.ones(1, device="cuda").device.index == 0
    device.set_current(1)
    try:
        with sley.cuda.device("cuda:0"):
            assert current() == 0
        with sley.cuda.device_of(sley.ones(1, device="cuda:0")):
            assert current() == 0
        assert current() == 1
    finally:
        device.set_current(0)
    with pytest.raises(sley.ArgumentError, match="'cpu' is no GPU"):
        sley.cuda.device("cpu")
    with pytest.raises(sley.ArgumentError, match="no device 'cuda:5'"):
        sley.cuda.device(5)


def test_figures():
    sley.cuda.init()
    x = sley.zeros(1 << 20, device="cuda")
    stats = sley.cuda.memory_stats()
    assert stats["allocated_bytes.all.current"] == sley.cuda.memory_allocated() >= x.nbytes
    assert stats["reserved_bytes.all.peak"] == sley.cuda.max_memory_reserved()
    assert "4.00 MiB" in sley.cuda.memory_summary() and "cuda:0" in sley.cuda.memory_summary(0)
    found = sley.cuda.get_device_properties("cuda")
    assert isinstance(found, sley.cuda.DeviceProperties)
    assert (found.name, found.major, found.minor) == ("simulated", 9, 0)
    assert found.total_memory == 64 << 20 and found.multi_processor_count == 132
    assert sley.cuda.is_bf16_supported()
    assert sley.cuda.OutOfMemoryError is sley.OutOfMemoryError
