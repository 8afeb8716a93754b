"""Gradients: taking them, and saying what they are. `sley.autograd`.

`sley.autograd.functional` is loaded by the package itself, as it builds on `sley.func`.
"""

from ..context import enable_grad, inference_mode, no_grad, set_grad_enabled
from .engine import (
    GradFn,
    Handle,
    backward,
    grad,
    grad_fn,
    register_hook,
    retain_grad,
    tensor_backward,
)
from .function import Function, FunctionCtx, once_differentiable
from .gradcheck import GradcheckError, gradcheck, gradgradcheck

__all__ = [
    "Function",
    "FunctionCtx",
    "GradFn",
    "GradcheckError",
    "Handle",
    "backward",
    "enable_grad",
    "grad",
    "grad_fn",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "no_grad",
    "once_differentiable",
    "register_hook",
    "retain_grad",
    "set_grad_enabled",
    "tensor_backward",
]
