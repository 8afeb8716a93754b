"""Leaves of nested arguments, by code made for one structure.

The general way to flatten a tree asks each container for its kind. Calls of a compiled function
have few structures, so a function is made for each, which looks whether arguments have it:

    def unpack(args, kwargs):                      # of ((x, {"a": [y, z]}), {})
        if len(args) != 2 or len(kwargs) != 0:
            return None
        v0, v1, = args
        if type(v1) is not dict or v1.keys() != k1:
            return None
        v2 = v1["a"]
        if type(v2) is not list or len(v2) != 2:
            return None
        return [v0, *v2]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optree

# The leaves of (args, kwargs), or None where these have another structure.
Unpack = Callable[[tuple[Any, ...], dict[str, Any]], "list[Any] | None"]

_CONTAINERS = (tuple, list, dict)


def unpacking(structure: optree.PyTreeSpec) -> Unpack | None:
    """A function that takes arguments of `structure` apart; None where it has other containers
    than tuples, lists and dicts."""
    writer = _Writer()
    positional, named = structure.children()
    if not (writer.fits(positional) and writer.fits(named)):
        return None
    writer.length("args", positional)
    writer.length("kwargs", named)
    leaves = writer.members("args", positional) + writer.members("kwargs", named)
    text = "\n    ".join(["def unpack(args, kwargs):", *writer.lines])
    scope: dict[str, Any] = dict(writer.constants)
    exec(f"{text}\n    return [{', '.join(leaves)}]\n", scope)
    found: Unpack = scope["unpack"]
    return found


class _Writer:
    """The lines of one function; `constants`: what they name beside its arguments."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {}
        self._count = 0

    def fits(self, structure: optree.PyTreeSpec) -> bool:
        """Whether the tree has no containers but those that are compared here."""
        if structure.is_leaf() or structure.type is type(None):
            return True
        return structure.type in _CONTAINERS and all(map(self.fits, structure.children()))

    def length(self, name: str, structure: optree.PyTreeSpec) -> None:
        """Returns None where the container `name` has another number of members, or other keys."""
        keys = structure.entries()
        if structure.type is dict and keys:
            self._refuse(f"{name}.keys() != {self._constant(dict.fromkeys(keys).keys())}")
        else:
            self._refuse(f"len({name}) != {len(keys)}")

    def members(self, name: str, structure: optree.PyTreeSpec) -> list[str]:
        """What gives the leaves of the container `name`, whose length is right."""
        children = structure.children()
        if all(child.is_leaf() for child in children) and structure.type is not dict:
            return [f"*{name}"]
        parts = [self._name() for _ in children]
        if structure.type is dict:
            for part, key in zip(parts, structure.entries(), strict=True):
                self.lines.append(f"{part} = {name}[{self._constant(key)}]")
        elif parts:
            self.lines.append(f"{', '.join(parts)}, = {name}")
        leaves: list[str] = []
        for part, child in zip(parts, children, strict=True):
            leaves += self._leaves(part, child)
        return leaves

    def _leaves(self, name: str, structure: optree.PyTreeSpec) -> list[str]:
        if structure.is_leaf():
            return [name]
        if structure.type is type(None):
            self._refuse(f"{name} is not None")
            return []
        self._refuse(f"type({name}) is not {self._constant(structure.type)}")
        self.length(name, structure)
        return self.members(name, structure)

    def _refuse(self, condition: str) -> None:
        self.lines += [f"if {condition}:", "    return None"]

    def _constant(self, value: Any) -> str:
        name = f"k{len(self.constants)}"
        self.constants[name] = value
        return name

    def _name(self) -> str:
        self._count += 1
        return f"v{self._count}"
