"""Recurrent nets over whole sequences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...ir.dtypes import DType
from ..control import scan
from ..errors import ArgumentError, DTypeError, ShapeError
from ..functions.creation import empty, zeros
from ..functions.joining import cat, stack
from ..functions.math import add, where
from ..functions.matrix import linear
from ..functions.shape import transpose, unsqueeze
from ..tensor import Tensor
from . import functional as F
from . import init
from .functional.recurrent import State, gru_step, lstm_step, rnn_step
from .module import Module
from .parameter import Parameter
from .utils.rnn import PackedSequence, mask_of


class RNNBase(Module):
    """What recurrent nets share: parameters, layers, directions.

    Each layer multiplies all steps' inputs with its weight at once; what is left of a step is a
    `scan`, so that a program has as many ops for long sequences as for short ones.

    Attributes:
        weight_ih_l0: [gates * hidden_size, input_size], `_l1` for the second layer and so on (of
            what the layer before gives), with `_reverse` those of the other direction.
        weight_hh_l0: [gates * hidden_size, hidden_size or proj_size].
        bias_ih_l0, bias_hh_l0: [gates * hidden_size], where there are biases.
        weight_hr_l0: [proj_size, hidden_size], where there are projections.
    """

    _gates: int
    _states = 1

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if hidden_size < 1 or num_layers < 1:
            raise ArgumentError(f"{name}: hidden_size={hidden_size}, num_layers={num_layers}")
        if not 0 <= dropout <= 1:
            raise ArgumentError(f"{name}: dropout={dropout} is no probability")
        if not 0 <= proj_size < hidden_size:
            raise ArgumentError(f"{name}: proj_size={proj_size} of hidden_size={hidden_size}")
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        rows, width = self._gates * hidden_size, proj_size or hidden_size
        for layer in range(num_layers):
            columns = input_size if layer == 0 else width * self._directions
            for suffix in self._suffixes(layer):
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (rows, columns), "weight_hh": (rows, width),
                }  # fmt: skip
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for kind, shape in shapes.items():
                    made = Parameter(empty(shape, device=device, dtype=dtype))
                    self.register_parameter(kind + suffix, made)
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self._directions]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        kinds = ["weight_ih", "weight_hh"]
        kinds += ["bias_ih", "bias_hh"] if self.bias else []
        kinds += ["weight_hr"] if self.proj_size else []
        return [
            [getattr(self, kind + suffix) for kind in kinds]
            for layer in range(self.num_layers)
            for suffix in self._suffixes(layer)
        ]

    def reset_parameters(self) -> None:
        """Draw all anew, uniform within 1 / sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Does nothing: the memory of parameters needs no order."""

    def _step(self) -> Callable[..., State]:
        """What a state becomes with one more input."""
        raise NotImplementedError(f"{type(self).__name__} does not define _step()")

    def _run(self, input: Any, hx: State | None) -> tuple[Any, State]:
        """The last layer's results and the last states of all layers and directions."""
        packed = input if isinstance(input, PackedSequence) else None
        x = input if packed is None else packed.padded
        if x.ndim not in ((3,) if packed is not None else (2, 3)) or x.shape[-1] != self.input_size:
            order = "batch, length" if self.batch_first else "length, batch"
            raise ShapeError(
                f"{type(self).__name__} of {x.spec}: expected [{order}, {self.input_size}], or "
                f"[length, {self.input_size}]"
            )
        batched = x.ndim == 3
        if not batched:
            x = unsqueeze(x, 1)
            hx = None if hx is None else tuple(unsqueeze(s, 1) for s in hx)
        turned = self.batch_first and batched and packed is None
        if turned:
            x = transpose(x, 0, 1)
        states = self._first_states(x, hx)
        valid = None
        if packed is not None:
            valid = mask_of(packed.lengths, x.shape[0], x.shape[1], x)
        output, last = self._layers(x, states, valid)
        if packed is not None:
            return packed.replaced(output), last
        if not batched:
            return output[:, 0], tuple(s[:, 0] for s in last)
        return (transpose(output, 0, 1) if turned else output), last

    def _first_states(self, x: Tensor, hx: State | None) -> State:
        """The states [layers * directions, N, size] before the first step.

        Raises:
            ShapeError, DTypeError: those given do not fit.
        """
        count = self.num_layers * self._directions
        sizes = (self.proj_size or self.hidden_size, self.hidden_size)[: self._states]
        shapes = [(count, x.shape[1], size) for size in sizes]
        if hx is None:
            return tuple(zeros(list(shape), dtype=x.dtype, device=x.device) for shape in shapes)
        for state, wanted in zip(hx, shapes, strict=True):
            if state.ndim != 3 or tuple(state.shape) != wanted:
                raise ShapeError(
                    f"{type(self).__name__}: the state is {state.spec}, expected {list(wanted)}",
                    hint="a state is [layers * directions, batch, size]",
                )
            if state.dtype is not x.dtype:
                raise DTypeError(
                    f"{type(self).__name__}: the state is {state.dtype}, the input {x.dtype}"
                )
        return hx

    def _layers(self, x: Tensor, states: State, valid: Tensor | None) -> tuple[Tensor, State]:
        last: list[State] = []
        for layer in range(self.num_layers):
            results = []
            for reverse, suffix in enumerate(self._suffixes(layer)):
                first = tuple(s[len(last)] for s in states)
                state, found = self._pass(x, first, suffix, bool(reverse), valid)
                last.append(state)
                results.append(found)
            x = results[0] if len(results) == 1 else cat(results, -1)
            if self.dropout and layer + 1 < self.num_layers:
                x = F.dropout(x, self.dropout, self.training)
        return x, tuple(stack(parts) for parts in zip(*last, strict=True))

    def _pass(
        self, x: Tensor, state: State, suffix: str, reverse: bool, valid: Tensor | None
    ) -> tuple[State, Tensor]:
        """One layer in one direction: its last state and its results [T, N, size]. Where a
        sequence has no such step the state stays."""
        weight, step = getattr(self, "weight_hh" + suffix), self._step()
        given: dict[str, Any] = {}
        if self.proj_size:
            given["projection"] = getattr(self, "weight_hr" + suffix)
        bias_x = getattr(self, "bias_ih" + suffix) if self.bias else None
        bias_h = getattr(self, "bias_hh" + suffix) if self.bias else None
        if bias_h is not None and self.mode != "GRU":  # a sum: added for all steps at once
            bias_x, bias_h = add(bias_x, bias_h), None
        gates = linear(x, getattr(self, "weight_ih" + suffix), bias_x)
        state = tuple(s.to(gates.dtype) for s in state)

        def body(carry: State, slices: Any) -> tuple[State, Tensor]:
            if valid is None:
                new = step(slices, carry, weight, bias_h, **given)
                return new, new[0]
            new = step(slices[0], carry, weight, bias_h, **given)
            kept = tuple(where(slices[1], n, c) for n, c in zip(new, carry, strict=True))
            return kept, where(slices[1], new[0], 0)

        return scan(body, state, gates if valid is None else (gates, valid), reverse=reverse)

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        usual = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False,
                 "dropout": 0, "bidirectional": False}  # fmt: skip
        for name, default in usual.items():
            if getattr(self, name) != default:
                parts.append(f"{name}={getattr(self, name)}")
        return ", ".join(parts)


