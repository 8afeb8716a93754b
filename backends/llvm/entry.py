"""The entry of a program: one function that calls all kernels in order.

    void sley_entry(ptr frame)

`frame` points to 8-byte slots: the pool, the address of `sley_pool_run` (0: compute alone), the
scratch and its bytes for each thread, what calls the host and its status; then the value of each
size symbol of the program; then the buffers: inputs, fresh results, blocks of the arena, and what
the pointers of loops show, which the entry writes itself.

A step that numpy evaluates is a call back, `void host(ptr frame, i64 number)`, with the number of
the step among those of its kind. The status is 1 before; only a call that has succeeded sets it to
0, and with any other the entry returns at once.

Whether a launch goes through the pool is decided when it runs, from its work and its number of
tasks, so one entry serves every size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...ir.dims import Dim
from ...ir.plan import (
    Branch,
    Carry,
    Copy,
    HostCall,
    Launch,
    Loop,
    Place,
    Plan,
    Step,
    WhileLoop,
    span,
)
from .dim_text import DimText

POOL, POOL_RUN, SCRATCH, SCRATCH_STRIDE, HOST_CALL, HOST_STATUS, FIRST_SYMBOL = range(7)

# In the units of `ir.work`. Waking a thread costs a few microseconds, in which a core computes
# some ten thousand vector instructions.
WORTH_THREADS = 1 << 17
WORTH_A_CHUNK = 1 << 15
SHORT = 1 << 16  # a program that takes a microsecond or two

SYMBOL = "sley_entry"
IS_SHORT = "sley_is_short"  # a global variable: 1 where the program is known to be


@dataclass(frozen=True, slots=True)
class KernelCall:
    """What the entry must know of the kernel of a launch. Sizes are over the program's symbols.

    Attributes:
        symbol: the function.
        arguments: the sizes that follow the buffers in its argument slots.
        extent: tasks that can run beside each other.
        work: scalar instructions of the whole launch.
        grain: fewest tasks that are worth a thread.
    """

    symbol: str
    arguments: tuple[Dim, ...]
    extent: Dim
    work: Dim
    grain: int = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """Which slot of the frame holds what."""

    symbols: tuple[str, ...]
    inputs: int
    fresh: tuple[int, ...]
    blocks: int
    pointers: int = 0

    @property
    def first_buffer(self) -> int:
        return FIRST_SYMBOL + len(self.symbols)

    @property
    def first_block(self) -> int:
        return self.first_buffer + self.inputs + len(self.fresh)

    @property
    def first_pointer(self) -> int:
        return self.first_block + self.blocks

    @property
    def slots(self) -> int:
        return self.first_pointer + self.pointers

    def slot(self, place: Place) -> int:
        if place.kind == "input":
            return self.first_buffer + place.number
        if place.kind == "output":
            return self.first_buffer + self.inputs + self.fresh.index(place.number)
        first = self.first_block if place.kind == "arena" else self.first_pointer
        return first + place.number


def frame_of(plan: Plan, symbols: Sequence[str]) -> Frame:
    """The frame of the entry of `plan`."""
    inputs = len(plan.graph.params)
    return Frame(tuple(symbols), inputs, plan.fresh, len(plan.blocks), plan.pointers)


def entry_text(plan: Plan, frame: Frame, calls: Sequence[KernelCall]) -> str:
    """The LLVM text of the entry; `calls` has one item for each launch of `plan.walk()`."""
    return _Entry(plan, frame, calls).text()


class _Entry:
    def __init__(self, plan: Plan, frame: Frame, calls: Sequence[KernelCall]) -> None:
        self.plan = plan
        self.frame = frame
        self.calls = calls
        self.remaining = iter(calls)
        self.first: list[str] = []  # the sizes, which every block below may read
        self.lines: list[str] = []
        self.count = 0
        self.hosts = 0
        self.widest = 1
        self.sizes = DimText(self._emit_first, self._symbol_value)

    def text(self) -> str:
        self._steps(self.plan.steps, 0)
        declared = sorted({c.symbol for c in self.calls})
        return "\n".join(
            [
                _HELPERS,
                f"@{IS_SHORT} = constant i64 {int(self._is_short())}, align 8",
                *(f"declare void @{name}(ptr, i64, i64, ptr)" for name in declared),
                "",
                f"define void @{SYMBOL}(ptr %frame) {{",
                f"  %args = alloca [{self.widest} x i64], align 8",
                *self.first,
                *self.lines,
                "  ret void",
                *(["failed:", "  ret void"] if self.hosts else []),
                "}",
                "",
            ]
        )

    def _is_short(self) -> bool:
        """Whether the program takes next to no time, for any sizes."""
        launches = all(isinstance(step, Launch) for step in self.plan.steps)
        works = [call.work for call in self.calls if isinstance(call.work, int)]
        return launches and len(works) == len(self.calls) and sum(works) <= SHORT

    # ---------------------------------------------------------------- steps

    def _steps(self, steps: Sequence[Step], number: int) -> int:
        """Writes steps whose first has this number; the number after the last."""
        for step in steps:
            if isinstance(step, Copy):
                self._copy(number, step)
            elif isinstance(step, HostCall):
                self._host_call(number, step)
            elif isinstance(step, Loop):
                self._loop(number, step)
            elif isinstance(step, WhileLoop):
                self._while(number, step)
            elif isinstance(step, Branch):
                self._branch(number, step)
            else:
                self._launch(number, step, next(self.remaining))
            number += span(step)
        return number

    def _copy(self, number: int, step: Copy) -> None:
        self.lines.append(f"  ; step {number}: copy {step.source} -> {step.target}")
        self._memcpy(self._buffer(step.target), self._buffer(step.source), step.nbytes)

    def _memcpy(self, target: str, source: str, nbytes: Dim) -> None:
        count = self.sizes.of(nbytes)
        self._line(
            f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {count}, i1 false)"
        )

    def _launch(self, number: int, step: Launch, call: KernelCall) -> None:
        self.lines.append(f"  ; step {number}: @{step.node.attrs['kernel'].name}")
        slots = [("ptr", self._buffer(place)) for place in step.args]
        slots += [("i64", self.sizes.of(dim)) for dim in call.arguments]
        self.widest = max(self.widest, len(slots))
        for position, (type, value) in enumerate(slots):
            at = self._emit(f"getelementptr i64, ptr %args, i64 {position}")
            self._line(f"store {type} {value}, ptr {at}, align 8")
        extent = self.sizes.of(call.extent)
        if _is_small(call):
            scratch = self._load("ptr", SCRATCH)
            self._line(f"call void @{call.symbol}(ptr %args, i64 0, i64 {extent}, ptr {scratch})")
            return
        self._line(
            f"call void @launch(ptr %frame, ptr @{call.symbol}, ptr %args, i64 {extent}, "
            f"i64 {self.sizes.of(call.work)}, i64 {call.grain})"
        )

    def _host_call(self, number: int, step: HostCall) -> None:
        self.lines.append(f"  ; step {number}: {step.node.op.name} on the host")
        status = self._slot(HOST_STATUS)
        self._line(f"store i64 1, ptr {status}, align 8")
        host = self._load("ptr", HOST_CALL)
        self._line(f"call void {host}(ptr %frame, i64 {self.hosts})")
        found = self._emit(f"load i64, ptr {status}, align 8")
        done = self._emit(f"icmp eq i64 {found}, 0")
        self._line(f"br i1 {done}, label %done{number}, label %failed")
        self._label(f"done{number}")
        self.hosts += 1

    # ---------------------------------------------------------------- control flow

    def _loop(self, number: int, step: Loop) -> None:
        self.lines.append(f"  ; step {number}: {step.length} turns")
        length = self.sizes.of(step.length)
        self._begin_carries(step.carries, length)
        strides = []
        for piece in step.slices:
            start = self._buffer(piece.whole)
            if step.reverse:
                last = self.sizes.of((step.length - 1) * piece.nbytes)
                start = self._emit(f"getelementptr i8, ptr {start}, i64 {last}")
            self._point(piece.pointer, start)
            strides.append(self.sizes.of(-piece.nbytes if step.reverse else piece.nbytes))
        self.first.append(f"  %turn{number} = alloca i64, align 8")
        self._line(f"store i64 0, ptr %turn{number}, align 8")
        self._jump(f"head{number}")
        turn = self._emit(f"load i64, ptr %turn{number}, align 8")
        more = self._emit(f"icmp slt i64 {turn}, {length}")
        self._line(f"br i1 {more}, label %body{number}, label %end{number}")
        self._label(f"body{number}")
        self._steps(step.body, number + 1)
        self._hand_on(step.carries)
        for piece, stride in zip(step.slices, strides, strict=True):
            at = self._buffer(piece.pointer)
            self._point(piece.pointer, self._emit(f"getelementptr i8, ptr {at}, i64 {stride}"))
        turn = self._emit(f"load i64, ptr %turn{number}, align 8")
        self._line(f"store i64 {self._emit(f'add i64 {turn}, 1')}, ptr %turn{number}, align 8")
        self._line(f"br label %head{number}")
        self._label(f"end{number}")
        self._end_carries(step.carries, number)

    def _while(self, number: int, step: WhileLoop) -> None:
        self.lines.append(f"  ; step {number}: while")
        self._begin_carries(step.carries, None)
        self._jump(f"head{number}")
        inside = self._steps(step.condition, number + 1)
        self._line(f"br i1 {self._flag(step.flag)}, label %body{number}, label %end{number}")
        self._label(f"body{number}")
        self._steps(step.body, inside)
        self._hand_on(step.carries)
        self._line(f"br label %head{number}")
        self._label(f"end{number}")
        self._end_carries(step.carries, number)

    def _branch(self, number: int, step: Branch) -> None:
        self.lines.append(f"  ; step {number}: a branch")
        flag = self._flag(step.flag)
        self._line(f"br i1 {flag}, label %then{number}, label %otherwise{number}")
        self._label(f"then{number}")
        inside = self._steps(step.then, number + 1)
        self._line(f"br label %end{number}")
        self._label(f"otherwise{number}")
        self._steps(step.otherwise, inside)
        self._jump(f"end{number}")

    def _flag(self, place: Place) -> str:
        byte = self._emit(f"load i8, ptr {self._buffer(place)}, align 1")
        return self._emit(f"icmp ne i8 {byte}, 0")

    def _begin_carries(self, carries: Sequence[Carry], length: str | None) -> None:
        """What the first turn reads and writes. Of a known number of turns the last one writes to
        the home, so that nothing is copied at the end."""
        for carry in carries:
            if carry.spare is None or carry.current is None or carry.next is None:
                if carry.start != carry.home:
                    self._memcpy(self._buffer(carry.home), self._buffer(carry.start), carry.nbytes)
                continue
            self._point(carry.current, self._buffer(carry.start))
            target = self._buffer(carry.spare)
            if length is not None and carry.start != carry.home:
                bit = self._emit(f"and i64 {length}, 1")
                odd = self._emit(f"icmp ne i64 {bit}, 0")
                target = self._select(odd, self._buffer(carry.home), target)
            self._point(carry.next, target)

    def _hand_on(self, carries: Sequence[Carry]) -> None:
        """What a turn has written is what the next one reads."""
        for carry in carries:
            if carry.spare is None or carry.current is None or carry.next is None:
                continue
            written, home = self._buffer(carry.next), self._buffer(carry.home)
            self._point(carry.current, written)
            at_home = self._emit(f"icmp eq ptr {written}, {home}")
            self._point(carry.next, self._select(at_home, self._buffer(carry.spare), home))

    def _end_carries(self, carries: Sequence[Carry], number: int) -> None:
        """Copies to its home what is not there."""
        for k, carry in enumerate(carries):
            if carry.current is None:
                continue
            current, home = self._buffer(carry.current), self._buffer(carry.home)
            there = self._emit(f"icmp eq ptr {current}, {home}")
            self._line(f"br i1 {there}, label %home{number}.{k}, label %away{number}.{k}")
            self._label(f"away{number}.{k}")
            self._memcpy(home, current, carry.nbytes)
            self._jump(f"home{number}.{k}")

    # ---------------------------------------------------------------- text

    def _line(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def _label(self, name: str) -> None:
        self.lines.append(f"{name}:")

    def _jump(self, name: str) -> None:
        """Ends a block and begins the block `name`."""
        self._line(f"br label %{name}")
        self._label(name)

    def _emit(self, text: str) -> str:
        self.count += 1
        self._line(f"%v{self.count} = {text}")
        return f"%v{self.count}"

    def _emit_first(self, text: str) -> str:
        self.count += 1
        self.first.append(f"  %v{self.count} = {text}")
        return f"%v{self.count}"

    def _select(self, condition: str, yes: str, no: str) -> str:
        return self._emit(f"select i1 {condition}, ptr {yes}, ptr {no}")

    def _slot(self, slot: int) -> str:
        return self._emit(f"getelementptr i64, ptr %frame, i64 {slot}")

    def _load(self, type: str, slot: int) -> str:
        return self._emit(f"load {type}, ptr {self._slot(slot)}, align 8")

    def _buffer(self, place: Place) -> str:
        return self._load("ptr", self.frame.slot(place))

    def _point(self, pointer: Place, address: str) -> None:
        self._line(f"store ptr {address}, ptr {self._slot(self.frame.slot(pointer))}, align 8")

    def _symbol_value(self, name: str) -> str:
        slot = FIRST_SYMBOL + self.frame.symbols.index(name)
        at = self._emit_first(f"getelementptr i64, ptr %frame, i64 {slot}")
        return self._emit_first(f"load i64, ptr {at}, align 8")


def _is_small(call: KernelCall) -> bool:
    """Whether it is known now that the pool does not pay."""
    little = isinstance(call.work, int) and call.work < WORTH_THREADS
    return little or (isinstance(call.extent, int) and call.extent <= call.grain)


# @launch runs a kernel through the pool where there is one and the work is worth it; a chunk has
# at least `grain` tasks and at least the work that is worth handing over.
_HELPERS = f"""
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal void @launch(ptr %frame, ptr %kernel, ptr %args, i64 %extent, i64 %work,
                             i64 %grain) {{
  %at_run = getelementptr i64, ptr %frame, i64 {POOL_RUN}
  %at_scratch = getelementptr i64, ptr %frame, i64 {SCRATCH}
  %run = load ptr, ptr %at_run, align 8
  %scratch = load ptr, ptr %at_scratch, align 8
  %pool_there = icmp ne ptr %run, null
  %tasks_enough = icmp sgt i64 %extent, %grain
  %work_enough = icmp sge i64 %work, {WORTH_THREADS}
  %both = and i1 %tasks_enough, %work_enough
  %pays = and i1 %both, %pool_there
  br i1 %pays, label %shared, label %alone
shared:
  %at_pool = getelementptr i64, ptr %frame, i64 {POOL}
  %at_stride = getelementptr i64, ptr %frame, i64 {SCRATCH_STRIDE}
  %pool = load ptr, ptr %at_pool, align 8
  %stride = load i64, ptr %at_stride, align 8
  %scaled = mul i64 %extent, {WORTH_A_CHUNK}
  %share = udiv i64 %scaled, %work
  %more = icmp sgt i64 %share, %grain
  %chunk = select i1 %more, i64 %share, i64 %grain
  call void %run(ptr %pool, ptr %kernel, ptr %args, i64 %extent, i64 %chunk, ptr %scratch,
                 i64 %stride)
  ret void
alone:
  call void %kernel(ptr %args, i64 0, i64 %extent, ptr %scratch)
  ret void
}}
"""
