"""What the opcodes of a pickle do, for the few kinds of objects that a table names.

This is no unpickler: it never imports, looks up or calls what a file names. A global of the file is
a key of the caller's table; the value there is a constant, or a `Rule` of the caller's own.
"""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, NoReturn

from ...ir.dtypes import DType

_KEYS = (type(None), bool, int, float, str, bytes, DType)
# Opcodes whose argument is the value.
_VALUES = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "INT", "FLOAT",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, type] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Refused(Exception):
    """The pickle asks for something that is not in the table, or is damaged."""


class Rule:
    """What stands for a function or class of the file: called with the file's arguments."""

    def __init__(self, name: str, call: Callable[..., Any], counts: tuple[int, ...]) -> None:
        self.name = name
        self.call = call
        self.counts = counts  # so many arguments are taken


class Machine:
    """Runs one pickle.

    Args:
        find: gives the value or `Rule` of a global, by module and name.
        persistent: gives the object of a persistent id.
    """

    def __init__(self, find: Callable[[str, str], Any], persistent: Callable[[Any], Any]) -> None:
        self._find = find
        self._persistent = persistent
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks under each mark
        self._memo: dict[int, Any] = {}
        self._actions: dict[str, Callable[[Any], None]] = {
            "PROTO": lambda _: None,
            "FRAME": lambda _: None,
            "MARK": lambda _: self._mark(),
            "POP": lambda _: self._drop(),
            "GLOBAL": lambda text: self._global(*text.split(" ", 1)),
            "STACK_GLOBAL": lambda _: self._global(*reversed([self._pop(str), self._pop(str)])),
            "BINPERSID": lambda _: self._push(self._persistent(self._pop())),
            "REDUCE": lambda _: self._reduce(),
            "BUILD": lambda _: self._build(),
            "TUPLE": lambda _: self._push(tuple(self._marked())),
            "LIST": lambda _: self._push(self._marked()),
            "APPEND": lambda _: self._extend([self._pop()]),
            "APPENDS": lambda _: self._extend(self._marked()),
            "SETITEM": lambda _: self._set(list(reversed([self._pop(), self._pop()]))),
            "SETITEMS": lambda _: self._set(self._marked()),
            "MEMOIZE": lambda _: self._put(len(self._memo)),
            **dict.fromkeys(("BINPUT", "LONG_BINPUT", "PUT"), self._put),
            **dict.fromkeys(("BINGET", "LONG_BINGET", "GET"), self._get),
        }

    def run(self, data: bytes) -> Any:
        """The object of a pickle.

        Raises:
            Refused: the pickle is damaged, or asks for what is not in the table.
        """
        for name, argument, position in _opcodes(data):
            try:
                if name == "STOP":
                    return self._finished()
                self._step(name, argument)
            except Refused as error:
                raise Refused(f"{error} (byte {position} of the pickle)") from None
        raise Refused("the pickle has no end")

    def _step(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self._push(argument)
        elif name in _CONSTANTS:
            self._push(_CONSTANTS[name])
        elif name in _EMPTY:
            self._push(_EMPTY[name]())
        elif name in _TUPLES:
            self._push(tuple(reversed([self._pop() for _ in range(_TUPLES[name])])))
        elif name in self._actions:
            self._actions[name](argument)
        else:
            raise Refused(f"the opcode {name} is refused: no tensor needs it")

    # The stack

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self, kind: type = object) -> Any:
        if not self._stack or not isinstance(self._stack[-1], kind):
            _damaged()
        return self._stack.pop()

    def _drop(self) -> None:
        self._pop()

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _marked(self) -> list[Any]:
        """What was pushed since the last mark."""
        if not self._below:
            _damaged()
        found, self._stack = self._stack, self._below.pop()
        return found

    def _finished(self) -> Any:
        if len(self._stack) != 1 or self._below:
            _damaged()
        return self._stack[0]

    def _put(self, number: int) -> None:
        if not self._stack:
            _damaged()
        self._memo[number] = self._stack[-1]

    def _get(self, number: int) -> None:
        if number not in self._memo:
            _damaged()
        self._push(self._memo[number])

    # Objects

    def _global(self, module: str, name: str) -> None:
        self._push(self._find(module, name))

    def _reduce(self) -> None:
        arguments = self._pop(tuple)
        rule = self._pop()
        if not isinstance(rule, Rule):
            raise Refused(f"a {type(rule).__name__} is called; only tensors are made by calls")
        if len(arguments) not in rule.counts:
            raise Refused(f"{rule.name} with {len(arguments)} arguments")
        self._push(rule.call(*arguments))

    def _build(self) -> None:
        """State beside the items: PyTorch's state dicts carry the versions of their modules."""
        state = self._pop()
        target = self._stack[-1] if self._stack else None
        if type(target) is not OrderedDict or type(state) is not dict or {*state} != {"_metadata"}:
            raise Refused(f"state of a {type(target).__name__} is refused")
        vars(target)["_metadata"] = state["_metadata"]

    def _extend(self, items: list[Any]) -> None:
        if not self._stack or type(self._stack[-1]) is not list:
            _damaged()
        self._stack[-1].extend(items)

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1] if self._stack else None
        if type(target) not in (dict, OrderedDict, Counter) or len(items) % 2:
            _damaged()
        for key, value in zip(items[::2], items[1::2]):
            target[plain_key(key)] = value  # type: ignore[index]


def plain_key(key: Any) -> Any:
    """`key`, if it is one that hashes at once: no tuple of tuples of tuples.

    Raises:
        Refused: it is another.
    """
    parts = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(part, _KEYS) for part in parts):
        raise Refused(f"a {type(key).__name__} as a key of a dict is refused")
    return key


def _damaged() -> NoReturn:
    raise Refused("the pickle is damaged: an opcode does not find what it needs")


def _opcodes(data: bytes) -> Any:
    """(name, argument, position) of each opcode; the standard library's own table of them."""
    import pickletools  # much text, for those who read such files

    opcodes = pickletools.genops(data)
    while True:
        try:
            opcode, argument, position = next(opcodes)
        except StopIteration:
            return
        except (ValueError, OverflowError, struct.error) as error:
            raise Refused(f"the pickle is damaged: {error}") from None
        yield opcode.name, argument, position
