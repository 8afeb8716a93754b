"""Nonlinear functions as modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir.dtypes import DType
from ..context import setting
from ..errors import ShapeError
from ..functions.creation import full
from ..tensor import Tensor
from . import functional as F
from .module import Module
from .parameter import Parameter
from .settings import REQUIRED, initialiser


class Activation(Module):
    """A function of one tensor, with its settings as attributes named in `_settings`."""

    _function: Callable[..., Tensor]
    _settings: tuple[str, ...] = ()
    _shown: tuple[str, ...] = ()
    _with_names = True

    def _set(self, given: dict[str, Any]) -> None:
        super().__init__()
        for name, value in given.items():
            setattr(self, name, value)

    def forward(self, input: Tensor) -> Tensor:
        settings = {name: getattr(self, name) for name in self._settings}
        return type(self)._function(input, **settings)

    def extra_repr(self) -> str:
        shown = [n for n in self._shown if n != "inplace" or self.inplace]
        return ", ".join(_shown_as(n, getattr(self, n), self._with_names) for n in shown)


def _shown_as(name: str, value: Any, named: bool) -> str:
    return f"{name}={value!r}" if named or name == "inplace" else f"{value!r}"


def _activation(
    name: str,
    function: Callable[..., Tensor],
    named: bool = True,
    hidden: tuple[str, ...] = (),
    **settings: Any,
) -> type[Activation]:
    doc = f"`functional.{function.__name__}` as a module: {function.__doc__}"
    members = {
        "_function": staticmethod(function),
        "_settings": tuple(settings),
        "_shown": tuple(n for n in settings if n not in hidden),
        "_with_names": named,
        "__init__": initialiser(settings),
        "__doc__": doc,
        "__module__": __name__,
    }
    return type(name, (Activation,), members)


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
Hardswish = _activation("Hardswish", F.hardswish, hidden=("inplace",), inplace=False)
Hardshrink = _activation("Hardshrink", F.hardshrink, named=False, lambd=0.5)
Softshrink = _activation("Softshrink", F.softshrink, named=False, lambd=0.5)
Tanhshrink = _activation("Tanhshrink", F.tanhshrink)
LogSigmoid = _activation("LogSigmoid", F.logsigmoid)
Softmax = _activation("Softmax", F.softmax, dim=None)
LogSoftmax = _activation("LogSoftmax", F.log_softmax, dim=None)
Softmin = _activation("Softmin", F.softmin, dim=None)
GLU = _activation("GLU", F.glu, dim=-1)
Threshold = _activation("Threshold", F.threshold, threshold=REQUIRED, value=REQUIRED, inplace=False)


class RReLU(Activation):
    """`functional.rrelu` as a module: x above 0, below times a slope that is drawn in [lower,
    upper) for each element in training, else their middle (Xu et al., 2015)."""

    _shown = ("lower", "upper", "inplace")
    __init__ = initialiser({"lower": 1 / 8, "upper": 1 / 3, "inplace": False})

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class Softmax2d(Module):
    """softmax over the channels of [N, C, H, W] or [C, H, W].

    Raises:
        ShapeError: another number of axes.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ShapeError(f"Softmax2d of {input.spec}", hint="the input is [N, C, H, W]")
        return F.softmax(input, -3)


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
        self.init = float(init)
        self.weight = Parameter(full((num_parameters,), self.init, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """The weight as at first."""
        with setting(grad_enabled=False):
            self.weight.fill_(self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"
