"""The eager tape: values that are known at once and remember how they were made."""

from __future__ import annotations

import contextvars
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.builder import Concrete, Evaluating
from ..ir.dtypes import converted
from ..ir.evaluate import with_regions
from ..ir.graph import Location, Node, Region, Value
from ..ir.ops import OPS
from ..ir.ops.base import Kind, Op, TypeRuleError
from ..ir.types import TensorType
from .context import ambient
from .errors import AutogradError
from .scalars import stretched
from .unwatched import user_line

if TYPE_CHECKING:
    from .storage import Storage
    from .tensor import Tensor
    from .views import Path


class EagerValue(Concrete):
    """A known value.

    Attributes:
        array: the elements; None of a `DeviceValue`.
        tracked: whether a gradient may be asked through it.
        storage, version: the memory that `array` lies in, and its version when the value was
            made; None where nobody else writes to `array`.
        leaf: finds the tensor whose `.grad` or hooks take the gradient, if it is alive.
    """

    __slots__ = ("leaf", "storage", "tracked", "version")
    node: Node | None

    def __init__(self, array: np.ndarray, type: TensorType, tracked: bool = False) -> None:
        self.type = type
        self.node = None
        self.index = 0
        self.name = None
        self.array = array
        self.tracked = tracked
        self.storage: Storage | None = None
        self.version = 0
        self.leaf: Callable[[], Tensor | None] | None = None


class DeviceValue(EagerValue):
    """A value in a GPU's memory: what a path of view steps shows of a storage.

    Attributes:
        path: the steps; they are not computed before an op reads the value.
    """

    __slots__ = ("path",)
    storage: Storage

    def __init__(self, type: TensorType, storage: Storage, path: Path = ()):
        self.type = type
        self.node = None
        self.index = 0
        self.name = None
        self.array = None  # type: ignore[assignment]
        self.tracked = False
        self.storage = storage
        self.version = storage.version
        self.leaf = None
        self.path = path

    @staticmethod
    def new(type: TensorType, storage: Storage) -> DeviceValue:
        """The value of a new storage, which a tensor may take."""
        storage.unclaimed = True
        return DeviceValue(type, storage)


_STOP = OPS["stop_gradient"]

# Array, the storage that it lies in, and the version of that when the value was made.
_Memory = tuple[np.ndarray, "Storage | None", int]


class Overwritten(Exception):
    """A rule reads a value whose memory was written since; `autograd` makes the user's error."""

    def __init__(self, value: EagerValue, op: Op, line: Location | None) -> None:
        super().__init__(f"{value} was overwritten before {op.name} read it")
        self.value = value
        self.line = line  # of the op whose rule reads it

    def error(self, reader: str) -> AutogradError:
        """What the user is told, who called `reader`: where it is needed, and who wrote it."""
        storage = self.value.storage
        written = None if storage is None else storage.written
        return AutogradError(
            f"a value {self.value.type} that {reader} needs was overwritten in place\n"
            f"  used at {self.line or 'an unknown line'}\n"
            f"  overwritten at {written or 'an unknown line'}",
            hint="write to a clone(), or use the form of the function that is not in place",
        )


class TapeNode(Node):
    """A node that does not own its results, so that a graph dies with the last tensor of it.

    `results` gives the living value, or one made again from what is saved of it.
    """

    __slots__ = ("_saved", "_types", "_weak", "freed")

    def __init__(
        self,
        op: Op,
        operands: tuple[Value, ...],
        attrs: Mapping[str, Any],
        regions: tuple[Region, ...],
        line: Location | None,
        results: Sequence[EagerValue],
    ) -> None:
        self.op = op
        self.operands = operands
        self.attrs = attrs
        self.regions = regions
        self.line = line
        self.freed = False
        # A result among others may be read by the rule after it has died; a lone one cannot.
        self._saved: list[_Memory] = []
        self._types: list[TensorType] = []
        if len(results) == 1:
            value = results[0]
            self._weak = [weakref.ref(value)]
            value.node, value.tracked = self, value.type.dtype.is_inexact
            return
        self._types = [v.type for v in results]
        self._weak = [weakref.ref(v) for v in results]
        self._saved = [(v.array, v.storage, v.version) for v in results]
        for index, value in enumerate(results):
            value.node, value.index, value.tracked = self, index, value.type.dtype.is_inexact

    @property
    def results(self) -> tuple[Value, ...]:  # type: ignore[override]
        if len(self._weak) == 1:
            value = self._weak[0]()
            if value is not None:  # nearly all nodes: one result, which lives
                return (value,)
        found = []
        for index, reference in enumerate(self._weak):
            value = reference()
            if value is None:
                value = self._again(index)
            found.append(value)
        return tuple(found)

    def _again(self, index: int) -> EagerValue:
        array, storage, version = self._saved[index]
        type = self._types[index]
        value: EagerValue
        if array is None:
            assert storage is not None
            value = DeviceValue(type, storage)
            value.tracked = type.dtype.is_inexact
        else:
            value = EagerValue(array, type, type.dtype.is_inexact)
        value.node, value.index, value.storage, value.version = self, index, storage, version
        self._weak[index] = weakref.ref(value)
        return value

    def placed(self, value: EagerValue) -> None:
        """Note where the memory of a result lies, now that a tensor has it."""
        if self._saved:
            self._saved[value.index] = (value.array, value.storage, value.version)

    def free(self) -> None:
        """Let go of the operands: what `backward()` does unless the graph is retained."""
        self.operands, self._saved, self.freed = (), [], True


