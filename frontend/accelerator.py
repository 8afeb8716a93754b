"""A GPU as tensors see it: memory for elements, and the programs that eager ops are.

Everything that the frontend asks of a GPU goes through here, so that what the runtime raises
becomes the user's error in one place.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..ir.dims import evaluate, product
from ..ir.graph import Graph
from ..ir.literal import array_type
from ..ir.ops import OPS
from ..ir.ops.base import active
from ..ir.types import TensorType, tensor_type
from ..runtime.cuda import device as devices
from ..runtime.cuda.errors import DriverError, KernelFault, LaunchError, NoDeviceError
from ..runtime.cuda.errors import OutOfMemoryError as NoMemory
from ..runtime.cuda.executable import CudaExecutable
from ..runtime.cuda.programs import Operand, Programs
from ..runtime.host_calls import HostError
from .context import ambient
from .device import Device
from .errors import ArgumentError, DeviceError, OutOfMemoryError, computation_error
from .general_paths import follow, general
from .storage import Storage
from .strides import contiguous_strides, step_offset, step_strides
from .unwatched import user_line
from .views import Path, Shape, Step

if TYPE_CHECKING:
    from ..ir.graph import Value
    from ..runtime.compile import Options
    from ..runtime.cuda.memory import Block

T = TypeVar("T")
_MOST_NUMBERS = 4096  # 0-d constants that are kept on the GPU
_RESHAPE, _BROADCAST = OPS["reshape"], OPS["broadcast"]


class Accelerator:
    """One GPU.

    Attributes:
        device: how users name it.
        memory: the runtime's interface to it.
    """

    def __init__(self, number: int, memory: devices.Device) -> None:
        self.device = Device("cuda", number)
        self.memory = memory
        self._programs = Programs(self._compile_eager)
        self._numbers: dict[tuple[str, bytes], Storage] = {}
        self._lock = threading.Lock()
        self.returned: deque[Any] = deque()  # owners of memory of other libraries, to be let go

    def __repr__(self) -> str:
        return f"<accelerator {self.device}>"

    # Programs

    def compile(self, graph: Graph, options: Options) -> CudaExecutable:
        """A program as kernels of this GPU."""
        from ..runtime.cuda.compile import compile_graph  # passes and backends

        return compile_graph(graph, self.memory, options)

    def _compile_eager(self, graph: Graph, donated: Mapping[int, int]) -> CudaExecutable:
        from ..runtime.compile import Options

        return self.compile(
            graph, Options(donated=donated, numerics=ambient.context.numerics, tune=False)
        )

    def run(
        self,
        key: Hashable,
        record: Callable[[Sequence[Value]], Sequence[Value]],
        operands: Sequence[Operand],
        donated: Mapping[int, int] | None = None,
    ) -> list[Storage]:
        """New memory with what a small program gives (see `Programs.run`).

        Raises:
            OutOfMemoryError, DeviceError: the GPU has no memory left, or a kernel has failed.
            LinAlgError: a step on the host has failed.
        """
        key = (key, ambient.context.numerics)
        if self.returned:
            self.let_go()

        def located(params: Sequence[Value]) -> Sequence[Value]:
            active().line = user_line()
            return record(params)

        with told_of_errors():
            made = self._programs.run(key, located, operands, donated)
        return [Storage.of_block(type, block, self) for block, type in made]

    def fill(
        self,
        key: Hashable,
        record: Callable[[Sequence[Value], Shape], Value],
        operands: Sequence[Operand],
        type: TensorType,
    ) -> Storage:
        """New memory, of `type`, with what a program makes for its elements as one axis: it takes
        that shape beside the operands, so one program serves all shapes. Raises as `run`."""
        count: Any = product(type.shape)
        made = self.empty(type, count * type.dtype.itemsize)
        if not count:
            return made
        line = Operand(made.pointer, tensor_type(type.dtype, (count,)))

        def sized(params: Sequence[Value]) -> list[Value]:
            return [record(params[:-1], params[-1].type.shape)]

        self.run(("fill", key), sized, [*operands, line], {0: len(operands)})
        return made

    def call(self, executable: CudaExecutable, inputs: Sequence[Storage]) -> list[Storage]:
        """New memory with the results of a program that donates nothing."""
        sizes: dict[str, Any] = {}
        for value, storage in zip(executable.inputs, inputs, strict=True):
            sizes.update(zip(map(str, value.type.shape), storage.type.shape, strict=True))
        with told_of_errors():
            bound = tuple(sizes[name] for name in executable.symbols)
            blocks = executable.run([storage.pointer for storage in inputs], bound)
        known = dict(zip(executable.symbols, bound, strict=True))
        types = [
            tensor_type(v.type.dtype, tuple(evaluate(d, known) for d in v.type.shape))
            for v in executable.graph.yields
        ]
        return [Storage.of_block(t, b, self) for t, b in zip(types, blocks, strict=True)]

    def start(
        self, executable: CudaExecutable, pointers: Sequence[int], sizes: Mapping[str, int]
    ) -> list[Block]:
        """Where the results of a program will be."""
        with told_of_errors():
            return executable.run(pointers, tuple(sizes[n] for n in executable.symbols))

    def expect(self, blocks: Sequence[Block], told: Callable[[Sequence[int]], None]) -> None:
        """Has `told` called with what blocks of 64 bits will hold, by a later call, which raises
        what it raises."""
        with told_of_errors():
            self.memory.expect(blocks, told)

    # Memory

    def let_go(self) -> None:
        """Give memory back to other libraries that no tensor looks at any more."""
        with told_of_errors():
            self.memory.lend(1)  # what the default stream is given from now on runs afterwards
        with self._lock:
            while self.returned:
                self.returned.popleft()

    def put(self, array: np.ndarray) -> Storage:
        """New memory with the elements of `array`."""
        if self.returned:
            self.let_go()
        with told_of_errors():
            return Storage.of_block(array_type(array), self.memory.put(array), self)

    def empty(self, type: TensorType, nbytes: int) -> Storage:
        """New memory for elements that are to be written."""
        with told_of_errors():
            return Storage.of_block(type, self.memory.empty(nbytes), self)

    def number(self, array: np.ndarray) -> Storage:
        """Memory with the element of a 0-d array; kept for the next time, never to be written."""
        key = (array.dtype.str + array.dtype.name, array.tobytes())
        found = self._numbers.get(key)
        if found is None:
            found = self.put(array)
            found.handed_out = True  # nobody takes it for memory of its own
            with self._lock:
                if len(self._numbers) >= _MOST_NUMBERS:
                    self._numbers.clear()
                self._numbers[key] = found
        return found

    def get(self, storage: Storage, path: Path, type: TensorType) -> np.ndarray:
        """A new array with the elements of a view of `storage`, once all work is done."""
        shape: Any = type.shape
        address = dense_address(storage, path)
        if address is None:
            storage, address = (made := self.contiguous(storage, path)), made.pointer
        with told_of_errors():
            return self.memory.get(address, shape, type.dtype.numpy)

    def contiguous(self, storage: Storage, path: Path) -> Storage:
        """New memory with the elements of a view of `storage`."""
        operand = operand_of(storage)
        if path and not storage.type.shape and all(type(step) is Step for step in path):

            def stretched(params: Sequence[Value], shape: Shape) -> Value:
                return active().emit(_BROADCAST, (params[0],), {"shape": shape, "dims": ()})

            found = tensor_type(storage.type.dtype, path[-1].result)
            return self.fill("number", stretched, [operand], found)

        steps = general(path)

        def record(params: Sequence[Value]) -> list[Value]:
            value = follow(steps, params[0], active().emit)
            return [active().emit(_RESHAPE, (value,), {"shape": value.type.shape})]

        return self.run(("copy", steps), record, [operand])[0]

    def duplicate(self, storage: Storage) -> Storage:
        """New memory with the same elements."""
        return self.contiguous(storage, ())


def operand_of(storage: Storage) -> Operand:
    """A whole storage for `Accelerator.run`."""
    return Operand(storage.pointer, storage.type)


def place_of(storage: Storage, path: Path) -> tuple[int, Shape | None]:
    """Where the first element of a view of a GPU's memory lies, and the strides, in elements; no
    strides where a step of the path must copy."""
    strides: Any = contiguous_strides(storage.type.shape)
    dtype = storage.type.dtype
    place: Any = 0
    for step in path:
        following = step_strides(step, strides)
        if following is None:
            return 0, None
        # A complex number counts as one element, its parts as two.
        before, dtype = dtype, step.dtype(dtype)
        place = place * before.itemsize // dtype.itemsize + step_offset(step, strides)
        strides = following
    return storage.pointer + place * dtype.itemsize, strides


def dense_address(storage: Storage, path: Path) -> int | None:
    """Where the elements of a view of a GPU's memory begin, if they lie in row-major order without
    gaps; else None."""
    if not path:
        return storage.pointer
    address, strides = place_of(storage, path)
    if strides is None:
        return None
    shape = path[-1].result
    dense = contiguous_strides(shape)
    if any(n != 1 and a != b for n, a, b in zip(shape, strides, dense, strict=True)):
        return None
    return address


# The GPUs in use -------------------------------------------------------------------------------

_known: dict[int, Accelerator] = {}


def accelerator(device: Device) -> Accelerator:
    """The GPU that `device`, with a number, names.

    Raises:
        ArgumentError: there is none.
    """
    number = device.index or 0
    try:
        memory = devices.device(number)
    except NoDeviceError as error:
        raise ArgumentError(
            f"there is no device {str(device)!r}: {error}", hint='use device="cpu"'
        ) from None
    found = _known.get(number)
    if found is None or found.memory is not memory:
        found = _known[number] = Accelerator(number, memory)
    return found


@contextmanager
def told_of_errors() -> Iterator[None]:
    """Errors of the runtime become the user's."""
    try:
        yield
    except NoMemory as error:
        raise OutOfMemoryError(
            str(error),
            hint="smaller batches, checkpoint(), autocast(), or del of tensors that are not needed",
        ) from error
    except (KernelFault, LaunchError, DriverError) as error:
        raise DeviceError(str(error)) from error
    except HostError as error:
        raise computation_error(error.op, error.cause, error.line) from None
