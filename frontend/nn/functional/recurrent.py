"""The steps of recurrent nets: what a state becomes with one more input."""

from __future__ import annotations

from collections.abc import Callable

from ...functions.arguments import shape_of, spelled
from ...functions.math import add, mul, sigmoid, sub, tanh
from ...functions.matrix import linear
from ...tensor import Tensor
from .activation import relu

State = tuple[Tensor, ...]


def parts(gates: Tensor, count: int) -> list[Tensor]:
    """The last axis cut into `count` equal parts."""
    width = spelled(shape_of(gates)[-1]) // count
    return [gates[..., k * width : (k + 1) * width] for k in range(count)]


def rnn_step(nonlinearity: str) -> Callable[..., State]:
    """The step of a plain recurrent net (Elman, 1990): f(input part + h @ weight.T)."""
    function = tanh if nonlinearity == "tanh" else relu

    def step(gates: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
        return (function(add(gates, linear(state[0], weight, bias))),)

    return step


def gru_step(gates: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    """The step of a gated recurrent unit (Cho et al., 2014), the gates being r, z, n:
    h' = (1 - z) * tanh(n + r * (h @ weight_n.T + bias_n)) + z * h."""
    (h,) = state
    from_input, from_state = parts(gates, 3), parts(linear(h, weight, bias), 3)
    reset = sigmoid(add(from_input[0], from_state[0]))
    keep = sigmoid(add(from_input[1], from_state[1]))
    new = tanh(add(from_input[2], mul(reset, from_state[2])))
    return (add(new, mul(keep, sub(h, new))),)


def lstm_step(
    gates: Tensor,
    state: State,
    weight: Tensor,
    bias: Tensor | None,
    projection: Tensor | None = None,
) -> State:
    """The step of a long short-term memory (Hochreiter and Schmidhuber, 1997), the gates being
    i, f, g, o: c' = f * c + i * tanh(g), h' = o * tanh(c'), projected where there is a projection
    (Sak et al., 2014)."""
    h, c = state
    enter, forget, new, out = parts(add(gates, linear(h, weight, bias)), 4)
    cell = add(mul(sigmoid(forget), c), mul(sigmoid(enter), tanh(new)))
    hidden = mul(sigmoid(out), tanh(cell))
    return (hidden if projection is None else linear(hidden, projection)), cell