# Type rules of views and contractions take longer than small arrays do to compute.
_ELEMENTWISE, _HOST, _SOURCE = Kind.ELEMENTWISE, Kind.HOST, Kind.SOURCE
_REMEMBERED = (Kind.VIEW, Kind.REDUCTION, Kind.CONTRACTION, Kind.ATTENTION)
_MOST_REMEMBERED = 4096
_known_types: dict[tuple, Sequence[TensorType]] = {}


def _result_types(
    op: Op, types: list[TensorType], attrs: Mapping[str, Any], regions: tuple[Region, ...]
) -> Sequence[TensorType]:
    """What the type rule of `op` gives."""
    if op.regions:
        return op.infer(types, {**attrs, "regions": regions})
    if op.kind not in _REMEMBERED:
        return op.infer(types, attrs)
    key = (op, *types, *attrs.items())
    try:
        found = _known_types.get(key)
    except TypeError:  # an attribute is a list
        return op.infer(types, attrs)
    if found is None:
        if len(_known_types) >= _MOST_REMEMBERED:
            _known_types.clear()
        found = _known_types[key] = op.infer(types, attrs)
    return found


class _Quiet:
    """A context in which numpy reports no overflow and no invalid value: entering it takes a tenth
    of the time of `np.errstate`."""

    __slots__ = ("busy", "run")

    def __init__(self) -> None:
        context = contextvars.copy_context()
        context.run(np.seterr, all="ignore")
        self.run = context.run
        self.busy = False


class _Local(threading.local):
    """Each thread has a context of its own."""

    def __init__(self) -> None:
        self.quiet = _Quiet()


_local = _Local()


def quietly(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function`, which calls no code of the user's, gives; numpy reports nothing."""
    quiet = _local.quiet
    if quiet.busy:
        with np.errstate(all="ignore"):
            return function(*arguments)
    quiet.busy = True  # a context is not entered twice, as by a signal handler that uses tensors
    try:
        return quiet.run(function, *arguments)
    finally:
        quiet.busy = False


class Tape(Evaluating):
    """Computes each op at once with its numpy evaluation; with `track`, results of tracked values
    keep their node.

    Raises (from `emit`):
        TypeRuleError: the operands or attributes do not fit the op.
        Overwritten: an operand's memory was written since the value was made.
    """

    def __init__(self, track: bool) -> None:
        super().__init__(record=track, locate=user_line)
        self.track = track

    def emit(
        self,
        op: Op,
        operands: Sequence[Value],
        attrs: Mapping[str, Any] | None = None,
        regions: tuple[Region, ...] = (),
    ) -> Any:
        attrs = attrs or {}
        if len(operands) != op.arity and op.arity is not None:
            raise TypeRuleError(f"{op.name} takes {op.arity} operands, got {len(operands)}")
        arrays: list[np.ndarray] = []
        types: list[TensorType] = []
        tracked = on_device = False
        value: Any
        for value in operands:
            storage = value.storage
            if storage is not None and storage.version != value.version:
                raise Overwritten(value, op, None if self.locate is None else self.locate())
            array = value.array
            if array is None:
                on_device = True
            arrays.append(array)
            types.append(value.type)
            if value.tracked:
                tracked = True
        if op.kind is _ELEMENTWISE:
            found = op.infer(types, attrs)
        else:
            found = _result_types(op, types, attrs, regions)
        if on_device or (op.kind is _SOURCE and ambient.context.device is not None):
            return self._on_device(op, operands, attrs, regions, found, tracked)
        if regions or op.kind is _HOST:  # they may call the user's code: in the user's context
            with np.errstate(all="ignore"):
                outs = op.evaluate(arrays, with_regions(attrs, regions, {}))
        else:
            outs = quietly(op.evaluate, arrays, attrs)
        if len(outs) == 1:  # nearly all ops: no list is made
            array = outs[0]
            result = EagerValue(array if type(array) is np.ndarray else np.asarray(array), found[0])
            # What is no number that changes smoothly has no history.
            if tracked and self.track and op is not _STOP and found[0].dtype.is_inexact:
                line = None if self.locate is None else self.locate()
                TapeNode(op, tuple(operands), attrs, regions, line, (result,))
            return result
        results = tuple(
            EagerValue(array if type(array) is np.ndarray else np.asarray(array), spec)
            for array, spec in zip(outs, found, strict=True)
        )
        if tracked and self.track:
            line = self.locate() if self.locate is not None else None
            TapeNode(op, tuple(operands), attrs, regions, line, results)
        return results

    def _on_device(
        self,
        op: Op,
        operands: Sequence[Value],
        attrs: Mapping[str, Any],
        regions: tuple[Region, ...],
        types: Sequence[TensorType],
        tracked: bool,
    ) -> Any:
        """What `op` gives on the GPU where operands lie, or where a new tensor is to lie."""
        from .device_ops import computed  # what runs GPUs: most programs need none

        results = computed(op, operands, attrs, regions, types)
        if tracked and self.track and op is not _STOP:
            if len(results) > 1 or types[0].dtype.is_inexact:
                line = None if self.locate is None else self.locate()
                TapeNode(op, tuple(operands), attrs, regions, line, results)
        return results[0] if len(results) == 1 else results

    def full(self, type: TensorType, number: float | int | bool) -> Value:
        array = converted(np.asarray(number), type.dtype)
        return EagerValue(stretched(array, type.shape) if type.shape else array, type)


TRACKING = Tape(track=True)
PLAIN = Tape(track=False)
