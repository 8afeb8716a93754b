"""The thread pool's native half, as LLVM text: claiming chunks, spinning, sleeping on a futex.

    void sley_pool_run(ptr pool, ptr kernel, ptr args, i64 total, i64 grain,
                       ptr scratch, i64 scratch_stride)
    void sley_pool_run_dynamic(...the same...)
    void kernel(ptr args, i64 lo, i64 hi, ptr scratch)

`run` cuts [0, total) into as many chunks as there are threads, equally long but for one, or into
fewer, of at least a grain each; `run_dynamic` makes every grain a chunk (at most 65535), for work
whose chunks differ in cost. Which chunks there are depends on total, grain and the number of
threads alone; who runs which does not. Worker t uses scratch + t * scratch_stride, the caller is
worker 0.

How a region runs. One 64-bit *ticket* holds (generation, chunks, next chunk). The caller writes
the region's description, publishes a ticket whose chunk 0 it has already claimed, wakes a sleeper,
runs chunk 0 and then claims further ones like any worker, so that a worker that wakes late delays
nobody: its chunk is done or it finds nothing left. To claim is to compare-and-swap the ticket; that
it succeeds also proves that the description read before it belongs to this generation, since
the caller rewrites it only when every chunk of the old one is claimed and finished. `pending`
counts chunks not finished; whoever brings it to zero wakes the caller if that one sleeps.

To wake a thread costs the waker 2 to 70 microseconds (a virtual machine sends an interrupt
through its host), so the caller wakes one worker and each woken worker, while chunks are left,
two more. No wake-up is lost: a worker reads `signal` before it looks for work and sleeps only while
`signal` has that value; the caller publishes, then changes `signal`, then looks for sleepers.

One machine, hence in one file: every part names the states of others.
"""

from __future__ import annotations

# The pool in memory: 32-bit words and 64-bit words by byte offset. What many threads write has
# a cache line of its own (two, since processors fetch lines in pairs).
LAYOUT = {
    # written once, by Python
    "threads": 0,  # i64
    "spin": 8,  # i64, pauses of an idle worker before it sleeps
    "wait_spin": 16,  # i64, pauses of the caller at the join before it sleeps
    "stop": 24,  # i32, 1: workers return
    "avoid": 28,  # i32, 1: workers leave the caller's core (there are enough cores)
    # the caller's own
    "busy": 128,  # i32, 1: a region runs
    "waiting": 132,  # i32, 1: the caller may be asleep on `pending`
    "caller_core": 136,  # i32, where the caller was when it last woke a worker
    # the hand-over
    "ticket": 256,  # i64, generation << 32 | chunks << 16 | next chunk
    "signal": 264,  # i32, futex of the workers
    "sleepers": 268,  # i32, workers that sleep or are about to
    # the description of the region, one line, next to the ticket
    "kernel": 320,
    "args": 328,
    "total": 336,
    "grain": 344,
    "scratch": 352,
    "stride": 360,
    "quotient": 368,  # grains a chunk has at least
    "remainder": 376,  # the first so many chunks have one more
    # the join
    "pending": 512,  # i32, chunks not yet finished; futex of the caller
    # written once, by Python: the cores the process may use, one bit each (a cpu_set_t)
    "cores": 640,
}
CORES_BYTES = 128
SIZE = 640 + CORES_BYTES
MAX_THREADS = 1024

_FUTEX_NUMBER = {"x86_64": 202, "aarch64": 98}


def can_park(system: str, machine: str) -> bool:
    """Whether threads can sleep in native code there; elsewhere a pool has one thread."""
    return system == "Linux" and machine in _FUTEX_NUMBER


def pool_text(system: str, machine: str) -> str:
    """The LLVM text of the pool for an operating system and a machine (`platform`'s names)."""
    parts = [_fields(), _pause_text(machine), _futex_text(system, machine), _BODY]
    return "\n".join(parts)


def _fields() -> str:
    """One function for each field, so that the body reads `call ptr @at_ticket(ptr %pool)`."""
    return "\n".join(
        f"define internal ptr @at_{name}(ptr %pool) alwaysinline {{\n"
        f"  %at = getelementptr i8, ptr %pool, i64 {offset}\n"
        f"  ret ptr %at\n"
        f"}}"
        for name, offset in LAYOUT.items()
    )


