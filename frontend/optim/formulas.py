"""What the updates of optimizers begin and end with.

Formulas compute with real numbers: a complex tensor is seen as pairs of them, with one axis more.
"""

from __future__ import annotations

import numpy as np

from ...ir.dtypes import f32, f64
from ..apply import expanded
from ..functions.arguments import cast
from ..functions.complex import view_as_real
from ..functions.creation import full_like
from ..functions.math import add, mul, sub
from ..inplace import write
from ..tensor import Tensor, here, of_array
from .group import ParamGroup


def reals(tensor: Tensor) -> Tensor:
    """A parameter, gradient or state as the real numbers that updates are computed in: float32 for
    float16 and bfloat16."""
    dtype = here(tensor).spec.dtype
    if dtype.is_complex:
        return view_as_real(tensor.detach())
    return cast(tensor, f32) if dtype.is_low_precision else tensor


def gradient(parameter: Tensor, group: ParamGroup) -> Tensor:
    """The gradient as `reals`, turned around to maximize."""
    grad = parameter.grad
    assert grad is not None
    found = reals(grad)
    return -found if group.option("maximize") else found


def decayed(group: ParamGroup, parameter: Tensor) -> tuple[Tensor, Tensor]:
    """The parameter and its gradient as `reals`. Weight decay is added to the gradient, or, where
    the group has the option "decoupled_weight_decay" and it is on, taken from the parameter."""
    value, grad = reals(parameter), gradient(parameter, group)
    if not group.uses("weight_decay"):
        return value, grad
    decay = group.number("weight_decay")
    if "decoupled_weight_decay" in group.options and group.option("decoupled_weight_decay"):
        return mul(value, sub(1, mul(group.number("lr"), decay))), grad
    return value, add(grad, mul(value, decay))


def parts(tensor: Tensor) -> Tensor:
    """The tensor itself, or one of the pairs of real numbers that it is made of."""
    return view_as_real(tensor.detach()) if here(tensor).spec.dtype.is_complex else tensor


def decay(group: ParamGroup) -> Tensor | None:
    """The weight decay of a group, if it has one."""
    return group.number("weight_decay") if group.uses("weight_decay") else None


def mean(before: Tensor, new: Tensor, keep: Tensor) -> Tensor:
    """keep * before + (1 - keep) * new, for a state `before`."""
    return add(mul(reals(before), keep), mul(new, sub(1, keep)))


def put(target: Tensor, value: Tensor) -> None:
    """Write computed `reals` back."""
    type = here(target).spec
    if type.dtype.is_complex:
        target = view_as_real(target.detach())
        type = here(target).spec
    write(target, expanded(value, type))


def like(parameter: Tensor, fill: float = 0.0) -> Tensor:
    """A state of the shape and dtype of a parameter; the parts of complex numbers are both
    `fill`."""
    is_complex = here(parameter).spec.dtype.is_complex
    return full_like(parameter.detach(), complex(fill, fill) if is_complex else fill)


def number(value: float) -> Tensor:
    """A state that is one number."""
    return of_array(np.array(value, f64.numpy))
