"""Functions that are called before and after what an optimizer does."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..epoch import epoch

if TYPE_CHECKING:
    from .optimizer import Optimizer

Hook = Callable[..., Any]


def between_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """A `step` method that calls the hooks before and after itself."""

    @functools.wraps(step)
    def hooked(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        for hook in self._hooks_of("_pre_hooks"):
            changed = hook(self, args, kwargs)
            args, kwargs = (args, kwargs) if changed is None else changed
        result = step(self, *args, **kwargs)
        for hook in self._hooks_of("_post_hooks"):
            hook(self, args, kwargs)
        return result

    return hooked


class HookHandle:
    """Of a registered hook; `remove()` takes it away again."""

    def __init__(self, optimizer: Optimizer, name: str, hook: Hook) -> None:
        self._optimizer, self._name, self._hook = optimizer, name, hook

    def remove(self) -> None:
        """The hook is called no more; a second call does nothing."""
        before = getattr(self._optimizer, self._name)
        setattr(self._optimizer, self._name, tuple(h for h in before if h is not self._hook))
        epoch.count += 1
