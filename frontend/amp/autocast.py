"""The switch of mixed precision; what it does to each function stands in `frontend/autocast.py`."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from ...ir.dtypes import DType, bf16, f16
from ..context import Autocast, ambient, setting
from ..cuda import is_available
from ..errors import ArgumentError, DTypeError

F = TypeVar("F", bound=Callable[..., Any])

_DEFAULTS = {"cpu": bf16, "cuda": f16}


def _device(device_type: str) -> str:
    """The kind of a device.

    Raises:
        ArgumentError: there is no such kind.
    """
    kind = str(device_type).split(":")[0]
    if kind not in _DEFAULTS:
        raise ArgumentError(f"there is no device {device_type!r}", hint='use device_type="cpu"')
    return kind


class autocast(setting):
    """Inside, matrix products of tensors on one kind of device compute in `dtype`, and what needs
    it in float32. A context manager and a decorator; nests, and `enabled=False` turns it off inside
    of another.

    Args:
        device_type: "cpu" or "cuda". Where there is no GPU, "cuda" gives a warning and casts
            nothing.
        dtype: bfloat16 (the default of "cpu") or float16 (that of "cuda").
        cache_enabled: accepted without effect: equal casts of one program are one.

    Raises:
        ArgumentError: there is no such device.
        DTypeError: `dtype` is another.

    >>> import sley
    >>> layer = sley.nn.Linear(2, 3)
    >>> with sley.amp.autocast("cpu", dtype=sley.bfloat16):
    ...     y = layer(sley.ones(1, 2))
    ...     print(y.dtype, y.softmax(-1).dtype)
    sley.bfloat16 sley.float32
    """

    def __init__(
        self,
        device_type: str = "cpu",
        dtype: DType | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = True,
    ) -> None:
        kind = _device(device_type)
        chosen = dtype or _DEFAULTS[kind]
        if chosen not in (bf16, f16):
            raise DTypeError(f"autocast to {dtype!r}", hint="the dtype is bfloat16 or float16")
        if enabled and not is_autocast_available(kind):
            warnings.warn(f"autocast({kind!r}): there is no such device; it is off", stacklevel=2)
            enabled = False
        super().__init__()
        self.device = kind
        self.fast_dtype = chosen
        self._enabled = enabled

    def __enter__(self) -> None:
        before = ambient.context.autocast or Autocast()
        inside = before._replace(**{self.device: self.fast_dtype if self._enabled else None})
        self._changes = (("autocast", inside if any(inside) else None),)
        super().__enter__()

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with autocast(self.device, self.fast_dtype, self._enabled):  # of this call alone
                return function(*args, **kwargs)

        return inside  # type: ignore[return-value]


def is_autocast_enabled(device_type: str = "cpu") -> bool:
    """Whether autocast is on for a kind of device, now, in this thread."""
    return _chosen(_device(device_type)) is not None


def get_autocast_dtype(device_type: str = "cpu") -> DType:
    """The dtype of matrix products under autocast."""
    kind = _device(device_type)
    return _chosen(kind) or _DEFAULTS[kind]


def _chosen(kind: str) -> DType | None:
    now = ambient.context.autocast
    found: DType | None = getattr(now, kind, None)
    return found


def is_autocast_available(device_type: str) -> bool:
    """Whether there is such a device."""
    return _device(device_type) == "cpu" or is_available()
