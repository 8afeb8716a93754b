"""Limited-memory BFGS: steps by an estimate of the curvature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..context import ambient, enable_grad, setting
from ..errors import ArgumentError, UnsupportedError
from ..tensor import Tensor, elements, of_array
from .line_search import Point, strong_wolfe
from .optimizer import Closure, Optimizer


class LBFGS(Optimizer):
    """Limited-memory BFGS (Nocedal and Wright, 2006): each `step(closure)` makes up to `max_iter`
    iterations, for which `closure` computes loss and gradients anew. Eager only; the directions are
    computed on the processor, wherever the parameters lie.

    Args:
        max_eval: how often the closure may be called in a step, 5 / 4 of max_iter unless given.
        tolerance_grad, tolerance_change: end when no gradient, or no change of a parameter or the
            loss, is larger.
        history_size: how many steps the estimate of the curvature follows from.
        line_search_fn: None takes steps of lr, "strong_wolfe" looks for better ones.

    Raises:
        ArgumentError: more than one group of parameters, or an unknown line search.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        if line_search_fn not in (None, "strong_wolfe"):
            raise ArgumentError(f"LBFGS: line_search_fn={line_search_fn!r} is not 'strong_wolfe'")
        defaults = {
            "lr": lr, "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
            "history_size": history_size, "line_search_fn": line_search_fn,
        }  # fmt: skip
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ArgumentError("LBFGS takes one group of parameters")
        self._memory: dict[str, Any] = {"func_evals": 0, "n_iter": 0}

    # The parameters as one vector

    def _gradient(self) -> np.ndarray:
        parts = []
        for parameter in self.param_groups[0].params:
            grad = parameter.grad
            given = np.zeros(parameter.shape) if grad is None else elements(grad)
            parts.append(_flat(np.asarray(given, parameter.dtype.numpy)))
        return np.concatenate(parts).astype(parts[0].dtype)

    def _position(self) -> list[np.ndarray]:
        return [_flat(elements(p)) for p in self.param_groups[0].params]

    def _go(self, start: list[np.ndarray], length: float, direction: np.ndarray) -> None:
        """Let the parameters be start + length * direction."""
        begin = 0
        with setting(grad_enabled=False):
            for parameter, origin in zip(self.param_groups[0].params, start, strict=True):
                part = direction[begin : begin + origin.size]
                moved = (origin + length * part).astype(origin.dtype)
                array = moved.view(parameter.dtype.numpy).reshape(tuple(parameter.shape))
                parameter.copy_(of_array(array))
                begin += origin.size

    # Steps

    def step(self, closure: Closure | None = None) -> Any:
        """Minimise what `closure` gives; returns the first loss.

        Raises:
            UnsupportedError: inside a compiled function.
            ArgumentError: there is no closure.
        """
        if ambient.trace is not None:
            raise UnsupportedError(
                "LBFGS.step() decides by numbers that a recorded function does not have",
                hint="compile the closure, and call step() outside",
            )
        if closure is None:
            raise ArgumentError("LBFGS.step() needs a closure that computes loss and gradients")

        def evaluated() -> Any:
            with enable_grad():
                return closure()

        first = evaluated()
        self._memory["func_evals"] += 1
        point = Point(float(first), self._gradient())
        if float(abs(point.slope).max(initial=0)) > self._number("tolerance_grad"):
            self._iterate(evaluated, point)
        return first

    def _number(self, name: str) -> float:
        return float(self.param_groups[0][name])

    def _iterate(self, closure: Callable[[], Any], point: Point) -> None:
        memory, least = self._memory, self._number("tolerance_change")
        limit, evaluations = int(self._number("max_iter")), 1
        for turn in range(1, limit + 1):
            memory["n_iter"] += 1
            direction = self._direction(point.slope)
            last = point
            memory["prev_flat_grad"], memory["prev_loss"] = point.slope.copy(), point.loss
            length = self._number("lr")
            if memory["n_iter"] == 1:
                length *= min(1.0, 1.0 / float(abs(point.slope).sum()))
            memory["d"], memory["t"] = direction, length
            if float(point.slope @ direction) > -least:
                return
            point, length, calls = self._moved(closure, point, direction, length, turn < limit)
            memory["t"] = length
            evaluations += calls
            memory["func_evals"] += calls
            settled = float(abs(point.slope).max(initial=0)) <= self._number("tolerance_grad")
            short = float(abs(direction * length).max(initial=0)) <= least
            flat = abs(point.loss - last.loss) < least
            if settled or short or flat or evaluations >= self._number("max_eval"):
                return

    def _moved(
        self, closure: Callable[[], Any], point: Point, direction: np.ndarray, length: float,
        again: bool,
    ) -> tuple[Point, float, int]:  # fmt: skip
        """Go along a direction: the point there, the length of the step, calls of the closure."""
        start = self._position()

        def at(length: float) -> Point:
            self._go(start, length, direction)
            return Point(float(closure()), self._gradient())

        if self.param_groups[0].option("line_search_fn") is None:
            if again:
                return at(length), length, 1
            self._go(start, length, direction)
            return point, length, 0
        least = self._number("tolerance_change")
        found, length, calls = strong_wolfe(at, point, length, direction, least)
        self._go(start, length, direction)
        return found, length, calls

    def _direction(self, slope: np.ndarray) -> np.ndarray:
        """Minus the estimated inverse Hessian times the gradient, after the last step has been
        taken into the estimate."""
        memory = self._memory
        if memory["n_iter"] == 1:
            memory.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -slope
        change, moved = slope - memory["prev_flat_grad"], memory["d"] * memory["t"]
        bend = float(change @ moved)
        changes, moves, inverses = (memory[n] for n in ("old_dirs", "old_stps", "ro"))
        if bend > 1e-10:
            if len(changes) == int(self._number("history_size")):
                for history in (changes, moves, inverses):
                    history.pop(0)
            changes.append(change)
            moves.append(moved)
            inverses.append(1.0 / bend)
            memory["H_diag"] = bend / float(change @ change)
        q, shares = -slope, []
        for y, s, r in zip(reversed(changes), reversed(moves), reversed(inverses), strict=True):
            shares.append(float(s @ q) * r)
            q = q - shares[-1] * y
        q = q * memory["H_diag"]
        for y, s, r, share in zip(changes, moves, inverses, reversed(shares), strict=True):
            q = q + s * (share - float(y @ q) * r)
        return q.astype(slope.dtype)

    # Saving

    def _saved(self) -> dict[str, Any]:
        # The state belongs to the first parameter.
        found = super()._saved()
        memory = {name: _saved(value) for name, value in self._memory.items()}
        found["state"] = {0: memory} if self._memory["n_iter"] else {}
        return found

    def _load(self, state_dict: Mapping[str, Any]) -> None:
        super()._load({**state_dict, "state": {}})
        given = state_dict["state"].get(0, {})
        self._memory = {"func_evals": 0, "n_iter": 0}
        self._memory.update({name: _loaded(value) for name, value in given.items()})


def _flat(array: np.ndarray) -> np.ndarray:
    """A copy as a vector, of the parts of complex numbers."""
    flat = array.flatten()
    return flat.view(flat.real.dtype) if np.iscomplexobj(flat) else flat


def _saved(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return of_array(value.copy())
    return [_saved(v) for v in value] if isinstance(value, list) else value


def _loaded(value: Any) -> Any:
    if isinstance(value, Tensor):
        array = elements(value)
        return array.copy() if array.ndim else array.item()
    if isinstance(value, (list, tuple)):
        return [_loaded(v) for v in value]
    return value
