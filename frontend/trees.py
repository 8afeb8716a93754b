"""Nested containers (tuples, lists, dicts, dataclasses, namedtuples) as lists of leaves."""

from __future__ import annotations

import dataclasses
from typing import Any

import optree

NAMESPACE = "sley"
_registered: set[type] = set()


def flatten_tree(tree: Any) -> tuple[list[Any], optree.PyTreeSpec]:
    """The leaves of a tree, as they are, and its structure. None is a tree without leaves."""
    while True:
        leaves, structure = optree.tree_flatten(tree, namespace=NAMESPACE)
        kinds = set(map(type, leaves)) - _registered
        new = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
        if not new:
            return leaves, structure
        for kind in new:
            _register(kind)


def _register(kind: type) -> None:
    """Makes instances of a dataclass nodes of trees; fields that are not set in `__init__` stay
    out, as for `dataclasses.replace`."""
    names = tuple(f.name for f in dataclasses.fields(kind) if f.init)
    _registered.add(kind)
    optree.register_pytree_node(
        kind,
        lambda x: (tuple(getattr(x, n) for n in names), None, names),
        lambda _, children: kind(**dict(zip(names, children, strict=True))),
        namespace=NAMESPACE,
    )
