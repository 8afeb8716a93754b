"""A compiled variant whose program runs on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.types import TensorType
from ..accelerator import Accelerator, accelerator, dense_address, told_of_errors
from ..device_ops import write_elements
from ..errors import DeviceError
from ..storage import Storage
from ..tape import DeviceValue
from ..tensor import Tensor, make
from ..trace import Trace
from .outcome import Outcome
from .program import Program
from .signature import array_of

if TYPE_CHECKING:
    from ...runtime.cuda.executable import CudaExecutable

_APART = 16  # bytes from one number to the next: kernels expect aligned addresses


def check_devices(trace: Trace) -> None:
    """Raise where a program of a GPU reads more of the processor's memory than numbers.

    Raises:
        DeviceError: a tensor must be moved; the message names its line.
    """
    if trace.device is None:
        return
    for capture in trace.captures.values():
        storage = capture.storage
        if storage.place is None and storage.type.shape and capture.shadow not in trace.uploaded:
            raise DeviceError(
                f"a tensor {storage.type} on cpu is used in a function that runs on {trace.device}",
                hint=f'move it first: x.to("{trace.device}")',
                location=capture.line,
            )
    for number, item in enumerate(trace.inputs):
        tensor = item.tensor
        if tensor is None or tensor.is_cuda or not tensor.spec.shape:
            continue
        if item.shadow.storage not in trace.uploaded:
            raise DeviceError(
                f"argument {number}, a tensor {tensor.spec}, lies on cpu; the function runs on "
                f"{trace.device}",
                hint=f'move it first: x.to("{trace.device}")',
            )


class Numbers:
    """The numbers of the processor that a program reads, beside each other in a GPU's memory."""

    def __init__(self, place: Accelerator, slots: Sequence[int]) -> None:
        self.slots = list(slots)
        self._place = place
        self._sent: list[bytes] = []
        self._block = place.memory.empty(len(slots) * _APART)
        self.pointers = [self._block.address + k * _APART for k in range(len(slots))]

    def send(self, arrays: Sequence[np.ndarray]) -> None:
        """Copies the numbers, if one of them has changed. The caller holds the GPU's lock."""
        now = [array.tobytes() for array in arrays]
        if now != self._sent:
            rows = np.frombuffer(b"".join(number.ljust(_APART, b"\0") for number in now), np.uint8)
            self._place.memory.write(self._block.address, rows)
            self._sent = now


