"""Single steps of recurrent nets as layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...ir.dtypes import DType
from ..errors import ArgumentError, ShapeError
from ..functions.creation import empty, zeros
from ..functions.matrix import linear
from ..functions.shape import unsqueeze
from ..tensor import Tensor
from . import init
from .functional.recurrent import State, gru_step, lstm_step, rnn_step
from .module import Module
from .parameter import Parameter


class RNNCellBase(Module):
    """Weights and biases of one step: `weight_ih` [gates * hidden_size, input_size], `weight_hh`
    [gates * hidden_size, hidden_size], `bias_ih` and `bias_hh` [gates * hidden_size] or None, at
    first uniform within 1 / sqrt(hidden_size)."""

    bias_ih: Tensor | None
    bias_hh: Tensor | None

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None,
        dtype: DType | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if hidden_size < 1:
            raise ArgumentError(f"{type(self).__name__}: hidden_size={hidden_size}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        kind = {"device": device, "dtype": dtype}
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(empty(rows, input_size, **kind))
        self.weight_hh = Parameter(empty(rows, hidden_size, **kind))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(empty(rows, **kind)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _stepped(self, input: Tensor, state: State | None, count: int, step: Callable) -> State:
        """One step of [N, input_size] or [input_size]; without a state from zeros."""
        name = type(self).__name__
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise ShapeError(
                f"{name} of {input.spec}: expected [batch, {self.input_size}] or "
                f"[{self.input_size}]"
            )
        if state is None:
            made = zeros(
                [*input.shape[:-1], self.hidden_size], dtype=input.dtype, device=input.device
            )
            state = (made,) * count
        for part in state:
            if part.ndim != input.ndim or tuple(part.shape) != (
                *input.shape[:-1], self.hidden_size,
            ):  # fmt: skip
                wanted = [*input.shape[:-1], self.hidden_size]
                raise ShapeError(f"{name}: the state is {part.spec}, expected {wanted}")
        batch = input.ndim == 2
        if not batch:
            input, state = unsqueeze(input, 0), tuple(unsqueeze(s, 0) for s in state)
        gates = linear(input, self.weight_ih, self.bias_ih)
        found = step(gates, state, self.weight_hh, self.bias_hh)
        return found if batch else tuple(s[0] for s in found)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        return text if self.bias else f"{text}, bias={self.bias}"


class RNNCell(RNNCellBase):
    """h' = f(x @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh), f being tanh or relu:
    input [N, input_size] and state [N, hidden_size] (zeros unless given) give the new state; N may
    be left out."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
        device: Any = None, dtype: DType | None = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        if nonlinearity not in ("tanh", "relu"):
            raise ArgumentError(f"RNNCell: nonlinearity={nonlinearity!r} is not 'tanh' or 'relu'")
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        state = None if hx is None else (hx,)
        return self._stepped(input, state, 1, rnn_step(self.nonlinearity))[0]

    def extra_repr(self) -> str:
        text = super().extra_repr()
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity={self.nonlinearity}"


class GRUCell(RNNCellBase):
    """One step of a gated recurrent unit (Cho et al., 2014): input [N, input_size] and state
    [N, hidden_size] (zeros unless given) give the new state; N may be left out. The rows of the
    weights are those of the gates r, z, n."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None,
        dtype: DType | None = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._stepped(input, None if hx is None else (hx,), 1, gru_step)[0]


class LSTMCell(RNNCellBase):
    """One step of a long short-term memory (Hochreiter and Schmidhuber, 1997): input
    [N, input_size] and the states h, c [N, hidden_size] (zeros unless given) give the new (h, c);
    N may be left out. The rows of the weights are those of the gates i, f, g, o."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None,
        dtype: DType | None = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        h, c = self._stepped(input, None if hx is None else tuple(hx), 2, lstm_step)
        return h, c
