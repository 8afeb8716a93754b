"""Transformations of functions: values against closed forms and each other, nested in any order,
eager, compiled and with symbolic sizes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sley
from sley import ArgumentError, AutogradError, DTypeError, ShapeError, UnsupportedError
from sley.frontend.tensor import Tensor

X = np.array([0.3, 1.2, -0.7])


def tensor(values: Any = X) -> Tensor:
    return sley.tensor(np.asarray(values, np.float64))


def close(found: Any, expected: Any, rtol: float = 1e-9) -> None:
    found = found.detach().numpy() if isinstance(found, Tensor) else found
    expected = expected.detach().numpy() if isinstance(expected, Tensor) else expected
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-12)


def both(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Eager, compiled, and compiled with symbolic sizes."""
    return [function, sley.compile(function), sley.compile(function, dynamic=True)]


def wave(x: Tensor) -> Tensor:
    return (sley.sin(x) * x).sum()


def wave_slope(x: np.ndarray) -> np.ndarray:
    return np.cos(x) * x + np.sin(x)


def wave_curve(x: np.ndarray) -> np.ndarray:
    return 2 * np.cos(x) - np.sin(x) * x


def field(x: Tensor) -> Tensor:
    """Two rows that depend on all elements."""
    return sley.stack([sley.sin(x) * x, x * x * x.sum()])


# Values


def test_grad_and_value() -> None:
    for f in both(sley.grad(wave)):
        close(f(tensor()), wave_slope(X))
    for f in both(sley.value_and_grad(wave)):
        value, slope = f(tensor())
        close(value, np.sum(np.sin(X) * X))
        close(slope, wave_slope(X))


def test_grad_of_grad() -> None:
    for f in both(sley.grad(lambda x: sley.grad(wave)(x).sum())):
        close(f(tensor()), wave_curve(X))


def test_vjp_and_jvp_are_products_with_the_jacobian() -> None:
    jacobian = sley.jacrev(field)(tensor()).numpy()
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, 3)), rng.normal(size=3)

    def pull(x: Tensor, weights: Tensor) -> Tensor:
        result, pulled = sley.vjp(field, x)
        assert tuple(result.shape) == (2, 3)
        return pulled(weights)[0]

    def push(x: Tensor, along: Tensor) -> Tensor:
        return sley.jvp(field, (x,), (along,))[1]

    for f in both(pull):
        close(f(tensor(), tensor(left)), np.einsum("ij,ijk->k", left, jacobian))
    for f in both(push):
        close(f(tensor(), tensor(right)), jacobian @ right)


def test_jacobians_in_both_modes() -> None:
    step = 1e-6
    columns = [
        (field(tensor(X + step * e)) - field(tensor(X - step * e))).numpy() / (2 * step)
        for e in np.eye(3)
    ]
    expected = np.stack(columns, -1)
    for transform in (sley.jacrev, sley.jacfwd):
        for f in both(transform(field)):
            close(f(tensor()), expected, 1e-6)
        close(transform(field, chunk_size=2)(tensor()), expected, 1e-6)


@pytest.mark.parametrize(
    "outer, inner", list(itertools.product([sley.jacrev, sley.jacfwd], repeat=2))
)
def test_hessian_in_all_modes(outer: Callable, inner: Callable) -> None:
    for f in both(outer(inner(wave))):
        close(f(tensor()), np.diag(wave_curve(X)))


def test_hessian_and_third_derivatives() -> None:
    for f in both(sley.hessian(wave)):
        close(f(tensor()), np.diag(wave_curve(X)))
    third = np.zeros((3, 3, 3))
    third[range(3), range(3), range(3)] = -3 * np.sin(X) - np.cos(X) * X
    for transform in (sley.jacrev, sley.jacfwd):
        close(transform(sley.hessian(wave))(tensor()), third)


def test_hessian_inside_a_compiled_step() -> None:
    """A step of Newton's method."""

    @sley.compile
    def newton(x: Tensor) -> Tensor:
        def loss(x: Tensor) -> Tensor:
            return ((x - 2) ** 4).sum() + (x[0] * x[1]) ** 2

        return x - sley.linalg.solve(sley.hessian(loss)(x), sley.grad(loss)(x))

    x = tensor([1.0, -0.5])
    for _ in range(3):
        x = newton(x)
    assert len(newton.programs) == 1


