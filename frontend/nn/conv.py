"""Convolutional layers."""

from __future__ import annotations

import math
from typing import Any

from ...ir.dtypes import DType
from ..errors import ArgumentError
from ..functions.creation import empty
from ..tensor import Tensor
from . import functional as F
from . import init
from .functional.arguments import per_axis
from .functional.convolution import conv, conv_transpose
from .linear import reset_bias
from .module import Module
from .parameter import Parameter

_PADDINGS = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate",
             "circular": "circular"}  # fmt: skip


class _ConvBase(Module):
    """Weight, bias and settings of a convolution over `_axes` axes."""

    _axes: int
    _transposed = False
    output_padding: tuple[int, ...]

    def _set_up(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, padding: Any,
        dilation: Any, groups: int, bias: bool, padding_mode: str, device: Any,
        dtype: DType | None,
    ) -> None:  # fmt: skip
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ArgumentError(
                f"{type(self).__name__}: {in_channels}, {out_channels} channels in {groups} groups"
            )
        if padding_mode not in _PADDINGS:
            raise ArgumentError(f"padding_mode={padding_mode!r} is none of {list(_PADDINGS)}")
        if isinstance(padding, str):
            self._check_named(padding, per_axis(stride, self._axes, "stride"))
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = per_axis(kernel_size, self._axes, "kernel_size")
        self.stride = per_axis(stride, self._axes, "stride")
        self.padding = (
            padding if isinstance(padding, str) else per_axis(padding, self._axes, "padding")
        )
        self.dilation = per_axis(dilation, self._axes, "dilation")
        self.groups = groups
        self.padding_mode = padding_mode
        first, second = out_channels, in_channels
        if self._transposed:
            first, second = second, first
        shape = (first, second // groups, *self.kernel_size)
        self.weight = Parameter(empty(shape, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _check_named(self, padding: str, stride: tuple[int, ...]) -> None:
        if padding not in ("same", "valid"):
            raise ArgumentError(
                f"{type(self).__name__}: padding={padding!r} is neither 'same' nor 'valid'"
            )
        if padding == "same" and set(stride) != {1}:
            raise ArgumentError(
                f"{type(self).__name__}: padding='same' needs stride 1, not {stride}",
                hint="give the number of zeros on each side",
            )

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, uniform within 1 / sqrt(fan in)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        reset_bias(self.bias, self.weight)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        parts.append(f"stride={self.stride}")
        if self.padding != (0,) * self._axes:
            parts.append(f"padding={self.padding}")
        if self.dilation != (1,) * self._axes:
            parts.append(f"dilation={self.dilation}")
        if self._transposed and self.output_padding != (0,) * self._axes:
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Conv(_ConvBase):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self._set_up(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                     bias, padding_mode, device, dtype)  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._edges(), _PADDINGS[self.padding_mode])
            padding = 0
        given = (self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
        return conv(input, *given, self._axes)

    def _edges(self) -> list[int]:
        """What `pad` takes: (before, after) of the last axis first."""
        if self.padding == "valid":
            return [0, 0] * self._axes
        pairs = []
        for axis in range(self._axes):
            if self.padding == "same":
                total = self.dilation[axis] * (self.kernel_size[axis] - 1)
                pairs.append((total // 2, total - total // 2))
            else:
                pairs.append((self.padding[axis], self.padding[axis]))
        return [n for pair in reversed(pairs) for n in pair]


class Conv1d(_Conv):
    """Cross-correlation of [N, in_channels, L] with a weight [out, in / groups, K], plus bias.

    `padding` is a number of elements on both sides, "valid" or "same"; `padding_mode` says of what
    they are ("zeros", "reflect", "replicate", "circular").
    """

    _axes = 1


class Conv2d(_Conv):
    """Cross-correlation of [N, in_channels, H, W] with a weight [out, in / groups, KH, KW], plus
    bias; arguments as in `Conv1d`, one number or one for each axis."""

    _axes = 2


class Conv3d(_Conv):
    """Cross-correlation of [N, in_channels, D, H, W] with a weight [out, in / groups, KD, KH, KW],
    plus bias; arguments as in `Conv1d`, one number or one for each axis."""

    _axes = 3


class _ConvTranspose(_ConvBase):
    _transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        if padding_mode != "zeros":
            raise ArgumentError(f"{type(self).__name__}: padding_mode must be 'zeros'")
        self.output_padding = per_axis(output_padding, self._axes, "output_padding")
        self._set_up(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                     bias, padding_mode, device, dtype)  # fmt: skip

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        extra = self.output_padding
        if output_size is not None:
            extra = self._padding_for(input, output_size)
        given = (self.weight, self.bias, self.stride, self.padding, extra)
        return conv_transpose(input, *given, self.groups, self.dilation, self._axes)

    def _padding_for(self, input: Tensor, output_size: Any) -> tuple[Any, ...]:
        """The output padding that leads to a size.

        Raises:
            ArgumentError: none does.
        """
        found = []
        sizes = list(output_size)[-self._axes :]
        for axis, (wanted, own) in enumerate(zip(sizes, input.shape[-self._axes :], strict=True)):
            reach = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
            least = (own - 1) * self.stride[axis] - 2 * self.padding[axis] + reach
            if not (least <= wanted and wanted < least + self.stride[axis]):
                raise ArgumentError(
                    f"{type(self).__name__}: output_size={list(output_size)}, of which {wanted} is "
                    f"not in {least} .. {least + self.stride[axis] - 1}"
                )
            found.append(wanted - least)
        return tuple(found)


class ConvTranspose1d(_ConvTranspose):
    """The transposed convolution of [N, in_channels, L], of size (L - 1) * stride - 2 * padding +
    dilation * (K - 1) + output_padding + 1; weight [in, out / groups, K]."""

    _axes = 1


class ConvTranspose2d(_ConvTranspose):
    """The transposed convolution over two axes; see `ConvTranspose1d`."""

    _axes = 2


class ConvTranspose3d(_ConvTranspose):
    """The transposed convolution over three axes; see `ConvTranspose1d`."""

    _axes = 3
