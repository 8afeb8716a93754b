"""Faults of kernels, launches that are refused, threads and processes."""

from __future__ import annotations

import itertools
import os
import signal
import threading

import numpy as np
import pytest
from simulated_gpu import Fault, SimulatedGpu
from training_steps import mlp_step, step_arrays

from sley.backends.triton.target import gpu_target
from sley.ir.parser import parse
from sley.passes.pipeline import run_passes
from sley.runtime.cuda import device as devices
from sley.runtime.cuda.errors import DriverError, KernelFault, LaunchError, NoDeviceError

TEXT = """
graph @net(%x: f32[N, 8], %w: f32[8, 8]) -> (f32[N, 8]) {
  %a = dot_general(%x, %w) {lhs_contract=[1], rhs_contract=[0], lhs_batch=[], rhs_batch=[]}    // model.py:3 in forward
  %b = cumsum(%a) {axis=0, reverse=false}    // model.py:4 in forward
  %c = dot_general(%b, %w) {lhs_contract=[1], rhs_contract=[0], lhs_batch=[], rhs_batch=[]}    // model.py:5 in forward
  yield %c
}
"""  # noqa: E501


def failing(gpu, line):
    """Makes the kernel of this line fault."""
    launch = gpu.driver._launch

    def run(kernel, grid, words):
        if any(node.line is not None and node.line.line == line for node in kernel.graph.walk()):
            raise Fault("made to fail")
        launch(kernel, grid, words)

    gpu.driver._launch = run


def net(gpu):
    executable = gpu.build(run_passes(parse(TEXT), gpu_target("sm_90")))
    blocks = [gpu.device.put(np.ones(shape, np.float32)) for shape in ((5, 8), (8, 8))]
    return lambda: executable.run([block.address for block in blocks], (5,))


def test_a_fault_names_the_kernels_that_may_have_done_it():
    gpu = SimulatedGpu()
    run = net(gpu)
    failing(gpu, 4)
    (result,) = run()
    with pytest.raises(KernelFault, match="CUDA_ERROR_ILLEGAL_ADDRESS in a kernel that") as caught:
        gpu.device.get(result.address, (5, 8), np.dtype(np.float32))
    kernels = caught.value.kernels
    assert [k.partition(" (")[2] for k in kernels] == [
        f"model.py:{line} in forward)" for line in (3, 4, 5)
    ]
    assert all(f"\n  {kernel}" in str(caught.value) for kernel in kernels)
    with pytest.raises(KernelFault):  # the device cannot be used any more
        gpu.device.synchronize()


def test_what_was_waited_for_is_not_blamed():
    gpu = SimulatedGpu()
    graph, _ = mlp_step((7, 5, 10))
    gpu.build(run_passes(graph, gpu_target("sm_90")))(step_arrays(graph, 5))
    run = net(gpu)
    failing(gpu, 4)
    run()
    with pytest.raises(KernelFault) as caught:
        gpu.device.synchronize()
    assert len(caught.value.kernels) == 3


def test_a_fault_is_known_exactly_where_each_kernel_is_waited_for():
    gpu = SimulatedGpu()
    gpu.device.blocking = True
    run = net(gpu)
    failing(gpu, 4)
    with pytest.raises(KernelFault, match=r"in kernel @\w+ \(model.py:4 in forward\)") as caught:
        run()
    assert len(caught.value.kernels) == 1


def test_faults_inside_of_graphs():
    gpu = SimulatedGpu()
    run = net(gpu)
    held = [run(), run(), run()]
    gpu.device.synchronize()
    assert gpu.driver.replays and len(held) == 3
    failing(gpu, 4)
    run()
    with pytest.raises(KernelFault):
        gpu.device.synchronize()
    with pytest.raises(KernelFault):
        run()


def test_a_launch_that_the_driver_refuses_names_the_kernel():
    gpu = SimulatedGpu()
    run = net(gpu)
    issue = gpu.driver.issue

    def refuse(command):
        raise DriverError("CUDA_ERROR_INVALID_VALUE", "cuLaunchKernel")

    gpu.driver.issue = refuse
    with pytest.raises(LaunchError, match=r"@\w+ \(model.py:3 in forward\) cannot be launched"):
        run()
    gpu.driver.issue = issue
    assert len(run()) == 1  # the device is as it was


