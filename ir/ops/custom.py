"""Values with a gradient of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..types import TensorType
from .base import Attrs, Kind, define, need


def _infer(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    (pull,), wanted, saved = attrs["regions"], attrs["wanted"], attrs["saved"]
    first = len(wanted)
    need(0 <= saved <= len(types) - first, f"{first} inputs, {saved} saved of {len(types)}")
    results = tuple(types[first + saved :])
    expected = [*types[first : first + saved], *results, *results]
    found = [p.type for p in pull.params]
    need(found == expected, f"the gradient takes {found}, it is given {expected}")
    inputs = [t for t, is_wanted in zip(types, wanted, strict=False) if is_wanted]
    yields = [v.type for v in pull.yields]
    need(yields == inputs, f"the gradient yields {yields}, expected {inputs}")
    return results


def _evaluate(arrays: Sequence[np.ndarray], attrs: Attrs) -> Sequence[np.ndarray]:
    return tuple(arrays[len(attrs["wanted"]) + attrs["saved"] :])


CUSTOM_GRADIENT = define(
    "custom_gradient", Kind.CONTROL, _infer, _evaluate,
    """The last operands themselves, as a function of the first ones whose gradient is what
    `pull(saved.., results.., cotangent of each result..)` yields.

    Operands: the inputs, `saved` values that the gradient reads, the values. `wanted` says of each
    input whether `pull` yields a cotangent for it. Where `refuses` says why, there is no gradient
    with respect to the inputs, and to ask for one is an error.""",
    attributes=("wanted", "saved", "refuses"), optional=("refuses",),
    regions=1, region_names=("pull",),
)  # fmt: skip
