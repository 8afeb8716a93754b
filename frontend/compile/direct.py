"""Calls of a compiled function that are like earlier ones, without a step of the interpreter.

A call that Python has found a program for is noted as a `Record` of `runtime/native_calls.py`, if
all that the program needs of a call is to compare identities, to read where tensors lie and to make
new ones. The next such call is made by native code; what that does not know comes to Python again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

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

NOT_KNOWN = object()  # the result of a call that Python must look at

_MOST = 16  # records of a function, which are tried one after the other
# What a tensor argument has beside its type; a tensor that differs comes to Python.
PLAIN = {"path": (), "_requires": False, "_tracked": False, "_hooks": None}


@functools.cache
def _native() -> NativeCalls:
    return NativeCalls(NOT_KNOWN, ambient, epoch, Tensor, Storage, PLAIN, Storage.locate)


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
        self._records: dict[tuple[Program, tuple], Record | None] = {}
        self._tried: dict[Unpack | None, list[Record]] = {}  # None: positional

    def of_trees(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a call whose arguments are trees or have names, or `NOT_KNOWN`."""
        for _, unpack, leaves in taken_apart(args, kwargs):
            call = self.trees.get(unpack)
            result = NOT_KNOWN if call is None else call(*leaves)
            if result is not NOT_KNOWN:
                return result
        return NOT_KNOWN

    def let_go(self, key: tuple, program: Program) -> None:
        """Forgets what a call like this depended on, which may be replaced by the call."""
        record = self._records.get((program, key))
        if record is not None:
            record.let_go()

    def served(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        key: tuple,
        program: Program,
        sizes: tuple[int, ...],
    ) -> None:
        """Notes that `program` serves calls with this key: those of these arguments."""
        known = program, key
        if known not in self._records:
            full = len(self._records) >= _MOST or not is_possible()
            self._records[known] = None if full else self._new(args, kwargs, key, program, sizes)
        record, state = self._records[known], program.call_state()
        if record is not None and state is not None:
            record.refresh(state)

    def _new(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        key: tuple,
        program: Program,
        sizes: tuple[int, ...],
    ) -> Record | None:
        record = _record(program, key, sizes)
        if record is None:
            return None
        unpack: Unpack | None = None
        if not isinstance(key[0], int):
            known = taken_apart(args, kwargs)
            unpack = next((u for structure, u, _ in known if structure == key[0]), None)
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
    return Record(
        program.executable, sizes, specs, key[1], checks, patterns, finish, program.is_plain
    )


def _constant(part: Any) -> Identical | None:
    return Identical(part.value) if type(part) is Static else None


def _finish(program: Program, fresh: Sequence[Tensor]) -> Any:
    return program.returned((), list(fresh), ())
