"""What an optimizer keeps of one parameter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..context import ambient
from ..device import Device
from ..epoch import epoch
from ..errors import FirstCallError, TraceError
from ..moves import to_device
from ..tensor import Tensor


class State(dict[str, Any]):
    """The tensors of one parameter by name, and what else a `step` of the user's keeps there.

    Raises:
        FirstCallError: something new is kept while a function is recorded; a call of the program
            would not make it again.
        TraceError: what is there is replaced while a function is recorded.
    """

    def __setitem__(self, name: str, value: Any) -> None:
        trace = ambient.trace
        if trace is not None:
            if name not in self:
                raise FirstCallError(
                    f"the state {name!r} of an optimizer is made in a compiled function",
                    hint="make it in the constructor, or take the first step outside",
                )
            if self[name] is not value:
                self._refuse(name, value)
        elif dict.get(self, name) is not value:
            epoch.count += 1
        super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        epoch.count += 1
        super().__delitem__(name)

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if ambient.trace is not None:
            ambient.trace.record_read("item", self, name, value)
        return value

    def setdefault(self, name: str, value: Any = None) -> Any:
        if name not in self:
            self[name] = value
        return self[name]

    def update(self, *others: Any, **more: Any) -> None:
        for name, value in dict(*others, **more).items():
            self[name] = value

    def _refuse(self, name: str, value: Any) -> None:
        what = "tensor" if isinstance(value, Tensor) else "Python " + type(value).__name__
        hint = f"write into the tensor: state[{name!r}].copy_(...), add_(...)"
        if not isinstance(value, Tensor):
            hint = f"keep it in a tensor: state[{name!r}] = sley.tensor(...), then write into that"
        raise TraceError(
            f"the state {name!r} of an optimizer becomes another {what} in a compiled function: "
            "it would do so only while the function is recorded",
            hint=hint,
        )


def numbers_moved(states: Iterable[dict[str, Any]], device: Device) -> dict[Tensor, Tensor]:
    """Moves the 0-d tensors of `states` to `device`: by each old one the new one.

    Raises:
        FirstCallError: that has to be done while a function is recorded.
    """
    moved: dict[Tensor, Tensor] = {}
    for state in states:
        for name, tensor in state.items():
            if not isinstance(tensor, Tensor) or tensor.ndim or tensor.device is device:
                continue
            if ambient.trace is not None:
                raise FirstCallError(f"the counts of an optimizer's steps go to {device}")
            if tensor not in moved:
                moved[tensor] = to_device(tensor, device)
            state[name] = moved[tensor]
    return moved