def test_hvp_is_the_hessian_times_the_vector() -> None:
    def f(x: Tensor) -> Tensor:
        return (x * x * x).sum() * x[0] + sley.exp(x[1] * x[2])

    v = np.array([0.5, -1.0, 2.0])
    expected = sley.hessian(f)(tensor()).numpy() @ v
    forward_over_reverse = sley.jvp(sley.grad(f), (tensor(),), (tensor(v),))[1]
    reverse_over_reverse = sley.grad(lambda x: sley.dot(sley.grad(f)(x), tensor(v)))(tensor())
    reverse_over_forward = sley.grad(lambda x: sley.jvp(f, (x,), (tensor(v),))[1])(tensor())
    for found in (forward_over_reverse, reverse_over_reverse, reverse_over_forward):
        close(found, expected)


# One derivative is not taken for another


def test_linearize_and_grad_and_value() -> None:
    jacobian = sley.jacfwd(field)(tensor()).numpy()

    def columns(x: Tensor) -> tuple[Tensor, Tensor]:
        result, push = sley.func.linearize(field, x)
        return result, sley.stack([push(row) for row in sley.eye(3, dtype=sley.float64)], -1)

    for f in both(columns):
        result, found = f(tensor())
        close(result, field(tensor()))
        close(found, jacobian)
    slope, value = sley.func.grad_and_value(wave)(tensor())
    close(slope, wave_slope(X))
    close(value, wave(tensor()))
    _, push = sley.func.linearize(field, tensor())
    with pytest.raises(sley.TraceError, match="linearize"):
        sley.vmap(push)(sley.eye(3, dtype=sley.float64))


def test_perturbations_are_not_confused() -> None:
    """The classical programs: Siskind and Pearlmutter, "Perturbation confusion and referential
    transparency", 2005; Manzyuk et al. 2012."""

    def derivative(f: Callable, x: Any) -> Tensor:
        return sley.jvp(f, (sley.tensor(x) if isinstance(x, float) else x,), (sley.tensor(1.0),))[1]

    def by_grad(f: Callable, x: Any) -> Tensor:
        return sley.grad(f)(x)

    for d in (derivative, by_grad):
        for e in (derivative, by_grad):
            assert float(d(lambda x, e=e: x * e(lambda y: x + y, 1.0), 1.0)) == 1.0
            assert float(d(lambda x, e=e: x * e(lambda y: x * y, 2.0), 3.0)) == 6.0
            assert float(d(lambda x, e=e: e(lambda y: x * y * y, x), 3.0)) == 12.0
            assert float(d(lambda x, e=e: e(lambda y: x, x) + x, 3.0)) == 1.0


def test_a_shifted_operator_is_not_confused() -> None:
    """D (\\x -> D (\\y -> f(x + y)) 0) with f given as a function (Manzyuk et al., 2019)."""

    def derivative(f: Callable) -> Callable:
        return lambda x: sley.jvp(f, (x,), (sley.tensor(1.0),))[1]

    def shifted(u: Tensor) -> Callable:
        return lambda f: lambda x: f(x + u)

    def second(f: Callable, at: float) -> Tensor:
        inner = sley.jvp(
            lambda u: derivative(shifted(u)(f))(sley.tensor(at)),
            (sley.tensor(0.0),),
            (sley.tensor(1.0),),
        )
        return inner[1]

    assert float(second(lambda x: x * x * x, 2.0)) == 12.0


# Histories around transformations


def test_results_have_no_history_of_their_own() -> None:
    x = tensor()
    results = [
        sley.grad(wave)(x), *sley.value_and_grad(wave)(x), sley.jacrev(field)(x),
        sley.jacfwd(field)(x), *sley.jvp(field, (x,), (x,)), sley.vjp(field, x)[0],
        sley.vmap(wave)(sley.stack([x, x])), sley.hessian(wave)(x),
    ]  # fmt: skip
    assert not any(r.requires_grad for r in results)


