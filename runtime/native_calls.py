"""Builtin functions that call programs without a step of the interpreter: what `sley_call`
(`backends/llvm/call.py`) reads, made of Python's objects.

Where the words of objects are is found by looking: an object is filled with others that are told
apart. So nothing depends on how a version of Python lays them out; that an object's id is its
address, and that one lock guards them all, is what CPython has (`is_possible`).
"""

from __future__ import annotations

import ctypes
import functools
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backends.llvm import native
from ..backends.llvm.call import call_text
from ..backends.llvm.call_layout import (
    API,
    CHECK,
    CONSTANT,
    KINDS,
    NOW,
    RECORD,
    RESULT,
    WORLD,
)
from . import processor, threads
from .executable import Executable
from .lease import Lease, NewArray
from .objects import object_code

_NEW_FROM_DESCR, _ARRAY_TYPE = 94, 2  # in numpy's table of functions, which does not change
_FASTCALL = 0x80  # METH_FASTCALL

_NOW_WORD = RECORD.index("now")

Words = ctypes.Array  # of 64-bit integers


class Check(NamedTuple):
    """A guard, as in `backends/llvm/call.py`: one of `KINDS`, and its fields. `MISSING_OBJECT`
    stands for no object among those expected."""

    kind: str
    subject: Any
    size: int
    expected: tuple[Any, ...] = ()


class Identical(NamedTuple):
    """An argument that must be this object."""

    value: Any


class Pattern(NamedTuple):
    """What a new tensor is made like, but for its memory."""

    tensor: Any
    storage: Any


def is_possible() -> bool:
    """Whether this Python has such functions."""
    # Before 3.13 there are no such builds, and to ask takes a millisecond.
    is_free_threaded = sys.version_info >= (3, 13) and bool(
        sysconfig.get_config_var("Py_GIL_DISABLED")
    )
    return sys.implementation.name == "cpython" and not is_free_threaded and sys.maxsize > 1 << 32


class CallState(NamedTuple):
    """What of a program changes from time to time. A call under way holds it.

    Attributes:
        epoch: the counter of changes at which all was as it must be.
        storages, versions: what the program has kept something of, and in which versions.
        tail: the pointers after those of the arguments, the program's constants aside.
        owners: of the memory there.
    """

    epoch: int
    storages: Sequence[Any]
    versions: Sequence[int]
    tail: Sequence[int]
    owners: Sequence[Any]


