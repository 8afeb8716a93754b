"""`autograd.Function`: gradients that a user says, eager, compiled, batched, to second order."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sley
from sley import AutogradError, ShapeError
from sley.autograd import Function, once_differentiable
from sley.frontend.tensor import Tensor


class Cube(Function):
    """k x**3; saves an input, keeps a number on ctx."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.k = k
        return x * x * x * k

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return grad * 3 * x * x * ctx.k, None


class Exp(Function):
    """exp(x); saves its output, by the form with setup_context."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.exp()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * ctx.saved_tensors[0]


class Clipped(Function):
    """The identity, whose gradient is clipped: not what its forward pass would have."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.clamp(-1, 1)


class Split(Function):
    """(x * y, which is larger): two results, one without a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(x, y)
        larger = sley.maximum(x, y)
        ctx.mark_non_differentiable(larger)
        return x * y, x + y, larger

    @staticmethod
    def backward(ctx: Any, of_product: Tensor, of_sum: Tensor, of_larger: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return of_product * y + of_sum, of_product * x + of_sum


def cube(x: Tensor) -> Tensor:
    return Cube.apply(x, 2.0)


def data() -> Tensor:
    return sley.tensor([0.5, 1.0, -2.0], dtype=sley.float64)


def runs(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    return [function, sley.compile(function), sley.compile(function, dynamic=True)]


def close(found: Tensor, expected: Any) -> None:
    np.testing.assert_allclose(found.detach().numpy(), np.asarray(expected), rtol=1e-9, atol=1e-12)


X = data().numpy()


@pytest.mark.parametrize(
    "function, slope, curve",
    [(cube, 6 * X * X, 12 * X), (Exp.apply, np.exp(X), np.exp(X))],
    ids=["saved input", "saved output"],
)
def test_first_and_second_derivative(function: Callable, slope: Any, curve: Any) -> None:
    def total(x: Tensor) -> Tensor:
        return function(x).sum()

    firsts = [sley.grad(total), sley.vmap(sley.grad(function)),
              lambda x: sley.jvp(function, (x,), (sley.ones_like(x),))[1]]  # fmt: skip
    for first in firsts:
        for f in runs(first):
            close(f(data()), slope)
    seconds = [
        sley.jacfwd(sley.jacrev(total)), sley.jacrev(sley.jacrev(total)),
        sley.jacrev(sley.jacfwd(total)), sley.jacfwd(sley.jacfwd(total)),
        sley.jacfwd(sley.vmap(sley.grad(function))),
    ]  # fmt: skip
    for second in seconds:
        for f in runs(second)[:2]:
            close(f(data()), np.diag(curve))
    close(sley.vmap(sley.grad(sley.grad(function)))(data()), curve)
    x = data().requires_grad_()
    (g,) = sley.autograd.grad(total(x), x, create_graph=True)
    close(sley.autograd.grad(g.sum(), x)[0], curve)


def test_backward_takes_the_place_of_the_rules() -> None:
    weights = sley.tensor([0.5, 3.0, -7.0], dtype=sley.float64)

    def loss(x: Tensor) -> Tensor:
        return (Clipped.apply(x * 2) * weights).sum()

    for f in runs(sley.grad(loss)):
        close(f(data()), [1.0, 2.0, -2.0])

    @sley.compile
    def step(x: Tensor) -> Tensor:
        result = loss(x)
        result.backward()
        return result

    x = data().requires_grad_()
    step(x)
    close(x.grad, [1.0, 2.0, -2.0])
    rows = sley.vmap(sley.grad(loss))(sley.stack([data(), data()]))
    close(rows, [[1.0, 2.0, -2.0]] * 2)


def test_several_results() -> None:
    def loss(x: Tensor, y: Tensor) -> Tensor:
        product, _, larger = Split.apply(x, y)
        assert not larger.requires_grad
        return (product * product).sum() + larger.sum()

    y = sley.tensor([2.0, -1.0, 0.3], dtype=sley.float64)
    for f in runs(sley.grad(loss, (0, 1))):
        of_x, of_y = f(data(), y)
        close(of_x, 2 * X * y.numpy() ** 2)
        close(of_y, 2 * X**2 * y.numpy())
    close(sley.grad(lambda x: Split.apply(x, y)[1].sum())(data()), np.ones(3))


def test_needs_input_grad_and_unused_gradients() -> None:
    seen = []

    class Note(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            ctx.set_materialize_grads(False)
            return x * 1, y * 1

        @staticmethod
        def backward(ctx: Any, a: Any, b: Any) -> Any:
            seen.append((ctx.needs_input_grad, a is None, b is None))
            return a, b

    x, y = data().requires_grad_(), data()
    Note.apply(x, y)[0].sum().backward()
    assert seen == [((True, False), False, True)]
    close(x.grad, np.ones(3))
    with sley.no_grad():
        assert not Note.apply(x, y)[0].requires_grad
    assert not Note.apply(y, y)[0].requires_grad


def test_numpy_inside() -> None:
    class Sine(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.array = x.numpy()
            return sley.from_numpy(np.sin(ctx.array))

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return sley.from_numpy(grad.numpy() * np.cos(ctx.array))

    x = data().requires_grad_()
    (Sine.apply(x * 2) ** 2).sum().backward()
    close(x.grad, 4 * np.sin(2 * X) * np.cos(2 * X))
    close(sley.jacrev(Sine.apply)(data()), np.diag(np.cos(X)))


def test_once_differentiable() -> None:
    class Square(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return 2 * grad * ctx.saved_tensors[0]

    for f in runs(sley.grad(lambda x: Square.apply(x).sum())):
        close(f(data()), 2 * X)
    for f in runs(sley.hessian(lambda x: Square.apply(x).sum())):
        with pytest.raises(AutogradError, match="once_differentiable"):
            f(data())


def test_writing_in_place() -> None:
    class Doubled(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return grad * 2

    def f(x: Tensor) -> Tensor:
        y = x * x
        assert Doubled.apply(y) is y
        return (y * y).sum()

    for g in runs(sley.grad(f)):
        close(g(data()), 16 * X**3)
    leaf = data().requires_grad_()
    with pytest.raises(AutogradError, match="leaf that requires grad"):
        Doubled.apply(leaf)


def test_results_that_are_arguments_or_views() -> None:
    class Same(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x.reshape(3, 1)

        @staticmethod
        def backward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
            return 5 * a + 7 * b.reshape(3)

    x = data().requires_grad_()
    same, column = Same.apply(x)
    assert same is not x and column.shape == (3, 1)
    (same.sum() + column.sum()).backward()
    close(x.grad, np.full(3, 12.0))
    for f in runs(sley.grad(lambda x: Same.apply(x)[1].sum())):
        close(f(data()), np.full(3, 7.0))


def test_errors() -> None:
    def made(returned: Callable[[Tensor], Any]) -> Callable[[Tensor], Tensor]:
        class Wrong(Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
                return x + y

            @staticmethod
            def backward(ctx: Any, grad: Tensor) -> Any:
                return returned(grad)

        return lambda x: Wrong.apply(x, x).sum()

    for run in (lambda f: f, sley.compile):
        with pytest.raises(AutogradError, match="returned 1 gradients for 2 arguments"):
            run(sley.grad(made(lambda g: g)))(data())
        with pytest.raises(ShapeError, match=r"Wrong\.backward\(\) returned a gradient f64\[2\]"):
            run(sley.grad(made(lambda g: (g[:2], g))))(data())
        with pytest.raises(AutogradError, match="returned a float, no tensor"):
            run(sley.grad(made(lambda g: (2.0, g))))(data())
        close(run(sley.grad(made(lambda g: (None, g * 3))))(data()), np.full(3, 3.0))
    with pytest.raises(NotImplementedError, match="forward"):
        Function.apply(data())
    with pytest.raises(AutogradError, match="save_for_backward"):
        sley.autograd.FunctionCtx().save_for_backward(3)


def test_a_saved_tensor_that_is_overwritten() -> None:
    x = data().requires_grad_()
    y = x * 1
    result = Cube.apply(y, 1.0)
    y.add_(1)
    with pytest.raises(AutogradError, match="overwritten in place"):
        result.sum().backward()


def test_the_graph_dies_with_its_result() -> None:
    x = data().requires_grad_()
    result = Exp.apply(x)
    watched = weakref.ref(result)
    gc.collect()
    gc.disable()
    try:
        del result
        assert watched() is None
    finally:
        gc.enable()


def test_in_control_flow() -> None:
    def through_scan(x: Tensor) -> Tensor:
        last, _ = sley.scan(lambda h, r: (Cube.apply(h, 0.5) + r, h), x[0] * 0, x)
        return last

    def plain(x: Tensor) -> Tensor:
        h = x[0] * 0
        for k in range(3):
            h = h * h * h * 0.5 + x[k]
        return h

    expected = sley.grad(plain)(data())
    for f in runs(sley.grad(through_scan)):
        close(f(data()), expected)


def test_the_name_of_what_made_it() -> None:
    assert str(cube(data().requires_grad_()).grad_fn) == "<CubeBackward>"
