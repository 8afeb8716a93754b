"""Gradients of Fourier transforms: the transforms the other way."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.dtypes import i64
from ...ir.graph import Node, Value, full
from ...ir.ops import elementwise as ew
from ...ir.ops.fourier import FFT, IRFFT, RFFT
from ...ir.ops.source import IOTA
from ...ir.types import tensor_type
from .rule import Cotangent, NotDifferentiable, Rule, size_value, sole

Cotangents = Sequence[Value | None]

# The adjoint of a transform divides by what the transform divides by.
ADJOINT_NORM = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def _fft(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    attrs = node.attrs
    norm = ADJOINT_NORM[attrs["norm"]]
    return (FFT(sole(cotangents), axes=attrs["axes"], inverse=not attrs["inverse"], norm=norm),)


def _rfft(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    """`irfft` counts each inner frequency twice, for its conjugate; here it stands once."""
    axis, norm = node.attrs["axis"], ADJOINT_NORM[node.attrs["norm"]]
    size = node.operands[0].type.shape[axis]
    return (IRFFT(_weighted(sole(cotangents), node, 0.5), axis=axis, size=size, norm=norm),)


def _irfft(node: Node, cotangents: Cotangents) -> Sequence[Cotangent]:
    found = RFFT(sole(cotangents), axis=node.attrs["axis"], norm=ADJOINT_NORM[node.attrs["norm"]])
    return (_weighted(found, node, 2.0),)


def _weighted(value: Value, node: Node, factor: float) -> Value:
    """Half a spectrum with those frequencies times `factor` whose conjugates it leaves out: all but
    the first, and for an even number of points the last."""
    axis, shape = node.attrs["axis"], value.type.shape
    points = (node.operands[0] if node.op is RFFT else node.results[0]).type.shape[axis]
    number = IOTA(shape=shape, axis=axis, dtype=i64)
    at_end = ew.EQ(number * 2, size_value(points, i64, shape))
    alone = ew.BIT_OR(at_end, ew.EQ(number, full(number.type, 0)))
    real = tensor_type(value.type.dtype.to_real(), shape)
    weight = ew.WHERE(alone, full(real, 1), full(real, factor))
    return ew.COMPLEX(ew.REAL(value) * weight, ew.IMAG(value) * weight)


FOURIER: dict[str, Rule | NotDifferentiable] = {"fft": _fft, "rfft": _rfft, "irfft": _irfft}
