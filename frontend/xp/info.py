"""What the namespace can do, as the standard asks for it."""

from __future__ import annotations

from typing import Any

from ...ir.dtypes import ALL, DType, i64
from ..context import ambient
from ..cuda import device_count
from ..device import CPU, Device, get_default_device
from ..promotion import default_complex_dtype
from .types import isdtype


class Info:
    """What `__array_namespace_info__()` returns."""

    def capabilities(self) -> dict[str, Any]:
        """What works: both under "boolean indexing" and "data-dependent shapes" outside of compiled
        functions only."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Device:
        """Where arrays are made for which no device is named: the processor unless set."""
        return get_default_device()

    def devices(self) -> list[Device]:
        """The processor and the GPUs."""
        return [CPU, *(Device("cuda", number) for number in range(device_count()))]

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The dtypes of Python numbers and of indices."""
        return {
            "real floating": ambient.context.default_dtype,
            "complex floating": default_complex_dtype(),
            "integral": i64,
            "indexing": i64,
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """The dtypes of the standard that there are, by name, of a kind or of all."""
        listed = {d.public: d for d in ALL if d.is_complex or not d.is_inexact or d.bits >= 32}
        return {name: d for name, d in listed.items() if kind is None or isdtype(d, kind)}


def __array_namespace_info__() -> Info:
    """What this namespace can do."""
    return Info()