def test_results_are_differentiable_by_what_is_around() -> None:
    w = sley.tensor(2.0, dtype=sley.float64, requires_grad=True)
    x = tensor().requires_grad_()
    results = [
        sley.grad(lambda x: (x * x * w).sum())(x).sum(),
        sley.value_and_grad(lambda x: (x * x * w).sum())(x)[1].sum(),
        sley.jacrev(lambda x: x * x * w)(x).sum(),
        sley.jacfwd(lambda x: x * x * w)(x).sum(),
        sley.jvp(lambda x: x * x * w, (x,), (sley.ones_like(x),))[1].sum(),
        sley.vjp(lambda x: x * x * w, x)[1](sley.ones_like(x))[0].sum(),
        sley.vmap(sley.grad(lambda x: x * x * w))(x).sum(),
    ]
    for result in results:
        of_w, of_x = sley.autograd.grad(result, [w, x])
        close(of_w, 2 * X.sum())
        close(of_x, np.full(3, 4.0))
    with sley.no_grad():
        close(sley.grad(wave)(x), wave_slope(X))  # no_grad around makes no difference
        assert not sley.grad(wave)(x).requires_grad


def test_no_grad_and_detach_inside() -> None:
    def f(x: Tensor) -> Tensor:
        with sley.no_grad():
            constant = x * x
        return (x * constant + x.detach() * x).sum()

    cases = [(sley.grad(f), tensor()), (sley.jacfwd(f), tensor()),
             (sley.vmap(sley.grad(f)), tensor([X]))]  # fmt: skip
    for transformed, x in cases:
        for g in both(transformed):
            close(g(x), (x * x + x).numpy())


def test_python_decisions_work_eager() -> None:
    def f(x: Tensor) -> Tensor:
        return x * x if x > 0 else -x

    assert float(sley.grad(f)(tensor(3.0))) == 6.0
    assert float(sley.grad(f)(tensor(-3.0))) == -1.0
    assert float(sley.jvp(f, (tensor(3.0),), (tensor(1.0),))[1]) == 6.0
    assert float(sley.jacfwd(sley.jacrev(f))(tensor(3.0))) == 2.0


def test_compiled_functions_inside() -> None:
    compiled = sley.compile(wave)
    close(sley.grad(compiled)(tensor()), wave_slope(X))
    close(sley.jacrev(sley.compile(field))(tensor()), sley.jacrev(field)(tensor()))
    for transform in (sley.hessian, lambda f: sley.grad(lambda x: sley.grad(f)(x).sum())):
        found = transform(compiled)(tensor())
        close(found, np.diag(wave_curve(X)) if found.ndim == 2 else wave_curve(X))
    close(sley.jvp(compiled, (tensor(),), (tensor(),))[1], np.sum(wave_slope(X) * X))
    rows = tensor([X, 2 * X])
    close(sley.vmap(sley.grad(compiled))(rows), wave_slope(rows.numpy()))


# Arguments


def test_argnums_trees_and_keywords() -> None:
    def f(params: dict, x: Tensor, *, power: int = 1) -> Tensor:
        return ((params["w"] * x + params["b"][0]) ** power).sum()

    params = {"w": tensor(), "b": [tensor(1.0)]}
    found = sley.grad(f)(params, tensor([1.0, 2.0, 3.0]), power=2)
    inner = X * [1, 2, 3] + 1
    close(found["w"], 2 * inner * [1, 2, 3])
    close(found["b"][0], 2 * inner.sum())
    of_x = sley.grad(f, argnums=-1)(params, tensor([1.0, 2.0, 3.0]))
    close(of_x, X)
    pair = sley.grad(f, argnums=(1, 0))(params, tensor([1.0, 2.0, 3.0]))
    close(pair[0], X)
    close(pair[1]["w"], [1.0, 2.0, 3.0])
    rows = sley.jacrev(lambda p: {"y": p["w"] * p["b"][0]})(params)
    close(rows["y"]["w"], np.eye(3))
    close(rows["y"]["b"][0], X)


def test_aux() -> None:
    def f(x: Tensor) -> tuple:
        return wave(x), {"doubled": 2 * x}

    for g in both(sley.grad(f, has_aux=True)):
        slope, aux = g(tensor())
        close(slope, wave_slope(X))
        close(aux["doubled"], 2 * X)
        assert not aux["doubled"].requires_grad
    (value, aux), slope = sley.value_and_grad(f, has_aux=True)(tensor())
    close(value, wave(tensor()))
    for transform in (sley.jacrev, sley.jacfwd):
        close(transform(f, has_aux=True)(tensor())[1]["doubled"], 2 * X)
    close(sley.jvp(f, (tensor(),), (tensor(),), has_aux=True)[2]["doubled"], 2 * X)
    close(sley.vjp(f, tensor(), has_aux=True)[2]["doubled"], 2 * X)


