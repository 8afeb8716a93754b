"""Autograd: gradients, how they add up, where they stop, second derivatives, own functions."""

import sley
from sley.autograd import Function


def gradient(x):
    """`x.grad`, which is there after `backward()`."""
    assert x.grad is not None
    return x.grad


def gradients_of_leaves():
    x = sley.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = (x**2).sum()
    y.backward()
    assert gradient(x).tolist() == [2.0, 4.0, 6.0]

    # Gradients add up until they are cleared.
    (3 * x).sum().backward()
    assert gradient(x).tolist() == [5.0, 7.0, 9.0]
    gradient(x).zero_()
    (3 * x).sum().backward()
    assert gradient(x).tolist() == [3.0, 3.0, 3.0]


def zero_grad():
    w = sley.tensor(2.0, requires_grad=True)
    optimizer = sley.optim.SGD([w], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss = (w - 5) ** 2
        loss.backward()
        optimizer.step()
    assert abs(w.item() - (5 - 3 * 0.8**3)) < 1e-6


def where_gradients_stop():
    x = sley.ones(2, requires_grad=True)
    with sley.no_grad():
        assert not (x * 2).requires_grad
    held = (x * 3).detach()
    (held * x).sum().backward()  # `held` is a constant here
    assert gradient(x).tolist() == [3.0, 3.0]


def second_derivatives():
    x = sley.tensor(2.0, requires_grad=True)
    (first,) = sley.autograd.grad(x**3, x, create_graph=True)
    (second,) = sley.autograd.grad(first, x)
    assert first is not None and second is not None  # as where nothing leads to x
    assert first.item() == 12.0 and second.item() == 12.0  # 3 x^2 and 6 x


class StraightThrough(Function):
    """Rounds, with the gradient of the identity."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, grad):
        return grad


class Cube(Function):
    """x^3 with a gradient written by hand."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * 3 * x * x


def own_functions():
    x = sley.tensor([0.2, 1.7], requires_grad=True)
    StraightThrough.apply(x).sum().backward()
    assert gradient(x).tolist() == [1.0, 1.0]
    x.grad = None
    Cube.apply(x).sum().backward()
    assert sley.allclose(gradient(x), 3 * x.detach() ** 2)


def compiled_as_well():
    """A gradient inside of a compiled function: elementwise, hence the same bits as eager."""

    def slope(x):
        y = (x.sin() * x).sum() + Cube.apply(x).sum()
        return sley.autograd.grad(y, x)[0]

    x = sley.linspace(-1, 1, 7).requires_grad_()
    exact = x.detach().cos() * x.detach() + x.detach().sin() + 3 * x.detach() ** 2
    assert sley.allclose(slope(x), exact, atol=1e-6)
    assert sley.allclose(sley.compile(slope)(x), slope(x), rtol=1e-6)


def main():
    gradients_of_leaves()
    zero_grad()
    where_gradients_stop()
    second_derivatives()
    own_functions()
    compiled_as_well()
    print("every gradient is the expected one")


if __name__ == "__main__":
    main()
