"""Derivatives of tensors that are known by how they were computed: pulled back to what they came
from, pushed forward, and both for many directions at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...ir.builder import Recording
from ...ir.dims import Dim
from ...ir.dtypes import i64
from ...ir.graph import Region, Value
from ...ir.ops import OPS
from ...ir.types import TensorType
from ...passes.autodiff.backward import backward
from ...passes.autodiff.forward import forward
from ...passes.autodiff.rule import GradientError, zeros
from ...passes.batching.rule import Arrived, Lanes, batched
from ...passes.batching.walk import batched_values
from ...passes.inline import inline
from ..apply import builder, is_tracked, over, value_of, wrap
from ..autograd.engine import grad, own_tensor
from ..context import ambient, setting
from ..device import creating
from ..errors import AutogradError
from ..functions.creation import zeros_like
from ..functions.joining import stack
from ..moves import beside_value
from ..tape import EagerValue, Overwritten, Tape
from ..tensor import Tensor
from .history import goes_on, is_recordable

Found = list[Tensor]


def pulled(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    has_history: bool,
) -> Found:
    """The cotangents of `inputs`; they remember how they were made where `has_history`."""
    pairs = [(o, c) for o, c in zip(outputs, cotangents, strict=True) if o.requires_grad]
    if not pairs:
        return [zeros_like(t) for t in inputs]
    with setting(grad_enabled=True):
        found = grad(
            [o for o, _ in pairs],
            list(inputs),
            [c for _, c in pairs],
            retain_graph=True,
            create_graph=has_history,
            materialize_grads=True,
        )
    return [t for t in found if t is not None]


def pushed(
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    tangents: Sequence[Tensor],
    has_history: bool,
) -> Found:
    """The tangents of `outputs`."""
    values, directions = [value_of(t) for t in inputs], [value_of(t) for t in tangents]
    results = [value_of(t) for t in outputs]
    # The dummy cotangents of the walk need a tape, also where nothing is differentiated again.
    eager = ambient.trace is None
    build = Tape(True) if ambient.trace is None else ambient.trace.builder
    with setting(grad_enabled=has_history or eager), build:
        found = _checked(lambda: forward(values, directions, results, is_tracked, _dummy))
        made = [
            beside_value(zeros(v.type) if t is None else t, v)
            for v, t in zip(results, found, strict=True)
        ]
    return [own_tensor(value, has_history) for value in made]


def _dummy(type: TensorType) -> Value:
    value = zeros(type)
    if isinstance(value, EagerValue):
        value.tracked = True
    return value


def _checked(walk: Callable[[], Any]) -> Any:
    """The result of a walk over histories; its errors as a user's."""
    try:
        return walk()
    except GradientError as error:
        raise AutogradError(str(error)) from None
    except Overwritten as error:
        raise error.error("a derivative") from None


class PullProgram:
    """The way back from tensors of one mode as a program, for use in recordings inside of it: what
    it reads of that mode is captured there like any tensor, with its history where `has_history`.

    Raises (from the constructor):
        AutogradError: an op on the way has no gradient.
    """

    def __init__(
        self, outputs: Sequence[Tensor], inputs: Sequence[Tensor], has_history: bool
    ) -> None:
        targets, values = [value_of(t) for t in outputs], [value_of(t) for t in inputs]
        params = [Value(v.type) for v in targets]
        recording = Recording()
        with recording:
            found = _checked(lambda: backward(targets, params, values, is_tracked))
            yields = [zeros(v.type) if g is None else g for v, g in zip(values, found, strict=True)]
        outside = _outside(recording, yields, params)
        self._region = Region((*params, *outside), tuple(recording.nodes), tuple(yields))
        read = [over(value) for value in outside]
        self._outside = read if has_history else [t.detach() for t in read]

    def __call__(self, cotangents: Sequence[Tensor]) -> Found:
        """The cotangents of the inputs, in the mode at hand."""
        operands = [value_of(t) for t in (*cotangents, *self._outside)]
        with builder():
            found = inline(self._region, operands)
        return [own_tensor(value, is_tracked(value)) for value in found]


# Many directions at once -----------------------------------------------------------------------


