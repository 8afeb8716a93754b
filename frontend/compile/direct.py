"""Calls of a compiled function that are like earlier ones, without a step of the interpreter.

A call that Python has found a program for is noted as a `Record` of `runtime/native_calls.py`, if
all that the program needs of a call is to compare identities, to read where tensors lie and to make
new ones. The next such call is made by native code; what that does not know comes to Python again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from ...ir.types import TensorType
from ...runtime.native_calls import Identical, NativeCalls, Pattern, Record, is_possible
from ..context import ambient
from ..epoch import epoch
from ..storage import Storage
from ..tensor import Tensor, make
from .conditions import conditions
from .program import Program
from .signature import Static, taken_apart
from .unpacking import Unpack

if TYPE_CHECKING:
    from ...runtime.executable import Executable

NOT_KNOWN = object()  # the result of a call that Python must look at

_MOST = 16  # records of a function, which are tried one after the other
# What a tensor argument has beside its type; a tensor that differs comes to Python.
PLAIN = {"path": (), "base": None, "_requires": False, "_tracked": False, "_hooks": None}


@functools.cache
def _native() -> NativeCalls:
    return NativeCalls(NOT_KNOWN, ambient, epoch, Tensor, Storage, PLAIN, Storage.locate)


class Known:
    """A program that serves calls with a key.

    Attributes:
        sizes: the values of its size symbols for these calls.
        record: how native code makes them; None where it cannot, 0 before that was asked.
    """

    __slots__ = ("key", "program", "record", "sizes")

    def __init__(self, program: Program, sizes: tuple[int, ...], key: tuple) -> None:
        self.program = program
        self.sizes = sizes
        self.key = key
        self.record: Record | Literal[0] | None = 0


class DirectCalls:
    """The records of one compiled function.

    Attributes:
        positional: takes the arguments of a call, if all are leaves, and gives its result or
            `NOT_KNOWN`; None while no record is known.
        trees: the same for the leaves of arguments, by what takes these apart.
    """

    def __init__(self) -> None:
        self.positional: Callable[..., Any] | None = None
        self.trees: dict[Unpack, Callable[..., Any]] = {}
        self._tried: dict[Unpack | None, list[Record]] = {}  # None: positional

    def of_trees(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a call whose arguments are trees or have names, or `NOT_KNOWN`."""
        for _, unpack, leaves in taken_apart(args, kwargs):
            call = self.trees.get(unpack)
            result = NOT_KNOWN if call is None else call(*leaves)
            if result is not NOT_KNOWN:
                return result
        return NOT_KNOWN

    def serve(
        self, known: Known, leaves: Sequence[Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Runs a program whose guards hold for these arguments, and notes how."""
        if known.record == 0:
            known.record = self._new(known, args, kwargs)
        record, program = known.record, known.program
        if not record or record.is_of(program.guards.epoch):
            return program.run(leaves, known.sizes)  # the arguments alone were others
        record.let_go()  # the call may replace what the last one depended on
        result = program.run(leaves, known.sizes)
        state = program.call_state()
        if state is not None:
            record.refresh(state)
        return result

    def _new(self, known: Known, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Record | None:
        if not is_possible() or sum(map(len, self._tried.values())) >= _MOST:
            return None
        record = _record(known.program, known.key, known.sizes)
        if record is None:
            return None
        unpack: Unpack | None = None
        if not isinstance(known.key[0], int):
            apart = taken_apart(args, kwargs)
            unpack = next((u for structure, u, _ in apart if structure == known.key[0]), None)
            if unpack is None:
                return None
        tried = self._tried.setdefault(unpack, [])
        tried.insert(0, record)
        function = _native().function(tried)
        if unpack is None:
            self.positional = function
        else:
            self.trees[unpack] = function
        return record


def _record(program: Program, key: tuple, sizes: tuple[int, ...]) -> Record | None:
    """The record of calls with this key, which need nothing but what a record says; else None."""
    specs = [part if type(part) is TensorType else _constant(part) for part in key[2:]]
    if None in specs or not program.is_direct:
        return None
    checks = conditions(program.guards)
    if checks is None:
        return None
    patterns = [
        Pattern(make(storage, (), storage.type), storage)
        for storage in map(Storage, program.result_types(sizes))
    ]
    finish = None if program.is_plain else functools.partial(_finish, program)
    executable = cast("Executable", program.executable)
    return Record(
        executable,
        sizes,
        specs,
        key[1],
        checks,
        patterns,
        finish,
        program.is_plain,
    )


def _constant(part: Any) -> Identical | None:
    return Identical(part.value) if type(part) is Static else None


def _finish(program: Program, fresh: Sequence[Tensor]) -> Any:
    return program.returned((), list(fresh), ())
