"""Layers that learn the number of their input's features from their first input."""

from __future__ import annotations

from typing import Any

from ...ir.dtypes import DType
from ..context import ambient, setting
from ..errors import ArgumentError, ShapeError, TraceError
from ..functions.creation import ones, zeros
from ..tensor import Tensor
from .conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    _Conv,
    _ConvBase,
    _ConvTranspose,
)
from .linear import Linear
from .module import Module
from .normalization import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    _BatchNorm,
)
from .parameter import UninitializedBuffer, UninitializedParameter


class _Lazy(Module):
    """A layer without parameters yet. The first call, or a loaded state, makes them, and the layer
    becomes an ordinary one, of the class `_becomes`."""

    _becomes: type[Module]

    def _wait(self) -> None:
        """Put placeholders for what was made for no features."""
        for name, parameter in list(self._parameters.items()):
            if parameter is not None:
                self._parameters[name] = UninitializedParameter(
                    device=parameter.device, dtype=parameter.dtype
                )
        for name in ("running_mean", "running_var"):
            buffer = self._buffers.get(name)
            if buffer is not None:
                self._buffers[name] = UninitializedBuffer(device=buffer.device, dtype=buffer.dtype)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if ambient.trace is not None:
            raise TraceError(
                f"{type(self).__name__} has no parameters yet",
                hint="call the module once before it is compiled",
            )
        with setting(grad_enabled=False):
            self._make(self._features(*args, **kwargs))
        return self(*args, **kwargs)

    def _features(self, input: Tensor) -> int:
        """How many features an input has."""
        raise NotImplementedError(f"{type(self).__name__} does not define _features()")

    def _shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        """The shapes of the parameters for so many features; sets the layer's own numbers."""
        raise NotImplementedError(f"{type(self).__name__} does not define _shapes()")

    def _make(self, features: int) -> None:
        for name, shape in self._shapes(features).items():
            parameter = self._parameters[name]
            if isinstance(parameter, UninitializedParameter):
                parameter.materialize(shape)
        object.__setattr__(self, "__class__", self._becomes)
        self.reset_parameters()

    def _before_load(self, state_dict: Any, prefix: str) -> None:
        weight = state_dict.get(prefix + "weight")
        if weight is not None:
            with setting(grad_enabled=False):
                self._make(self._saved_features(tuple(weight.shape)))

    def _saved_features(self, shape: tuple[int, ...]) -> int:
        """The number of features by the shape of a saved weight."""
        return shape[1]


class LazyLinear(_Lazy, Linear):
    """A `Linear` layer whose `in_features` is that of its first input."""

    _becomes = Linear

    def __init__(
        self, out_features: int, bias: bool = True, device: Any = None, dtype: DType | None = None
    ) -> None:
        Linear.__init__(self, 0, out_features, bias, device, dtype)
        self._wait()

    def _features(self, input: Tensor) -> int:
        return input.shape[-1]

    def _shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        self.in_features = features
        return {"weight": (self.out_features, features), "bias": (self.out_features,)}


