"""`gradcheck`, `autograd.functional`, the arguments of `grad`, and the search for NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sley
from sley import ArgumentError, AutogradError, ShapeError
from sley.autograd import GradcheckError, functional, gradcheck, gradgradcheck
from sley.frontend.tensor import Tensor

ALL = {
    "check_forward_ad": True,
    "check_batched_grad": True,
    "check_batched_forward_grad": True,
    "check_grad_dtypes": True,
}


def leaf(values: Any, dtype: Any = sley.float64) -> Tensor:
    return sley.tensor(values, dtype=dtype, requires_grad=True)


def field(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return (w @ x).sin() * x, x.sum()


def point() -> tuple[Tensor, Tensor]:
    return leaf([0.1, 0.7]), leaf([[0.1, 0.7], [2.0, 3.0]])


class Wrong(sley.autograd.Function):
    """x**2 with half its slope, or one that is no slope of anything."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * ctx.saved_tensors[0]


# gradcheck


@pytest.mark.parametrize("fast", [False, True])
def test_right_gradients_pass(fast: bool) -> None:
    assert gradcheck(field, point(), fast_mode=fast, **ALL)
    assert gradgradcheck(field, point(), fast_mode=fast, **ALL)
    assert gradgradcheck(field, point(), gen_non_contig_grad_outputs=True, fast_mode=fast)
    z = leaf([1 + 2j, 0.5 - 1j], sley.complex128)
    assert gradcheck(lambda z: (z * z.conj() * z, z.abs()), z, fast_mode=fast, **ALL)
    assert gradgradcheck(lambda z: z * z.conj() * z, z, fast_mode=fast)


@pytest.mark.parametrize("fast", [False, True])
def test_wrong_gradients_fail(fast: bool) -> None:
    x = leaf([0.5, 1.0])
    with pytest.raises(GradcheckError, match="Jacobian of result 0 by input 0 differs"):
        gradcheck(Wrong.apply, x, fast_mode=fast)
    assert not gradcheck(Wrong.apply, x, raise_exception=False, fast_mode=fast)
    with pytest.raises(GradcheckError, match="forward mode"):
        gradcheck(Wrong.apply, x, check_backward_ad=False, check_forward_ad=True, fast_mode=fast)


def test_wrong_second_derivatives_fail() -> None:
    class Half(sley.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x.detach())
            return x * x * x

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors  # without its history
            return grad * 3 * x.detach() * x.detach()

    x = leaf([0.5, 1.0])
    assert gradcheck(Half.apply, x)
    with pytest.raises(GradcheckError):
        gradgradcheck(Half.apply, x)


def test_arguments_of_gradcheck() -> None:
    with pytest.raises(ArgumentError, match="no input requires grad"):
        gradcheck(lambda x: x, sley.ones(2))
    with pytest.raises(GradcheckError, match="no result depends"):
        gradcheck(lambda x: x.detach(), leaf([1.0]))
    with pytest.warns(UserWarning, match="not float64"):
        gradcheck(lambda x: x * 2, leaf([1.0], sley.float32), eps=1e-2, atol=1e-2)


# functional


def matrix(blocks: Any, sizes: list[int]) -> np.ndarray:
    rows = [
        np.concatenate([b.detach().numpy().reshape(n, m) for b, m in zip(row, sizes)], 1)
        for row, n in zip(blocks, sizes)
    ]
    return np.concatenate(rows, 0)


def flat(tensors: Any) -> np.ndarray:
    return np.concatenate([t.detach().numpy().ravel() for t in tensors])


def test_products_are_products_with_the_jacobian_and_hessian() -> None:
    def scalar(x: Tensor, w: Tensor) -> Tensor:
        return ((w @ x).sin() * x).sum()

    inputs = tuple(t.detach() for t in point())
    rng = np.random.default_rng(0)
    v = tuple(sley.tensor(rng.normal(size=tuple(t.shape))) for t in inputs)
    hessian = matrix(functional.hessian(scalar, inputs), [2, 4])
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12)
    value, hvp = functional.hvp(scalar, inputs, v)
    np.testing.assert_allclose(flat(hvp), hessian @ flat(v))
    np.testing.assert_allclose(flat(functional.vhp(scalar, inputs, v)[1]), flat(v) @ hessian)
    assert float(value) == float(scalar(*inputs))

    for strategy in ("reverse-mode", "forward-mode"):
        rows = functional.jacobian(field, inputs, strategy=strategy)
        first = np.concatenate([b.numpy().reshape(2, -1) for b in rows[0]], 1)
        second = np.concatenate([b.numpy().reshape(1, -1) for b in rows[1]], 1)
        (a, b), (moved, of_sum) = functional.jvp(field, inputs, v)
        np.testing.assert_allclose(moved.numpy(), first @ flat(v))
        np.testing.assert_allclose(of_sum.numpy(), (second @ flat(v))[0])
        assert a.shape == (2,) and b.shape == ()
        weights = (sley.tensor([0.5, -2.0], dtype=sley.float64), sley.tensor(3.0).double())
        _, pulled = functional.vjp(field, inputs, weights)
        expected = weights[0].numpy() @ first + 3.0 * second[0]
        np.testing.assert_allclose(flat(pulled), expected)