def _pause_text(machine: str) -> str:
    # On AArch64 `isb` waits about as long as x86's pause does; `yield` is a no-op on most cores.
    call, declaration = {
        "x86_64": ("call void @llvm.x86.sse2.pause()", "declare void @llvm.x86.sse2.pause()"),
        "aarch64": ("call void @llvm.aarch64.isb(i32 15)", "declare void @llvm.aarch64.isb(i32)"),
    }.get(machine, ("", ""))
    return f"{declaration}\ndefine internal void @pause() alwaysinline {{\n  {call}\n  ret void\n}}"


def _futex_text(system: str, machine: str) -> str:
    if not can_park(system, machine):
        return _NO_FUTEX
    text = _FUTEX.replace("NUMBER", str(_FUTEX_NUMBER[machine]))
    return text + _LEAVE.replace("CORES_BYTES", str(CORES_BYTES))


# The system call goes through libc's `syscall`: llvmlite can assemble inline assembly for the host
# only, so text with it could not be checked for another machine. 128 and 129 are FUTEX_WAIT and
# FUTEX_WAKE, private to the process. An early return (signal, changed word) is harmless: all loop.
_FUTEX = """
declare i64 @syscall(i64, ...)

define internal void @futex_wait(ptr %word, i32 %value) noinline {
  call i64 (i64, ...) @syscall(i64 NUMBER, ptr %word, i64 128, i32 %value, ptr null)
  ret void
}

define internal void @futex_wake(ptr %word, i32 %count) noinline {
  call i64 (i64, ...) @syscall(i64 NUMBER, ptr %word, i64 129, i32 %count)
  ret void
}
"""

# Linux often wakes a thread on the core of the thread that woke it, above all where two cores
# are all there are. A worker there keeps the caller from its chunk, while the other core idles,
# for as long as it works and spins. So a woken worker that finds itself on the caller's core
# forbids itself that core (glibc and musl answer sched_getcpu without a system call).
_LEAVE = """
declare i32 @sched_getcpu()
declare i32 @sched_setaffinity(i32, i64, ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal void @note_core(ptr %pool) noinline {
  %core = call i32 @sched_getcpu()
  %at_caller_core = call ptr @at_caller_core(ptr %pool)
  store atomic i32 %core, ptr %at_caller_core monotonic, align 4
  ret void
}

define internal void @leave_core(ptr %pool) noinline {
entry:
  %allowed = alloca [CORES_BYTES x i8], align 8
  %at_avoid = call ptr @at_avoid(ptr %pool)
  %avoid = load i32, ptr %at_avoid, align 4
  %wanted = icmp ne i32 %avoid, 0
  br i1 %wanted, label %compare, label %end
compare:
  %core = call i32 @sched_getcpu()
  %at_caller_core = call ptr @at_caller_core(ptr %pool)
  %caller_core = load atomic i32, ptr %at_caller_core monotonic, align 4
  %same = icmp eq i32 %core, %caller_core
  %bits = mul i32 CORES_BYTES, 8
  %known = icmp ult i32 %core, %bits
  %go = and i1 %same, %known
  br i1 %go, label %leave, label %end
leave:
  %at_cores = call ptr @at_cores(ptr %pool)
  call void @llvm.memcpy.p0.p0.i64(ptr %allowed, ptr %at_cores, i64 CORES_BYTES, i1 false)
  %byte = lshr i32 %core, 3
  %bit = and i32 %core, 7
  %bit8 = trunc i32 %bit to i8
  %one = shl i8 1, %bit8
  %mask = xor i8 %one, -1
  %at_byte = getelementptr i8, ptr %allowed, i32 %byte
  %old = load i8, ptr %at_byte
  %new = and i8 %old, %mask
  store i8 %new, ptr %at_byte
  call i32 @sched_setaffinity(i32 0, i64 CORES_BYTES, ptr %allowed)
  br label %end
end:
  ret void
}
"""

_NO_FUTEX = """
define internal void @note_core(ptr %pool) {
  ret void
}

define internal void @leave_core(ptr %pool) {
  ret void
}

define internal void @futex_wait(ptr %word, i32 %value) {
  ret void
}

define internal void @futex_wake(ptr %word, i32 %count) {
  ret void
}
"""