def test_python_floats_as_arguments() -> None:
    for f in both(sley.grad(lambda x: x * x)):
        assert float(f(3.0)) == 6.0 and f(3.0).dtype is sley.float32


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex128"])
def test_dtypes_are_kept(dtype: str) -> None:
    x = tensor().to(getattr(sley, dtype))

    def f(x: Tensor) -> Tensor:
        return (x * x.conj()).real.sum() if x.dtype.is_complex else (x * x).sum()

    for g in both(sley.grad(f)):
        assert g(x).dtype is x.dtype
        close(g(x).to(sley.complex128), 2 * X + 0j, 2e-2)
    assert sley.jacfwd(f)(x).dtype is x.dtype or x.dtype.is_complex


def test_integer_results_and_arguments() -> None:
    def f(x: Tensor, k: Tensor) -> Tensor:
        return (x[k] * k).sum()

    close(sley.grad(f)(tensor(), sley.tensor([0, 2])), [0.0, 0.0, 2.0])
    _, moved = sley.jvp(lambda x: (x, x > 0.5), (tensor(),), (tensor(),))
    assert moved[1].dtype is sley.bool and not moved[1].any()


def test_one_program_for_all_sizes() -> None:
    f = sley.compile(sley.jacrev(lambda x: sley.tanh(x) * x.sum()), dynamic=True)
    g = sley.compile(sley.hessian(wave), dynamic=True)
    for size in (2, 3, 5):
        x = tensor(np.linspace(-1, 1, size))
        close(f(x), sley.jacfwd(lambda x: sley.tanh(x) * x.sum())(x))
        close(g(x), np.diag(wave_curve(x.numpy())))
    assert len(f.programs) == 1 and len(g.programs) == 1


# Errors


def test_errors() -> None:
    x = tensor()
    with pytest.raises(ShapeError, match="not a single number"):
        sley.grad(lambda x: x)(x)
    with pytest.raises(ShapeError, match="not a single number"):
        sley.grad(lambda x: 3.0)(x)
    with pytest.raises(AutogradError, match="with respect to a tensor i64"):
        sley.grad(lambda k: (k * 1.0).sum())(sley.arange(3))
    with pytest.raises(DTypeError, match="holds a str"):
        sley.grad(lambda s: x.sum())("text")
    with pytest.raises(ArgumentError, match="argnums=2 of 1"):
        sley.grad(wave, argnums=2)(x)
    with pytest.raises(ArgumentError, match="argnums="):
        sley.grad(lambda a, b: a, argnums=(0, -2))(x, x)
    with pytest.raises(ArgumentError, match="takes a function"):
        sley.grad(3)
    with pytest.raises(ArgumentError, match="has_aux"):
        sley.grad(wave, has_aux=True)(x)
    with pytest.raises(ArgumentError, match="in the place of"):
        sley.jvp(wave, (x,), (tensor([1.0]),))
    with pytest.raises(ArgumentError, match="expected"):
        sley.vjp(field, x)[1](x, x)
    with pytest.raises(AutogradError, match="strict=True"):
        sley.jvp(lambda x: sley.ones(2), (x,), (x,), strict=True)
    with pytest.raises(ArgumentError, match="chunk_size=0"):
        sley.jacrev(field, chunk_size=0)
    with pytest.raises(UnsupportedError, match="written in place"):
        sley.grad(lambda x: x.mul_(2).sum())(x)
    close(x, X)  # nothing half-changed


# Modules


