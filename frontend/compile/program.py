"""One compiled variant of a function: what it reads, runs, writes back and returns."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import optree

from ...ir import dims
from ...ir.dims import Dim, Expr
from ...ir.graph import Graph, Location
from ...ir.types import TensorType, tensor_type
from ...runtime.host_calls import HostError
from ...runtime.native_calls import CallState
from ..epoch import epoch
from ..errors import computation_error
from ..storage import Storage
from ..tensor import Tensor, of_memory
from ..trace import MISSING
from .captures import Captures
from .gradient import Elements, Gradient, Memory
from .outcome import Fresh, Outcome, Same, made
from .prepared import Prepared
from .reads import Guards
from .signature import dense_array

if TYPE_CHECKING:
    from ...runtime.cuda.executable import CudaExecutable
    from ...runtime.executable import Executable

_MAX_SIZES = 256  # bindings of the symbols whose result types are remembered
_BOX: dict[type, Any] = {float: ctypes.c_double, int: ctypes.c_int64}


class Program:
    """A compiled variant.

    Attributes:
        graph: as it was traced.
        executable: the machine code.
        guards: Python state under which it is valid.
        numbers: by position, the Python numbers that are part of its signature.
        is_plain: the function returns one new tensor, as it is.
        is_direct: a call compares guards, runs, and returns new tensors or what is always the same.
    """

    def __init__(
        self,
        graph: Graph,
        executable: Executable | CudaExecutable,
        outcome: Outcome,
        guards: Guards,
        shapes: Sequence[tuple[Dim, ...] | None],
        numbers: dict[int, Any],
        whole: dict[int, Tensor],
        structure: optree.PyTreeSpec,
    ) -> None:
        trace = outcome.trace
        self.graph = graph
        self.executable = executable
        self.guards = guards
        self._captured = Captures(trace, outcome.finder)
        self.size_guards = tuple(trace.guards)
        self._shapes = tuple(shapes)
        self.numbers = numbers
        self._whole = whole
        self._structure = structure
        self._results = outcome.results
        self.is_plain = structure.is_leaf() and type(outcome.results[0]) is Fresh
        self._grads = outcome.grads
        self._attributes = outcome.attributes
        self._data = outcome.data
        self._requires = outcome.requires
        self._sets_state = bool(self._grads or self._attributes or self._data or self._requires)
        self._gradient = outcome.gradient
        self._checks = outcome.checks
        self._written = tuple(outcome.written_captures)
        self._written_leaves = frozenset(outcome.written_leaves)
        leaf_of = {id(item.param): outcome.positions[id(item.shadow)] for item in trace.inputs}
        slots = {id(p): slot for slot, p in enumerate(trace.builder.params)}
        # Slots of parameters: of each captured memory, and of each leaf.
        self._capture_slots = [slots[id(c.param)] for c in trace.captures.values()]
        self._leaf_slots = [(slots[p], position) for p, position in leaf_of.items()]
        # Nothing but guards on Python state and the epoch can fail.
        self._only_reads = not (
            self._whole or self._written or self._written_leaves or self._captured.follows_grads
        )
        # No old gradient is read, and no step can fail after they are gone.
        self._replaces_grads = bool(self._grads) and not (
            self._captured.follows_grads or executable.may_fail
        )
        returns_known = all(type(spec) in (Fresh, Same) for spec in self._results)
        self.is_direct = (
            self._only_reads
            and returns_known
            and self._leaves_first()
            and executable.native_entry != 0
            and (self._gradient, self._checks, self._sets_state) == (None, None, False)
        )
        self._pointers = [0] * len(slots)
        self._types: dict[tuple[int, ...], list[TensorType]] = {}
        preparation = executable.preparation
        self._prepared = None if preparation is None else Prepared(preparation)
        self._find_captures()

    @property
    def captures(self) -> list[tuple[Storage, Location | None]]:
        """Storages that it reads or writes, with the line that captured each."""
        return list(zip(self._captured.storages, self._captured.lines, strict=True))

    def _leaves_first(self) -> bool:
        """Whether the pointers are those of all leaves that are data, then those of the others."""
        data = [p for p, shape in enumerate(self._shapes) if shape is not None]
        return self._leaf_slots == list(enumerate(data))

    def call_state(self) -> CallState | None:
        """What calls like the last one depend on beside its arguments; None where its memory must
        be copied for a call, or what it has prepared is not kept."""
        verified, placed, tail = self.guards.epoch, self._placed, self._tail
        found = verified is self._captured.epoch and placed == self._captured.storages
        if not found or self._odd:
            return None
        if self._prepared is None:
            return CallState(verified, (), (), tail, placed)
        state = self._prepared.state
        if state is None or state.storages is not self._prepared_of:
            return None
        owners = [placed, state.arrays]
        return CallState(verified, state.storages, state.versions, tail + state.addresses, owners)

    def _find_captures(self) -> None:
        """Looks up where captured memory is."""
        placed = list(self._captured.storages)
        self._storages = frozenset(placed)
        self._odd = []  # captured memory that is not dense
        for number, (slot, storage) in enumerate(zip(self._capture_slots, placed, strict=True)):
            self._pointers[slot] = storage.pointer
            if not _array(storage).flags.c_contiguous:
                self._odd.append(number)
        if self._prepared is not None:
            numbers = {slot: number for number, slot in enumerate(self._capture_slots)}
            self._prepared_of = [placed[numbers[slot]] for slot in self._prepared.slots]
        self._tail = self._pointers[len(self._leaf_slots) :]
        # Last: who finds them equal finds all of it.
        self._placed = placed

    # Whether it may serve a call ---------------------------------------------------------------

    def bind(self, leaves: Sequence[Any]) -> tuple[int, ...] | None:
        """Values of the size symbols for these arguments; None where their sizes do not fit."""
        sizes: dict[str, int] = {}
        for leaf, shape in zip(leaves, self._shapes, strict=True):
            if shape is None:
                continue
            if len(shape) != leaf.spec.ndim:
                return None
            for expected, actual in zip(shape, leaf.spec.shape, strict=True):
                if isinstance(expected, Expr):
                    if sizes.setdefault(str(expected), actual) != actual:
                        return None
                elif expected != actual:
                    return None
        if any(repr(leaves[p]) != repr(n) for p, n in self.numbers.items()):
            return None
        if not all(guard.holds(sizes) for guard in self.size_guards):
            return None
        return tuple(sizes[name] for name in self.executable.symbols)

    def failing(self, leaves: Sequence[Any]) -> str | None:
        """The guard that does not hold for this call, told for a reader; None if all do.

        Captured memory that has moved is found again.
        """
        if self._only_reads and self._captured.are_current():
            return self.guards.failing()
        lost = self._captured.follow(leaves)
        if lost is not None:
            return lost
        if self._captured.storages != self._placed:
            self._find_captures()
        for position, tensor in self._whole.items():
            leaf = leaves[position]
            if leaf.storage is not tensor.storage or leaf.path != tensor.path:
                return f"argument {position} shared memory with another"
        if (self._written or self._written_leaves) and self._aliased(leaves):
            return "two arguments share memory that is written"
        return self.guards.failing()

    def _aliased(self, leaves: Sequence[Any]) -> bool:
        captured = self._storages
        for position, leaf in enumerate(leaves):
            if (
                isinstance(leaf, Tensor)
                and position not in self._whole
                and leaf.storage in captured
            ):
                return True
        if not self._written_leaves:
            return False
        tensors = [(p, x) for p, x in enumerate(leaves) if isinstance(x, Tensor)]
        return any(
            p != q and self._may_share(leaves[p], x)
            for p in self._written_leaves
            for q, x in tensors
        )

    def _may_share(self, a: Tensor, b: Tensor) -> bool:
        """Whether two arguments may have elements in common."""
        return bool(np.may_share_memory(a.array, b.array))

    # Running -----------------------------------------------------------------------------------

    def run(self, leaves: Sequence[Any], sizes: tuple[int, ...]) -> Any:
        """One call: nothing can fail after the program has begun to write."""
        pointers = self._pointers.copy()
        held: list[Any] = []  # memory that lives as long as the call
        put_back: list[tuple[Tensor, np.ndarray]] = []
        for slot, position in self._leaf_slots:
            leaf = leaves[position]
            if type(leaf) in _BOX:
                box = _BOX[type(leaf)](leaf)
                held.append(box)
                pointers[slot] = ctypes.addressof(box)
            elif leaf.storage.dense and not leaf.path and position not in self._written_leaves:
                pointers[slot] = leaf.storage.dense
            else:
                array = dense_array(leaf, position, position in self._written_leaves)
                held.append(array)
                pointers[slot] = array.__array_interface__["data"][0]
                if position in self._written_leaves:
                    put_back.append((leaf, array))
        copies = self._copy_odd(pointers) if self._odd else ()
        return self._finish(pointers, leaves, sizes, put_back, copies)

    def _finish(
        self,
        pointers: list[int],
        leaves: Sequence[Any],
        sizes: tuple[int, ...],
        put_back: Sequence[tuple[Tensor, np.ndarray]] = (),
        copies: Sequence[tuple[int, np.ndarray]] = (),
    ) -> Any:
        """Runs, and makes what the call gives and sets.

        Args:
            pointers: of all inputs.
            put_back: arguments that are written, with the array that is written in their place.
            copies: the same of captured memory, by number.
        """
        checks = self._checks
        if checks is not None and not checks.told:
            checks.run([pointers[slot] for slot in checks.slots], self._named(sizes))
        if self._replaces_grads:
            self._drop_grads(leaves)
        types = self._types.get(sizes)
        if types is None:
            types = self.result_types(sizes)
        fresh = self._execute(pointers, sizes, types)
        if checks is not None and checks.told:
            given, told = fresh[: -len(checks.told)], fresh[-len(checks.told) :]
            known = [pointers[slot] for slot in checks.slots]
            checks.look([t.array for t in told], known, self._named(sizes))
            fresh = given
        for leaf, array in put_back:
            self._put_back(leaf, array)
        for number, array in copies:
            if number in self._written:
                _array(self._placed[number])[...] = array
        for number in self._written:
            self._placed[number].touch(None)
        return self._give(fresh, leaves, sizes)

    def _execute(
        self, pointers: Sequence[int], sizes: tuple[int, ...], types: Sequence[TensorType]
    ) -> list[Tensor]:
        """Runs the machine code; tensors of its new arrays, which have these types."""
        executable = cast("Executable", self.executable)
        try:
            if self._prepared is None:
                arrays, addresses = executable.run_placed(pointers, sizes)
            else:
                state = self._prepared.at(pointers, self._prepared_of)
                arrays, addresses = executable.run_placed(pointers, sizes, state.addresses)
        except HostError as error:
            raise computation_error(error.op, error.cause, error.line) from None
        return list(map(of_memory, arrays, types, addresses))

    def _give(self, fresh: list[Tensor], leaves: Sequence[Any], sizes: tuple[int, ...]) -> Any:
        """Sets what the call sets; what it returns."""
        if self._gradient is not None:
            fresh = self._attach(self._gradient, fresh, leaves)
        # The result first: it may be a `.grad` that is set now.
        result = fresh[0] if self.is_plain else self.returned(leaves, fresh, sizes)
        if self._sets_state:
            self._set_state(leaves, fresh, sizes)
        return result

    def returned(
        self, leaves: Sequence[Any], fresh: Sequence[Tensor], sizes: tuple[int, ...]
    ) -> Any:
        """What the function returns, of the executable's new tensors and the leaves of a call."""
        named = self._named(sizes)
        results = [made(s, leaves, fresh, named) for s in self._results]
        return optree.tree_unflatten(self._structure, results)

    def result_types(self, sizes: tuple[int, ...]) -> list[TensorType]:
        """The types of the executable's new arrays; remembered for a few sizes."""
        known = self._named(sizes)
        donated = self.executable.donated
        types = [v.type for n, v in enumerate(self.graph.yields) if n not in donated]
        if len(self._types) >= _MAX_SIZES:
            self._types.clear()
        self._types[sizes] = [
            tensor_type(t.dtype, tuple(dims.evaluate(d, known) for d in t.shape)) for t in types
        ]
        return self._types[sizes]

    def _drop_grads(self, leaves: Sequence[Any]) -> None:
        """Gives up the gradients that this call makes anew: the new ones can lie in their memory,
        where nobody else holds it."""
        for holder, _ in self._grads:
            made(holder, leaves, (), {})._grad = None

    def _attach(
        self, gradient: Gradient, fresh: list[Tensor], leaves: Sequence[Any]
    ) -> list[Tensor]:
        """The results without what was saved for their gradients, which can now be asked for."""
        count = len(fresh) - len(gradient.saved)
        positions = dict(self._leaf_slots)
        memory: list[Memory] = []
        owner: Storage | None
        for slot in gradient.slots:
            if slot not in positions:
                owner = self._placed[self._capture_slots.index(slot)]
            else:
                leaf = leaves[positions[slot]]
                owner = leaf.storage if isinstance(leaf, Tensor) else None
            memory.append((self._read(slot, leaves), owner))
        gradient.attach(fresh, [self._saved(t) for t in fresh[count:]], memory, leaves)
        return fresh[:count]

    def _saved(self, tensor: Tensor) -> Elements:
        """What a result holds that the program saves for its gradient."""
        return tensor.array

    def _read(self, slot: int, leaves: Sequence[Any]) -> Elements:
        """What the parameter `slot` holds in this call."""
        position = dict(self._leaf_slots).get(slot)
        if position is not None:
            return dense_array(leaves[position], position, position in self._written_leaves)
        return _array(self._placed[self._capture_slots.index(slot)])

    def _copy_odd(self, pointers: list[int]) -> list[tuple[int, np.ndarray]]:
        """Captured memory that is not dense goes through a copy; the copies, by number."""
        copies = [(n, np.ascontiguousarray(_array(self._placed[n]))) for n in self._odd]
        for number, copy in copies:
            pointers[self._capture_slots[number]] = copy.ctypes.data
        return copies

    def _put_back(self, leaf: Tensor, array: np.ndarray) -> None:
        assert leaf._array is not None
        if array is not leaf._array:
            leaf._array[...] = array
        leaf.storage.touch(None)

    def _set_state(
        self, leaves: Sequence[Any], fresh: list[Tensor], sizes: tuple[int, ...]
    ) -> None:
        named = self._named(sizes)
        grads = [
            (
                made(holder, leaves, fresh, named),
                None if spec is None else made(spec, leaves, fresh, named),
            )
            for holder, spec in self._grads
        ]
        for tensor, grad in grads:
            tensor._grad = grad
        for holder, spec in self._data:
            made(holder, leaves, fresh, named).data = made(spec, leaves, fresh, named)
        for holder, wanted in self._requires:
            made(holder, leaves, fresh, named).requires_grad_(wanted)
        values = [made(spec, leaves, fresh, named) for _, _, spec in self._attributes]
        for (table, name, _), value in zip(self._attributes, values, strict=True):
            if table.get(name, MISSING) is not value:
                table[name] = value
                epoch.count += 1

    def _named(self, sizes: tuple[int, ...]) -> dict[str, int]:
        """The sizes of a call by symbol."""
        return dict(zip(self.executable.symbols, sizes, strict=True))


def _array(storage: Storage) -> np.ndarray:
    """The buffer of a concrete storage."""
    assert storage.array is not None
    return storage.array
