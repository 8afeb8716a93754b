"""The thread pool: partition, many short regions, two callers, fork, exit, idleness.

Kernels that need no speed are Python functions called back from native code; the others are LLVM
text. A deadlock shows as a failure, since everything runs under `finishes`.
"""

import ctypes
import itertools
import os
import platform
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import numpy as np
import pytest

from sley.backends.llvm import native
from sley.backends.llvm.pool import can_park
from sley.runtime import threads
from sley.runtime.threads import ThreadPool

KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)

needs_parking = pytest.mark.skipif(
    not can_park(platform.system(), platform.machine()), reason="threads cannot be parked here"
)

# count: adds 1 to each element of its range of i64, and holds its scratch meanwhile: the first
# word of scratch is 1 while an executor uses it, the second counts executors that found it so.
# meet: args is (arrivals, chunks, failures); waits, about 10 s at most, until all chunks of its
# region have begun.
# regions: runs a kernel again and again in one foreign call, as a program does.
KERNELS = """
define void @count(ptr %args, i64 %lo, i64 %hi, ptr %scratch) {
entry:
  %held = atomicrmw xchg ptr %scratch, i64 1 seq_cst, align 8
  %clashes = getelementptr i64, ptr %scratch, i64 1
  %clash = atomicrmw add ptr %clashes, i64 %held seq_cst, align 8
  br label %loop
loop:
  %i = phi i64 [ %lo, %entry ], [ %next, %loop ]
  %at = getelementptr i64, ptr %args, i64 %i
  %old = load i64, ptr %at
  %new = add i64 %old, 1
  store i64 %new, ptr %at
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %hi
  br i1 %more, label %loop, label %end
end:
  store atomic i64 0, ptr %scratch seq_cst, align 8
  ret void
}

define void @meet(ptr %args, i64 %lo, i64 %hi, ptr %scratch) {
entry:
  %at_chunks = getelementptr i64, ptr %args, i64 1
  %at_failures = getelementptr i64, ptr %args, i64 2
  %chunks = load i64, ptr %at_chunks
  %before = atomicrmw add ptr %args, i64 1 seq_cst, align 8
  %round = udiv i64 %before, %chunks
  %next_round = add i64 %round, 1
  %target = mul i64 %next_round, %chunks
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %again ]
  %arrivals = load atomic i64, ptr %args seq_cst, align 8
  %met = icmp uge i64 %arrivals, %target
  br i1 %met, label %end, label %again
again:
  %next = add i64 %i, 1
  %patient = icmp ult i64 %next, 10000000000
  br i1 %patient, label %loop, label %fail
fail:
  atomicrmw add ptr %at_failures, i64 1 seq_cst, align 8
  br label %end
end:
  ret void
}

define void @regions(ptr %pool, ptr %run, ptr %kernel, ptr %args, i64 %total, i64 %grain,
                     ptr %scratch, i64 %stride, i64 %count) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  call void %run(ptr %pool, ptr %kernel, ptr %args, i64 %total, i64 %grain, ptr %scratch,
                 i64 %stride)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %count
  br i1 %more, label %loop, label %end
end:
  ret void
}
"""


@pytest.fixture(scope="module")
def kernels():
    host = native.host()
    return native.Library([native.compile_object(KERNELS, cpu=host.cpu, features=host.features)])


@pytest.fixture(scope="module", params=[1, 2, 4])
def pool(request):
    made = ThreadPool(request.param)
    yield made
    made.close()


def finishes(work, seconds=120.0):
    """Run `work` on a thread of its own; fail when it does not end. Returns its result."""
    result = []

    def run():
        try:
            result.append((work(), None))
        except BaseException as error:
            result.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert result, f"no end after {seconds} s: a wake-up was lost, or a deadlock"
    value, error = result[0]
    if error is not None:
        raise error
    return value


def recorded(pool, total, grain, scratch=0, stride=0, dynamic=False):
    """The (lo, hi, scratch) that a kernel saw, by lo."""
    calls = []
    kernel = KERNEL(lambda args, lo, hi, own: calls.append((lo, hi, own or 0)))
    address = ctypes.cast(kernel, ctypes.c_void_p).value
    finishes(lambda: pool.run(address, 0, total, grain, scratch, stride, dynamic=dynamic))
    return sorted(calls)


