"""The tokens of a program's text. `//` divides inside parentheses, brackets and the braces of
attributes, else it begins a comment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

PATTERN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>//[^\n]*)
  | (?P<schedule>schedule[ ]@[\w.]+:[^\n]*)
  | (?P<digest>sha256:[0-9a-f]{64})
  | (?P<nan>-?nan\(0x[0-9a-f]+\))
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<value>%[A-Za-z0-9_][\w.]*)
  | (?P<symbol>@[A-Za-z_][\w.]*)
  | (?P<slot>\$\d+)
  | (?P<float>0x[0-9a-f]*\.?[0-9a-f]*p[+-]?\d+|\d+\.\d*(?:e[+-]?\d+)?|\d+e[+-]?\d+)
  | (?P<int>\d+)
  | (?P<word>[A-Za-z_][\w.]*)
  | (?P<mark>->|//|[{}()\[\],:=+\-*%<>?])
    """,
    re.VERBOSE,
)
ATTRIBUTES = re.compile(r"\{\s*[A-Za-z_]\w*\s*=")
LOCATION = re.compile(r"//\s*(?P<file>\S.*):(?P<line>\d+) in (?P<function>.*?)\s*$")


class ParseError(ValueError):
    """A text that is no program; the message shows the line and a caret under the place."""

    def __init__(self, message: str, text: str, position: int) -> None:
        start = text.rfind("\n", 0, position) + 1
        end = text.find("\n", position)
        source = text[start : end if end >= 0 else len(text)]
        self.line = text.count("\n", 0, position) + 1
        self.column = position - start + 1
        caret = " " * (self.column - 1) + "^"
        super().__init__(f"{self.line}:{self.column}: {message}\n  {source}\n  {caret}")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text: its kind (a group of `PATTERN`, "location" or "end") and place."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def tokenize(text: str) -> list[Token]:
    """All tokens, comments that are no locations left out, an "end" token last.

    Raises:
        ParseError: a character belongs to no token.
    """
    tokens: list[Token] = []
    position = 0
    inside: list[bool] = []  # for each open bracket, whether `//` divides in it
    while position < len(text):
        match = PATTERN.match(text, position)
        if match is None:
            raise ParseError(f"unexpected {text[position]!r}", text, position)
        kind, piece = str(match.lastgroup), match.group()
        if kind == "comment" and inside and inside[-1]:
            kind, piece = "mark", "//"
        elif kind == "comment" and LOCATION.match(piece):
            kind = "location"
        if kind == "mark" and piece in "([{":
            inside.append(piece != "{" or ATTRIBUTES.match(text, position) is not None)
        elif kind == "mark" and piece in ")]}" and inside:
            inside.pop()
        if kind not in ("space", "comment"):
            tokens.append(Token(kind, piece, position))
        position += len(piece)
    tokens.append(Token("end", "", len(text)))
    return tokens


class Tokens:
    """The tokens of a text, and where reading stands."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokenize(text)
        self.position = 0

    @property
    def here(self) -> Token:
        return self.tokens[self.position]

    def ahead(self, count: int) -> Token:
        return self.tokens[min(self.position + count, len(self.tokens) - 1)]

    def fail(self, message: str, token: Token | None = None) -> NoReturn:
        raise ParseError(message, self.text, (token or self.here).start)

    def at(self, kind: str, text: str | None = None) -> bool:
        return self.here.kind == kind and (text is None or self.here.text == text)

    def mark(self, text: str) -> bool:
        """Whether the next token is this mark; if so, step over it."""
        if not self.at("mark", text):
            return False
        self.position += 1
        return True

    def word(self, text: str) -> bool:
        if not self.at("word", text):
            return False
        self.position += 1
        return True

    def take(self, kind: str, text: str | None = None) -> Token:
        token = self.here
        if not self.at(kind, text):
            found = repr(token.text) if token.text else "the end"
            self.fail(f"expected {text or kind}, found {found}")
        self.position += 1
        return token

    def expect(self, mark: str) -> Token:
        return self.take("mark", mark)