class _LazyConvBase(_Lazy, _ConvBase):
    def _features(self, input: Tensor, output_size: Any = None) -> int:
        if input.ndim not in (self._axes + 1, self._axes + 2):
            raise ShapeError(f"{type(self).__name__} of {input.spec}",
                             hint="the input is [N, C, ...] or [C, ...]")  # fmt: skip
        return input.shape[-self._axes - 1]

    def _shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        if features % self.groups:
            raise ArgumentError(
                f"{type(self).__name__}: {features} channels in {self.groups} groups"
            )
        self.in_channels = features
        first, second = self.out_channels, features
        if self._transposed:
            first, second = second, first
        weight = (first, second // self.groups, *self.kernel_size)
        return {"weight": weight, "bias": (self.out_channels,)}

    def _saved_features(self, shape: tuple[int, ...]) -> int:
        return shape[0] if self._transposed else shape[1] * self.groups


class _LazyConv(_LazyConvBase, _Conv):
    def __init__(
        self, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
        device: Any = None, dtype: DType | None = None,
    ) -> None:  # fmt: skip
        _Conv.__init__(self, 0, out_channels, kernel_size, stride, padding, dilation, groups, bias,
                       padding_mode, device, dtype)  # fmt: skip
        self._wait()


class _LazyConvTranspose(_LazyConvBase, _ConvTranspose):
    def __init__(
        self, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: int = 1,
        padding_mode: str = "zeros", device: Any = None, dtype: DType | None = None,
    ) -> None:  # fmt: skip
        _ConvTranspose.__init__(self, 0, out_channels, kernel_size, stride, padding, output_padding,
                                groups, bias, dilation, padding_mode, device, dtype)  # fmt: skip
        self._wait()


class LazyConv1d(_LazyConv, Conv1d):
    """A `Conv1d` layer whose `in_channels` is that of its first input."""

    _becomes = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """A `Conv2d` layer whose `in_channels` is that of its first input."""

    _becomes = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """A `Conv3d` layer whose `in_channels` is that of its first input."""

    _becomes = Conv3d


class LazyConvTranspose1d(_LazyConvTranspose, ConvTranspose1d):
    """A `ConvTranspose1d` layer whose `in_channels` is that of its first input."""

    _becomes = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, ConvTranspose2d):
    """A `ConvTranspose2d` layer whose `in_channels` is that of its first input."""

    _becomes = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, ConvTranspose3d):
    """A `ConvTranspose3d` layer whose `in_channels` is that of its first input."""

    _becomes = ConvTranspose3d


class _LazyNorm(_Lazy, _BatchNorm):
    running_mean: Tensor | None
    running_var: Tensor | None

    def __init__(
        self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: DType | None = None, *,
        bias: bool = True,
    ) -> None:  # fmt: skip
        _BatchNorm.__init__(self, 0, eps, momentum, affine, track_running_stats, device, dtype,
                            bias=bias)  # fmt: skip
        self._wait()

    def _features(self, input: Tensor) -> int:
        if input.ndim not in self._axes:
            raise ShapeError(f"{type(self).__name__} of a tensor {input.spec}")
        return input.shape[self._channel_axis(input)]

    def _channel_axis(self, input: Tensor) -> int:
        return 1

    def _shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        self.num_features = features
        if self.running_mean is not None:
            dtype, device = self.running_mean.dtype, self.running_mean.device
            self.running_mean = zeros(features, dtype=dtype, device=device)
            self.running_var = ones(features, dtype=dtype, device=device)
        return {"weight": (features,), "bias": (features,)}

    def _before_load(self, state_dict: Any, prefix: str) -> None:
        for name in ("weight", "running_mean"):
            if prefix + name in state_dict:
                self._make(int(state_dict[prefix + name].shape[0]))
                return


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """A `BatchNorm1d` layer whose `num_features` is that of its first input."""

    _becomes = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """A `BatchNorm2d` layer whose `num_features` is that of its first input."""

    _becomes = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """A `BatchNorm3d` layer whose `num_features` is that of its first input."""

    _becomes = BatchNorm3d


class _LazyInstanceNorm(_LazyNorm):
    def _channel_axis(self, input: Tensor) -> int:
        return input.ndim - self._axes[-1] + 1


class LazyInstanceNorm1d(_LazyInstanceNorm, InstanceNorm1d):
    """An `InstanceNorm1d` layer whose `num_features` is that of its first input."""

    _becomes = InstanceNorm1d


class LazyInstanceNorm2d(_LazyInstanceNorm, InstanceNorm2d):
    """An `InstanceNorm2d` layer whose `num_features` is that of its first input."""

    _becomes = InstanceNorm2d


class LazyInstanceNorm3d(_LazyInstanceNorm, InstanceNorm3d):
    """An `InstanceNorm3d` layer whose `num_features` is that of its first input."""

    _becomes = InstanceNorm3d
