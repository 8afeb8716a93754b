"""Gradients: taking them, and saying what they are. `sley.autograd`.

`sley.autograd.functional` is loaded by the package itself, as it builds on `sley.func`.
"""

from ..context import enable_grad, inference_mode, no_grad, set_grad_enabled
from ..typed import Variable
from .anomaly import detect_anomaly, is_anomaly_enabled, set_detect_anomaly
from .engine import backward, grad, tensor_backward
from .function import Function, FunctionCtx
from .gradcheck import GradcheckError, gradcheck, gradgradcheck
from .history import GradFn, Handle, grad_fn, register_hook, retain_grad
from .once import once_differentiable

__all__ = [
    "Function",
    "FunctionCtx",
    "GradFn",
    "GradcheckError",
    "Handle",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "grad_fn",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_anomaly_enabled",
    "no_grad",
    "once_differentiable",
    "register_hook",
    "retain_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
    "tensor_backward",
]