_BODY = """
define internal i64 @min(i64 %a, i64 %b) alwaysinline {
  %less = icmp ult i64 %a, %b
  %least = select i1 %less, i64 %a, i64 %b
  ret i64 %least
}

; Where chunk c begins, in grains: c * quotient + min(c, remainder).
define internal i64 @chunk_start(i64 %chunk, i64 %quotient, i64 %remainder) alwaysinline {
  %whole = mul i64 %chunk, %quotient
  %extra = call i64 @min(i64 %chunk, i64 %remainder)
  %start = add i64 %whole, %extra
  ret i64 %start
}

; Claim one chunk and run it as worker %id; false if none is left.
define internal i1 @step(ptr %pool, i64 %id) {
entry:
  %at_ticket = call ptr @at_ticket(ptr %pool)
  %at_kernel = call ptr @at_kernel(ptr %pool)
  %at_args = call ptr @at_args(ptr %pool)
  %at_total = call ptr @at_total(ptr %pool)
  %at_grain = call ptr @at_grain(ptr %pool)
  %at_scratch = call ptr @at_scratch(ptr %pool)
  %at_stride = call ptr @at_stride(ptr %pool)
  %at_quotient = call ptr @at_quotient(ptr %pool)
  %at_remainder = call ptr @at_remainder(ptr %pool)
  br label %look
look:
  %ticket = load atomic i64, ptr %at_ticket acquire, align 8
  %chunk = and i64 %ticket, 65535
  %shifted = lshr i64 %ticket, 16
  %chunks = and i64 %shifted, 65535
  %left = icmp ult i64 %chunk, %chunks
  br i1 %left, label %claim, label %none
claim:
  %kernel = load atomic ptr, ptr %at_kernel monotonic, align 8
  %args = load atomic ptr, ptr %at_args monotonic, align 8
  %total = load atomic i64, ptr %at_total monotonic, align 8
  %grain = load atomic i64, ptr %at_grain monotonic, align 8
  %scratch = load atomic ptr, ptr %at_scratch monotonic, align 8
  %stride = load atomic i64, ptr %at_stride monotonic, align 8
  %quotient = load atomic i64, ptr %at_quotient monotonic, align 8
  %remainder = load atomic i64, ptr %at_remainder monotonic, align 8
  %taken = add i64 %ticket, 1
  %swap = cmpxchg ptr %at_ticket, i64 %ticket, i64 %taken acq_rel monotonic, align 8
  %mine = extractvalue { i64, i1 } %swap, 1
  br i1 %mine, label %run, label %look
run:
  %next = add i64 %chunk, 1
  %first = call i64 @chunk_start(i64 %chunk, i64 %quotient, i64 %remainder)
  %last = call i64 @chunk_start(i64 %next, i64 %quotient, i64 %remainder)
  %lo = mul i64 %first, %grain
  %end = mul i64 %last, %grain
  %hi = call i64 @min(i64 %end, i64 %total)
  %offset = mul i64 %id, %stride
  %own = getelementptr i8, ptr %scratch, i64 %offset
  call void %kernel(ptr %args, i64 %lo, i64 %hi, ptr %own)
  ret i1 true
none:
  ret i1 false
}

; Take %count from `pending`; true if that leaves nothing.
define internal i1 @finish(ptr %pool, i32 %count) alwaysinline {
  %at_pending = call ptr @at_pending(ptr %pool)
  %before = atomicrmw sub ptr %at_pending, i32 %count seq_cst, align 4
  %all = icmp eq i32 %before, %count
  ret i1 %all
}

; Cut [0, total) into at most %most chunks and run them.
define internal void @run_region(ptr %pool, i64 %most, ptr %kernel, ptr %args, i64 %total,
                                 i64 %asked, ptr %scratch, i64 %stride) {
entry:
  %empty = icmp sle i64 %total, 0
  br i1 %empty, label %nothing, label %check_threads
nothing:
  ret void

check_threads:
  %positive = icmp sgt i64 %asked, 0
  %grain = select i1 %positive, i64 %asked, i64 1
  %at_threads = call ptr @at_threads(ptr %pool)
  %threads = load i64, ptr %at_threads, align 8
  %small = icmp ule i64 %total, %grain
  %fewest = call i64 @min(i64 %threads, i64 %most)
  %single = icmp ule i64 %fewest, 1
  %direct = or i1 %small, %single
  br i1 %direct, label %alone, label %enter
alone:
  call void %kernel(ptr %args, i64 0, i64 %total, ptr %scratch)
  ret void

enter:
  %at_busy = call ptr @at_busy(ptr %pool)
  %entering = cmpxchg ptr %at_busy, i32 0, i32 1 acquire monotonic, align 4
  %entered = extractvalue { i32, i1 } %entering, 1
  br i1 %entered, label %publish, label %alone

publish:
  %less = add i64 %total, -1
  %whole = udiv i64 %less, %grain
  %grains = add i64 %whole, 1
  %chunks = call i64 @min(i64 %most, i64 %grains)
  %quotient = udiv i64 %grains, %chunks
  %covered = mul i64 %quotient, %chunks
  %remainder = sub i64 %grains, %covered
  %at_kernel = call ptr @at_kernel(ptr %pool)
  %at_args = call ptr @at_args(ptr %pool)
  %at_total = call ptr @at_total(ptr %pool)
  %at_grain = call ptr @at_grain(ptr %pool)
  %at_scratch = call ptr @at_scratch(ptr %pool)
  %at_stride = call ptr @at_stride(ptr %pool)
  %at_quotient = call ptr @at_quotient(ptr %pool)
  %at_remainder = call ptr @at_remainder(ptr %pool)
  %at_pending = call ptr @at_pending(ptr %pool)
  %at_ticket = call ptr @at_ticket(ptr %pool)
  store atomic ptr %kernel, ptr %at_kernel monotonic, align 8
  store atomic ptr %args, ptr %at_args monotonic, align 8
  store atomic i64 %total, ptr %at_total monotonic, align 8
  store atomic i64 %grain, ptr %at_grain monotonic, align 8
  store atomic ptr %scratch, ptr %at_scratch monotonic, align 8
  store atomic i64 %stride, ptr %at_stride monotonic, align 8
  store atomic i64 %quotient, ptr %at_quotient monotonic, align 8
  store atomic i64 %remainder, ptr %at_remainder monotonic, align 8
  %chunks32 = trunc i64 %chunks to i32
  store atomic i32 %chunks32, ptr %at_pending monotonic, align 4
  %old_ticket = load atomic i64, ptr %at_ticket monotonic, align 8
  %old_generation = lshr i64 %old_ticket, 32
  %generation = add i64 %old_generation, 1
  %high = shl i64 %generation, 32
  %middle = shl i64 %chunks, 16
  %low = or i64 %middle, 1
  %ticket = or i64 %high, %low
  store atomic i64 %ticket, ptr %at_ticket release, align 8
  call void @call_workers(ptr %pool, i32 1)
  %end = call i64 @chunk_start(i64 1, i64 %quotient, i64 %remainder)
  %bound = mul i64 %end, %grain
  %hi = call i64 @min(i64 %bound, i64 %total)
  call void %kernel(ptr %args, i64 0, i64 %hi, ptr %scratch)
  br label %more

more:
  %done = phi i32 [ 1, %publish ], [ %done_next, %more ]
  %done_next = add i32 %done, 1
  %found = call i1 @step(ptr %pool, i64 0)
  br i1 %found, label %more, label %join

join:
  %all = call i1 @finish(ptr %pool, i32 %done)
  br i1 %all, label %leave, label %wait
wait:
  call void @wait_pending(ptr %pool)
  br label %leave
leave:
  store atomic i32 0, ptr %at_busy release, align 4
  ret void
}

; Tell the workers that something has changed, and wake up to %count of those that sleep.
define internal void @call_workers(ptr %pool, i32 %count) alwaysinline {
entry:
  %at_signal = call ptr @at_signal(ptr %pool)
  %at_sleepers = call ptr @at_sleepers(ptr %pool)
  %before = atomicrmw add ptr %at_signal, i32 1 seq_cst, align 4
  %sleepers = load atomic i32, ptr %at_sleepers seq_cst, align 4
  %awake = icmp eq i32 %sleepers, 0
  br i1 %awake, label %end, label %wake
wake:
  call void @note_core(ptr %pool)
  call void @futex_wake(ptr %at_signal, i32 %count)
  br label %end
end:
  ret void
}

; The caller waits until no chunk is pending: it spins, then sleeps.
define internal void @wait_pending(ptr %pool) noinline {
entry:
  %at_pending = call ptr @at_pending(ptr %pool)
  %at_waiting = call ptr @at_waiting(ptr %pool)
  %at_limit = call ptr @at_wait_spin(ptr %pool)
  %limit = load i64, ptr %at_limit, align 8
  br label %spin
spin:
  %count = phi i64 [ 0, %entry ], [ %count_next, %again ]
  %pending = load atomic i32, ptr %at_pending acquire, align 4
  %over = icmp eq i32 %pending, 0
  br i1 %over, label %end, label %still
still:
  %tired = icmp uge i64 %count, %limit
  br i1 %tired, label %announce, label %again
again:
  %count_next = add i64 %count, 1
  call void @pause()
  br label %spin
announce:
  store atomic i32 1, ptr %at_waiting seq_cst, align 4
  br label %sleep
sleep:
  %value = load atomic i32, ptr %at_pending seq_cst, align 4
  %zero = icmp eq i32 %value, 0
  br i1 %zero, label %awake, label %doze
doze:
  call void @futex_wait(ptr %at_pending, i32 %value)
  br label %sleep
awake:
  store atomic i32 0, ptr %at_waiting monotonic, align 4
  br label %end
end:
  ret void
}

define void @sley_pool_run(ptr %pool, ptr %kernel, ptr %args, i64 %total, i64 %asked,
                           ptr %scratch, i64 %stride) {
  %at_threads = call ptr @at_threads(ptr %pool)
  %threads = load i64, ptr %at_threads, align 8
  %positive = icmp sgt i64 %asked, 0
  %grain = select i1 %positive, i64 %asked, i64 1
  %whole = udiv i64 %total, %grain
  %most = call i64 @min(i64 %threads, i64 %whole)
  call void @run_region(ptr %pool, i64 %most, ptr %kernel, ptr %args, i64 %total, i64 1,
                        ptr %scratch, i64 %stride)
  ret void
}

define void @sley_pool_run_dynamic(ptr %pool, ptr %kernel, ptr %args, i64 %total, i64 %grain,
                                   ptr %scratch, i64 %stride) {
  call void @run_region(ptr %pool, i64 65535, ptr %kernel, ptr %args, i64 %total, i64 %grain,
                        ptr %scratch, i64 %stride)
  ret void
}

; The life of worker %id: a Python thread enters here and leaves when the pool is stopped.
define void @sley_pool_work(ptr %pool, i64 %id) {
entry:
  %at_stop = call ptr @at_stop(ptr %pool)
  %at_signal = call ptr @at_signal(ptr %pool)
  %at_sleepers = call ptr @at_sleepers(ptr %pool)
  %at_pending = call ptr @at_pending(ptr %pool)
  %at_waiting = call ptr @at_waiting(ptr %pool)
  %at_spin = call ptr @at_spin(ptr %pool)
  %at_ticket = call ptr @at_ticket(ptr %pool)
  %limit = load i64, ptr %at_spin, align 8
  br label %look
look:
  %count = phi i64 [ 0, %entry ], [ 0, %worked ], [ %count_next, %again ], [ 0, %slept ]
  %signal = load atomic i32, ptr %at_signal acquire, align 4
  %found = call i1 @step(ptr %pool, i64 %id)
  br i1 %found, label %finished, label %idle

finished:
  %all = call i1 @finish(ptr %pool, i32 1)
  br i1 %all, label %last, label %worked
last:
  %waiting = load atomic i32, ptr %at_waiting seq_cst, align 4
  %asleep = icmp ne i32 %waiting, 0
  br i1 %asleep, label %wake, label %worked
wake:
  call void @futex_wake(ptr %at_pending, i32 1)
  br label %worked
worked:
  br label %look

idle:
  %stop = load atomic i32, ptr %at_stop acquire, align 4
  %stopped = icmp ne i32 %stop, 0
  br i1 %stopped, label %end, label %stay
stay:
  %tired = icmp uge i64 %count, %limit
  br i1 %tired, label %sleep, label %again
again:
  %count_next = add i64 %count, 1
  call void @pause()
  br label %look
sleep:
  %more = atomicrmw add ptr %at_sleepers, i32 1 seq_cst, align 4
  call void @futex_wait(ptr %at_signal, i32 %signal)
  %less = atomicrmw sub ptr %at_sleepers, i32 1 seq_cst, align 4
  call void @leave_core(ptr %pool)
  %ticket = load atomic i64, ptr %at_ticket acquire, align 8
  %chunk = and i64 %ticket, 65535
  %shifted = lshr i64 %ticket, 16
  %chunks = and i64 %shifted, 65535
  %own_chunk = add i64 %chunk, 1
  %for_others = icmp ult i64 %own_chunk, %chunks
  %sleepers = load atomic i32, ptr %at_sleepers seq_cst, align 4
  %others = icmp ne i32 %sleepers, 0
  %pass = and i1 %for_others, %others
  br i1 %pass, label %pass_on, label %slept
pass_on:
  call void @futex_wake(ptr %at_signal, i32 2)
  br label %slept
slept:
  br label %look
end:
  ret void
}

define void @sley_pool_stop(ptr %pool) {
  %at_stop = call ptr @at_stop(ptr %pool)
  store atomic i32 1, ptr %at_stop seq_cst, align 4
  call void @call_workers(ptr %pool, i32 2147483647)
  ret void
}

; Measures the pause instruction: Python times this.
define void @sley_pool_pauses(i64 %count) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  call void @pause()
  %next = add nuw i64 %i, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %loop, label %end
end:
  ret void
}
"""
