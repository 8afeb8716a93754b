"""Nonlinear functions as modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir.dtypes import DType
from ..functions.creation import full
from ..tensor import Tensor
from . import functional as F
from .module import Module
from .parameter import Parameter


class Activation(Module):
    """A function of one tensor, with its settings as attributes named in `_settings`."""

    _function: Callable[..., Tensor]
    _settings: dict[str, Any] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        names = list(self._settings)
        given = dict(zip(names, args)) | kwargs
        if len(args) > len(names) or not set(given) <= set(names):
            raise TypeError(f"{type(self).__name__} takes {', '.join(names) or 'no arguments'}")
        for name, default in self._settings.items():
            setattr(self, name, given.get(name, default))

    def forward(self, input: Tensor) -> Tensor:
        settings = {name: getattr(self, name) for name in self._settings}
        return type(self)._function(input, **settings)

    def extra_repr(self) -> str:
        changed = [
            f"{name}={getattr(self, name)}"
            for name, default in self._settings.items()
            if name != "inplace" or getattr(self, name) != default
        ]
        return ", ".join(changed)


def _activation(name: str, function: Callable[..., Tensor], **settings: Any) -> type[Activation]:
    doc = f"`functional.{function.__name__}` as a module: {function.__doc__}"
    members = {"_function": staticmethod(function), "_settings": settings, "__doc__": doc}
    return type(name, (Activation,), {**members, "__module__": __name__})


ReLU = _activation("ReLU", F.relu, inplace=False)
ReLU6 = _activation("ReLU6", F.relu6, inplace=False)
LeakyReLU = _activation("LeakyReLU", F.leaky_relu, negative_slope=0.01, inplace=False)
ELU = _activation("ELU", F.elu, alpha=1.0, inplace=False)
SELU = _activation("SELU", F.selu, inplace=False)
CELU = _activation("CELU", F.celu, alpha=1.0, inplace=False)
GELU = _activation("GELU", F.gelu, approximate="none")
SiLU = _activation("SiLU", F.silu, inplace=False)
Mish = _activation("Mish", F.mish, inplace=False)
Softplus = _activation("Softplus", F.softplus, beta=1.0, threshold=20.0)
Softsign = _activation("Softsign", F.softsign)
Tanh = _activation("Tanh", F.tanh)
Sigmoid = _activation("Sigmoid", F.sigmoid)
Hardtanh = _activation("Hardtanh", F.hardtanh, min_val=-1.0, max_val=1.0, inplace=False)
Hardsigmoid = _activation("Hardsigmoid", F.hardsigmoid, inplace=False)
Hardswish = _activation("Hardswish", F.hardswish, inplace=False)
Hardshrink = _activation("Hardshrink", F.hardshrink, lambd=0.5)
Softshrink = _activation("Softshrink", F.softshrink, lambd=0.5)
Tanhshrink = _activation("Tanhshrink", F.tanhshrink)
LogSigmoid = _activation("LogSigmoid", F.logsigmoid)
Softmax = _activation("Softmax", F.softmax, dim=-1)
LogSoftmax = _activation("LogSoftmax", F.log_softmax, dim=-1)
Softmin = _activation("Softmin", F.softmin, dim=-1)
GLU = _activation("GLU", F.glu, dim=-1)
Threshold = _activation("Threshold", F.threshold, threshold=0.0, value=0.0, inplace=False)


class PReLU(Module):
    """x above 0, weight * x below; the weight is trained (He et al., 2015).

    Attributes:
        weight: [num_parameters]: one, or one for each channel.
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None,
        dtype: DType | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_parameters = num_parameters
        self.weight = Parameter(full((num_parameters,), float(init), device=device, dtype=dtype))

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"
