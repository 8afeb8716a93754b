"""What `Tensor` can do, in one list: every operator and method that is a function elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import autograd, indexing, inplace
from .operators import OPERATORS
from .tensor import Tensor

METHODS: dict[str, Callable[..., Any]] = {
    # Indexing
    "__getitem__": indexing.getitem,
    "__setitem__": indexing.setitem,
    # Writes
    "copy_": inplace.copy_,
    "fill_": inplace.fill_,
    "zero_": inplace.zero_,
    "add_": inplace.add_,
    "sub_": inplace.sub_,
    "mul_": inplace.mul_,
    "multiply_": inplace.mul_,
    "div_": inplace.div_,
    "true_divide_": inplace.div_,
    "floor_divide_": inplace.floor_divide_,
    "remainder_": inplace.remainder_,
    "pow_": inplace.pow_,
    "bitwise_and_": inplace.bitwise_and_,
    "bitwise_or_": inplace.bitwise_or_,
    "bitwise_xor_": inplace.bitwise_xor_,
    "addcmul_": inplace.addcmul_,
    "addcdiv_": inplace.addcdiv_,
    "lerp_": inplace.lerp_,
    "clamp_": inplace.clamp_,
    # History
    "detach": inplace.detach,
    "detach_": inplace.detach_,
    "clone": inplace.clone,
    "backward": autograd.tensor_backward,
    "retain_grad": autograd.retain_grad,
    "register_hook": autograd.register_hook,
}
PROPERTIES: dict[str, Callable[[Tensor], Any]] = {
    "grad_fn": autograd.grad_fn,
}


def attach() -> None:
    """Give `Tensor` its operators and methods. Called once, by the frontend."""
    for name, function in (OPERATORS | METHODS).items():
        setattr(Tensor, name, function)
    for name, getter in PROPERTIES.items():
        setattr(Tensor, name, property(getter))


attach()