def test_shapes_of_single_inputs_and_results() -> None:
    x = sley.ones(3)
    assert functional.jacobian(lambda x: x.sum(), x).shape == (3,)
    assert functional.jacobian(lambda x: (x, x.sum()), x)[0].shape == (3, 3)
    assert functional.jacobian(lambda x: x * 2, (x,))[0].shape == (3, 3)
    assert functional.hessian(lambda x: x.sum(), x).shape == (3, 3)
    assert functional.hessian(lambda x: x.sum(), (x,))[0][0].shape == (3, 3)
    assert functional.vjp(lambda x: x.sum(), x)[1].shape == (3,)
    assert functional.jvp(lambda x: x * 2, sley.tensor(1.0))[1].shape == ()


def test_create_graph_and_strict() -> None:
    x = leaf([1.0, 2.0])
    jacobian = functional.jacobian(lambda x: x**3, x, create_graph=True)
    jacobian.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * x.detach().numpy())
    assert not functional.jacobian(lambda x: x**3, x).requires_grad
    assert not functional.vjp(lambda x: x.sum(), x)[0].requires_grad
    with pytest.raises(AutogradError, match="result 1 does not depend on input 1"):
        functional.jacobian(field, point(), strict=True)
    with pytest.raises(ArgumentError, match="strict=True"):
        functional.jacobian(field, point(), strict=True, strategy="forward-mode")
    with pytest.raises(ArgumentError, match="neither"):
        functional.jacobian(field, point(), strategy="other")
    with pytest.raises(ShapeError, match="can be left out"):
        functional.vjp(lambda x: x, sley.ones(2))
    with pytest.raises(ShapeError, match="differ"):
        functional.jvp(lambda x: x, sley.ones(2), sley.ones(3))
    with pytest.raises(ShapeError, match="not a single number"):
        functional.hvp(lambda x: x, sley.ones(2), sley.ones(2))
    with pytest.raises(AutogradError, match="tuple of tensors"):
        functional.jacobian(lambda x: {"a": x}, sley.ones(2))


def test_functional_in_compiled_code() -> None:
    f = sley.compile(lambda x: functional.hessian(lambda x: (x**3).sum(), x), dynamic=True)
    for size in (2, 3):
        x = np.arange(1.0, size + 1)
        np.testing.assert_allclose(f(sley.tensor(x)).numpy(), np.diag(6 * x))
    assert len(f.programs) == 1


# autograd.grad


@pytest.mark.parametrize("run", [lambda f: f, sley.compile], ids=["eager", "compiled"])
def test_batched_gradients(run: Callable) -> None:
    def rows(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        x, y = (x * 1).requires_grad_(), (y * 1).requires_grad_()
        seeds = sley.eye(3, dtype=sley.float64)
        return sley.autograd.grad(x.sin() * y, (x, y), seeds, is_grads_batched=True)

    a, b = np.array([0.1, 0.5, 2.0]), np.array([1.0, -2.0, 3.0])
    of_x, of_y = run(rows)(sley.tensor(a), sley.tensor(b))
    np.testing.assert_allclose(of_x.detach().numpy(), np.diag(np.cos(a) * b))
    np.testing.assert_allclose(of_y.detach().numpy(), np.diag(np.sin(a)))


def test_batched_gradients_through_hooks_and_functions() -> None:
    x = leaf([0.5, 1.0])
    x.register_hook(lambda g: g * 10)
    (found,) = sley.autograd.grad(Wrong.apply(x) * 1, x, sley.eye(2).double(),
                                  is_grads_batched=True)  # fmt: skip
    np.testing.assert_allclose(found.numpy(), 10 * np.diag([0.5, 1.0]))


def test_unused_inputs() -> None:
    x, y = leaf([1.0]), leaf([2.0])
    with pytest.raises(AutogradError, match="does not take part"):
        sley.autograd.grad(x.sum(), [x, y])
    assert sley.autograd.grad(x.sum(), [x, y], allow_unused=True)[1] is None
    zeros = sley.autograd.grad(x.sum(), [x, y], materialize_grads=True)[1]
    assert zeros.numpy() == 0
    many = sley.ones(3, 1).double()
    found = sley.autograd.grad(x * 1, [x, y], many, is_grads_batched=True, allow_unused=True)
    assert found[0].shape == (3, 1) and found[1] is None
    with pytest.raises(ArgumentError, match="materialize_grads"):
        sley.autograd.grad(x.sum(), y, allow_unused=False, materialize_grads=True)
    with pytest.raises(ShapeError, match="batched gradients"):
        sley.autograd.grad(x * 1, x, sley.ones(3, 2).double(), is_grads_batched=True)
    with pytest.raises(ArgumentError, match="only_inputs"):
        sley.autograd.grad(x.sum(), x, only_inputs=False)


# NaN


def test_nan_is_found_where_it_is_made() -> None:
    x = leaf(0.0)
    with sley.autograd.detect_anomaly():
        assert sley.autograd.is_anomaly_enabled()
        with pytest.raises(AutogradError, match="SqrtBackward gave NaN") as error:
            (x.sqrt() * 0).backward()
        assert "test_gradcheck.py" in str(error.value)
        (x * 2).backward()
    assert not sley.autograd.is_anomaly_enabled()
    with sley.autograd.set_detect_anomaly(True, check_nan=False):
        (x.sqrt() * 0).backward()
    sley.autograd.set_detect_anomaly(False)
