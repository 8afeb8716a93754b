"""The GPU that programs run on: its driver, memory and loaded kernels."""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NoReturn, Protocol

import numpy as np

from ..config import config
from .bindings import count_devices, load_api, open_driver
from .driver import Command, CommandGraph, Driver, Function
from .errors import FAULTS, DriverError, KernelFault, LaunchError, NoDeviceError
from .memory import Block, DevicePool, Purpose
from .reports import Reports, Told
from .staging import Staging

WARP = 32  # threads
_REMEMBERED = 16  # programs that a fault may be of


class Compiled(Protocol):
    """A kernel as machine code, such as `backends.triton.compile.CompiledText`.

    Attributes:
        cubin: the code.
        symbol: the name of its function.
        warps: of a program.
        shared_bytes: memory that the threads of one program share.
        global_scratch: (bytes, alignment) of memory that each program needs for itself.
        spill_bytes: memory of a thread that stands for registers.
    """

    @property
    def cubin(self) -> bytes: ...
    @property
    def symbol(self) -> str: ...
    @property
    def warps(self) -> int: ...
    @property
    def shared_bytes(self) -> int: ...
    @property
    def global_scratch(self) -> tuple[int, int]: ...
    @property
    def spill_bytes(self) -> int: ...


class Named(Protocol):
    """What runs kernels, as far as a fault asks for it."""

    def kernel_lines(self) -> list[str]:
        """The names of its kernels, with the user's lines."""