class DeviceProgram(Program):
    """As `Program`. Numbers of the processor go along by value; what the program changes of them
    the processor computes (`HostWrites`)."""

    def __init__(
        self, graph: Any, executable: CudaExecutable, outcome: Outcome, *rest: Any
    ) -> None:
        trace = outcome.trace
        assert trace.device is not None
        self.place = accelerator(trace.device)
        self._host_writes = outcome.host_writes
        uploaded = {item.param for item in trace.inputs if item.shadow.storage in trace.uploaded}
        uploaded |= {c.param for c in trace.captures.values() if c.shadow in trace.uploaded}
        params = trace.builder.params
        self._uploaded = {slot for slot, param in enumerate(params) if param in uploaded}
        on_gpu = {c.param for c in trace.captures.values() if c.storage.place is not None}
        on_gpu |= {i.param for i in trace.inputs if i.tensor is not None and i.tensor.is_cuda}
        self._numbers = Numbers(
            self.place,
            [s for s, p in enumerate(params) if p not in on_gpu and s not in self._uploaded],
        )
        super().__init__(graph, executable, outcome, *rest)
        self._only_reads = self._only_reads and self._host_writes is None
        self._position_of = dict(self._leaf_slots)

    def _find_captures(self) -> None:
        placed = list(self._captured.storages)
        self._storages = frozenset(placed)
        self._odd = []  # a GPU's memory is always dense
        for slot, storage in zip(self._capture_slots, placed, strict=True):
            if storage.place is not None:
                self._pointers[slot] = storage.pointer
        for slot, pointer in zip(self._numbers.slots, self._numbers.pointers, strict=True):
            self._pointers[slot] = pointer
        self._memory_of = dict(zip(self._capture_slots, placed, strict=True))
        self._tail = self._pointers[len(self._leaf_slots) :]
        self._placed = placed

    def _may_share(self, a: Tensor, b: Tensor) -> bool:
        return a.storage is b.storage

    # Running -----------------------------------------------------------------------------------

    def run(self, leaves: Sequence[Any], sizes: tuple[int, ...]) -> Any:
        pointers = self._pointers.copy()
        held: list[Storage] = []
        put_back: list[tuple[Tensor, Storage]] = []
        for slot, position in self._leaf_slots:
            leaf = leaves[position]
            if slot in self._uploaded:
                held.append(self.place.put(leaf.array))
                pointers[slot] = held[-1].pointer
            elif isinstance(leaf, Tensor) and leaf.storage.place is not None:
                address = dense_address(leaf.storage, leaf.path)
                if address is None:
                    held.append(copy := self.place.contiguous(leaf.storage, leaf.path))
                    address = copy.pointer
                    if position in self._written_leaves:
                        put_back.append((leaf, copy))
                pointers[slot] = address
        for slot, storage in self._memory_of.items():
            if slot in self._uploaded:
                assert storage.array is not None
                held.append(self.place.put(storage.array))
                pointers[slot] = held[-1].pointer
        memory = self.place.memory
        memory.look()
        with memory.lock:
            self._send_numbers(leaves)
            after = self._numbers_after(leaves)
            if self._replaces_grads:
                self._drop_grads(leaves)
            types = self._types.get(sizes) or self.result_types(sizes)
            told = self._start_checks(pointers, sizes)
            fresh = self._execute(pointers, sizes, types)
            if self._checks is not None:
                if self._checks.told:
                    count = len(self._checks.told)
                    fresh, told = fresh[:-count], [t.storage.block for t in fresh[-count:]]
                self._checks.expect(self.place, told, self._named(sizes))
        for leaf, copy in put_back:
            write_elements(leaf.storage, leaf.path, DeviceValue(leaf.spec, copy))
        for position in self._written_leaves:
            leaves[position].storage.touch(None)
        for number in self._written:
            self._placed[number].touch(None)
        if self._host_writes is not None:
            self._host_writes.write(self._placed, after)
        return self._give(fresh, leaves, sizes)

    def _execute(
        self, pointers: Sequence[int], sizes: tuple[int, ...], types: Sequence[TensorType]
    ) -> list[Tensor]:
        with told_of_errors():
            blocks = self.executable.run(pointers, sizes)
        storages = [
            Storage.of_block(type, block, self.place)  # type: ignore[arg-type]
            for type, block in zip(types, blocks, strict=True)
        ]
        return [make(storage, (), storage.type) for storage in storages]

    def _start_checks(self, pointers: Sequence[int], sizes: tuple[int, ...]) -> list[Any]:
        """Where checks will tell of indices that the program does not tell of."""
        checks = self._checks
        if checks is None or checks.told:
            return []
        known = [pointers[slot] for slot in checks.slots]
        return checks.run_on(self.place, known, self._named(sizes))

    def _number(self, slot: int, leaves: Sequence[Any]) -> np.ndarray:
        """What a number of the processor is now."""
        position = self._position_of.get(slot)
        if position is None:
            array = self._memory_of[slot].array
            assert array is not None
            return array
        return array_of(leaves[position])

    def _send_numbers(self, leaves: Sequence[Any]) -> None:
        self._numbers.send([self._number(slot, leaves) for slot in self._numbers.slots])

    def _numbers_after(self, leaves: Sequence[Any]) -> list[np.ndarray]:
        """What the numbers become that the program changes."""
        if self._host_writes is None:
            return []
        before = [self._number(slot, leaves) for slot in self._host_writes.slots]
        return self._host_writes.values(before)

    def _saved(self, tensor: Tensor) -> Storage:
        return tensor.storage

    def _read(self, slot: int, leaves: Sequence[Any]) -> Storage:
        position = self._position_of.get(slot)
        storage = None if position is not None else self._memory_of[slot]
        if storage is not None and storage.place is not None:
            return storage
        if position is None or not isinstance(leaves[position], Tensor):
            return self.place.put(self._number(slot, leaves))
        leaf = leaves[position]
        if leaf.storage.place is None:
            return self.place.put(leaf.array)
        if dense_address(leaf.storage, leaf.path) == leaf.storage.pointer:
            if leaf.spec is leaf.storage.type:
                return leaf.storage
        return self.place.contiguous(leaf.storage, leaf.path)
