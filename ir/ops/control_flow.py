"""Control flow over tensors: loops, branches, calls and barriers.

Regions are closed: they read their own parameters and nothing outside; only the names of sizes are
those of the whole program. What a region needs besides is an operand of the node (a const of a
loop). The evaluation of such an op gets, as `attrs["regions"]`, one function from arrays to arrays
for each region (`ir.evaluate.RegionFunction`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import bool_
from ..types import TensorType, tensor_type
from .base import Attrs, Kind, define, need

FLAG = tensor_type(bool_, ())


def _show(types: Sequence[TensorType]) -> str:
    return f"({', '.join(map(str, types))})"


def _check_params(name: str, region: Any, types: Sequence[TensorType]) -> None:
    found = [p.type for p in region.params]
    need(found == list(types), f"{name} takes {_show(found)}, it is given {_show(types)}")


def _check_yields(name: str, region: Any, types: Sequence[TensorType]) -> None:
    found = [v.type for v in region.yields]
    need(found == list(types), f"{name} yields {_show(found)}, expected {_show(types)}")


def _counts(types: Sequence[TensorType], *counts: int) -> None:
    fits = all(type(n) is int and n >= 0 for n in counts) and sum(counts) <= len(types)
    need(fits, f"{counts} of {len(types)} operands are consts and carries")


# scan


def _infer_scan(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    length, (body,) = attrs["length"], attrs["regions"]
    consts, carries = attrs["consts"], attrs["carries"]
    _counts(types, consts, carries)
    need(type(attrs["reverse"]) is bool, f"reverse is {attrs['reverse']!r}")
    need(not isinstance(length, int) or length >= 0, f"a scan of {length} turns")
    first = consts + carries
    slices = []
    for x in types[first:]:
        need(x.ndim > 0 and x.shape[0] == length, f"scan over {x}, the length is {length}")
        slices.append(x.with_shape(x.shape[1:]))
    _check_params("the body of scan", body, [*types[:first], *slices])
    found = [v.type for v in body.yields]
    carried = list(types[consts:first])
    need(
        found[:carries] == carried,
        f"the body of scan carries {_show(carried)} on as {_show(found[:carries])}",
    )
    return (*carried, *(y.with_shape((length, *y.shape)) for y in found[carries:]))


def _eval_scan(arrays: Sequence[np.ndarray], attrs: Attrs) -> Sequence[np.ndarray]:
    (body,), length = attrs["regions"], attrs["length"]
    consts, carries = attrs["consts"], attrs["carries"]
    first = consts + carries
    held, carried, xs = arrays[:consts], list(arrays[consts:first]), arrays[first:]
    stacked = [np.empty((length, *t.shape), t.dtype) for t in body.empty_results()[carries:]]
    turns = range(length)
    for t in reversed(turns) if attrs["reverse"] else turns:
        found = body([*held, *carried, *(x[t] for x in xs)])
        carried = found[:carries]
        for whole, y in zip(stacked, found[carries:], strict=True):
            whole[t] = y
    return (*carried, *stacked)


SCAN = define(
    "scan", Kind.CONTROL, _infer_scan, _eval_scan,
    """Turns of `body(consts.., carries.., x[t] of each xs..) -> (carries'.., ys..)` for t = 0 ..
    length - 1, or backwards with `reverse`.

    Operands: `consts` values that every turn sees, `carries` values that each turn hands to the
    next, then xs with the leading axis `length`. Results: the last carries, then the ys of all
    turns stacked along a new leading axis, that of turn t at index t.""",
    attributes=("length", "consts", "carries", "reverse"),
    regions=1, region_names=("body",),
)  # fmt: skip


# while


def _infer_while(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    condition, body = attrs["regions"]
    _counts(types, attrs["consts"])
    carried = types[attrs["consts"] :]
    _check_params("the condition of while", condition, types)
    _check_yields("the condition of while", condition, [FLAG])
    _check_params("the body of while", body, types)
    _check_yields("the body of while", body, carried)
    return tuple(carried)


def _eval_while(arrays: Sequence[np.ndarray], attrs: Attrs) -> Sequence[np.ndarray]:
    condition, body = attrs["regions"]
    held, carried = list(arrays[: attrs["consts"]]), list(arrays[attrs["consts"] :])
    while condition([*held, *carried])[0]:
        carried = body([*held, *carried])
    return carried


WHILE = define(
    "while", Kind.CONTROL, _infer_while, _eval_while,
    """Turns of `body(consts.., carries..) -> carries'..` as long as
    `condition(consts.., carries..) -> bool[]` holds. The results are the last carries.""",
    attributes=("consts",), regions=2, region_names=("condition", "body"),
)  # fmt: skip


# cond


def _infer_cond(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    then, otherwise = attrs["regions"]
    need(len(types) > 0 and types[0] == FLAG, f"cond decides by a bool[], got {_show(types[:1])}")
    _check_params("`then` of cond", then, types[1:])
    _check_params("`otherwise` of cond", otherwise, types[1:])
    results = [v.type for v in then.yields]
    _check_yields("`otherwise` of cond", otherwise, results)
    return tuple(results)


def _eval_cond(arrays: Sequence[np.ndarray], attrs: Attrs) -> Sequence[np.ndarray]:
    then, otherwise = attrs["regions"]
    found: Sequence[np.ndarray] = (then if arrays[0] else otherwise)(arrays[1:])
    return found


COND = define(
    "cond", Kind.CONTROL, _infer_cond, _eval_cond,
    """`then(operands..)` where the first operand, a bool[], is true, else `otherwise(operands..)`.
    One of the two runs.""",
    attributes=(), regions=2, region_names=("then", "otherwise"),
)  # fmt: skip


# call and barrier


def _infer_call(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    (body,) = attrs["regions"]
    need(type(attrs["recompute"]) is bool, f"recompute is {attrs['recompute']!r}")
    _check_params("the body of call", body, types)
    return tuple(v.type for v in body.yields)


def _eval_call(arrays: Sequence[np.ndarray], attrs: Attrs) -> Sequence[np.ndarray]:
    (body,) = attrs["regions"]
    found: Sequence[np.ndarray] = body(arrays)
    return found


CALL = define(
    "call", Kind.CONTROL, _infer_call, _eval_call,
    """`body(operands..)`. With `recompute` its gradient computes the body again from the operands
    instead of keeping what it computed.""",
    attributes=("recompute",), regions=1, region_names=("body",),
)  # fmt: skip


def _infer_barrier(types: Sequence[TensorType], attrs: Attrs) -> Sequence[TensorType]:
    return tuple(types)


def _eval_barrier(arrays: Sequence[np.ndarray], attrs: Attrs) -> Sequence[np.ndarray]:
    return tuple(arrays)


BARRIER = define(
    "barrier", Kind.CONTROL, _infer_barrier, _eval_barrier,
    """The operands themselves. Nothing is merged, folded or simplified across it, so that what
    follows is computed again and not found to be known.""",
)  # fmt: skip
