"""Normalising and dropping layers."""

from __future__ import annotations

from typing import Any

from ...ir.dtypes import DType, i64
from ..errors import ArgumentError, ShapeError
from ..functions.creation import empty, ones, zeros
from ..functions.math import reciprocal
from ..tensor import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter


class _Affine(Module):
    """With a weight of ones and a bias of zeros, either of which may be left out."""

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        for name, fill in (("weight", init.ones_), ("bias", init.zeros_)):
            parameter = self._parameters.get(name)
            if parameter is not None:
                fill(parameter)


class _BatchNorm(_Affine):
    """Batch normalisation; `_axes` says how many axes inputs may have."""

    _axes: tuple[int, ...]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        kind = {"device": device, "dtype": dtype}
        self.register_parameter(
            "weight", Parameter(empty(num_features, **kind)) if affine else None
        )
        with_bias = affine and bias
        self.register_parameter(
            "bias", Parameter(empty(num_features, **kind)) if with_bias else None
        )
        track = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, **kind) if track else None)
        self.register_buffer("running_var", ones(num_features, **kind) if track else None)
        self.register_buffer("num_batches_tracked", zeros((), dtype=i64) if track else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Mean 0, variance 1, no batches yet."""
        if self.running_mean is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, and the running statistics as at first."""
        self.reset_running_stats()
        super().reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in self._axes:
            raise ShapeError(f"{type(self).__name__} of a tensor {input.spec}")
        momentum: Any = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:  # the plain mean of all batches
                momentum = reciprocal(self.num_batches_tracked)
        own = self.training or self.running_mean is None
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, own,
            0.0 if momentum is None else momentum, self.eps,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Channels of [N, C] or [N, C, L] normalised over the batch (Ioffe and Szegedy, 2015).

    Attributes:
        running_mean, running_var: [C], moved in training by `momentum`, used in `eval()`.
    """

    _axes = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Channels of [N, C, H, W] normalised over the batch; see `BatchNorm1d`."""

    _axes = (4,)


class BatchNorm3d(_BatchNorm):
    """Channels of [N, C, D, H, W] normalised over the batch; see `BatchNorm1d`."""

    _axes = (5,)


class LayerNorm(_Affine):
    """The last axes normalised to mean 0 and variance 1, times weight plus bias (Ba et al.,
    2016)."""

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        given = normalized_shape
        self.normalized_shape = tuple(given) if isinstance(given, (tuple, list)) else (given,)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        kind = {"device": device, "dtype": dtype}
        with_bias = elementwise_affine and bias
        shape = self.normalized_shape
        self.register_parameter(
            "weight", Parameter(ones(shape, **kind)) if elementwise_affine else None
        )
        self.register_parameter("bias", Parameter(zeros(shape, **kind)) if with_bias else None)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(_Affine):
    """The last axes divided by the root of their mean square, times weight (Zhang and Sennrich,
    2019)."""

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        given = normalized_shape
        self.normalized_shape = tuple(given) if isinstance(given, (tuple, list)) else (given,)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        made = ones(self.normalized_shape, device=device, dtype=dtype)
        self.register_parameter("weight", Parameter(made) if elementwise_affine else None)

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(_Affine):
    """[N, C, ...] normalised over each of `num_groups` groups of channels (Wu and He, 2018).

    Raises:
        ArgumentError: the channels do not divide into the groups.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise ArgumentError(f"GroupNorm: {num_channels} channels in {num_groups} groups")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        kind = {"device": device, "dtype": dtype}
        self.register_parameter("weight", Parameter(ones(num_channels, **kind)) if affine else None)
        with_bias = affine and bias
        self.register_parameter(
            "bias", Parameter(zeros(num_channels, **kind)) if with_bias else None
        )

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class _InstanceNorm(_BatchNorm):
    """Instance normalisation; inputs have the larger number of `_axes`, or lack the batch."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype,
                         bias=bias)  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in self._axes:
            raise ShapeError(f"{type(self).__name__} of a tensor {input.spec}: it takes "
                             f"{' or '.join(map(str, self._axes))} axes")  # fmt: skip
        batched = input.ndim == self._axes[-1]
        batch = input if batched else input[None]
        if batch.shape[1] != self.num_features:
            raise ShapeError(f"{type(self).__name__} of {self.num_features} channels: the input is "
                             f"{input.spec}")  # fmt: skip
        own = self.training or self.running_mean is None
        result = F.instance_norm(
            batch, self.running_mean, self.running_var, self.weight, self.bias, own,
            self.momentum or 0.0, self.eps,
        )  # fmt: skip
        return result if batched else result[0]


class InstanceNorm1d(_InstanceNorm):
    """[N, C, L] or [C, L], each channel of each sequence normalised by itself (Ulyanov et al.,
    2016)."""

    _axes = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """[N, C, H, W] or [C, H, W], each channel of each image normalised by itself (Ulyanov et al.,
    2016)."""

    _axes = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """[N, C, D, H, W] or [C, D, H, W], each channel of each volume normalised by itself (Ulyanov
    et al., 2016)."""

    _axes = (4, 5)


class LocalResponseNorm(Module):
    """Channels divided by the size of those around them (Krizhevsky et al., 2012)."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class _Dropout(Module):
    """A dropout: `_function` of input, p and whether the module trains."""

    _function: Any

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ArgumentError(f"{type(self).__name__}: p={p} is no probability")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return type(self)._function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training each element 0 with probability p, the others divided by 1 - p."""

    _function = staticmethod(F.dropout)


class Dropout1d(_Dropout):
    """`Dropout` of whole channels of [N, C, L]."""

    _function = staticmethod(F.dropout1d)


class Dropout2d(_Dropout):
    """`Dropout` of whole channels of [N, C, H, W]."""

    _function = staticmethod(F.dropout2d)


class Dropout3d(_Dropout):
    """`Dropout` of whole channels of [N, C, D, H, W]."""

    _function = staticmethod(F.dropout3d)


class AlphaDropout(_Dropout):
    """Dropout for nets of SELU (Klambauer et al., 2017)."""

    _function = staticmethod(F.alpha_dropout)


class FeatureAlphaDropout(_Dropout):
    """`AlphaDropout` of whole channels of [N, C, ...]."""

    _function = staticmethod(F.feature_alpha_dropout)
