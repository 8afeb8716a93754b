"""What a recorded call is: its program, what it captured, read and wrote.

Inside `with trace:` every function of the frontend records. A concrete tensor met on the way is
represented by its *shadow*, a tensor over a traced storage whose value begins as a parameter of the
program ("capture"). Writes, `.grad` and attributes change shadows or are noted for undoing; the
compile driver carries them out after each call. One class, hence in one file: captures, sizes and
undoing are one state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, permutations
from typing import Any, NoReturn

from ..ir import dims
from ..ir.dims import Dim, Expr
from ..ir.graph import Graph, Node, Value
from ..ir.ops import OPS
from ..ir.ops.base import Op, TypeRuleError
from ..ir.types import TensorType, tensor_type
from .context import ambient
from .device import CPU, Device
from .errors import Retrace, TraceError, user_location
from .records import MISSING, AttributeWrite, Capture, Input, Read, SizeGuard, compare
from .storage import Storage
from .tensor import Tensor, make
from .trace_builder import TraceBuilder

_STOP = OPS["stop_gradient"]
_MAX_PAIRED = 4  # symbols of one size whose pairings are tried


class Trace:
    """One recording. `with trace:` makes it the current one of this thread.

    Attributes:
        builder: where ops go.
        tracked: the values that a gradient may be asked through.
        leaves: for the value of a leaf that requires grad, the (shadow) tensor.
        captures: by concrete storage, in the order of capture.
        inputs: the arguments, in the order of `add_input`.
        shadows: by concrete tensor met in the trace, what stands for it; `concrete` is the way
            back.
        continued: the values of arguments whose history begins outside: their gradient is no
            matter of a `backward()` in the trace.
        released: nodes whose history a `backward()` has used up.
        hints: the sizes of the example call, by symbol.
        guards: comparisons of sizes that the trace has decided.
        reads, attribute_writes: see `Read` and `AttributeWrite`.
        outer: the trace that this one is part of, if there is one.
        device: the GPU that the program runs on; None: so far no tensor lies on one.
        uploaded: traced storages whose elements each call copies to the GPU.
    """

    def __init__(self, hints: Mapping[str, int] | None = None) -> None:
        self.builder = TraceBuilder()
        self.tracked = self.builder.tracked
        self.leaves: dict[Value, Tensor] = {}
        self.continued: set[Value] = set()
        self.captures: dict[Storage, Capture] = {}
        self.inputs: list[Input] = []
        self.shadows: dict[Tensor, Tensor] = {}
        self.hints = dict(hints or {})
        self.guards: list[SizeGuard] = []
        self.reads: list[Read] = []
        self.attribute_writes: list[AttributeWrite] = []
        self._storages: dict[Storage, Storage] = {}  # concrete -> shadow, whole
        self._origins: dict[Storage, Storage] = {}  # shadow -> concrete
        self._parts: dict[Storage, list[Storage]] = {}  # concrete -> shadows of argument views
        self._numbers: dict[Value, str] = {}
        self._noted: set[tuple[int, str]] = set()  # attributes that were read or set
        self.concrete: dict[Tensor, Tensor] = {}
        self.released: set[Node] = set()
        self._grads: dict[Tensor, Tensor] = {}  # shadow -> concrete, whose .grad was set
        self._grads_read: set[Tensor] = set()
        # By shadows: the concrete tensors whose `.data` or `requires_grad` was set.
        self._data_set: dict[Tensor, Tensor] = {}
        self._requires_set: dict[Tensor, Tensor | None] = {}
        self.outer: Trace | None = None
        self.device: Device | None = None
        self.uploaded: set[Storage] = set()

    def __enter__(self) -> Trace:
        if ambient.trace is not None:
            raise TraceError("a trace inside a trace")
        ambient.trace = self
        self.builder.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.builder.__exit__(*exc)
        ambient.trace = None

    # Inputs and captures

    def add_input(
        self,
        tensor: Tensor,
        shape: tuple[Dim, ...] | None = None,
        name: str | None = None,
        *,
        whole: bool = False,
    ) -> Tensor:
        """Make an argument of the program of a concrete tensor; returns its shadow.

        The parameter is the tensor's own elements, dense, of the given (symbolic) shape. With
        `whole` it is captured with its storage, as two arguments that share memory must be.
        """
        if whole:
            return self.lift(tensor)
        if tensor.storage.trace is not None:
            raise TraceError(f"a traced tensor {tensor.spec} as an argument of another program")
        type = tensor_type(tensor.spec.dtype, shape if shape is not None else tensor.spec.shape)
        param = self.builder.param(type, name)
        storage = Storage(type, trace=self, value=param)
        shadow = make(storage, (), type)
        shadow._requires, shadow._grad = tensor._requires, tensor._grad
        shadow._hooks = None if tensor._hooks is None else dict(tensor._hooks)
        if not tensor.is_contiguous():
            shadow._strides = tensor.strides()
        if ambient.context.grad_enabled and has_history(tensor):
            self.continued.add(param)
            self.tracked.add(param)
            self.leaves[param] = shadow
            shadow._tracked, shadow._value, shadow._version = True, param, storage.version
        self.shadows[tensor], self.concrete[shadow] = shadow, tensor
        self.inputs.append(Input(tensor, param, shadow))
        self._origins[storage] = tensor.storage
        self._note_memory(tensor.storage)
        self._parts.setdefault(tensor.storage, []).append(storage)
        self._check_alias(tensor.storage)
        return shadow

    def add_number(self, type: Any, name: str) -> Tensor:
        """A Python number as a weak 0-d input of the program."""
        param = self.builder.param(type, name)
        shadow = make(Storage(type, trace=self, value=param), (), type)
        shadow._weak = True
        self.inputs.append(Input(None, param, shadow))
        self._numbers[param] = name
        return shadow

    def lift(self, tensor: Tensor) -> Tensor:
        """What stands in this trace for `tensor`.

        Raises:
            TraceError: it belongs to another trace, or has a history from outside.
        """
        if tensor.storage.trace is self:
            return tensor
        shadow = self.shadows.get(tensor)
        if shadow is not None:
            return shadow
        if tensor.storage.trace is not None:
            raise TraceError(
                f"a tensor {tensor.spec} of another trace is used here",
                hint="return it from the compiled function instead of storing it",
            )
        _check_history(tensor)
        shadow = make(self._shadow_storage(tensor.storage), tensor.path, tensor.spec)
        if not tensor.is_contiguous():
            shadow._strides = tensor.strides()
        if tensor.base is not None:
            shadow.base, shadow.step = self.lift(tensor.base), tensor.step
        shadow._requires, shadow._grad = tensor._requires, tensor._grad
        if tensor.spec.dtype.is_inexact:
            self.record_read("requires_grad", tensor, "_requires", tensor._requires)
        if tensor._requires:
            self.record_read("hooks", tensor, "_hooks", tensor._hooks)
            shadow._hooks = None if tensor._hooks is None else dict(tensor._hooks)
        self.shadows[tensor], self.concrete[shadow] = shadow, tensor
        return shadow

    def _shadow_storage(self, storage: Storage) -> Storage:
        shadow = self._storages.get(storage)
        if shadow is None:
            shadow = Storage(storage.type, trace=self)
            self._storages[storage], self._origins[shadow] = shadow, storage
            self._note_memory(storage)
            self._check_alias(storage)
        return shadow

    # Devices

    def note_device(self, device: Device | None) -> None:
        """Note that a tensor is made on `device`.

        Raises:
            TraceError: it is another GPU than that of the program.
        """
        if device is None or device is CPU or device is self.device:
            return
        if self.device is not None:
            raise TraceError(
                f"a compiled function has tensors on {self.device} and on {device}",
                hint="a program runs on one device: make one function for each",
            )
        self.device = device
        if self.outer is not None:
            self.outer.note_device(device)

    def _note_memory(self, storage: Storage) -> None:
        self.note_device(None if storage.place is None else storage.place.device)

    def device_of(self, tensor: Tensor) -> Device:
        """Where the elements of a traced tensor lie."""
        origin = self._origins.get(tensor.storage)
        if origin is None:
            return self.device or CPU
        return CPU if origin.place is None else origin.place.device

    def _check_alias(self, origin: Storage) -> None:
        """Two shadows of one memory are well as long as none is written."""
        shadows = [*self._parts.get(origin, ())]
        if origin in self._storages:
            shadows.append(self._storages[origin])
        if len(shadows) > 1 and any(s.version for s in shadows):
            raise Retrace("alias", (origin,), "two tensors share memory and one is written")

    def current(self, storage: Storage) -> Value:
        """What a traced storage holds now; captures it when it is first asked for."""
        if storage.value is None:
            origin = self._origins[storage]
            param = storage.value = self.builder.param(storage.type)
            self.captures[origin] = Capture(origin, param, storage, user_location())
        return storage.value

    def set_current(self, storage: Storage, value: Value) -> None:
        """Note that a traced storage now holds `value`.

        Raises:
            TraceError: it is that of an argument with a history from outside.
        """
        if self.current(storage) in self.continued:
            raise TraceError(
                "a compiled function writes to an argument that has a history from outside",
                hint="write to a clone()",
            )
        storage.value = value
        storage.touch(user_location())
        origin = self._origins.get(storage)
        if origin is not None:
            self._check_alias(origin)

    def written(self, storage: Storage) -> bool:
        """Whether the trace has written a concrete storage, so that its data is not the present."""
        shadow = self._storages.get(storage)
        shadows = [*self._parts.get(storage, ()), *([] if shadow is None else [shadow])]
        return any(s.version for s in shadows)

    def upload(self, storage: Storage) -> bool:
        """Note that memory of the processor is to be copied to the program's GPU at each call;
        False where it is none from outside."""
        if storage not in self._origins:
            return False
        self.uploaded.add(storage)
        return True

    # Gradients

    def leaf_value(self, value: Value, leaf: Tensor) -> Value:
        """A value of its own for a leaf that requires grad and holds `value`."""
        if value.node is not None or value in self.leaves:
            value = self.builder.emit(_STOP, (value,))
        self.leaves[value] = leaf
        self.tracked.add(value)
        return value

    def untracked(self, value: Value) -> Value:
        """The same elements without a history."""
        return self.builder.emit(_STOP, (value,)) if value in self.tracked else value

    def read_grad(self, tensor: Tensor) -> Tensor | None:
        """`.grad` as the trace sees it. Which one a concrete tensor had is a guard."""
        shadow = self.lift(tensor)
        concrete = self.concrete.get(shadow)
        if concrete is not None and shadow not in self._grads and shadow not in self._grads_read:
            self._grads_read.add(shadow)
            self.record_read("grad", concrete, "_grad", concrete._grad)
        return shadow._grad

    def write_grad(self, tensor: Tensor, grad: Tensor | None) -> None:
        """Set `.grad` of a traced tensor; noted where it stands for a concrete one."""
        shadow = self.lift(tensor)
        shadow._grad = grad
        concrete = self.concrete.get(shadow)
        if concrete is not None:
            self._grads[shadow] = concrete

    def grad_writes(self) -> list[tuple[Tensor, Tensor | None]]:
        """Concrete tensors whose `.grad` was set, each with the final (traced or concrete) one."""
        return [(tensor, shadow._grad) for shadow, tensor in self._grads.items()]

    def note_data(self, shadow: Tensor, source: Tensor) -> None:
        """Note that `.data` of `shadow` is about to become that of `source`.

        Raises:
            TraceError: it is an argument, or a captured tensor of another type.
        """
        concrete = self.concrete.get(shadow)
        is_input = any(item.shadow is shadow for item in self.inputs)
        if is_input or (concrete is not None and source.spec != shadow.spec):
            what = "an argument" if is_input else f"a captured tensor {shadow.spec}"
            raise TraceError(
                f"`.data = ...` of {what} cannot become a tensor {source.spec} in a trace",
                hint="write `with sley.no_grad(): x.copy_(y)`, or set it before the call",
            )
        if concrete is not None:
            self._data_set[shadow] = concrete

    def data_writes(self) -> dict[Tensor, Tensor]:
        """Concrete tensors whose `.data` was set, by their shadows."""
        return self._data_set

    def note_requires(self, shadow: Tensor) -> None:
        """Note that `requires_grad` of `shadow`, which is about to change, is set."""
        self._requires_set[shadow] = self.concrete.get(shadow)

    def requires_writes(self) -> list[tuple[Tensor, bool]]:
        """Concrete tensors whose `requires_grad` is another than when the call began."""
        return [
            (tensor, shadow._requires)
            for shadow, tensor in self._requires_set.items()
            if tensor is not None and tensor._requires != shadow._requires
        ]

    # Random state

    def advance(self, offset: Tensor, count: Dim | None) -> None:
        """Note that `count` draws (None: it depends on data) are taken from the generator with this
        offset, which is about to be written. The write says all that a trace needs."""

    # Python state

    def record_read(self, kind: str, owner: Any, name: str, value: Any) -> None:
        """Note Python state that the program depends on: what it was when the call began."""
        if kind in ("attribute", "item"):
            if (id(owner), name) in self._noted:
                return
            self._noted.add((id(owner), name))
        self.reads.append(Read(kind, owner, name, value, user_location()))

    def record_attribute_write(self, owner: Any, name: str, table: dict[str, Any]) -> None:
        """Note that an attribute, which lies in `table`, is about to be set or deleted."""
        self._noted.add((id(owner), name))
        old = table.get(name, MISSING)
        self.attribute_writes.append(AttributeWrite(owner, name, old, table))

    def undo_attribute_writes(self) -> None:
        """Put back every attribute that the trace has set, last first."""
        for write in reversed(self.attribute_writes):
            if write.old is MISSING:
                write.table.pop(write.name, None)
            else:
                write.table[write.name] = write.old
        self.attribute_writes.clear()

    # Sizes

    def decide(self, left: Dim, relation: str, right: Dim) -> bool:
        """The outcome of a comparison ("==", "<" or ">"), by the sizes of the example where it is
        not certain; then it is recorded as a guard."""
        gap = left - right
        if isinstance(gap, int):
            return compare(gap, relation, 0)
        certain = _certain(gap, relation)
        if certain is not None:
            return certain
        outcome = compare(self.size_hint(gap), relation, 0)
        guard = SizeGuard(left, relation, right, outcome, user_location())
        if not any(g[:4] == guard[:4] for g in self.guards):
            self.guards.append(guard)
        return outcome

    def size_hint(self, dim: Dim) -> int:
        """The size in the example call."""
        return dims.evaluate(dim, self.hints)

    def unify(self, a: Dim, b: Dim) -> bool:
        """Make two sizes equal, where they are in the example: that takes another trace.

        Returns False where they cannot be.

        Raises:
            Retrace: under which assumption to trace again.
        """
        x, y = self.size_hint(a), self.size_hint(b)
        if x != y and 1 in (x, y):
            # A size that is 1 in the example stretches there: as a number, not as a symbol.
            narrow = a if x == 1 else b
            if isinstance(narrow, Expr):
                self.specialize(narrow, "a size of 1 is broadcast")
        if x != y:
            return False
        pair = self._pair_to_unify(a, b)
        if pair is not None:
            raise Retrace("unify", pair, f"{a} and {b} must be equal")
        raise Retrace("specialize", tuple(dims.symbols((a, b))), f"{a} and {b} must be equal")

    def _pair_to_unify(self, a: Dim, b: Dim) -> tuple[str, str] | None:
        """Two symbols that are one under the least assumption that makes `a` and `b` equal; None if
        no pairing of the symbols does. Where N * T and M * S are equal, N is M and T is S: the
        trace that knows the first finds the second."""
        own, other = dims.symbols((a,)), dims.symbols((b,))
        left = [n for n in own if n not in other]
        right = [n for n in other if n not in own]
        if len(left) > len(right):
            (a, left), (b, right) = (b, right), (a, left)
        if not left or len(right) > _MAX_PAIRED:
            return None
        for chosen in permutations(right, len(left)):
            pairs = list(zip(left, chosen, strict=True))
            if any(self.hints[n] != self.hints[m] for n, m in pairs):
                continue
            replaced = _renamed(a, {n: dims.symbol(m) for n, m in pairs})
            if replaced == b:
                return pairs[0]
        return None

    def specialize(self, dim: Expr, reason: str) -> NoReturn:
        """Make the sizes in `dim` numbers: that takes another trace."""
        raise Retrace("specialize", tuple(dims.symbols((dim,))), reason)

    def reconcile(self, op: Op, types: Sequence[TensorType], attrs: Mapping[str, Any]) -> None:
        """Where an op does not take operands with symbolic sizes, but does in the example: end the
        trace for one with two sizes made equal, or with as few of them numbers as will do.

        Raises:
            Retrace: under which assumption to trace again.
        """
        names = dims.symbols(d for t in types for d in t.shape)
        for keep, other in combinations(names, 2):
            if self.hints[keep] == self.hints[other]:
                if _fits(op, types, attrs, {other: dims.symbol(keep)}):
                    raise Retrace("unify", (keep, other), f"{op.name} needs {keep} == {other}")
        chosen: dict[str, Dim] = {name: self.hints[name] for name in names}
        if not _fits(op, types, attrs, chosen):
            return
        for name in names:
            fewer = {n: size for n, size in chosen.items() if n != name}
            if _fits(op, types, attrs, fewer):
                chosen = fewer
        raise Retrace("specialize", tuple(chosen), f"{op.name} needs these sizes")

    def specialize_number(self, tensor: Tensor, reason: str) -> None:
        """Make the Python numbers that a weak tensor was computed from part of the signature."""
        names: dict[str, None] = {}
        todo, seen = [self.current(tensor.storage)], set()
        while todo:
            value = todo.pop()
            if value in seen:
                continue
            seen.add(value)
            if value in self._numbers:
                names[self._numbers[value]] = None
            if value.node is not None:
                todo.extend(value.node.operands)
                if value.node.op.name == "size":
                    self.specialize(value.node.attrs["expr"], reason)
        if names:
            raise Retrace("number", tuple(names), reason)

    # The end

    def finish(self, name: str, results: Sequence[Value]) -> Graph:
        """The program that yields `results`; parameters in the order in which they were made."""
        return self.builder.finish(name, results)


def has_history(tensor: Tensor) -> bool:
    """Whether a concrete tensor was computed from one that requires grad."""
    return tensor.root()._tracked and tensor.spec.dtype.is_inexact


def _check_history(tensor: Tensor) -> None:
    if tensor.root()._tracked and ambient.context.grad_enabled:
        raise TraceError(
            f"a tensor {tensor.spec} has a history from outside the compiled function",
            hint="make it an argument, pass it through detach() first, or compute it inside",
        )


def _fits(
    op: Op, types: Sequence[TensorType], attrs: Mapping[str, Any], sizes: Mapping[str, Dim]
) -> bool:
    """Whether an op takes these operands once some size symbols are replaced."""

    def replaced(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(replaced, value))
        if not isinstance(value, Expr):
            return value
        return _renamed(value, sizes)

    shapes = [tensor_type(t.dtype, replaced(t.shape)) for t in types]
    try:
        op.infer(shapes, {name: replaced(value) for name, value in attrs.items()})
    except TypeRuleError:
        return False
    return True


def _renamed(dim: Dim, sizes: Mapping[str, Dim]) -> Dim:
    """`dim` with some of its symbols replaced."""
    replaced: Dim = dims.substitute(dim, lambda atom: sizes.get(str(atom), dims.of_atom(atom)))
    return replaced


def _certain(gap: Dim, relation: str) -> bool | None:
    """Whether `gap relation 0` for all sizes, or for none, or (None) it depends."""
    if relation == "==":
        never = dims.nonnegative(gap - 1) or dims.nonnegative(-1 - gap)
        return False if never else None
    if relation == ">":
        gap = 0 - gap
    if dims.nonnegative(gap):
        return False
    return True if dims.nonnegative(-1 - gap) else None


__all__ = [
    "MISSING",
    "AttributeWrite",
    "Capture",
    "Input",
    "Read",
    "SizeGuard",
    "Trace",
    "TraceBuilder",
]
