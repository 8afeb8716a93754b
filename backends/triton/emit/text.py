"""The text of a function while it is written: lines, names, helper functions."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Names that a value of the text must not take.
_TAKEN = ("tl", "triton", "libdevice", "range", "float", *keyword.kwlist)


@dataclass(frozen=True, slots=True)
class Block:
    """A value of the text.

    Attributes:
        text: a name or an expression that binds as tightly as one.
        shape: () for a scalar. Else a size for each axis that was open where it was made: that of
            the axis, or 1 where the value does not change along it.
        literal: it is a number, which takes the type of what it meets.
    """

    text: str
    shape: tuple[int, ...] = ()
    literal: bool = False

    def lifted(self, depth: int) -> str:
        """The text with a dimension for each of `depth` open axes; a scalar stays one."""
        missing = depth - len(self.shape)
        if not self.shape or not missing:
            return self.text
        return f"{self.text}[{', '.join([':'] * len(self.shape) + ['None'] * missing)}]"

    def shape_at(self, depth: int) -> tuple[int, ...]:
        """The shape of what `lifted` gives."""
        return self.shape + (1,) * (depth - len(self.shape)) if self.shape else ()


def joined_shape(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The shape of an elementwise result; all but scalars have one rank."""
    found: tuple[int, ...] = ()
    for shape in shapes:
        found = tuple(map(max, found, shape)) if found and shape else found or shape
    return found


class Writer:
    """Lines of one function, and the helper functions that they call."""

    def __init__(self, helpers: dict[str, str] | None = None) -> None:
        self.lines: list[str] = []
        self.helpers: dict[str, str] = {} if helpers is None else helpers
        self._indent = 1
        self._used: dict[str, int] = dict.fromkeys(_TAKEN, 0)  # and the last number behind each

    def fresh(self, hint: str | None) -> str:
        """A name that nothing has yet: the hint itself, or with a number behind it."""
        word = re.sub(r"\W", "_", hint or "").lstrip("_0123456789")
        name, count = word or "v0", self._used.get(word, 0)
        while name in self._used or not name:
            count += 1
            name = f"{word}_{count}" if word else f"v{count}"
        self._used[word] = count
        self._used.setdefault(name, 0)
        return name

    def line(self, text: str) -> None:
        self.lines.append("    " * self._indent + text)

    def let(self, hint: str | None, text: str) -> str:
        """A new name for the value of `text`."""
        name = self.fresh(hint)
        self.line(f"{name} = {_bare(text)}")
        return name

    @contextmanager
    def indented(self, header: str) -> Iterator[None]:
        """The lines written meanwhile are the body of `header`."""
        self.line(f"{header}:")
        self._indent += 1
        try:
            yield
        finally:
            self._indent -= 1

    def helper(self, name: str, text: str) -> str:
        """Defines a function once, before this one; gives its name."""
        self.helpers.setdefault(name, text)
        return name


def _bare(text: str) -> str:
    """The text without a pair of parentheses around all of it."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    level = 0
    for position, ch in enumerate(text):
        level += (ch == "(") - (ch == ")")
        if not level and position < len(text) - 1:
            return text
    return text[1:-1]
