"""Why a call needs another program, told for a reader."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from ..tensor import Tensor
from .signature import Static


def argument_names(function: Callable[..., Any], structure: Hashable) -> list[str]:
    """What each leaf of a call's arguments is for the user: `x`, `batch['images']`, `args[2]`."""
    names, rest = _parameters(function)
    if isinstance(structure, int):
        return [_positional(names, rest, i) for i in range(structure)]
    found = []
    for kind, first, *inner in structure.paths():  # type: ignore[attr-defined]
        base = _positional(names, rest, first) if kind == 0 else str(first)
        found.append(base + "".join(f"[{step!r}]" for step in inner))
    return found


def _parameters(function: Callable[..., Any]) -> tuple[list[str], str]:
    """Names of the positional parameters, and of the one that takes all further ones."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a builtin tells none
        return [], "args"
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "args")
    return names, rest


def _positional(names: Sequence[str], rest: str, number: int) -> str:
    return names[number] if number < len(names) else f"{rest}[{number - len(names)}]"


def new_family(key: tuple, others: Sequence[Hashable], names: Sequence[str]) -> str:
    """How the kinds of arguments differ from those of the last call that was compiled."""
    if not others:
        return "first call"
    last = others[-1]
    assert isinstance(last, tuple)
    if last[0] != key[0]:
        return "first call with arguments of this structure"
    if last[1] != key[1]:
        return "; ".join(_context_changes(last[1], key[1]))
    changes = [
        f"{name} was {_kind(old)}, is {_kind(new)}"
        for name, old, new in zip(names, last[2:], key[2:])
        if old != new
    ]
    return "; ".join(changes)


def _context_changes(old: Any, new: Any) -> list[str]:
    changes = []
    for field in dataclasses.fields(new):
        was, now = getattr(old, field.name), getattr(new, field.name)
        if was != now:
            changes.append(f"{field.name} was {was}, is {now}")
    return changes


def _kind(part: Any) -> str:
    """A leaf's part of a family's key."""
    if isinstance(part, Static):
        return repr(part)
    if isinstance(part, type):
        return f"a Python {part.__name__}"
    dtype, axes, (hooks, leaf, history), layout = part
    text = f"{dtype.name} of {axes} axes"
    if leaf or history:
        text += " that requires grad" if leaf else " that has a history"
    if hooks:
        text += f" with {len(hooks)} hooks"
    return text if layout is True else f"{text} with strides of {layout} bytes"


def new_sizes(
    leaves: Sequence[Any],
    names: Sequence[str],
    seen: dict[tuple[int, int], set[int]],
    numbers: dict[int, Any],
) -> str:
    """Which sizes and numbers of a call no program of its family was made for.

    Args:
        seen: for (leaf, axis), the sizes so far.
        numbers: for a leaf whose number is part of the signature, that of the last program.
    """
    changes = []
    for position, (name, leaf) in enumerate(zip(names, leaves, strict=True)):
        if isinstance(leaf, Tensor):
            for axis, size in enumerate(leaf.spec.shape):
                sizes = seen.get((position, axis), set())
                if sizes and size not in sizes:
                    was = ", ".join(map(str, sorted(sizes)))
                    changes.append(f"{name} axis {axis} was {was}, is {size}")
        elif position in numbers and repr(numbers[position]) != repr(leaf):
            changes.append(f"the number {name} was {numbers[position]!r}, is {leaf!r}")
    return "; ".join(changes) or "other relations between sizes, or other sharing of memory"
