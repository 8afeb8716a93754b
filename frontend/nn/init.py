"""First values of parameters, written in place."""

from __future__ import annotations

import math

import numpy as np

from ..context import setting
from ..errors import ArgumentError, ShapeError
from ..functions import creation, random, special
from ..random_state import Generator
from ..tensor import Tensor
from ..tensor import elements as _elements

_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 0.75}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The recommended gain of a nonlinear function.

    Raises:
        ArgumentError: it is not known.
    """
    if nonlinearity.startswith("conv"):
        return 1.0
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope * slope))
    if nonlinearity not in _GAINS:
        raise ArgumentError(f"no gain is known for {nonlinearity!r}")
    return _GAINS[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """How many numbers one output is made of, and one input goes into: of [out, in, window...].

    Raises:
        ShapeError: there are fewer than 2 axes.
    """
    if tensor.ndim < 2:
        raise ShapeError(f"the fan of a tensor of shape {list(tensor.shape)} is not defined")
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Uniform in [a, b)."""
    with setting(grad_enabled=False):
        return random.uniform_(tensor, a, b, generator=generator)


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Normal with the given mean and standard deviation."""
    with setting(grad_enabled=False):
        return random.normal_(tensor, mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Normal, but only the part within [a, b]."""

    def below(x: float) -> float:
        return (1 + math.erf((x - mean) / (std * math.sqrt(2)))) / 2

    low, high = 2 * below(a) - 1, 2 * below(b) - 1
    with setting(grad_enabled=False):
        drawn = random.uniform_(creation.zeros_like(tensor), low, high, generator=generator)
        return tensor.copy_((special.erfinv(drawn) * (std * math.sqrt(2)) + mean).clamp(a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """`val` everywhere."""
    with setting(grad_enabled=False):
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """1 everywhere."""
    return constant_(tensor, 1)


def zeros_(tensor: Tensor) -> Tensor:
    """0 everywhere."""
    return constant_(tensor, 0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix."""
    with setting(grad_enabled=False):
        return tensor.copy_(creation.eye(*tensor.shape, device=tensor.device))


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Uniform with the variance 2 gain^2 / (fan in + fan out) (Glorot and Bengio, 2010)."""
    bound = gain * math.sqrt(6.0 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with the variance 2 gain^2 / (fan in + fan out) (Glorot and Bengio, 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans(tensor))), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"mode={mode!r} is neither 'fan_in' nor 'fan_out'")
    return calculate_gain(nonlinearity, a) / math.sqrt(fans(tensor)[mode == "fan_out"])


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform with the variance gain^2 / fan (He et al., 2015)."""
    if 0 in tensor.shape:
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal with the variance gain^2 / fan (He et al., 2015)."""
    if 0 in tensor.shape:
        return tensor
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """A (semi-)orthogonal matrix of the flattened shape [out, the rest] (Saxe et al., 2013)."""
    rows = tensor.shape[0]
    columns = math.prod(tensor.shape[1:])
    flat = _elements(random.randn(rows, columns, generator=generator))
    q, r = np.linalg.qr(flat.T if rows < columns else flat)
    q = q * np.sign(np.diag(r))
    matrix = q.T if rows < columns else q
    with setting(grad_enabled=False):
        return tensor.copy_(creation.as_tensor(gain * matrix.reshape(tuple(tensor.shape))))


def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> Tensor:
    """Normal, with a part `sparsity` of each column 0 (Martens, 2010).

    Raises:
        ShapeError: not a matrix.
    """
    if tensor.ndim != 2:
        raise ShapeError("sparse_ takes matrices")
    rows, columns = tensor.shape
    normal_(tensor, 0, std, generator)
    zeros = math.ceil(sparsity * rows)
    with setting(grad_enabled=False):
        for column in range(columns):
            tensor[
                random.randperm(rows, generator=generator, device=tensor.device)[:zeros], column
            ] = 0
    return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """The weight [out, in / groups, window...] of a convolution that hands its channels on, as many
    as there are.

    Raises:
        ShapeError: there are not 3, 4 or 5 axes, or `out` does not divide into the groups.
    """
    if tensor.ndim not in (3, 4, 5) or tensor.shape[0] % groups:
        raise ShapeError(f"dirac_ of a tensor of shape {list(tensor.shape)}, groups={groups}")
    array = np.zeros(tuple(tensor.shape), np.float32)
    rows = tensor.shape[0] // groups
    middle = tuple(size // 2 for size in tensor.shape[2:])
    for group in range(groups):
        for channel in range(min(rows, tensor.shape[1])):
            array[(group * rows + channel, channel, *middle)] = 1
    with setting(grad_enabled=False):
        return tensor.copy_(creation.as_tensor(array))
