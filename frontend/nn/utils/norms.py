"""Weights by their norm or spectral norm, under the names of PyTorch's older functions."""

from __future__ import annotations

from typing import Any

from ...context import setting
from ...errors import ArgumentError
from ...tensor import Tensor
from ..module import Module
from ..parameter import Parameter
from .parametrizations import SpectralNorm, WeightNorm, norm_except, rows_axis
from .parametrize import Source, computed, plain


def _parameter(module: Module, name: str) -> Parameter:
    found = module._parameters.get(name)
    if found is None:
        raise ArgumentError(f"{type(module).__name__} has no parameter {name!r}")
    return found


def weight_norm(module: Module, name: str = "weight", dim: int = 0) -> Module:
    """Train magnitude and direction of a weight apart (Salimans and Kingma, 2016), as the
    parameters `weight_g` and `weight_v`. `parametrizations.weight_norm` does so under other names.

    Raises:
        ArgumentError: the module has no such parameter.
    """
    weight, compute = _parameter(module, name), WeightNorm(dim)
    with setting(grad_enabled=False):
        magnitude, direction = compute.right_inverse(weight.detach())
    delattr(module, name)
    module.register_parameter(f"{name}_g", Parameter(magnitude.clone()))
    module.register_parameter(f"{name}_v", Parameter(direction.clone()))

    computed(module, name, _ByNorm(name, compute))
    return module


class _ByNorm(Source):
    """A weight that `compute` makes of its magnitude and direction."""

    def __init__(self, name: str, compute: WeightNorm) -> None:
        self.name, self.compute = name, compute

    def read(self, module: Any) -> Tensor:
        magnitude, direction = (getattr(module, f"{self.name}_{end}") for end in "gv")
        return self.compute.forward(magnitude, direction)

    def write(self, module: Any, value: Any) -> None:
        with setting(grad_enabled=False):
            getattr(module, f"{self.name}_g").copy_(norm_except(value, self.compute.dim))
            getattr(module, f"{self.name}_v").copy_(value)


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Undo `weight_norm`: the weight is a parameter with the value that it has now."""
    _parameter(module, f"{name}_g")
    return _settled(module, name, (f"{name}_g", f"{name}_v"))


def _settled(module: Module, name: str, parts: tuple[str, ...]) -> Module:
    with setting(grad_enabled=False):
        value = getattr(module, name).detach().clone()
    plain(module, name)
    for part in parts:
        delattr(module, part)
    module.register_parameter(name, Parameter(value))
    return module


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a weight by its largest singular value (Miyato et al., 2018), as the parameter
    `weight_orig` and the buffers `weight_u`, `weight_v`. `parametrizations.spectral_norm` does so
    under other names.

    Raises:
        ArgumentError: the module has no such parameter.
    """
    weight = _parameter(module, name)
    made = SpectralNorm(weight, n_power_iterations, rows_axis(module, dim), eps)
    delattr(module, name)
    module.register_parameter(f"{name}_orig", weight)
    module.register_buffer(f"{name}_u", made._u)
    module.register_buffer(f"{name}_v", made._v)

    computed(module, name, _BySpectralNorm(name, made))
    return module


class _BySpectralNorm(Source):
    """A weight that `compute` divides by its largest singular value."""

    def __init__(self, name: str, compute: SpectralNorm) -> None:
        self.name, self.compute = name, compute

    def read(self, module: Any) -> Tensor:
        matrix, u, v = (getattr(module, f"{self.name}_{end}") for end in ("orig", "u", "v"))
        return self.compute.normed(matrix, u, v, module.training, u_first=False)

    def write(self, module: Any, value: Any) -> None:
        with setting(grad_enabled=False):
            getattr(module, f"{self.name}_orig").copy_(value)


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Undo `spectral_norm`: the weight is a parameter with the value that it has now."""
    _parameter(module, f"{name}_orig")
    trained, module.training = module.training, False  # the estimates stay as they are
    try:
        return _settled(module, name, (f"{name}_orig", f"{name}_u", f"{name}_v"))
    finally:
        module.training = trained