def even_chunks(total, grain, threads):
    """What the partition must be: none shorter than a grain, where there are several."""
    return chunks_of(total, 1, max(1, min(threads, total // grain)))


def chunks_of(total, grain, most):
    """Grains shared out evenly, the first chunks getting the rest."""
    grains = -(-total // grain)
    count = min(most, grains)
    quotient, remainder = divmod(grains, count)
    starts = [i * quotient + min(i, remainder) for i in range(count + 1)]
    return [(a * grain, min(b * grain, total)) for a, b in itertools.pairwise(starts)]


def regions(kernels):
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    return ctypes.CFUNCTYPE(None, *[pointer] * 4, integer, integer, pointer, integer, integer)(
        kernels.address("regions")
    )


def program(kernels, pool, totals, grain, repeat, dynamic=False):
    """Run `count` over arrays of several sizes, `repeat` times each in one foreign call; check
    each element and that no scratch was used twice at once."""
    run = pool.run_dynamic_address if dynamic else pool.run_address
    scratch = np.zeros((pool.threads, 8), np.int64)
    for total in totals:
        x = np.zeros(total, np.int64)
        regions(kernels)(
            pool.address,
            run,
            kernels.address("count"),
            x.ctypes.data,
            total,
            grain,
            scratch.ctypes.data,
            64,
            repeat,
        )
        assert (x == repeat).all()
    assert not scratch[:, :2].any(), "a scratch had two users at once"


def test_partition(pool):
    random_sizes = random.Random(0)
    sizes = [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (7, 8), (8, 8), (9, 8), (1000, 999)]
    sizes += [(random_sizes.randint(1, 10_000), random_sizes.randint(1, 400)) for _ in range(100)]
    for total, grain in sizes:
        got = [(lo, hi) for lo, hi, _ in recorded(pool, total, grain)]
        assert got == even_chunks(total, grain, pool.threads), (total, grain)


def test_dynamic_partition(pool):
    for total, grain in [(1, 1), (10, 1), (1000, 64), (200_000, 1)]:
        got = [(lo, hi) for lo, hi, _ in recorded(pool, total, grain, dynamic=True)]
        many = 1 if pool.threads == 1 else 65535
        assert got == chunks_of(total, grain, many), (total, grain)


def test_huge_and_odd_sizes(pool):
    assert recorded(pool, 0, 4) == []
    assert recorded(pool, -3, 4) == []
    assert recorded(pool, 1 << 40, 1 << 62) == [(0, 1 << 40, 0)]
    got = [(lo, hi) for lo, hi, _ in recorded(pool, (1 << 60) + 5, 64)]
    assert got == even_chunks((1 << 60) + 5, 64, pool.threads)
    assert [c[:2] for c in recorded(pool, 10, 0)] == chunks_of(10, 1, pool.threads)


def test_a_small_region_is_called_directly():
    pool = ThreadPool(2)
    callers = []
    kernel = KERNEL(lambda args, lo, hi, own: callers.append((threading.get_ident(), lo, hi, own)))
    pool.run(ctypes.cast(kernel, ctypes.c_void_p).value, 0, 8, 8, 4096, 64)
    assert callers == [(threading.get_ident(), 0, 8, 4096)]
    pool.close()


@needs_parking
@pytest.mark.parametrize("spin_us", [0, 30])
def test_every_worker_is_woken_and_has_its_scratch(spin_us):
    # Every chunk waits for all others to begin, so each needs an executor of its own: a worker
    # that misses its wake-up stops the region. The pauses let the workers fall asleep, or nearly.
    pool = ThreadPool(4, spin_us=spin_us)
    barrier = threading.Barrier(4)
    pauses = random.Random(2)
    seen = []

    def kernel(args, lo, hi, own):
        barrier.wait(60)
        seen.append((own, threading.get_ident()))

    wrapped = KERNEL(kernel)
    address = ctypes.cast(wrapped, ctypes.c_void_p).value
    for _ in range(300):
        seen.clear()
        finishes(lambda: pool.run(address, 0, 4, 1, 1 << 20, 4096))
        assert sorted(own for own, _ in seen) == [(1 << 20) + 4096 * t for t in range(4)]
        assert len({thread for _, thread in seen}) == 4
        time.sleep(pauses.choice([0, 1e-5, 5e-5, 2e-4]))
    pool.close()


@needs_parking
@pytest.mark.parametrize("spin_us", [0, 0.05, 50])
def test_a_worker_that_falls_asleep_is_woken(kernels, spin_us):
    # Each region begins as soon as the one before it ends, when a worker that does not spin is on
    # its way to sleep; and it does not end without that worker.
    pool = ThreadPool(2, spin_us=spin_us)
    state = np.array([0, 2, 0], np.int64)
    finishes(
        lambda: regions(kernels)(
            pool.address,
            pool.run_address,
            kernels.address("meet"),
            state.ctypes.data,
            2,
            1,
            0,
            0,
            2000,
        )
    )
    assert state.tolist() == [4000, 2, 0]
    pool.close()


@pytest.mark.parametrize("dynamic", [False, True])
def test_thousands_of_short_regions(kernels, pool, dynamic):
    sizes = [1, 2, 3, 5, 16, 100, 1000]
    finishes(lambda: program(kernels, pool, sizes, 1 if not dynamic else 7, 3000, dynamic))


@pytest.mark.parametrize(("spin_us", "wait_us"), [(0, 0), (0, 1000), (20, 0), (1, 1)])
def test_no_wake_up_is_lost(kernels, spin_us, wait_us):
    # Pauses of every length up to the spinning time and beyond, so that regions begin while the
    # workers spin, fall asleep and sleep; and both ends of the join.
    pool = ThreadPool(3, spin_us=spin_us, wait_us=wait_us)
    pauses = random.Random(1)

    def work():
        for _ in range(400):
            program(kernels, pool, [3, 50, 2000], 1, 5)
            time.sleep(pauses.choice([0, 0, 1e-5, 5e-5, 2e-4]))

    finishes(work)
    pool.close()


@needs_parking
def test_a_worker_leaves_the_core_of_the_caller(kernels):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core")
    pool = ThreadPool(2, spin_us=0)
    worker = pool._workers[0].native_id
    state = np.array([0, 2, 0], np.int64)

    def work():  # on a thread of its own, whose affinity ends with it
        os.sched_setaffinity(0, {cores[0]})
        os.sched_setaffinity(worker, {cores[0]})
        time.sleep(0.05)
        pool.run(kernels.address("meet"), state.ctypes.data, 2, 1)

    finishes(work)
    assert state.tolist() == [2, 2, 0]
    assert os.sched_getaffinity(worker) == set(cores[1:])
    pool.close()


def test_late_workers_delay_nobody(kernels):
    # The workers cannot run at all (none was started): the caller does all chunks.
    pool = ThreadPool(4)
    pool.close()
    finishes(lambda: program(kernels, pool, [1, 4, 1000], 1, 100))
    assert [c[:2] for c in recorded(pool, 100, 3)] == even_chunks(100, 3, pool.threads)


@pytest.mark.parametrize("callers", [2, 5])
def test_several_callers_at_once(kernels, callers):
    pool = ThreadPool(3)
    errors = []

    def work():
        try:
            for _ in range(150):
                program(kernels, pool, [3, 7, 3000], 1, 20)
        except BaseException as error:
            errors.append(error)

    def together():
        workers = [threading.Thread(target=work, daemon=True) for _ in range(callers)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    finishes(together)
    assert errors == []
    pool.close()


def test_a_region_inside_a_region_is_computed_alone():
    pool = ThreadPool(2)
    calls = Counter()
    inner = KERNEL(lambda args, lo, hi, own: calls.update([(lo, hi)]))
    inner_address = ctypes.cast(inner, ctypes.c_void_p).value
    outer = KERNEL(lambda args, lo, hi, own: pool.run(inner_address, 0, 10, 1))
    finishes(lambda: pool.run(ctypes.cast(outer, ctypes.c_void_p).value, 0, 2, 1))
    assert calls == {(0, 10): 2}
    pool.close()


def test_a_stop_in_the_middle(kernels):
    # Programs that run while their pool is closed finish on their own thread.
    for _ in range(30):
        pool = ThreadPool(3)
        runner = threading.Thread(
            target=program, args=(kernels, pool, [3, 3000], 1, 300), daemon=True
        )
        runner.start()
        finishes(pool.close)
        finishes(runner.join)


def test_close_joins_the_threads_and_may_come_twice():
    pool = ThreadPool(4)
    workers = list(pool._workers)
    pool.run(ctypes.cast(KERNEL(lambda *_: None), ctypes.c_void_p).value, 0, 4, 1)
    finishes(pool.close)
    pool.close()
    assert not any(worker.is_alive() for worker in workers)


def test_a_collected_pool_stops():
    pool = ThreadPool(3)
    workers = list(pool._workers)
    del pool
    finishes(lambda: [worker.join() for worker in workers])


def test_an_idle_pool_uses_no_cpu():
    pool = ThreadPool(4)
    kernel = KERNEL(lambda *_: None)
    pool.run(ctypes.cast(kernel, ctypes.c_void_p).value, 0, 4, 1)
    time.sleep(0.1)
    before = time.process_time()
    time.sleep(0.3)
    used = time.process_time() - before
    assert used < 0.1, f"{used:.3f} s of processor time in 0.3 s of idleness"
    pool.close()


def test_the_number_of_threads():
    first = threads.default_pool()
    asked = threads._asked
    try:
        assert first is threads.default_pool()
        threads.set_num_threads(3)
        assert threads.get_num_threads() == 3
        second = threads.default_pool()
        assert second is not first
        assert [c[:2] for c in recorded(second, 9, 1)] == chunks_of(9, 1, second.threads)
        assert [c[:2] for c in recorded(first, 9, 1)] == chunks_of(9, 1, first.threads)
        for bad in (0, -1, 100_000):
            with pytest.raises(ValueError, match="threads"):
                threads.set_num_threads(bad)
            with pytest.raises(ValueError, match="threads"):
                ThreadPool(bad)
    finally:
        threads.set_num_threads(threads.config().num_threads)
        threads._asked = asked


# ---------------------------------------------------------------------------- processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork(kernels):
    pool = ThreadPool(3)
    busy = threading.Event()

    def other():  # another thread is inside a region at the moment of the fork, mostly
        while not busy.is_set():
            program(kernels, pool, [3000], 1, 50)

    runner = threading.Thread(target=other, daemon=True)
    runner.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    program(kernels, pool, [1, 3, 3000], 1, 50)
                    assert len(pool._workers) == pool.threads - 1
                    assert all(worker.is_alive() for worker in pool._workers)
                    program(kernels, threads.default_pool(), [3000], 1, 50)
                    pool.close()
                    code = 0
                finally:
                    os._exit(code)
            assert exit_code(child) == 0
    finally:
        busy.set()
        runner.join(60)
    program(kernels, pool, [3000], 1, 50)
    pool.close()


def exit_code(child, seconds=60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "the child did not end"


PRELUDE = """
import atexit, ctypes, os, sys, threading, time
from sley.runtime import threads
from sley.runtime.threads import ThreadPool
KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
sums = []
kernel = KERNEL(lambda args, lo, hi, own: sums.append(hi - lo))
address = ctypes.cast(kernel, ctypes.c_void_p).value
def run(pool):
    sums.clear()
    pool.run(address, 0, 1000, 1)
    assert sum(sums) == 1000
pool = ThreadPool(3)
run(pool)
"""


def start(script):
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("script", "code", "error"),
    [
        ("print('done')", 0, ""),
        ("run(threads.default_pool()); print('done')", 0, ""),
        ("pool.close(); run(pool); print('done')", 0, ""),
        ("print('done'); raise KeyError('a user error')", 1, "a user error"),
        ("print('done'); sys.exit(3)", 3, ""),
        ("atexit.register(lambda: (run(pool), print('done')))", 0, ""),
        (
            "work = lambda: (time.sleep(0.1), run(pool), print('done'))\n"
            "thread = threading.Thread(target=work)\nthread.start()",
            0,
            "",
        ),
        (
            "class Holder: pass\nholder = Holder(); holder.pool, holder.me = pool, holder\n"
            "del pool, holder\nprint('done')",
            0,
            "",
        ),
    ],
    ids=["plain", "default", "closed", "exception", "exit", "atexit", "thread", "cycle"],
)
def test_the_interpreter_ends(script, code, error):
    process = start(script)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "done\n"), err
    assert error in err if error else err == ""


NATIVE = """
from sley.backends.llvm import native
host = native.host()
library = native.Library([native.compile_object(
    "define void @k(ptr %a, i64 %lo, i64 %hi, ptr %s) {\\n  ret void\\n}",
    cpu=host.cpu, features=host.features)])
def forever():
    while True:
        pool.run(library.address("k"), 0, 100, 1)
"""


def test_the_interpreter_ends_while_a_daemon_thread_computes():
    process = start(
        NATIVE
        + """
threading.Thread(target=forever, daemon=True).start()
time.sleep(0.1)
print('done')
"""
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "done\n", "")


def test_ctrl_c_between_calls():
    process = start(
        NATIVE
        + """
print('ready', flush=True)
try:
    forever()
except KeyboardInterrupt:
    print('stopped')
"""
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "stopped\n", "")


def test_a_system_without_futexes_has_one_thread(monkeypatch):
    monkeypatch.setattr(threads.platform, "system", lambda: "Plan9")
    pool = ThreadPool(4)
    assert pool.threads == 1
    assert recorded(pool, 100, 1) == [(0, 100, 0)]
    pool.close()
