"""`sley.device`: where the elements of a tensor lie."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from .context import ambient, set_context, setting
from .errors import ArgumentError

F = TypeVar("F", bound=Callable[..., Any])

_TYPES = ("cpu", "cuda")


class Device:
    """A device by its type, "cpu" or "cuda", and its number (None: the current one).

    `device("cuda", 1)` is `device("cuda:1")`. Naming a device does not need one.

    Raises:
        ArgumentError: there is no such type of device, or the number is none.

    Example:
        >>> import sley
        >>> sley.device("cpu").type
        'cpu'
    """

    __slots__ = ("index", "type")

    type: str
    index: int | None

    def __init__(self, type: Any = "cpu", index: int | None = None) -> None:
        name, number = (type.type, type.index) if isinstance(type, Device) else _parsed(type)
        if index is not None and number is not None:
            raise ArgumentError(f"device: the number is given twice, in {type!r} and as {index}")
        number = index if number is None else number
        if number is not None and (not isinstance(number, int) or number < 0):
            raise ArgumentError(f"device: {number!r} is no number of a device")
        object.__setattr__(self, "type", name)
        object.__setattr__(self, "index", number)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a device cannot be changed")

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return str(self) == other
        return isinstance(other, Device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash(str(self))

    def __reduce__(self) -> tuple:
        return Device, (self.type, self.index)

    def __enter__(self) -> Device:
        """Inside, tensors for which no device is named are made here."""
        found = resolved(self)
        inside = setting(device=None if found is CPU else found)
        inside.__enter__()
        ambient.inside.append(inside)
        return self

    def __exit__(self, *exc: object) -> None:
        ambient.inside.pop().__exit__(*exc)


def _parsed(text: Any) -> tuple[str, int | None]:
    """The type and the number in "cuda:1"."""
    if not isinstance(text, str):
        raise ArgumentError(f"device: {text!r} is no name of a device", hint='write "cpu"')
    name, colon, digits = text.partition(":")
    if name not in _TYPES:
        raise ArgumentError(f"there is no device {text!r}", hint='use device="cpu"')
    if not colon:
        return name, None
    if not digits.isdecimal():
        raise ArgumentError(f"device: {text!r} has no number behind the colon")
    return name, int(digits)


CPU = Device("cpu")


def resolved(device: Any) -> Device:
    """The device that `device` (a name, a number of a GPU, or None: the default one) stands for:
    the processor, or a GPU with its number.

    Raises:
        ArgumentError: there is no such device here.
    """
    if device is None:
        return ambient.context.device or CPU
    if device is CPU:
        return CPU
    if isinstance(device, int) and not isinstance(device, bool):
        device = Device("cuda", device)
    wanted = device if isinstance(device, Device) else Device(device)
    if wanted.type == "cpu":
        if wanted.index not in (None, 0):
            raise ArgumentError(f"there is no device {str(wanted)!r}", hint='use device="cpu"')
        return CPU
    from .accelerator import accelerator  # what runs GPUs: most programs need none

    if wanted.index is None:
        wanted = Device("cuda", current())
    return accelerator(wanted).device


_current = 0  # the number of the GPU that is meant where none is named


def current() -> int:
    """The number of the GPU that is meant where none is named."""
    return _current


def set_current(number: int) -> None:
    """Mean another GPU from now on."""
    global _current
    _current = number


_AS_IT_IS = nullcontext()


def creating(device: Any, like: Device | None = None) -> AbstractContextManager[Any]:
    """`with creating(device):` around what makes tensors of nothing: they lie on `device`.

    Args:
        device: None for that of `like`, or else the default one.

    Raises:
        ArgumentError: there is no such device.
    """
    if device is None and like is None:
        return _AS_IT_IS
    wanted = resolved(device) if device is not None or like is None else like
    if ambient.trace is not None:
        ambient.trace.note_device(wanted)
        return _AS_IT_IS
    place = None if wanted is CPU else wanted
    return _AS_IT_IS if ambient.context.device is place else setting(device=place)


def beside_first(function: F) -> F:
    """`function`, which makes tensors of nothing where its first argument lies."""

    @functools.wraps(function)
    def run(first: Any, *args: Any, **kwargs: Any) -> Any:
        with creating(None, like=getattr(first, "device", None)):
            return function(first, *args, **kwargs)

    return run  # type: ignore[return-value]


def get_default_device() -> Device:
    """Where tensors are made for which no device is named: the processor unless set."""
    return ambient.context.device or CPU


def set_default_device(device: Any) -> None:
    """Set where tensors are made for which no device is named, in this thread; None: the processor.

    Raises:
        ArgumentError: there is no such device.
    """
    found = CPU if device is None else resolved(device)
    set_context(device=None if found is CPU else found)