def pulled_for_many(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    cotangents: Sequence[Tensor | None],
    size: Dim,
    has_history: bool,
) -> Found:
    """As `pulled`, for `size` cotangents of each output, along a leading axis (None: zeros)."""
    if not is_recordable(outputs):
        return _one_by_one(
            lambda row: pulled(outputs, inputs, _filled(outputs, row), has_history),
            cotangents,
            size,
        )
    targets, values = [value_of(t) for t in outputs], [value_of(t) for t in inputs]

    def walk(params: Sequence[Value | None]) -> list[Value | None]:
        return backward(targets, params, values, is_tracked)

    return _for_many(walk, targets, values, cotangents, size, has_history)


def pushed_for_many(
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    tangents: Sequence[Tensor | None],
    size: Dim,
    has_history: bool,
) -> Found:
    """As `pushed`, for `size` tangents of each input, along a leading axis (None: zeros)."""
    if not is_recordable(outputs):
        return _one_by_one(
            lambda row: pushed(inputs, outputs, _filled(inputs, row), has_history),
            tangents,
            size,
        )
    values, results = [value_of(t) for t in inputs], [value_of(t) for t in outputs]

    def walk(params: Sequence[Value | None]) -> list[Value | None]:
        return forward(values, params, results, is_tracked)

    return _for_many(walk, values, results, tangents, size, has_history)


def _for_many(
    walk: Callable[[Sequence[Value | None]], list[Value | None]],
    sources: Sequence[Value],
    results: Sequence[Value],
    directions: Sequence[Tensor | None],
    size: Dim,
    has_history: bool,
) -> Found:
    """Records a walk for one direction, and computes it for many."""
    recording = Recording()
    params = [
        None if d is None else Value(s.type) for s, d in zip(sources, directions, strict=True)
    ]
    with recording:
        found = _checked(lambda: walk(params))
        yields = [zeros(v.type) if t is None else t for v, t in zip(results, found, strict=True)]
    given = {p: d for p, d in zip(params, directions, strict=True) if p is not None}
    outside = _outside(recording, yields, given)
    region = Region((*given, *outside), tuple(recording.nodes), tuple(yields))
    build = Tape(has_history) if ambient.trace is None else ambient.trace.builder
    arrived = [Arrived(value_of(d), True) for d in given.values() if d is not None]
    arrived += [Arrived(value, False) for value in outside]
    with setting(grad_enabled=has_history), build:
        lanes = Lanes(size)
        made = _checked(lambda: batched_values(region, arrived, lanes))
        values = [
            beside_value(batched(value, lanes), like)
            for value, like in zip(made, results, strict=True)
        ]
    return [own_tensor(value, has_history) for value in values]


def _outside(recording: Recording, yields: Sequence[Value], params: Any) -> list[Value]:
    """The values that recorded nodes read and did not make."""
    made = {result for node in recording.nodes for result in node.results} | set(params)
    read = [operand for node in recording.nodes for operand in node.operands]
    return [value for value in dict.fromkeys((*read, *yields)) if value not in made]


def _filled(like: Sequence[Tensor], rows: Sequence[Tensor | None]) -> Found:
    return [zeros_like(t) if r is None else r for t, r in zip(like, rows, strict=True)]


def _one_by_one(
    function: Callable[[Sequence[Tensor | None]], Found],
    directions: Sequence[Tensor | None],
    size: Dim,
) -> Found:
    assert isinstance(size, int), "eager sizes are numbers"
    rows = [function([None if d is None else d[k] for d in directions]) for k in range(size)]
    return [stack(parts) for parts in zip(*rows, strict=True)]


def basis(like: Tensor) -> Tensor:
    """[n, *shape] for n elements: the unit vectors of tensors like `like`, one after the other."""
    type = like.spec
    count = type.size
    square = (count, count)
    build = Tape(False) if ambient.trace is None else ambient.trace.builder
    with creating(None, like=like.device), build:
        rows, columns = (OPS["iota"](shape=square, axis=axis, dtype=i64) for axis in (0, 1))
        ones = OPS["cast"](OPS["eq"](rows, columns), dtype=type.dtype)
        return wrap(OPS["reshape"](ones, shape=(count, *type.shape)))


__all__ = ["basis", "goes_on", "pulled", "pulled_for_many", "pushed", "pushed_for_many"]
