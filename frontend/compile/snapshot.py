"""What a Python value was, as far as a guard looks: containers and plain objects with what they
hold."""

from __future__ import annotations

import functools
import math
import operator
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import is_library_file
from ..tensor import Tensor
from ..trace import MISSING

_BY_VALUE = (int, float, complex, str, bytes, type(None))
_BY_IDENTITY = (
    types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType,
    np.ndarray, Tensor,
)  # fmt: skip
Held = dict[Any, Any] | list[Any] | tuple[Any, ...]

_DEPTH = 6  # how far into containers and plain objects a guard looks
_BREADTH = 64  # of a larger container only identity and length are compared


class Snapshot:
    """What a Python value was, as far as a guard looks."""

    __slots__ = ("keys", "length", "names", "nested", "parts", "value", "values")

    def __init__(
        self, value: Any, depth: int = _DEPTH, looked: dict[int, int] | None = None
    ) -> None:
        self.value = value
        looked = {} if looked is None else looked  # by id: how far an object was looked into
        self.length = len(value) if isinstance(value, (list, tuple, dict, set, frozenset)) else 0
        self.parts: tuple[Snapshot, ...] | None = None
        self.names: tuple[type, tuple[str, ...], tuple[Any, ...]] | None = None
        if depth > looked.get(id(value), 0) and self.length <= _BREADTH:
            held = _held(value)
            if held is not None and len(held) <= _BREADTH:
                looked[id(value)] = depth
                self._look_into(held, depth - 1, looked)

    def _look_into(self, held: Held, depth: int, looked: dict[int, int]) -> None:
        self.keys = tuple(held) if isinstance(held, dict) else None
        self.values = tuple(held.values() if isinstance(held, dict) else held)
        self.parts = tuple(Snapshot(value, depth, looked) for value in self.values)
        # The parts that identity alone does not settle.
        self.nested = tuple(p for p in self.parts if p.length or p.parts is not None)
        names = _names(self.value)
        if names is not None:
            self.names = type(self.value), tuple(names), tuple(names.values())

    def same(self, value: Any) -> bool:
        """Whether `value` is what was seen."""
        if value is not self.value:
            return type(value) is type(self.value) and _equal(value, self.value)
        if self.length and len(value) != self.length:
            return False
        if self.parts is None:
            return True
        if value is self.value and self._same_names():
            return all(part.same(part.value) for part in self.nested)
        held = _held(value)
        if held is None or len(held) != len(self.parts):
            return False
        now: Iterable[Any] = held
        if isinstance(held, dict):
            if tuple(held) != self.keys:
                return False
            now = held.values()
        if all(map(operator.is_, now, self.values)):  # without a step of Python for each
            return all(part.same(part.value) for part in self.nested)
        return all(part.same(value) for part, value in zip(self.parts, now, strict=True))

    def _same_names(self) -> bool:
        """Whether an object or class has every attribute that it had, and no other: then there is
        no need to choose among them."""
        if self.names is None:
            return False
        kind, keys, values = self.names
        now = _names(self.value)
        if now is None or type(self.value) is not kind or tuple(now) != keys:
            return False
        return all(map(operator.is_, now.values(), values))

    def change(self, name: str, value: Any) -> str:
        """The first difference between what was seen and `value`, which is another now."""
        if value is not self.value:
            return told(name, self.value, value)
        if self.length and len(value) != self.length:
            return f"{name} had {self.length} elements, has {len(value)}"
        held = _held(value)
        assert self.parts is not None and held is not None, "what has no parts is not changed"
        if isinstance(held, dict) and tuple(held) != self.keys:
            return f"the names in {name} were {self.keys}, are {tuple(held)}"
        now = held.values() if isinstance(held, dict) else held
        steps = self.keys or range(len(self.parts))
        for step, part, new in zip(steps, self.parts, now):
            if not part.same(new):
                return part.change(_member(name, value, step), new)
        return f"{name} has other elements"

    def everything(self) -> Iterator[Any]:
        """The value and all that was found in it."""
        yield self.value
        for part in self.parts or ():
            yield from part.everything()

    def restore(self) -> None:
        """Puts back the elements of changed lists and dicts, and the attributes of objects."""
        if self.parts is None:
            return
        held = dict(zip(self.keys or (), self.values, strict=False))
        if isinstance(self.value, list):
            self.value[:] = self.values
        elif isinstance(self.value, dict):
            self.value.clear()
            self.value.update(held)
        elif isinstance(self.value, type):
            _restore_class(self.value, held)
        elif hasattr(self.value, "__dict__"):
            del held["__class__"]
            self.value.__dict__.clear()
            self.value.__dict__.update(held)
        for part in self.parts:
            part.restore()


def _member(name: str, owner: Any, step: Any) -> str:
    is_container = isinstance(owner, (dict, list, tuple, set, frozenset))
    return f"{name}[{step!r}]" if is_container else f"{name}.{step}"


def _equal(a: Any, b: Any) -> bool:
    if not isinstance(a, _BY_VALUE):
        return False
    return bool(a == b) or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


def _held(value: Any) -> Held | None:
    """What a container or a plain object holds; None for what is one thing."""
    if isinstance(value, (*_BY_VALUE, *_BY_IDENTITY)):
        return None
    if isinstance(value, (dict, list, tuple)):
        return value
    if isinstance(value, (set, frozenset)):
        return tuple(value)
    if isinstance(value, type):
        return None if is_library(value) else _settable(vars(value))
    if getattr(type(value), "reports_reads", False) or is_library(type(value)):  # type: ignore[arg-type]
        return None  # modules and optimizers tell the trace themselves
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:  # it has slots only
        own = {}
    return {**own, "__class__": type(value)}


def _names(value: Any) -> Mapping[str, Any] | None:
    """The attributes of a class, or of an object that has a dict of them."""
    if isinstance(value, type):
        return value.__dict__
    if isinstance(value, (dict, list, tuple, set, frozenset)):
        return None
    try:
        found: dict[str, Any] = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return found


def _restore_class(kind: type, held: Mapping[str, Any]) -> None:
    """Puts back the attributes of a class."""
    for name, value in _settable(vars(kind)).items():
        if name not in held:
            delattr(kind, name)
        elif held[name] is not value:
            setattr(kind, name, held[name])


def _settable(names: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a class that a user may set."""
    return {k: v for k, v in names.items() if not (k.startswith("__") and k.endswith("__"))}


@functools.lru_cache(maxsize=4096)
def is_library(kind: type) -> bool:
    """Whether a class is no user's: the standard library's, or sley's own."""
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None)
    if file is None:
        return kind.__module__ != "__main__"
    return is_library_file(file)


def told(what: str, old: Any, new: Any) -> str:
    """A change, for a reader."""
    return f"{what} was {_short(old)}, is {_short(new)}"


def _short(value: Any) -> str:
    if value is MISSING:
        return "missing"
    if isinstance(value, Tensor):
        return f"a tensor {value.spec}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
