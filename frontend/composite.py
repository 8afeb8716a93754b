"""Functions that are made of several ops, as one step of eager code.

`@composite` marks a function of tensors that looks at no data, writes nothing and returns new
tensors. In a trace it changes nothing. Eager, what it does for arguments of the same types is
recorded at the second such call; from then on a call runs the recorded program as one numpy
function, and puts one node on the tape, which `backward()` pulls back by another. The values are
those of the single ops, bit for bit. Where more than the gradients is asked of the tape, such as
gradients of gradients, the node is taken apart into the nodes of the single ops.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, TypeVar

import numpy as np

from ..ir.dtypes import DType
from ..ir.graph import Value
from ..ir.ops import OPS
from ..ir.ops.base import active
from ..passes.autodiff.backward import backward
from .apply import value_of
from .composite_program import Program, Pull, record_program
from .context import ambient
from .errors import IndexingError
from .inplace import check_writable, write
from .storage import Storage
from .tape import EagerValue, Tape, TapeNode, quietly
from .tensor import Tensor, init
from .unwatched import user_line

F = TypeVar("F", bound=Callable[..., Any])

_MOST_PROGRAMS = 1024  # of one function
_STATIC = (type(None), bool, int, float, str, DType)
_SPELLED = (float, tuple, list)  # equal ones may differ in the signs of zeros, and in classes
_UNSEEN, _TRACKED = object(), object()
_OPAQUE = OPS["opaque"]


def composite(function: F) -> F:
    """`function`, which is recorded once for arguments of the same types and then runs as one
    step."""
    return _in_one_step(function, function, _run, False)


def updates(function: Callable[..., tuple[Tensor, ...]]) -> Callable[..., None]:
    """As `composite`; the results are written into the first arguments, of which they have the
    types. Where gradients are off."""

    def written(*args: Any) -> None:
        for target, new in zip(args, function(*args), strict=False):
            write(target, value_of(new))

    return _in_one_step(function, written, _write, True)


def _in_one_step(
    function: Callable[..., Any], singly: Any, run_program: Callable[..., Any], writes: bool
) -> Any:
    """What calls `singly`, or `run_program` with the recorded `function`."""
    programs: dict[tuple, Program | None] = {}

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if ambient.trace is not None or ambient.differentiates:
            return singly(*args, **kwargs)
        values: list[Any] = []
        key: Any = [ambient.context]
        if kwargs:
            key.append((*kwargs,))
        for arg in (*args, *kwargs.values()) if kwargs else args:
            if isinstance(arg, Tensor):
                storage = arg.storage
                is_known = arg._version == storage.version and storage.trace is None
                value: Any = arg._value if is_known else value_of(arg)
                if value.array is None:  # on a GPU the single ops run
                    return singly(*args, **kwargs)
                values.append(value)
                key.append(value.type)
                if value.tracked:
                    key.append(_TRACKED)
            else:
                kind = arg.__class__
                key.append(kind)
                key.append(repr(arg) if kind in _SPELLED else arg)
        try:
            program = programs.get(key := (*key,), _UNSEEN)
        except TypeError:  # an array, say
            return singly(*args, **kwargs)
        if program is None:
            program = programs[key] = record_program(function, args, kwargs, values, writes)
        elif program is _UNSEEN:
            result = singly(*args, **kwargs)
            if all(map(_is_static, (*args, *kwargs.values()))):
                if len(programs) >= _MOST_PROGRAMS:
                    programs.clear()
                programs[key] = None
            return result
        return run_program(program, values, args)

    return run


def _is_static(arg: Any) -> bool:
    """Whether a key tells all of an argument."""
    if type(arg) in (tuple, list):
        return all(_is_static(a) and not isinstance(a, Tensor) for a in arg)
    return isinstance(arg, Tensor) or type(arg) in _STATIC


def _write(program: Program, values: Sequence[EagerValue], args: Sequence[Tensor]) -> None:
    """Writes the results of a recorded function."""
    targets = args[: len(program.results)]
    for target in targets:
        check_writable(target, target.root())
    quietly(program.forward, [value.array for value in values])
    line = user_line()
    for target in targets:
        target.storage.touch(line)


def _run(program: Program, values: Sequence[EagerValue], args: Sequence[Any]) -> Any:
    """The results of a recorded function, as tensors."""
    try:
        arrays = quietly(program.forward, [value.array for value in values])
    except IndexError as error:
        raise IndexingError(str(error)) from None
    tensors: list[Tensor] = []
    results: list[EagerValue] = []
    for type, array in zip(program.results, arrays, strict=False):
        if not array.flags.carray:
            array = np.array(array, order="C")
        value = EagerValue(array, type)
        value.storage = storage = Storage(type, array)
        tensor = Tensor.__new__(Tensor)
        init(tensor, storage, (), type, array)
        tensor._value, tensor._version = value, 0
        tensors.append(tensor)
        results.append(value)
    if program.is_tracked:
        CompositeNode(program, values, arrays, results)
        for tensor, value in zip(tensors, results, strict=True):
            tensor._tracked = value.tracked
    return tensors[0] if program.is_single else tuple(tensors)


class CompositeNode(TapeNode):
    """A node that stands for all nodes of a recorded function.

    Its operands are the uses of tracked arguments, as the walk back through the single nodes would
    meet them: an argument that is used twice is there twice.

    Attributes:
        program: what was recorded.
        arguments: the values that the function was called with.
        arrays: those of `program.kept`.
    """

    __slots__ = ("arguments", "arrays", "program")

    def __init__(
        self,
        program: Program,
        arguments: Sequence[EagerValue],
        arrays: Sequence[np.ndarray],
        results: Sequence[EagerValue],
    ) -> None:
        operands = tuple([arguments[k] for k in program.operands])
        super().__init__(_OPAQUE, operands, program.attrs, (), user_line(), results)
        self.program, self.arguments, self.arrays = program, arguments, arrays
        for number in program.plain:
            results[number].node, results[number].tracked = None, False

    def free(self) -> None:
        super().free()
        self.arguments, self.arrays = (), ()

    def pull(
        self, cotangents: Sequence[Value | None], wanted: Sequence[bool]
    ) -> Sequence[Value | None]:
        """The cotangents of the operands."""
        builder = active()
        present: list[Any] = [c for c in cotangents if c is not None]
        pull = self.program.pull(tuple([c is not None for c in cotangents]), tuple(wanted))
        if type(builder) is not Tape or builder.track or self._is_overwritten(pull):
            return self._pull_singly(cotangents, wanted)
        arrays = quietly(
            pull.function,
            [c.array for c in present],
            [value.array for value in self.arguments],
            self.arrays,
        )
        made = [EagerValue(array, type) for array, type in zip(arrays, pull.types, strict=True)]
        return [None if k is None else made[k] if k >= 0 else present[~k] for k in pull.places]

    def _is_overwritten(self, pull: Pull) -> bool:
        """Whether memory that `pull` reads was written since."""
        for number in pull.arguments:
            value = self.arguments[number]
            if value.storage is not None and value.storage.version != value.version:
                return True
        for number in pull.results:
            value = self.results[number]  # type: ignore[assignment]
            if value.storage is not None and value.storage.version != value.version:
                return True
        return False

    def _pull_singly(
        self, cotangents: Sequence[Value | None], wanted: Sequence[bool]
    ) -> Sequence[Value | None]:
        """As `pull`, through the nodes of the single ops."""
        results = []
        value: Any
        for value in self.results:
            results.append(again := EagerValue(value.array, value.type))
            again.storage, again.version = value.storage, value.version
        nodes = self._single_nodes(results)
        own = {value for node in nodes for value in node.results}
        sources = list(dict.fromkeys(compress(self.operands, wanted)))
        found = backward(results, cotangents, sources, own.__contains__, None, nodes)
        sums = dict(zip(sources, found, strict=True))
        return [sums.pop(value, None) for value in self.operands]

    def _single_nodes(self, results: Sequence[EagerValue]) -> list[TapeNode]:
        """The nodes of the single ops that lead to `results`."""
        program, known = self.program, dict[Value, EagerValue]()
        for use, number in program.uses.items():
            known[use] = self.arguments[number]
        for constant, array in program.constants.items():
            known[constant] = EagerValue(array, constant.type)
        for kept, array in zip(program.kept, self.arrays, strict=True):
            known[kept] = value = EagerValue(array, kept.type)
            if kept in program.memory:
                owner = self.arguments[program.memory[kept]]
                value.storage, value.version = owner.storage, owner.version
        known.update(zip(program.kept, results, strict=False))
        nodes = []
        for node in program.nodes:
            operands = tuple([known[v] for v in node.operands])
            made = [known[v] for v in node.results]
            nodes.append(TapeNode(node.op, operands, node.attrs, (), self.line, made))
        return nodes

    def take_apart(self) -> None:
        """Give the results the nodes of the single ops in the place of this one."""
        self._single_nodes(self.results)  # type: ignore[arg-type]
