"""`sley.device`: where the elements of a tensor lie."""

from __future__ import annotations

from typing import Any

from .errors import ArgumentError

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


def on_cpu(device: Any) -> None:
    """Raise where `device` (None: any) is not the processor.

    Raises:
        ArgumentError: there is no such device here.
    """
    if device is None or device is CPU:
        return
    wanted = device if isinstance(device, Device) else Device(device)
    if wanted.type != "cpu" or wanted.index not in (None, 0):
        raise ArgumentError(f"there is no device {str(wanted)!r}", hint='use device="cpu"')
