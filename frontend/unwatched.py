"""Where a trace need not look for the user's code.

While a function is traced, Python tells of each piece of code that begins to run, since what the
user's code reads decides whether the program may serve again. As long as it does, everything takes
much longer; and each op looks up the stack for the user's line.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ..runtime.call_hook import CallHook
from .context import ambient
from .errors import user_location

if TYPE_CHECKING:
    from ..ir.graph import Location
    from .trace_builder import TraceBuilder

F = TypeVar("F", bound=Callable[..., Any])


class Unwatched:
    """`with Unwatched():` around what calls no code of the user's. All ops have one line, the
    user's, which is looked up once. In a trace it runs without the hook of `compile.reads.Watch`.
    """

    __slots__ = ("_builder", "_found", "_hook", "_locate")

    def __enter__(self) -> None:
        self._builder: TraceBuilder | None = None
        if ambient.trace is None:
            self._found = ambient.found_line
            if self._found is None:
                ambient.found_line = []
            return
        hook = sys.getprofile()
        self._hook = hook if isinstance(hook, CallHook) else None
        if self._hook is not None:
            sys.setprofile(None)
        self._builder = builder = ambient.trace.builder
        self._locate = locate = builder.locate
        if locate is not None:
            here: Location | None = locate()
            builder.locate = lambda: here

    def __exit__(self, *exc: object) -> None:
        if self._builder is None:
            ambient.found_line = self._found
            return
        self._builder.locate = self._locate
        if self._hook is not None:
            self._hook.install()


def unwatched(function: F) -> F:
    """`function`, which calls no code of the user's, inside of `Unwatched`."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with Unwatched():
            return function(*args, **kwargs)

    return run  # type: ignore[return-value]


def user_line() -> Location | None:
    """The user's line, for what is computed at once: inside of `Unwatched` as first found there."""
    found = ambient.found_line
    if found is None:
        return user_location()
    if not found:
        found.append(user_location())
    return found[0]