_SHAPES = """

    input is [L, N, input_size] ([N, L, input_size] with `batch_first`), [L, input_size], or a
    `PackedSequence`; the states are [num_layers * directions, N, hidden_size], zeros unless given.
    Returns the last layer's results [L, N, directions * hidden_size] and the last states.

    Args:
        num_layers: so many nets, each over the results of the one before.
        dropout: the probability with which results of all layers but the last are dropped.
        bidirectional: a second net runs from the last step to the first.
    """


class RNN(RNNBase):
    __doc__ = (
        """A plain recurrent net (Elman, 1990): h_t = f(x_t @ weight_ih.T + bias_ih + h @
    weight_hh.T + bias_hh), f being tanh or relu."""
        + _SHAPES
    )

    _gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ArgumentError(f"RNN: nonlinearity={nonlinearity!r} is not 'tanh' or 'relu'")
        super().__init__(f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, bias,
                         batch_first, dropout, bidirectional, 0, device, dtype)  # fmt: skip
        self.nonlinearity = nonlinearity

    def _step(self) -> Callable[..., State]:
        return rnn_step(self.nonlinearity)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        output, (h,) = self._run(input, None if hx is None else (hx,))
        return output, h


class GRU(RNNBase):
    __doc__ = (
        """A gated recurrent unit (Cho et al., 2014), its gates being r, z, n:
    h_t = (1 - z) * tanh(n + r * (h @ weight_hn.T + bias_hn)) + z * h."""
        + _SHAPES
    )

    _gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__("GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout,
                         bidirectional, 0, device, dtype)  # fmt: skip

    def _step(self) -> Callable[..., State]:
        return gru_step

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        output, (h,) = self._run(input, None if hx is None else (hx,))
        return output, h


class LSTM(RNNBase):
    __doc__ = (
        """A long short-term memory (Hochreiter and Schmidhuber, 1997), its gates being i, f, g, o:
    c_t = f * c + i * tanh(g), h_t = o * tanh(c_t). The states are a pair (h, c); with `proj_size`
    h is projected to that size (Sak et al., 2014)."""
        + _SHAPES
    )

    _gates = 4
    _states = 2

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__("LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout,
                         bidirectional, proj_size, device, dtype)  # fmt: skip

    def _step(self) -> Callable[..., State]:
        return lstm_step

    def forward(
        self, input: Any, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Any, tuple[Tensor, Tensor]]:
        output, (h, c) = self._run(input, None if hx is None else tuple(hx))
        return output, (h, c)
