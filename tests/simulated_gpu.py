"""A GPU that is simulated: memory with every access checked, kernels run by `evaluate_kernel`.

Commands wait in a queue until somebody waits for them, as on a stream; so memory that the host
writes to or gives back too early shows. A wrong access ends the use of the device, as a fault does.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sley.backends.triton.kernel import TritonKernel
from sley.ir.dims import add_all
from sley.ir.dims import evaluate as size_of
from sley.ir.evaluate_kernel import evaluate_kernel, fresh_outputs
from sley.ir.graph import Graph
from sley.ir.kernel_symbols import kernel_symbols
from sley.passes.inplace import may_overwrite
from sley.runtime.cuda.build import build
from sley.runtime.cuda.device import Device
from sley.runtime.cuda.driver import Command, Copy, DeviceInfo, Fill
from sley.runtime.cuda.errors import DeviceFull, DriverError
from sley.runtime.cuda.executable import CudaExecutable

FIRST = 0x7F00_0000_0000
GAP = 1 << 20  # bytes between allocations, so that none runs into the next
ILLEGAL = "CUDA_ERROR_ILLEGAL_ADDRESS"
SCRATCH = 16  # bytes that every second kernel wants for each of its programs


class Fault(Exception):
    """What a kernel or copy may not do; the message says what."""


class Memory:
    """One allocation: its bytes, and which of them have been written."""

    def __init__(self, nbytes: int) -> None:
        self.data = np.full(nbytes, 0xFF, np.uint8)
        self.known = np.zeros(nbytes, np.bool_)


@dataclass(frozen=True)
class Code:
    """A kernel as the simulated compiler makes it: `CompiledText`, as far as it is used."""

    cubin: bytes
    symbol: str
    warps: int
    shared_bytes: int
    global_scratch: tuple[int, int]
    spill_bytes: int = 0


@dataclass(frozen=True)
class Kernel:
    """A loaded kernel: what runs, and what its text took for granted."""

    graph: Graph
    text: TritonKernel
    code: Code


@dataclass(frozen=True)
class LaunchWork:
    """A launch in the queue."""

    kernel: Kernel
    run: Callable[[], None]

    def __call__(self) -> None:
        self.run()


class SimulatedCompiler:
    """Gives every kernel a text that only the simulated device understands."""

    def __init__(self) -> None:
        self.graphs: dict[str, Graph] = {}
        self.kernels: dict[bytes, Kernel] = {}
        self.compiled: list[TritonKernel] = []

    def emit(self, kernel: Graph, schedule: object, target: object) -> TritonKernel:
        source = f"kernel {len(self.graphs)} for {target}"
        self.graphs[source] = kernel
        buffers = [(f"b{k}", "*i8") for k in range(len(kernel.params))]
        numbers = [(name, "i64") for name in kernel_symbols(kernel)]
        elements = add_all(value.type.size for value in kernel.out_params)
        divisible = tuple(range(len(buffers)))
        return TritonKernel(
            kernel.name, source, (*buffers, *numbers), divisible, (elements, 1, 1), warps=4
        )

    def compile_all(self, texts: Sequence[TritonKernel], target: object) -> list[Code]:
        self.compiled += texts
        return [self._compile(text) for text in texts]

    def _compile(self, text: TritonKernel) -> Code:
        number = len(self.kernels)
        cubin = f"{text.source} {text.divisible}".encode()
        scratch = (SCRATCH * (number % 2), 16)
        code = Code(cubin, f"symbol{number}", text.warps, 1024 * number, scratch)
        self.kernels[cubin] = Kernel(self.graphs[text.source], text, code)
        return code


class SimulatedDriver:
    """The interface `runtime.cuda.driver.Driver`.

    Attributes:
        issued, replays: how many commands were issued one by one, and graphs launched.
        broken: what every call raises since a fault.
        ordered: (stream, the one that waits for it); 0 is the device's own.
        clock: milliseconds that a launch takes; any other command takes one thousandth.
    """

    def __init__(self, compiler: SimulatedCompiler, total_bytes: int = 64 << 20) -> None:
        self.info = DeviceInfo("simulated", (9, 0), 132, 232_448, 1 << 20, total_bytes)
        self.compiler = compiler
        self.memory: dict[int, Memory] = {}
        self.pinned: dict[int, ctypes.Array] = {}
        self.issued = self.replays = self.updates = 0
        self.broken: DriverError | None = None
        self.ordered: list[tuple[int, int]] = []
        self._addresses: list[int] = []  # of `memory`, sorted
        self._next = FIRST
        self._used = 0
        self._queue: list[Callable[[], None]] = []
        self._done = 0  # commands that left the queue
        self._events: dict[int, int] = {}  # -> length of the stream when it was recorded
        self.clock: Callable[[Kernel], float] = lambda kernel: 0.001
        self._clocks: list[float] = [0.0]  # milliseconds of the stream up to each length
        self._numbers = itertools.count()
        self._attached: set[int] = set()

    # Threads, faults, time.

    def attach(self) -> None:
        self._attached.add(threading.get_ident())

    def _check(self) -> None:
        if threading.get_ident() not in self._attached:
            raise DriverError("CUDA_ERROR_INVALID_CONTEXT", "a call from a thread without context")
        if self.broken is not None:
            raise self.broken

    def _append(self, work: Callable[[], None]) -> None:
        self._check()
        self._queue.append(work)
        took = 0.001
        if isinstance(work, LaunchWork):
            took = self.clock(work.kernel)
        self._clocks.append(self._clocks[-1] + took)

    def _run_until(self, length: int) -> None:
        while self._done < length and self._queue:
            work = self._queue.pop(0)
            self._done += 1
            try:
                work()
            except Fault as fault:
                self.broken = DriverError(ILLEGAL, "waiting", str(fault))
                self._queue.clear()
        self._check()

    def synchronize(self) -> None:
        self._check()
        self._run_until(self._done + len(self._queue))

    def event(self) -> int:
        self._check()
        return next(self._numbers)

    def record(self, event: int) -> None:
        self._check()
        self._events[event] = self._done + len(self._queue)

    def wait(self, event: int) -> None:
        self._check()
        self._run_until(self._events.get(event, 0))

    def passed(self, event: int) -> bool:
        self._check()
        return self._events.get(event, 0) <= self._done

    def lead(self, stream: int) -> None:
        self._append(lambda: self.ordered.append((0, stream)))

    def follow(self, stream: int) -> None:
        self._append(lambda: self.ordered.append((stream, 0)))

    def elapsed(self, first: int, last: int) -> float:
        return self._clocks[self._events[last]] - self._clocks[self._events[first]]

    # Memory.

    def allocate(self, nbytes: int) -> int:
        self._check()
        if self._used + nbytes > self.info.total_bytes:
            raise DeviceFull("CUDA_ERROR_OUT_OF_MEMORY", "allocate")
        address = self._next
        self._next += -(-nbytes // GAP) * GAP + GAP
        self._used += nbytes
        self.memory[address] = Memory(nbytes)
        self._addresses.append(address)
        return address

    def free(self, address: int) -> None:
        self._append(lambda: self._release(address))

    def _release(self, address: int) -> None:
        self._used -= len(self.memory.pop(address).data)
        self._addresses.remove(address)

    def trim(self) -> None:
        self.synchronize()

    def memory_info(self) -> tuple[int, int]:
        return self.info.total_bytes - self._used, self.info.total_bytes

    def allocate_host(self, nbytes: int) -> int:
        self._check()
        buffer = (ctypes.c_char * nbytes)()
        address = ctypes.addressof(buffer)
        self.pinned[address] = buffer
        return address

    def _pinned(self, address: int, nbytes: int) -> None:
        inside = any(
            a <= address and address + nbytes <= a + len(b) for a, b in self.pinned.items()
        )
        assert inside, "a copy from or to memory that is not pinned"

    def find(self, address: int, nbytes: int, what: str) -> tuple[Memory, slice]:
        """The allocation that holds a range of addresses, and where in it."""
        position = bisect_right(self._addresses, address) - 1
        if position >= 0:
            base = self._addresses[position]
            memory = self.memory[base]
            if address + nbytes <= base + len(memory.data):
                return memory, slice(address - base, address - base + nbytes)
        raise Fault(f"{what}: {nbytes} bytes at {address:#x} lie in no allocation")

    def load_bytes(self, address: int, nbytes: int, what: str) -> np.ndarray:
        """A copy of what lies in a range; all of it must have been written."""
        if not nbytes:
            return np.empty(0, np.uint8)
        memory, where = self.find(address, nbytes, what)
        if not memory.known[where].all():
            raise Fault(f"{what} reads bytes at {address:#x} that nobody has written")
        return memory.data[where].copy()

    def store_bytes(self, address: int, content: np.ndarray, what: str) -> None:
        if not len(content):
            return
        memory, where = self.find(address, len(content), what)
        memory.data[where], memory.known[where] = content, True

    def forget(self, address: int, nbytes: int) -> None:
        """Makes the contents of a range unknown."""
        self.synchronize()
        memory, where = self.find(address, nbytes, "the test")
        memory.data[where], memory.known[where] = 0xFF, False

    def upload(self, target: int, source: int, nbytes: int) -> None:
        self._pinned(source, nbytes)

        def work() -> None:
            content = np.frombuffer(ctypes.string_at(source, nbytes), np.uint8)
            self.store_bytes(target, content, "an upload")

        self._append(work)

    def download(self, target: int, source: int, nbytes: int) -> None:
        self._pinned(target, nbytes)

        def work() -> None:
            content = self.load_bytes(source, nbytes, "a download")
            ctypes.memmove(target, content.ctypes.data, nbytes)

        self._append(work)

    # Commands.

    def load(self, cubin: bytes, symbol: str, shared_bytes: int) -> Kernel:
        self._check()
        kernel = self.compiler.kernels[cubin]
        assert (symbol, shared_bytes) == (kernel.code.symbol, kernel.code.shared_bytes)
        return kernel

    def issue(self, command: Command) -> None:
        self.issued += 1
        self._append(self.snapshot(command))

    def graph(self, commands: Sequence[Command]) -> SimulatedGraph:
        self._check()
        return SimulatedGraph(self, commands)

    def snapshot(self, command: Command) -> Callable[[], None]:
        """The command with its addresses of now, as work of the queue."""
        if isinstance(command, Copy):
            copy = replace(command)
            return lambda: self._copy(copy)
        if isinstance(command, Fill):
            fill = replace(command)
            return lambda: self._fill(fill)
        kernel = command.function.handle
        assert command.function.threads == 32 * kernel.code.warps
        count = len(kernel.text.arguments) + 2
        pointers = (ctypes.c_uint64 * count).from_address(command.arguments.address)
        words = [ctypes.c_uint64.from_address(pointer).value for pointer in pointers]
        grid = command.grid
        return LaunchWork(kernel, lambda: self._launch(kernel, grid, words))

    def _copy(self, copy: Copy) -> None:
        if abs(copy.target - copy.source) < copy.nbytes:
            raise Fault("a copy between ranges that overlap")
        content = self.load_bytes(copy.source, copy.nbytes, "a copy")
        self.store_bytes(copy.target, content, "a copy")

    def _fill(self, fill: Fill) -> None:
        assert fill.width in (1, 2, 4) and fill.stride >= fill.width
        assert fill.target % fill.width == 0
        element = np.frombuffer(fill.value.to_bytes(fill.width, "little"), np.uint8)
        memory, where = self.find(fill.target, fill.stride * (fill.count - 1) + fill.width, "fill")
        if fill.stride == fill.width:
            memory.data[where], memory.known[where] = np.tile(element, fill.count), True
            return
        places = where.start + fill.stride * np.arange(fill.count)[:, None] + np.arange(fill.width)
        memory.data[places], memory.known[places] = element, True

    def _launch(self, kernel: Kernel, grid: tuple[int, int, int], words: list[int]) -> None:
        graph, text, name = kernel.graph, kernel.text, f"kernel @{kernel.graph.name}"
        symbols = kernel_symbols(graph)
        addresses = words[: len(graph.params)]
        sizes = dict(zip(symbols, words[len(addresses) : -2], strict=True))
        assert grid == tuple(size_of(d, sizes) for d in text.grid) and 0 not in grid
        for position in text.divisible:
            if addresses[position] % 16 and size_of(graph.params[position].type.nbytes, sizes):
                raise Fault(f"{name}: argument {position} is not aligned")
        nbytes = [size_of(value.type.nbytes, sizes) for value in graph.params]
        self._check_overlaps(graph, addresses, nbytes)
        arrays = []
        for value, address, count in zip(graph.inputs, addresses, nbytes, strict=False):
            content = self.load_bytes(address, count, f"{name}, input %{value.name},")
            arrays.append(_shaped(content, value, sizes))
        outputs = fresh_outputs(graph, sizes)
        self._fill_scratch(kernel, grid, words)
        first = len(graph.inputs)
        joined = {n.operands[0] for n in graph.walk() if n.op.name == "atomic"}
        for k, value in enumerate(graph.out_params, first):
            if value in joined:
                content = self.load_bytes(addresses[k], nbytes[k], f"{name}, atomics")
                outputs[value] = _shaped(content, value, sizes)
        results = evaluate_kernel(graph, arrays, sizes, [outputs[v] for v in graph.out_params])
        for k, array in enumerate(results, first):
            self.store_bytes(addresses[k], np.frombuffer(array.tobytes(), np.uint8), name)

    def _check_overlaps(self, graph: Graph, addresses: list[int], nbytes: list[int]) -> None:
        """A result may lie over an input only, and only where the kernel allows it."""
        first = len(graph.inputs)
        for k in range(first, len(addresses)):
            for other in range(k):
                apart = addresses[k] + nbytes[k] <= addresses[other]
                apart = apart or addresses[other] + nbytes[other] <= addresses[k]
                if apart or not nbytes[k] or not nbytes[other]:
                    continue
                same = other < first and addresses[k] == addresses[other]
                if not same or not may_overwrite(graph, other, k - first):
                    raise Fault(f"kernel @{graph.name}: buffers {other} and {k} overlap")

    def _fill_scratch(self, kernel: Kernel, grid: tuple[int, int, int], words: list[int]) -> None:
        """Memory for each program is written to: nothing else may lie there."""
        each, alignment = kernel.code.global_scratch
        assert words[-1] == 0
        if not each:
            assert words[-2] == 0
            return
        assert words[-2] % alignment == 0
        count = each * grid[0] * grid[1] * grid[2]
        self.store_bytes(words[-2], np.full(count, 0xFF, np.uint8), "scratch")


class SimulatedGraph:
    """Commands as they were when the graph was made, or when they were last updated."""

    def __init__(self, driver: SimulatedDriver, commands: Sequence[Command]) -> None:
        self._driver = driver
        self._commands = tuple(commands)
        self._nodes = [driver.snapshot(command) for command in self._commands]

    def update(self, number: int) -> None:
        self._driver.updates += 1
        self._nodes[number] = self._driver.snapshot(self._commands[number])

    def launch(self) -> None:
        self._driver.replays += 1
        for node in self._nodes:
            self._driver._append(node)


def _shaped(content: np.ndarray, value: object, sizes: Mapping[str, int]) -> np.ndarray:
    type = value.type  # type: ignore[attr-defined]
    shape = tuple(size_of(d, sizes) for d in type.shape)
    return np.frombuffer(content.tobytes(), type.dtype.numpy).reshape(shape)


class SimulatedGpu:
    """A device with its driver and compiler."""

    def __init__(self, total_bytes: int = 64 << 20) -> None:
        self.compiler = SimulatedCompiler()
        self.driver = SimulatedDriver(self.compiler, total_bytes)
        self.device = Device(self.driver)

    def build(self, lowered) -> CudaExecutable:
        return build(lowered, self.device, self.compiler.emit, self.compiler.compile_all)

    def forget_workspace(self) -> None:
        """What programs kept while they ran is gone."""
        block = self.device._workspace
        if block is not None and block.nbytes:
            self.driver.attach()
            self.driver.forget(block.address, block.nbytes)
