"""How distributions read their parameters and values."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..construct import as_tensor
from ..context import ambient
from ..errors import ArgumentError
from ..functions.info import finfo
from ..functions.math import clamp, log, log1p
from ..functions.reduction import all
from ..functions.shape import broadcast_tensors
from ..promotion import promote_types
from ..tensor import Tensor

Holds = Callable[[Tensor], Tensor]


def together(*values: Any) -> list[Tensor]:
    """Numbers and tensors as tensors of one floating point dtype and one shape; numbers where the
    first tensor lies."""
    dtypes = [v.dtype for v in values if isinstance(v, Tensor) and v.dtype.is_inexact]
    dtype = functools.reduce(promote_types, dtypes) if dtypes else ambient.context.default_dtype
    device = next((v.device for v in values if isinstance(v, Tensor)), None)
    made = [
        v.to(dtype) if isinstance(v, Tensor) else as_tensor(v, dtype=dtype, device=device)
        for v in values
    ]
    return list(broadcast_tensors(*made)) if len(made) > 1 else made


def one_of(name: str, probs: Any, logits: Any) -> None:
    """Exactly one of the two parameters is given.

    Raises:
        ArgumentError: none is, or both are.
    """
    if (probs is None) == (logits is None):
        raise ArgumentError(f"{name} takes either probs or logits, and not both")


def hold(name: str, tensor: Tensor, holds: Holds, wanted: str) -> None:
    """Check known elements; those of a trace are not known.

    Raises:
        ArgumentError: `holds` is not true of all (of a NaN it is true of none).
    """
    if ambient.trace is not None:
        return
    if not bool(all(holds(tensor.detach()))):
        raise ArgumentError(f"{name} must be {wanted}", hint="validate_args=False checks nothing")


def positive(x: Tensor) -> Tensor:
    """Where it is more than 0."""
    return x > 0


def real(x: Tensor) -> Tensor:
    """Where it is no NaN."""
    return x == x


def unit(x: Tensor) -> Tensor:
    """Where it is in [0, 1]."""
    return (x >= 0) & (x <= 1)


def inside(probs: Tensor) -> Tensor:
    """Probabilities with a logarithm: at least eps away from 0 and 1."""
    eps = finfo(probs.dtype).eps
    return clamp(probs, eps, 1 - eps)


def logits_of(probs: Tensor) -> Tensor:
    """log(p / (1 - p))."""
    kept = inside(probs)
    return log(kept) - log1p(-kept)
