"""No write is lost, no stale value returned: the same programs over state, eager and compiled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sley
from sley import nn

SCALE = sley.tensor([1.0, 2.0])
FACTOR = 3
RUNS = {"eager": lambda f: f, "compiled": sley.compile}
run = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
Run = Callable[[Callable[..., Any]], Callable[..., Any]]


@run
def test_a_write_through_a_view_shows_in_its_base(run: Run) -> None:
    def step(x: sley.Tensor) -> sley.Tensor:
        x[0].add_(1)
        x.T[1].mul_(10)
        x.diagonal().sub_(5)
        x.view(-1)[2:4] = 7
        return x.sum()

    x, again = sley.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3)
    f = run(step)
    for _ in range(3):
        total = f(x)
        again[0] += 1
        again[:, 1] *= 10
        again[[0, 1], [0, 1]] -= 5
        again.reshape(-1)[2:4] = 7
        assert x.tolist() == again.tolist() and total.item() == again.sum()


@run
def test_diagonals_of_any_memory_are_views(run: Run) -> None:
    def step(x: sley.Tensor) -> sley.Tensor:
        x[:, :2].diagonal().fill_(9)
        x.T[1:].diagonal(1).zero_()
        return x.as_strided((2,), (4,), 1) * 1

    x = sley.arange(12.0).reshape(3, 4) * 1
    assert run(step)(x).tolist() == [1, 0]
    assert x.tolist() == [[9, 1, 2, 3], [4, 0, 6, 7], [8, 9, 0, 11]]


@run
def test_closures(run: Run) -> None:
    weight, offset = sley.ones(2), 1.0

    def step(x: sley.Tensor) -> sley.Tensor:
        return x * weight + offset

    f = run(step)
    assert f(SCALE).tolist() == [2, 3]
    weight.mul_(5)
    assert f(SCALE).tolist() == [6, 11]
    weight = sley.zeros(2)
    assert f(SCALE).tolist() == [1, 1]
    offset = 4.0
    assert f(SCALE).tolist() == [4, 4]


@run
def test_globals(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(x: sley.Tensor) -> sley.Tensor:
        return x * SCALE * FACTOR

    f, x = run(step), sley.ones(2)
    assert f(x).tolist() == [3, 6]
    monkeypatch.setitem(globals(), "FACTOR", 4)
    assert f(x).tolist() == [4, 8]
    monkeypatch.setitem(globals(), "SCALE", sley.tensor([0.0, 1.0]))
    assert f(x).tolist() == [0, 4]


@run
def test_attributes_of_modules(run: Run) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(sley.ones(2))
            self.register_buffer("seen", sley.zeros(()))
            self.power = 1

        def forward(self, x: sley.Tensor) -> sley.Tensor:
            self.seen.add_(1)
            return self.weight * x**self.power

    model = Scaled()
    f = run(lambda x: model(x))
    x = sley.tensor([2.0, 3.0])
    assert f(x).tolist() == [2, 3]
    model.power = 2
    assert f(x).tolist() == [4, 9]
    with sley.no_grad():
        model.weight.mul_(2)
    assert f(x).tolist() == [8, 18]
    model.weight = nn.Parameter(sley.zeros(2))
    assert f(x).tolist() == [0, 0] and model.seen.item() == 4


@run
def test_lists_that_grow(run: Run) -> None:
    parts = [sley.ones(2)]

    def step(x: sley.Tensor) -> sley.Tensor:
        total = x * 0
        for part in parts:
            total = total + part
        return total

    f = run(step)
    for count in (1, 2):
        assert f(SCALE).tolist() == [count, count]
        parts.append(sley.ones(2))
    parts[0] = sley.full((2,), 10.0)
    assert f(SCALE).tolist() == [12, 12]
    parts[1].fill_(0)
    assert f(SCALE).tolist() == [11, 11]


@run
def test_results_that_are_views_of_arguments(run: Run) -> None:
    f = run(lambda x: (x.view(2, 2), x[1:], x * 1))
    x = sley.arange(4.0) * 1
    view, tail, copy = f(x)
    view[0, 1] = 9
    tail[2] = 8
    copy.zero_()
    assert x.tolist() == [0, 9, 2, 8] and view.tolist() == [[0, 9], [2, 8]]
    x.fill_(5)
    assert tail.tolist() == [5, 5, 5] and copy.tolist() == [0, 0, 0, 0]


@run
def test_a_function_that_returns_its_argument(run: Run) -> None:
    def step(x: sley.Tensor, y: sley.Tensor) -> tuple:
        x.add_(1)
        return x, y, x

    x, y = sley.zeros(2), sley.ones(2, requires_grad=True)
    first, second, third = run(step)(x, y)
    assert first is x and second is y and third is x and x.tolist() == [1, 1]


@run
def test_an_argument_passed_twice(run: Run) -> None:
    def step(a: sley.Tensor, b: sley.Tensor) -> sley.Tensor:
        a.add_(1)
        b.mul_(3)
        return a + b

    f = run(step)
    x, y = sley.ones(2), sley.ones(2)
    assert f(x, y).tolist() == [5, 5] and x.tolist() == [2, 2] and y.tolist() == [3, 3]
    x = sley.ones(2)
    assert f(x, x).tolist() == [12, 12] and x.tolist() == [6, 6]
    x = sley.arange(3.0) * 1
    assert f(x[:2], x[1:]).tolist() == [7, 12] and x.tolist() == [1, 6, 6]
    x, y = sley.ones(2), sley.ones(2)
    assert f(x, y).tolist() == [5, 5], "and apart again"


@run
def test_results_of_one_call_outlive_the_next(run: Run) -> None:
    f = run(lambda x: (x * 2, (x * 3).view(2, 1)))
    kept = [f(sley.full((2,), float(k))) for k in range(5)]
    for k, (double, triple) in enumerate(kept):
        assert double.tolist() == [2 * k] * 2 and triple.tolist() == [[3 * k]] * 2


@run
def test_two_calls_in_flight(run: Run) -> None:
    weight = sley.rand(40, 40)
    f = run(lambda x: (x @ weight).softmax(-1).sort(-1).values)
    inputs = [sley.rand(40, 40) for _ in range(4)]
    expected = [f(x).tolist() for x in inputs]
    found: dict[int, list[bool]] = {}

    def calls(k: int) -> None:
        found[k] = [f(inputs[k]).tolist() == expected[k] for _ in range(20)]

    threads = [threading.Thread(target=calls, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(all(v) for v in found.values())


# Gradients


def line_of(function: Callable[..., Any], text: str) -> int:
    """The number of the line of `function` that holds `text`."""
    import inspect

    lines, first = inspect.getsourcelines(function)
    return first + next(k for k, line in enumerate(lines) if text in line)


def test_an_overwritten_value_names_both_lines() -> None:
    def step(w: sley.Tensor) -> None:
        y = w * 2
        z = y * y  # needs y
        y.add_(1)  # the write
        z.sum().backward()

    with pytest.raises(sley.AutogradError) as caught:
        step(sley.ones(3, requires_grad=True))
    text = str(caught.value)
    assert f"used at {__file__}:{line_of(step, 'needs y')} " in text
    assert f"overwritten at {__file__}:{line_of(step, 'the write')} " in text


def test_an_overwritten_result_names_both_lines() -> None:
    def step(w: sley.Tensor) -> None:
        y = w.exp()  # its rule reads its result
        y[0] = 1  # the write
        y.sum().backward()

    with pytest.raises(sley.AutogradError) as caught:
        step(sley.ones(3, requires_grad=True))
    text = str(caught.value)
    assert f":{line_of(step, 'reads its result')} " in text
    assert f"overwritten at {__file__}:{line_of(step, 'the write')} " in text


@run
def test_a_second_backward_needs_the_graph(run: Run) -> None:
    w = sley.ones(2, requires_grad=True)

    def twice(retain: bool) -> None:
        loss = (w * w).sum()
        loss.backward(retain_graph=retain)
        loss.backward()

    f = run(twice)
    f(True)
    assert w.grad is not None and w.grad.tolist() == [4, 4]
    with pytest.raises(sley.AutogradError, match="freed by an earlier backward"):
        f(False)

    def shared() -> None:
        hidden = w * w
        hidden.sum().backward()
        (hidden * 2).sum().backward()

    with pytest.raises(sley.AutogradError, match="freed by an earlier backward"):
        run(shared)()

    def apart() -> sley.Tensor:
        w.grad = None
        (w * w).sum().backward()
        (w * w).sum().backward()
        return w.grad * 1

    assert run(apart)().tolist() == [4, 4]


@run
def test_gradients_flow_through_writes_to_views(run: Run) -> None:
    def step(w: sley.Tensor) -> Any:
        y = w * 2
        y[:, 0] = w[:, 1] * 3
        y.diagonal().mul_(10)
        return sley.autograd.grad((y * y).sum(), w)[0]

    w = sley.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    # y = [[30 w01, 2 w01], [3 w11, 20 w11]]
    expected = [[0, 2 * (900 + 4) * 2], [0, 2 * (9 + 400) * 4]]
    assert run(step)(w).tolist() == expected


# Shapes changed in place


@run
def test_shapes_change_in_place(run: Run) -> None:
    def step(x: sley.Tensor) -> tuple:
        y = x * 2
        part = y[0]
        row = y.view(-1)
        shape = y.unsqueeze_(0).shape
        y.transpose_(1, 2).squeeze_()
        y.t_().swapaxes_(0, 1)
        y[0, 1] = 50
        part[0] = 7
        return y, row, part, sley.tensor(list(shape))

    x = sley.arange(6.0, requires_grad=True).reshape(2, 3)
    y, row, part, shape = run(step)(x)
    assert y.tolist() == [[7, 50], [2, 8], [4, 10]] and shape.tolist() == [1, 2, 3]
    assert row.tolist() == [7, 2, 4, 50, 8, 10] and part.tolist() == [7, 2, 4]
    assert y.stride() == (1, 3) or y.is_contiguous()


def test_a_shape_that_cannot_change_in_place() -> None:
    with pytest.raises(sley.AutogradError, match="leaf that requires grad"):
        sley.ones(2, requires_grad=True).unsqueeze_(0)
    with pytest.raises(sley.TraceError, match="without the underscore"):
        sley.compile(lambda x: x.unsqueeze_(0))(sley.ones(2))
    x = sley.ones(2, 3)
    y = x.t_()
    assert y is x and x.shape == (3, 2) and sley.compile(lambda: x * 1)().shape == (3, 2)
