"""Schedules as text: `Nest(groups=((0,),), lanes=8)`, which leaves out what is as usual."""

from __future__ import annotations

import ast
from dataclasses import fields
from typing import Any

_CLASSES: dict[str, type] = {}


class Written:
    """A frozen dataclass of a schedule: `str` gives the text that `read` makes it from again."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        _CLASSES[cls.__name__] = cls

    def __str__(self) -> str:
        parts = []
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value != field.default:
                parts.append(f"{field.name}={_text(value)}")
        return f"{type(self).__name__}({', '.join(parts)})"


def _text(value: Any) -> str:
    if isinstance(value, tuple) and any(isinstance(v, Written) for v in value):
        return f"({', '.join(map(str, value))}{',' if len(value) == 1 else ''})"
    return repr(value) if isinstance(value, str) else str(value)


def read(text: str) -> Any:
    """What prints as `text`; ValueError where nothing does."""
    try:
        return _build(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, TypeError) as error:
        raise ValueError(f"not a schedule: {text!r}: {error}") from None


def _build(node: ast.AST) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id not in _CLASSES or node.args:
            raise ValueError(f"a schedule has no {ast.unparse(node)}")
        keywords = {str(k.arg): _build(k.value) for k in node.keywords}
        return _CLASSES[node.func.id](**keywords)
    if isinstance(node, ast.Tuple):
        return tuple(_build(item) for item in node.elts)
    if isinstance(node, ast.Constant):
        return node.value
    raise ValueError(f"a schedule has no {ast.unparse(node)}")
