"""Captured memory, found anew at each call: a program follows `x.data = y` and new gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ...ir.graph import Location
from ..epoch import epoch
from ..storage import Storage
from ..tensor import Tensor, make
from ..trace import MISSING, Read, Trace
from .snapshot import told

# Finds a tensor among the arguments of a call; a captured one is itself.
Holder = Callable[[Sequence[Any]], Tensor]


def over(storage: Storage) -> Tensor:
    """A tensor that is all of a storage."""
    return make(storage, (), storage.type, storage.array)


class CapturedTensor(NamedTuple):
    """A tensor from outside that a program uses.

    Attributes:
        tensor: a tensor over its storage.
        line: the user's line that met it first.
    """

    tensor: Tensor
    line: Location | None

    def __repr__(self) -> str:
        where = "" if self.line is None else f" at {self.line}"
        return f"<captured {self.tensor.spec}{where}>"


class _Slot:
    """A `.grad` that the trace has read.

    Attributes:
        holder: finds the tensor that has it.
        value: the gradient that the program works on now.
        number: of the memory among the captured; None where only its presence counts.
        is_alone: no other tensor of the trace shares that memory.
    """

    __slots__ = ("holder", "is_alone", "number", "value")

    def __init__(
        self, holder: Holder, value: Tensor | None, number: int | None, is_alone: bool
    ) -> None:
        self.holder = holder
        self.value = value
        self.number = number
        self.is_alone = is_alone


def read_again(read: Read) -> Any:
    """What a `Read` of an attribute, or of an item of a dict, gives now."""
    if read.kind == "item":
        return dict.get(read.owner, read.name, MISSING)
    return getattr(read.owner, read.name, MISSING)


def is_followed(read: Read) -> bool:
    """Whether an attribute holds a tensor without a gradient, of which another one will do."""
    value = read.value
    is_tensor = read.kind in ("attribute", "item") and isinstance(value, Tensor)
    return is_tensor and value.storage.trace is None and not (value._requires or value.path)


class Captures:
    """The memory that a program reads and writes beside its arguments.

    Attributes:
        storages: where each captured piece of memory is now.
        lines: the user's line that captured each.
        epoch: the count at which all was last found.
    """

    def __init__(self, trace: Trace, holder: Callable[[Tensor], Holder]) -> None:
        self.storages = [c.storage for c in trace.captures.values()]
        self.lines: list[Location | None] = [c.line for c in trace.captures.values()]
        numbers = {storage: i for i, storage in enumerate(self.storages)}
        reads = [r for r in trace.reads if r.kind == "grad"]
        apart = {item.tensor for item in trace.inputs}
        apart |= {r.value for r in reads}
        # (tensor, its memory, the steps from there, type) of each tensor met, by memory.
        self._tensors: dict[Storage, list[tuple[Tensor, Any, Any]]] = {}
        for tensor in trace.shadows:
            if tensor not in apart:
                entry = (tensor, tensor.path, tensor.spec)
                self._tensors.setdefault(tensor.storage, []).append(entry)
        self._numbers = numbers
        self._slots = []
        for read in reads:
            memory = None if read.value is None else read.value.storage
            others = [r for r in reads if r is not read and r.value is not None]
            shared = memory in self._tensors or any(r.value.storage is memory for r in others)
            number = None if memory is None else numbers.get(memory)
            self._slots.append(_Slot(holder(read.owner), read.value, number, not shared))
        self._attributes: list[tuple[Read, Tensor]] = [
            (read, read.value) for read in trace.reads if is_followed(read)
        ]
        self.epoch = epoch.count

    @property
    def follows_grads(self) -> bool:
        """Whether the program has read a `.grad`, which may be another at each call."""
        return bool(self._slots)

    def are_current(self) -> bool:
        """Whether nothing but a `.grad` can be elsewhere than at the last `follow`."""
        return epoch.count == self.epoch

    def follow(self, leaves: Sequence[Any]) -> str | None:
        """Finds where everything is now; the reason, where this program cannot go along."""
        for slot in self._slots:
            owner = slot.holder(leaves)
            if owner._grad is not slot.value and not self._follow_grad(slot, owner._grad):
                return told(f".grad of a tensor {owner.spec}", slot.value, owner._grad)
        if epoch.count == self.epoch:
            return None
        found: dict[Tensor, Any] = {}
        for number, (read, held) in enumerate(self._attributes):
            now = read_again(read)
            # Where one tensor is in several places it must be so of the other one, too.
            known = held in found
            fits = found.setdefault(held, now) is now
            if now is held and fits and not now._requires:
                continue
            if not fits or not (known or self._follow_attribute(held, now)):
                return told(f"{type(read.owner).__name__}.{read.name}", held, now)
            self._attributes[number] = (read, now)
        for storage in list(self._tensors):
            moved = [t for t, path, type in self._tensors[storage] if t.storage is not storage]
            changed = [t for t, path, type in self._tensors[storage] if t.spec is not type]
            if changed:
                return f"a captured tensor is {changed[0].spec} now"
            if moved and not self._follow_memory(storage, moved[0].storage):
                return f"a captured tensor {moved[0].spec} has got memory of another kind"
        self.epoch = epoch.count
        return None

    def _follow_grad(self, slot: _Slot, now: Tensor | None) -> bool:
        old = slot.value
        if old is None or now is None or not slot.is_alone:
            return False
        if old.path or now.path or now._requires != old._requires or now._tracked:
            return False
        if slot.number is not None and not self._replace(old.storage, now.storage):
            return False
        slot.value = now
        return True

    def _follow_attribute(self, old: Tensor, now: Any) -> bool:
        if type(now) is not type(old) or now.spec is not old.spec:
            return False
        if now._requires or now._tracked or now.path:
            return False
        others = [t for t, _, _ in self._tensors.get(old.storage, ()) if t is not old]
        if others or now.storage in self._tensors or not self._replace(old.storage, now.storage):
            return False
        self._tensors.pop(old.storage, None)
        self._tensors[now.storage] = [(now, now.path, now.spec)]
        return True

    def _follow_memory(self, storage: Storage, new: Storage) -> bool:
        """Goes along where all tensors over `storage` are the same views of `new`."""
        tensors = self._tensors[storage]
        if any(t.storage is not new or t.path != path for t, path, _ in tensors):
            return False
        if new in self._tensors or not self._replace(storage, new):
            return False
        self._tensors[new] = self._tensors.pop(storage)
        return True

    def _replace(self, old: Storage, new: Storage) -> bool:
        """Reads and writes `new` instead of `old`, which must be alike and not in use."""
        alike = new.type is old.type and new.place is old.place and _strides(new) == _strides(old)
        if not alike or new in self._numbers:
            return False
        if old in self._numbers:
            number = self._numbers[new] = self._numbers.pop(old)
            self.storages[number] = new
        return True


def _strides(storage: Storage) -> tuple[int, ...] | None:
    """How the elements lie; None where that is always row by row."""
    return None if storage.array is None else storage.array.strides