def test_functional_call() -> None:
    class Counting(sley.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = sley.nn.Linear(3, 2)
            self.register_buffer("calls", sley.tensor(0.0))

        def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
            with sley.no_grad():
                self.calls.add_(1)
            return self.inner(x) * scale

    model = Counting()
    weights = dict(model.inner.weight.shape and model.named_parameters())
    before = model.inner.weight
    given = {"inner.weight": sley.ones(2, 3), "calls": sley.tensor(10.0)}
    found = sley.func.functional_call(model, given, (sley.ones(3),), {"scale": 2.0})
    close(found, 2 * (3 + model.inner.bias.detach().numpy()))
    assert model.inner.weight is before and float(model.calls) == 0
    assert float(given["calls"]) == 11
    assert set(weights) == {"inner.weight", "inner.bias"}
    with pytest.raises(ArgumentError, match="no parameter or buffer nothing"):
        sley.func.functional_call(model, {"nothing": sley.ones(1)}, sley.ones(3))
    with pytest.raises(ArgumentError, match=r"inner\.bias"):
        sley.func.functional_call(model, given, sley.ones(3), strict=True)
    with pytest.raises(ZeroDivisionError):
        sley.func.functional_call(model, given, (sley.ones(3),), {"scale": 1 / 0})
    assert model.inner.weight is before


def test_functional_call_in_a_compiled_step() -> None:
    """Gradients of a module as a function; batch norm writes to the buffers that are given."""
    model = sley.nn.Sequential(sley.nn.Linear(3, 4), sley.nn.BatchNorm1d(4), sley.nn.Linear(4, 2))
    params = {name: p.detach().clone() for name, p in model.named_parameters()}
    x = sley.randn(5, 3)

    def loss(params: dict, buffers: dict, x: Tensor) -> Tensor:
        return (sley.func.functional_call(model, (params, buffers), x) ** 2).mean()

    step = sley.compile(sley.grad(loss))
    written = {name: b.clone() for name, b in model.named_buffers()}
    again = {name: b.clone() for name, b in model.named_buffers()}
    for _ in range(2):
        found, expected = step(params, written, x), sley.grad(loss)(params, again, x)
        for name, gradient in expected.items():
            np.testing.assert_allclose(found[name].numpy(), gradient.numpy(), 1e-4, 1e-5)
        for name, buffer in again.items():
            np.testing.assert_allclose(written[name].numpy(), buffer.numpy(), rtol=1e-5)
    assert len(step.programs) == 1
    assert int(model[1].num_batches_tracked) == 0 and int(written["1.num_batches_tracked"]) == 2


def test_tied_weights_are_replaced_together() -> None:
    model = sley.nn.Sequential(sley.nn.Linear(2, 2, bias=False), sley.nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    x = sley.ones(2)
    close(sley.func.functional_call(model, {"0.weight": sley.eye(2)}, x), [1.0, 1.0])
    single = sley.func.functional_call(model, {"0.weight": sley.eye(2)}, x, tie_weights=False)
    close(single, model[1](x))


def small_network() -> sley.nn.Module:
    sley.manual_seed(0)
    return sley.nn.Sequential(
        sley.nn.Conv2d(1, 3, 3, stride=2), sley.nn.ReLU(), sley.nn.Flatten(0),
        sley.nn.Linear(27, 4),
    )  # fmt: skip


@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_of_each_sample(compiled: bool) -> None:
    model = small_network()
    params = {name: p.detach() for name, p in model.named_parameters()}
    images, labels = sley.randn(5, 1, 8, 8), sley.tensor([0, 3, 1, 1, 2])

    def loss(params: dict, image: Tensor, label: Tensor) -> Tensor:
        scores = sley.func.functional_call(model, params, image)
        return sley.nn.functional.cross_entropy(scores[None], label[None])

    for_each = sley.vmap(sley.grad(loss), in_dims=(None, 0, 0))
    found = (sley.compile(for_each) if compiled else for_each)(params, images, labels)
    for k in range(5):
        expected = sley.grad(loss)(params, images[k], labels[k])
        for name, gradient in expected.items():
            np.testing.assert_allclose(found[name][k].numpy(), gradient.numpy(), 1e-4, 1e-6)


def test_an_ensemble() -> None:
    models = [small_network() for _ in range(3)]
    for number, model in enumerate(models):
        sley.manual_seed(number)
        for p in model.parameters():
            sley.nn.init.normal_(p)
    params, buffers = sley.func.stack_module_state(models)
    assert buffers == {} and params["0.weight"].requires_grad
    image = sley.randn(1, 8, 8)

    def scores(params: dict, image: Tensor) -> Tensor:
        return sley.func.functional_call(models[0], params, image)

    found = sley.vmap(scores, in_dims=(0, None))(params, image)
    for k, model in enumerate(models):
        np.testing.assert_allclose(found[k].detach().numpy(), model(image).detach().numpy(), 1e-5)
    found.sum().backward()
    assert params["0.weight"].grad.shape == params["0.weight"].shape
    with pytest.raises(ArgumentError, match="different classes"):
        sley.func.stack_module_state([models[0], models[0][0]])


def test_the_namespace() -> None:
    import sley.func

    for name in sley.func.__all__:
        assert getattr(sley, name, None) in (None, getattr(sley.func, name))
