"""The entry of a program: one function that calls all kernels in order.

    void sley_entry(ptr frame)

`frame` points to 8-byte slots: the pool, the address of `sley_pool_run` (0: compute alone), the
scratch and its bytes for each thread, what calls the host and its status; then the value of each
size symbol of the program; then the buffers: inputs, fresh results, blocks of the arena.

A step that numpy evaluates is a call back, `void host(ptr frame, i64 number)`, with the number of
the step among those of its kind. The status is 1 before; only a call that has succeeded sets it to
0, and with any other the entry returns at once.

Whether a launch goes through the pool is decided when it runs, from its work and its number of
tasks, so one entry serves every size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...ir.dims import Atom, Compound, Dim, Expr, Symbol, of_atom
from ...ir.plan import Copy, HostCall, Launch, Place, Plan

POOL, POOL_RUN, SCRATCH, SCRATCH_STRIDE, HOST_CALL, HOST_STATUS, FIRST_SYMBOL = range(7)

# In the units of `ir.work`. Waking a thread costs a few microseconds, in which a core computes
# some ten thousand vector instructions.
WORTH_THREADS = 1 << 17
WORTH_A_CHUNK = 1 << 15

SYMBOL = "sley_entry"


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

    @property
    def first_buffer(self) -> int:
        return FIRST_SYMBOL + len(self.symbols)

    @property
    def first_block(self) -> int:
        return self.first_buffer + self.inputs + len(self.fresh)

    @property
    def slots(self) -> int:
        return self.first_block + self.blocks

    def slot(self, place: Place) -> int:
        if place.kind == "input":
            return self.first_buffer + place.number
        if place.kind == "output":
            return self.first_buffer + self.inputs + self.fresh.index(place.number)
        return self.first_block + place.number


def frame_of(plan: Plan, symbols: Sequence[str]) -> Frame:
    """The frame of the entry of `plan`."""
    return Frame(tuple(symbols), len(plan.graph.params), plan.fresh, len(plan.blocks))


def entry_text(plan: Plan, frame: Frame, calls: Sequence[KernelCall]) -> str:
    """The LLVM text of the entry; `calls` has one item for each launch of the plan, in order."""
    return _Entry(plan, frame, calls).text()


class _Entry:
    def __init__(self, plan: Plan, frame: Frame, calls: Sequence[KernelCall]) -> None:
        self.plan = plan
        self.frame = frame
        self.calls = calls
        self.lines: list[str] = []
        self.count = 0
        self.hosts = 0
        self.widest = 1
        self.sizes = DimText(self._emit, self._symbol_value)

    def text(self) -> str:
        remaining = iter(self.calls)
        for number, step in enumerate(self.plan.steps):
            if isinstance(step, Copy):
                self._copy(number, step)
            elif isinstance(step, HostCall):
                self._host_call(number, step)
            else:
                self._launch(number, step, next(remaining))
        declared = sorted({c.symbol for c in self.calls})
        return "\n".join(
            [
                _HELPERS,
                *(f"declare void @{name}(ptr, i64, i64, ptr)" for name in declared),
                "",
                f"define void @{SYMBOL}(ptr %frame) {{",
                f"  %args = alloca [{self.widest} x i64], align 8",
                *self.lines,
                "  ret void",
                *(["failed:", "  ret void"] if self.hosts else []),
                "}",
                "",
            ]
        )

    def _copy(self, number: int, step: Copy) -> None:
        self.lines.append(f"  ; step {number}: copy {step.source} -> {step.target}")
        source, target = self._buffer(step.source), self._buffer(step.target)
        nbytes = self.sizes.of(step.nbytes)
        self._line(
            f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {nbytes}, i1 false)"
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
        status = self._emit(f"getelementptr i64, ptr %frame, i64 {HOST_STATUS}")
        self._line(f"store i64 1, ptr {status}, align 8")
        host = self._load("ptr", HOST_CALL)
        self._line(f"call void {host}(ptr %frame, i64 {self.hosts})")
        found = self._emit(f"load i64, ptr {status}, align 8")
        done = self._emit(f"icmp eq i64 {found}, 0")
        self._line(f"br i1 {done}, label %after_host{self.hosts}, label %failed")
        self.lines.append(f"after_host{self.hosts}:")
        self.hosts += 1

    def _line(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def _emit(self, text: str) -> str:
        self.count += 1
        self._line(f"%v{self.count} = {text}")
        return f"%v{self.count}"

    def _load(self, type: str, slot: int) -> str:
        at = self._emit(f"getelementptr i64, ptr %frame, i64 {slot}")
        return self._emit(f"load {type}, ptr {at}, align 8")

    def _buffer(self, place: Place) -> str:
        return self._load("ptr", self.frame.slot(place))

    def _symbol_value(self, name: str) -> str:
        return self._load("i64", FIRST_SYMBOL + self.frame.symbols.index(name))


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


class DimText:
    """Integer expressions over size symbols as LLVM instructions.

    `emit` appends an instruction and names its result; `symbol` gives the value of a symbol.
    Each expression is computed once: all must be asked for where straight-line code runs.
    """

    def __init__(self, emit: Callable[[str], str], symbol: Callable[[str], str]) -> None:
        self.emit = emit
        self.symbol = symbol
        self.known: dict[Dim, str] = {}

    def of(self, dim: Dim) -> str:
        """The value of `dim`: a number or the name of an i64."""
        if not isinstance(dim, Expr):
            return str(dim)
        if dim not in self.known:
            self.known[dim] = self._sum(dim)
        return self.known[dim]

    def _sum(self, dim: Expr) -> str:
        total = ""
        for monomial, factor in dim.terms:
            part = str(factor)
            for atom in monomial:
                value = self._atom(atom)
                part = value if part == "1" else self.emit(f"mul i64 {part}, {value}")
            total = self.emit(f"add i64 {total}, {part}") if total else part
        return total

    def _atom(self, atom: Atom) -> str:
        single = of_atom(atom)
        if single not in self.known:
            self.known[single] = self._compute(atom)
        return self.known[single]

    def _compute(self, atom: Atom) -> str:
        if isinstance(atom, Symbol):
            return self.symbol(atom.name)
        if not isinstance(atom, Compound):
            raise ValueError(f"{atom} is not known outside of a kernel")
        left, right = self.of(atom.left), self.of(atom.right)
        if atom.function == "//":
            return self._floordiv(left, right)
        less = self.emit(f"icmp slt i64 {left}, {right}")
        first, second = (left, right) if atom.function == "min" else (right, left)
        return self.emit(f"select i1 {less}, i64 {first}, i64 {second}")

    def _floordiv(self, left: str, right: str) -> str:
        """Rounds down; a divisor of zero gives the dividend (the size is then used nowhere)."""
        zero = self.emit(f"icmp eq i64 {right}, 0")
        divisor = self.emit(f"select i1 {zero}, i64 1, i64 {right}")
        quotient = self.emit(f"sdiv i64 {left}, {divisor}")
        rest = self.emit(f"srem i64 {left}, {divisor}")
        signs = self.emit(f"xor i64 {rest}, {divisor}")
        apart = self.emit(f"icmp slt i64 {signs}, 0")
        exact = self.emit(f"icmp eq i64 {rest}, 0")
        inexact = self.emit(f"xor i1 {exact}, true")
        lower = self.emit(f"and i1 {apart}, {inexact}")
        step = self.emit(f"sext i1 {lower} to i64")
        return self.emit(f"add i64 {quotient}, {step}")