class Device:
    """A GPU in use.

    Attributes:
        lock: held by whoever issues commands that belong together.
        blocking: whether each command is waited for, so that a fault is known to be its own: what
            `SLEY_BLOCKING` says.
    """

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.info = driver.info
        self.target = driver.info.target
        self.pool = DevicePool(driver)
        self.lock = threading.RLock()
        self.blocking = config().blocking
        self._workspace: Block | None = None
        self._functions: dict[tuple[bytes, str], Function] = {}
        self._running: deque[Named] = deque(maxlen=_REMEMBERED)

    @functools.cached_property
    def _staging(self) -> Staging:
        return Staging(self.driver)

    @functools.cached_property
    def _reports(self) -> Reports:
        return Reports(self.driver, self.put(np.ones(1, np.uint64)))

    # Kernels.

    def function(self, compiled: Compiled) -> Function:
        """A kernel, loaded once."""
        key = (hashlib.sha256(compiled.cubin).digest(), compiled.symbol)
        with self.lock:
            found = self._functions.get(key)
            if found is None:
                self.driver.attach()
                shared = compiled.shared_bytes
                handle = self.driver.load(compiled.cubin, compiled.symbol, shared)
                found = Function(compiled.symbol, handle, WARP * compiled.warps, shared)
                self._functions[key] = found
            return found

    def begin(self, program: Named) -> None:
        """Notes that kernels of `program` are about to run."""
        if not self._running or self._running[-1] is not program:
            self._running.append(program)

    def issue(self, command: Command, name: str = "") -> None:
        """Issues a command; where `blocking`, waits for it, so that a fault names it.

        Raises:
            LaunchError: the driver does not take it.
            KernelFault: a kernel has failed.
        """
        try:
            self.driver.issue(command)
            if self.blocking:
                self.driver.synchronize()
        except DriverError as error:
            if error.name not in FAULTS:
                raise LaunchError(f"{name} cannot be launched: {error}") from error
            if self.blocking:
                raise KernelFault(error.name, [name], exact=True) from error
            self.fail(error)

    def launch(self, graph: CommandGraph, stale: Iterable[int]) -> None:
        """Issues the commands of a graph, of which those numbered `stale` have other addresses.

        Raises:
            KernelFault: a kernel has failed.
        """
        try:
            for number in stale:
                graph.update(number)
            graph.launch()
        except DriverError as error:
            self.fail(error)

    def fail(self, error: DriverError) -> NoReturn:
        """Raises what an error means that the driver has told of.

        Raises:
            KernelFault: kernels that were not waited for may have done it.
            DriverError: it is no fault of a kernel.
        """
        lines = dict.fromkeys(line for program in self._running for line in program.kernel_lines())
        if not lines or error.name not in FAULTS:
            raise error
        raise KernelFault(error.name, list(lines), exact=False) from error

    # What kernels tell.

    def expect(self, blocks: Sequence[Block], told: Told) -> None:
        """Has `told` called with the words that blocks of eight bytes will hold, by whoever looks
        after they have come: at once where `blocking`, else a later call."""
        with self.lock:
            self.driver.attach()
            self._reports.expect(blocks, told)
            if self.blocking:
                self.synchronize()

    def look(self) -> None:
        """Raises what somebody who has read a report complains of (see `expect`)."""
        if "_reports" in self.__dict__:
            with self.lock:
                self._reports.look()

    # Streams of other libraries.

    def lend(self, stream: int) -> None:
        """Work that another stream is given from now on sees what was issued here before."""
        with self.lock:
            self.driver.attach()
            self.driver.lead(stream)

    def borrow(self, stream: int) -> None:
        """What is issued here from now on sees the work that another stream was given before."""
        with self.lock:
            self.driver.attach()
            self.driver.follow(stream)

    # Memory.

    def workspace(self, nbytes: int, purpose: Purpose) -> Block:
        """Memory for what a program needs while it runs: the next one writes over it. It moves
        only when it has to grow, so addresses in it stay."""
        held = self._workspace
        if held is None or held.nbytes < nbytes:
            # Given up first, so that there is room; what still runs in it runs before the next.
            self._workspace = held = None
            self._workspace = held = self.pool.take(nbytes, purpose)
        return held

    def empty(self, nbytes: int, purpose: Purpose | None = None) -> Block:
        """A block of unknown contents."""
        self.driver.attach()
        return self.pool.take(nbytes, purpose)

    def put(self, array: np.ndarray) -> Block:
        """A block with the elements of `array` in row-major order."""
        block = self.empty(array.nbytes)
        self.write(block.address, array)
        return block

    def write(self, address: int, array: np.ndarray) -> None:
        """Copies the elements of `array`, in row-major order."""
        dense = np.ascontiguousarray(array)
        with self.lock:
            self.driver.attach()
            self._staging.upload(address, dense.ctypes.data, dense.nbytes)

    def read(self, address: int, array: np.ndarray) -> np.ndarray:
        """Fills the dense `array` from the GPU's memory, once all that was issued is done."""
        with self.lock:
            self.driver.attach()
            try:
                self._staging.download(array.ctypes.data, address, array.nbytes)
            except DriverError as error:
                self.fail(error)
            self._running.clear()
            self.look()
        return array

    def get(self, address: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """A new array of what lies at `address`."""
        return self.read(address, np.empty(shape, dtype))

    def synchronize(self) -> None:
        """Waits until all that was issued is done.

        Raises:
            KernelFault: a kernel has failed.
        """
        with self.lock:
            self.driver.attach()
            try:
                self.driver.synchronize()
            except DriverError as error:
                self.fail(error)
            self._running.clear()
            self.look()

    def memory_info(self) -> tuple[int, int]:
        """Bytes of the GPU that no process uses, and all."""
        self.driver.attach()
        return self.driver.memory_info()

    def trim(self) -> None:
        """Gives up memory that nobody uses."""
        with self.lock:
            self.driver.attach()
            self._workspace = None
            self.pool.trim()


# ------------------------------------------------------------------------------ the one in use

_lock = threading.Lock()
_opened: dict[int, tuple[Device, int]] = {}  # by number, with the process that opened it


@functools.cache
def device_count() -> int:
    """The number of GPUs; 0 where there is no driver."""
    try:
        return count_devices(load_api())
    except NoDeviceError:
        return 0


def why_none() -> str | None:
    """Why no GPU can be used; None where one can."""
    try:
        load_api()
    except NoDeviceError as error:
        return str(error)
    return None


def device(number: int = 0) -> Device:
    """GPU number `number`, opened at the first call.

    Raises:
        NoDeviceError: there is none, or a parent process has it.
    """
    with _lock:
        if number not in _opened:
            _opened[number] = (Device(open_driver(number)), os.getpid())
        found, process = _opened[number]
        if process != os.getpid():
            raise NoDeviceError("a GPU cannot be used after a fork: start the process by spawn")
        return found


def is_open(number: int = 0) -> bool:
    """Whether GPU number `number` is in use."""
    return number in _opened


def opened(number: int = 0) -> Device | None:
    """GPU number `number` if it is in use: asking for figures opens none."""
    return _opened[number][0] if number in _opened else None
