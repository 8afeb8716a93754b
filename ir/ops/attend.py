"""Attention as a kernel: operands that are computed where they are read, results that are used
where they are made, and whatever a target does in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..dims import Dim
from ..types import TensorType, tensor_type
from .base import Attrs, Kind, define, need
from .kernel import _check_axes, _check_yields, _structural

# The axes of each region: of the operands first, then of what uses the results.
_QUERY, _KEY, _VALUE = "bgle", "bse", "bsv"
FORWARD = {
    "query": _QUERY, "key": _KEY, "value": _VALUE, "mask": "bgls", "factor": "bgls",
    "out": "bglv", "sums": "bgl",
}  # fmt: skip
BACKWARD = {
    "query": _QUERY, "key": _KEY, "value": _VALUE, "mask": "bgls", "factor": "bgls",
    "sums": "bgl", "mean": "bgl", "cotangent": "bglv",
    "of_query": "p" + _QUERY, "of_key": _KEY, "of_value": _VALUE,
}  # fmt: skip
AXES = {"attend": FORWARD, "attend_gradient": BACKWARD}
_USES = ("out", "of_query", "of_key", "of_value")
ATTRIBUTES = (
    "batch", "groups", "queries", "keys", "features", "width", "dtype", "acc", "scale", "hidden",
    "causal", "safe", "masked", "factored",
)  # fmt: skip
LETTERS = {"b": "batch", "g": "groups", "l": "queries", "s": "keys", "e": "features", "v": "width"}


def extents_of(attrs: Mapping[str, Any], letters: str) -> tuple[tuple[Dim, ...], ...]:
    """The extents of each of the axes that `letters` name: b(atch), g(roups), l (queries), s
    (keys), e (features), v (width), p(arts) of the keys, of which there may be no axis."""
    return tuple(
        parts_axis(attrs) if letter == "p" else tuple(attrs[LETTERS[letter]]) for letter in letters
    )


def parts_axis(attrs: Mapping[str, Any]) -> tuple[int, ...]:
    """The extent of the axis of parts of an `attend_gradient`, if it has any."""
    return (attrs["parts"],) if "parts" in attrs else ()


def region_axes(name: str, attrs: Mapping[str, Any], region: int) -> tuple[Dim, ...]:
    """The extents of the axes of region number `region`."""
    letters = list(AXES[name].values())[region]
    return tuple(dim for part in extents_of(attrs, letters) for dim in part)


def uses_result(name: str, region: str) -> bool:
    """Whether the region stores what is made of a result; else it computes an operand."""
    return region in _USES or (name == "attend" and region == "sums")


def _infer(name: str) -> Any:
    def infer(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
        dtype, acc = (tensor_type(attrs[key], ()) for key in ("dtype", "acc"))
        for number, (region, body) in enumerate(zip(AXES[name], attrs["regions"], strict=True)):
            axes = region_axes(name, attrs, number)
            if uses_result(name, region):
                _check_axes(body, axes, (acc,))
                _check_yields(body, ())
                continue
            _check_axes(body, axes)
            if region == "mask":
                (found,) = (v.type for v in body.yields)
                need(
                    found.shape == () and (found.dtype.kind == "bool" or found.dtype.is_float),
                    f"the mask region yields {found}",
                )
                continue
            _check_yields(body, (acc if region in ("factor", "sums", "mean") else dtype,))
        return ()

    return infer


ATTEND = define(
    "attend",
    Kind.KERNEL,
    _infer("attend"),
    _structural,
    """An `attention` over elements that regions compute, the result's handed to regions that store
    what is made of them. `batch`, `groups`, `queries`, `keys`, `features` and `width` are tuples of
    extents; operands have type `dtype`, factor and results `acc`.""",
    attributes=ATTRIBUTES,
    regions=len(FORWARD),
    region_names=tuple(FORWARD),
)
ATTEND_GRADIENT = define(
    "attend_gradient",
    Kind.KERNEL,
    _infer("attend_gradient"),
    _structural,
    """An `attention_gradient`, likewise.""",
    attributes=(*ATTRIBUTES, "parts"),
    optional=("parts",),
    regions=len(BACKWARD),
    region_names=tuple(BACKWARD),
)