class Record:
    """What a call of one program compares, writes and makes.

    Attributes:
        address: of its words.
    """

    def __init__(
        self,
        executable: Executable,
        sizes: tuple[int, ...],
        specs: Sequence[Any],
        context: Any,
        checks: Sequence[Check],
        patterns: Sequence[Pattern],
        finish: Callable[[tuple[Any, ...]], Any] | None,
        is_single: bool,
    ) -> None:
        """`refresh` must follow. `specs`: the type of each tensor, an `Identical` for another
        argument; `patterns`: of each result; `finish`: what becomes of the tuple of results."""
        binding, idle = executable.binding(sizes), executable.idle
        self._executable = executable
        # What the words name lives as long as they do.
        self._held: list[Any] = [idle, binding, finish, tuple(specs), context, checks, patterns]
        results = [
            word
            for pattern, result in zip(patterns, binding.results, strict=True)
            for word in self._result(pattern, result)
        ]
        guards = [word for check in checks for word in self._check(check)]
        self._words = self._array([
            len(specs), sum(type(x) is not Identical for x in specs), self._specs(specs),
            id(context), self._kept(guards), len(checks), 0, id(idle), id(binding),
            int(executable.is_short), executable.native_entry, executable.buffers_at,
            self._kept(results), len(patterns), int(is_single), 0 if finish is None else id(finish),
        ])  # fmt: skip
        self.address = ctypes.addressof(self._words)
        self._state: CallState | None = None
        self._now: Any = None  # what owns the words of the state

    def is_of(self, epoch: int) -> bool:
        """Whether it is known how the program is called at this count of changes, whatever was
        written to tensors."""
        state = self._state
        return state is not None and state.epoch is epoch and not state.storages

    def let_go(self) -> None:
        """Forgets what `refresh` has told: no call fits, and what that owned may go."""
        self._words[_NOW_WORD] = 0
        self._state = self._now = None

    def refresh(self, state: CallState) -> None:
        """What changes from time to time, as it is now. It replaces the old as a whole: another
        thread may be on its way to a call."""
        self.let_go()
        pairs = [word for pair in zip(state.storages, state.versions, strict=True) for word in pair]
        pointers = [*state.tail, *self._executable.constant_pointers]
        arrays = [_words_of(map(id, pairs)), _words_of(pointers)]
        versions, tail = map(ctypes.addressof, arrays)
        counts = len(state.storages), len(pointers)
        words = _words_of([id(state.epoch), versions, counts[0], tail, counts[1], id(state)])
        assert len(words) == len(NOW)
        self._state, self._now = state, (arrays, words)
        self._words[_NOW_WORD] = ctypes.addressof(words)

    def _result(self, pattern: Pattern, result: NewArray) -> tuple[int, ...]:
        make = 0
        if not result.is_small:
            self._held.append(result.make)
            make = id(self._held[-1])
        sizes = self._kept(result.shape)
        words = id(result.dtype), len(result.shape), sizes, make, *map(id, pattern)
        assert len(words) == len(RESULT)
        return words

    def _check(self, check: Check) -> tuple[int, ...]:
        words = (
            KINDS.index(check.kind),
            id(check.subject),
            check.size,
            self._objects(check.expected),
        )
        assert len(words) == len(CHECK)
        return words

    def _specs(self, specs: Sequence[Any]) -> int:
        return self._kept(
            [id(x.value) | CONSTANT if type(x) is Identical else id(x) for x in specs]
        )

    def _objects(self, objects: Iterable[Any]) -> int:
        return self._kept([0 if x is MISSING_OBJECT else id(x) for x in objects])

    def _kept(self, words: Sequence[int]) -> int:
        return ctypes.addressof(self._array(words))

    def _array(self, words: Sequence[int]) -> Words:
        made = _words_of(words)
        self._held.append(made)
        return made


def _words_of(words: Iterable[int]) -> Words:
    found = list(words)
    return (ctypes.c_int64 * max(1, len(found)))(*found)


class _Missing:
    """Stands for no object in what a `Check` expects."""


MISSING_OBJECT = _Missing()


