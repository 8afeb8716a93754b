"""Modules that are a function and its settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

REQUIRED: Any = inspect.Parameter.empty
"""In place of a default: the setting must be given."""


def initialiser(
    settings: Mapping[str, Any], keyword_only: tuple[str, ...] = ()
) -> Callable[..., None]:
    """An `__init__` that takes `settings` (names and defaults, in order) and hands them, as a dict,
    to the method `_set`; its signature says so to readers and tools."""
    named, alone = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(name, alone if name in keyword_only else named, default=default)
        for name, default in settings.items()
    ]
    signature = inspect.Signature(parameters)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}{signature}: {error}") from None
        given.apply_defaults()
        self._set(given.arguments)

    own = inspect.Parameter("self", named)
    __init__.__signature__ = inspect.Signature([own, *parameters])  # type: ignore[attr-defined]
    return __init__
