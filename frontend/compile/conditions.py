"""Guards on Python state as data that a call compares without a step of the interpreter."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from typing import Any

from ...runtime.native_calls import MISSING_OBJECT, Check
from ..trace import MISSING
from .reads import Guards
from .snapshot import Snapshot


def conditions(guards: Guards) -> list[Check] | None:
    """What holds only if the guards do, the counter of changes aside; None where they look into
    something that only Python can."""
    found: dict[tuple[str, int, tuple[int, ...]], Check] = {}
    try:
        for check in _conditions(guards):
            found[check.kind, id(check.subject), tuple(map(id, check.expected))] = check
    except _NotComparable:
        return None
    return list(found.values())


class _NotComparable(Exception):
    """A guard on an object of another kind."""


def _conditions(guards: Guards) -> Iterator[Check]:
    for scope, name, seen in guards.names:
        yield Check("item", scope, 1, (name, _object(seen.value)))
        yield from _inside(seen)
    for _, cell, seen in guards.cells:
        yield Check("cell", cell, 1, (_object(seen.value),))
        yield from _inside(seen)
    for _, _, seen in guards.objects:
        yield from _inside(seen)


def _object(value: Any) -> Any:
    return MISSING_OBJECT if value is MISSING else value


def _inside(seen: Snapshot) -> Iterator[Check]:
    """What must be so of what an object holds; the object itself is the same."""
    value, kind = seen.value, type(seen.value)
    if seen.parts is None:
        if seen.length and kind in (dict, list, set):
            yield Check("length", value, seen.length)
        elif seen.length and not isinstance(value, (tuple, frozenset)):
            raise _NotComparable
        return
    if kind is dict:
        yield Check("dict", value, len(value), _pairs(tuple(value), seen.values))
    elif kind is list:
        yield Check("list", value, len(seen.values), seen.values)
    elif seen.names is not None:
        yield _attributes(value, seen.names)
    elif not isinstance(value, (tuple, frozenset)):
        raise _NotComparable
    for part in seen.nested:
        yield from _inside(part)


def _attributes(value: Any, names: tuple[type, tuple[str, ...], tuple[Any, ...]]) -> Check:
    kind, keys, values = names
    if not isinstance(value, type):
        return Check("attributes", value, len(keys), (kind, *_pairs(keys, values)))
    # What `vars` shows of a class is one dict for all its life.
    own = gc.get_referents(vars(value))
    if len(own) != 1 or type(own[0]) is not dict or tuple(own[0]) != keys:
        raise _NotComparable
    return Check("dict", own[0], len(keys), _pairs(keys, values))


def _pairs(keys: Sequence[Any], values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(x for pair in zip(keys, values, strict=True) for x in pair)