class NativeCalls:
    """The functions of one kind of tensors.

    Args:
        missing: what a function returns for a call that no record fits.
        ambient: an object with the state of a thread in its `__dict__`: `trace` (None),
            `differentiates` (False) and `context`.
        epoch: an object with a slot `count`.
        tensor, storage: the types of arguments and results; `spec`, `storage`, `_array` are slots
            of the one, `array`, `dense`, `_pointer`, `version`, `handed_out` of the other.
        plain: what slots of a tensor must hold, by identity.
        locate: storage -> the address of its elements, or 0.
    """

    def __init__(
        self,
        missing: Any,
        ambient: Any,
        epoch: Any,
        tensor: type,
        storage: type,
        plain: Mapping[str, Any],
        locate: Callable[[Any], int],
    ) -> None:
        host = processor.host()
        made = object_code(call_text(), cpu=host.cpu, features=host.features, opt_level=0)
        symbols = {name: _address(getattr(ctypes.pythonapi, name)) for name in API}
        self._library = native.Library([made.code], symbols)
        of_tensor, of_storage, of_lease = map(slots_of, (tensor, storage, Lease))
        tensor_slots = [at for n, at in of_tensor.items() if n not in ("storage", "_array")]
        new = ("array", "dense", "_pointer")
        storage_slots = [at for n, at in of_storage.items() if n not in new]
        names = {
            f"{name}_name": sys.intern(text)
            for name, text in (
                ("dict", "__dict__"), ("trace", "trace"), ("differentiates", "differentiates"),
                ("context", "context"), ("default", "_default"), ("running", "running"),
            )
        }  # fmt: skip
        pairs = [word for name, value in plain.items() for word in (of_tensor[name], id(value))]
        arrays = [(ctypes.c_int64 * len(w))(*w) for w in (pairs, tensor_slots, storage_slots)]
        objects = {
            "missing": missing, "none": None, "true": True, "false": False, "ambient": ambient,
            "epoch": epoch, "tensor": tensor, "storage": storage, "locate": locate,
            "pools": vars(threads), **names,
        }  # fmt: skip
        self._held = objects, arrays, tuple(plain.values())
        new_array, array_type = _numpy_functions()
        words = {name: id(value) for name, value in objects.items()} | {
            "epoch_at": slots_of(type(epoch))["count"], "type_at": _type_at(),
            "spec_at": of_tensor["spec"], "storage_at": of_tensor["storage"],
            "dense_at": of_storage["dense"], "plain": ctypes.addressof(arrays[0]),
            "plains": len(plain), "tensor_slots": ctypes.addressof(arrays[1]),
            "tensor_slot_count": len(tensor_slots), "array_at": of_tensor["_array"],
            "storage_slots": ctypes.addressof(arrays[2]),
            "storage_slot_count": len(storage_slots), "storage_array_at": of_storage["array"],
            "version_at": of_storage["version"], "handed_out_at": of_storage["handed_out"],
            "pointer_at": of_storage["_pointer"], "new_array": new_array,
            "array_type": array_type, "data_at": _data_at(),
            "lease_binding_at": of_lease["binding"], "lease_pool_at": of_lease["pool"],
            "lease_address_at": of_lease["address"],
        }  # fmt: skip
        world = (ctypes.c_int64 * len(WORLD)).from_address(self._library.address("sley_world"))
        world[:] = [words[name] for name in WORLD]
        self._method = _Method(
            b"sley_call", self._library.address("sley_call"), _FASTCALL, b"A compiled function."
        )

    def function(self, records: Sequence[Record]) -> Callable[..., Any]:
        """A builtin function that tries these, in order."""
        table = (ctypes.c_int64 * (1 + len(records)))(len(records), *(r.address for r in records))
        # What the words name lives as long as the function, and the function as long as a call.
        owner = ctypes.addressof(table), table, tuple(records), self
        found: Callable[..., Any] = _new_function()(ctypes.addressof(self._method), owner, None)
        return found


class _Method(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def slots_of(kind: type) -> dict[str, int]:
    """Where in an object of a class with `__slots__` each of them is, in bytes."""
    probe: Any = object.__new__(kind)
    found: dict[str, int] = {}
    for name in kind.__slots__:  # type: ignore[attr-defined]
        if name == "__weakref__":
            continue
        value = object()
        setattr(probe, name, value)
        found[name] = _word_at(probe, id(value))
        delattr(probe, name)
    return found


def _word_at(holder: Any, word: int) -> int:
    """Where in an object the one word is that has this value.

    Raises:
        RuntimeError: nowhere, or at several places.
    """
    count = type(holder).__basicsize__ // 8
    words = (ctypes.c_uint64 * count).from_address(id(holder))
    found = [8 * i for i, value in enumerate(words) if value == word]
    if len(found) != 1:
        raise RuntimeError(f"a {type(holder).__name__} is laid out in an unknown way")
    return found[0]


def _type_at() -> int:
    class Probe:
        __slots__ = ()

    return _word_at(Probe(), id(Probe))


def _data_at() -> int:
    array = np.empty(1, np.uint8)
    return _word_at(array, array.ctypes.data)


@functools.cache
def _new_function() -> Callable[[int, Any, None], Any]:
    """PyCFunction_NewEx."""
    kind = ctypes.PYFUNCTYPE(
        ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p
    )  # fmt: skip
    return kind(("PyCFunction_NewEx", ctypes.pythonapi))


def _numpy_functions() -> tuple[int, int]:
    """Addresses of PyArray_NewFromDescr and PyArray_Type."""
    kind = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    get = kind(("PyCapsule_GetPointer", ctypes.pythonapi))
    table = get(np._core._multiarray_umath._ARRAY_API, None)  # type: ignore[attr-defined]
    size = max(_NEW_FROM_DESCR, _ARRAY_TYPE) + 1
    functions = (ctypes.c_void_p * size).from_address(table)
    found = functions[_ARRAY_TYPE]
    assert found == id(np.ndarray), "numpy's table of functions is another"
    return functions[_NEW_FROM_DESCR] or 0, found


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0
