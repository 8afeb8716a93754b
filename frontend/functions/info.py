"""What the numbers of a dtype can be."""

from __future__ import annotations

import numpy as np
from ml_dtypes import finfo as float_numbers

from ...ir.dtypes import DType
from ..context import ambient
from ..errors import DTypeError


class finfo:
    """The numbers of a floating point dtype: bits, eps, max, min, tiny, smallest_normal,
    resolution; of a complex one those of its parts.

    Raises:
        DTypeError: it is not one.
    """

    def __init__(self, dtype: DType | None = None) -> None:
        self.dtype = (dtype or ambient.context.default_dtype).to_real()
        if not self.dtype.is_floating_point:
            raise DTypeError(f"finfo takes floating point dtypes, got {self.dtype.public}")
        found = float_numbers(self.dtype.numpy)
        self.bits = self.dtype.bits
        self.eps = float(found.eps)
        self.max = float(found.max)
        self.min = float(found.min)
        self.tiny = self.smallest_normal = float(found.smallest_normal)
        self.resolution = 1.0 if self.dtype.is_float8 else float(found.resolution)  # no whole digit

    def __repr__(self) -> str:
        return f"finfo({self.dtype.public}, eps={self.eps:g}, max={self.max:g})"


class iinfo:
    """The numbers of an integer dtype: bits, max, min.

    Raises:
        DTypeError: it is not one.
    """

    def __init__(self, dtype: DType) -> None:
        if dtype.kind not in ("int", "uint"):
            raise DTypeError(f"iinfo takes integer dtypes, got {dtype.public}")
        found = np.iinfo(dtype.numpy)
        self.dtype, self.bits, self.max, self.min = dtype, dtype.bits, found.max, found.min

    def __repr__(self) -> str:
        return f"iinfo({self.dtype.public}, min={self.min}, max={self.max})"
