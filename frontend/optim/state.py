"""What an optimizer keeps of one parameter."""

from __future__ import annotations

from typing import Any

from ..errors import TraceError
from ..tensor import Tensor


class State(dict[str, Any]):
    """The tensors of one parameter by name.

    Raises:
        TraceError: one is made while a function is recorded; a call would not make it again.
    """

    def __setitem__(self, name: str, value: Any) -> None:
        if isinstance(value, Tensor) and value.storage.trace is not None:
            raise TraceError(
                f"the state {name!r} of an optimizer is made in a compiled function",
                hint="make it in the constructor, or take the first step outside of the function",
            )
        super().__setitem__(name, value)