def test_each_thread_has_the_context():
    gpu = SimulatedGpu()
    run, found = net(gpu), []

    def work():
        block = gpu.device.put(np.arange(5.0))
        (result,) = run()
        found.append(gpu.device.get(block.address, (5,), np.dtype(np.float64)))
        found.append(gpu.device.get(result.address, (5, 8), np.dtype(np.float32)))
        gpu.device.synchronize()
        gpu.device.trim()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(found) == 2 and np.array_equal(found[0], np.arange(5.0))


def test_an_interrupt_waits_for_the_whole_program():
    """Parameters are those of the step before, or of this one."""
    graph, donated = mlp_step((7, 5, 10))
    arrays = step_arrays(graph, 9)
    states = []
    for interrupted in (False, True):
        gpu = SimulatedGpu()
        executable = gpu.build(run_passes(graph, gpu_target("sm_90"), donated=donated))
        blocks = [gpu.device.put(array) for array in arrays]
        issue, count = gpu.driver.issue, itertools.count()

        def noted(command, issue=issue, count=count):
            issue(command)
            if next(count) == 3:
                os.kill(os.getpid(), signal.SIGINT)

        if interrupted:
            gpu.driver.issue = noted
            with pytest.raises(KeyboardInterrupt):
                executable.run([block.address for block in blocks], (9,))
        else:
            executable.run([block.address for block in blocks], (9,))
        states.append(
            [
                gpu.device.get(blocks[k].address, arrays[k].shape, arrays[k].dtype).tobytes()
                for k in donated.values()
            ]
        )
    assert states[0] == states[1] != [arrays[k].tobytes() for k in donated.values()]


def test_streams_of_other_libraries():
    gpu = SimulatedGpu()
    gpu.device.lend(5)
    gpu.device.borrow(7)
    assert gpu.driver.ordered == []  # nobody waits on the host
    gpu.device.synchronize()
    assert gpu.driver.ordered == [(0, 5), (7, 0)]


LOOPING = """
graph @looping(%w: f32[4], %k: i64[], %zero: i64[]) -> (f32[4], f32[4]) {
  %v = mul(%w, %w)
  %i, %y = while(%k, %zero, %v) {consts=1} condition (%n, %j, %a: f32[4]) {
    yield lt(%j, %n)
  } (%n, %j, %a: f32[4]) {
    yield add(%j, 1), sin(%a)
  }
  yield %v, %y
}
"""


def test_an_interrupt_waits_for_loops_that_the_host_decides():
    gpu = SimulatedGpu()
    executable = gpu.build(run_passes(parse(LOOPING), gpu_target("sm_90"), donated={0: 0}))
    w = gpu.device.put(np.full(4, 3, np.float32))
    k, zero = gpu.device.put(np.array(5)), gpu.device.put(np.array(0))
    issue, count = gpu.driver.issue, itertools.count()

    def noted(command):
        issue(command)
        if next(count) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    gpu.driver.issue = noted
    with pytest.raises(KeyboardInterrupt):
        executable.run([w.address, k.address, zero.address])
    assert next(count) > 10
    assert (gpu.device.get(w.address, (4,), np.dtype(np.float32)) == 9).all()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture
def no_devices(monkeypatch):
    """As in a process that has opened none."""
    monkeypatch.setattr(devices, "_opened", {})
    devices.device_count.cache_clear()
    yield
    devices.device_count.cache_clear()


def test_without_a_driver_there_is_no_device(monkeypatch, no_devices):
    def missing():
        raise NoDeviceError("no NVIDIA driver was found")

    monkeypatch.setattr(devices, "load_api", missing)
    monkeypatch.setattr(devices, "open_driver", lambda number: missing())
    assert devices.device_count() == 0 and devices.opened() is None
    assert devices.why_none() == "no NVIDIA driver was found"
    with pytest.raises(NoDeviceError, match="no NVIDIA driver"):
        devices.device()


def test_a_device_is_opened_once_and_not_used_after_a_fork(monkeypatch, no_devices):
    made = []
    monkeypatch.setattr(devices, "open_driver", lambda n: made.append(n) or SimulatedGpu().driver)
    first = devices.device()
    assert devices.device() is first is devices.opened() and made == [0]
    child = os.fork()
    if child == 0:
        try:
            devices.device()
            os._exit(1)
        except NoDeviceError as error:
            os._exit(0 if "fork" in str(error) else 2)
        finally:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
