"""Gradients of every kind lie on the device of their tensors, and are those of the processor."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_device import as_cuda
from simulated_gpu import SimulatedGpu

import sley
from sley import func, nn
from sley.autograd import functional
from sley.utils.checkpoint import checkpoint, checkpoint_sequential

CUDA = sley.device("cuda", 0)


@pytest.fixture(autouse=True)
def gpu():
    with as_cuda(SimulatedGpu()) as gpu:
        yield gpu


def draw(*shape: int) -> sley.Tensor:
    return sley.tensor(np.random.default_rng(3).normal(size=shape))


def leaf(*shape: int) -> sley.Tensor:
    return draw(*shape).to("cuda").requires_grad_()


def same(found, expected) -> None:
    """Trees of tensors: there on the GPU, here on the processor."""
    for a, b in zip(found, expected, strict=True):
        assert a.device == CUDA and b.device == sley.device("cpu")
        np.testing.assert_allclose(a.detach().cpu().numpy(), b.detach().numpy(), rtol=1e-6)


class Square(sley.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x, x + 1

    @staticmethod
    def backward(ctx, grad, other):
        (x,) = ctx.saved_tensors
        assert grad.device == other.device == x.device
        return grad * 2 * x + other


class Doubling(sley.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx, grad):
        assert grad.device == CUDA
        return grad * 2


class ByNumpy(sley.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return sley.tensor(np.sin(x.cpu().numpy()), device=x.device)

    @staticmethod
    def backward(ctx, grad):
        return grad


@pytest.mark.parametrize("compiled", [False, True])
def test_functions_with_a_gradient_of_their_own(compiled):
    def run(x):
        return (Square.apply(x)[0] * 3).sum()  # the second result has no gradient: zeros

    found = leaf(3)
    (sley.compile(run) if compiled else run)(found).backward()
    same([found.grad], [6 * draw(3)])


def test_functions_that_write_and_that_leave():
    x = leaf(3)
    y = x * 1
    Doubling.apply(y).sum().backward()
    same([y, x.grad], [2 * draw(3), sley.full((3,), 2.0, dtype=sley.float64)])
    x = leaf(3)
    ByNumpy.apply(x)[:2].sum().backward()
    same([x.grad], [sley.tensor([1.0, 1.0, 0.0], dtype=sley.float64)])


@pytest.mark.parametrize("compiled", [False, True])
def test_checkpoints(compiled):
    model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 2)).double().to("cuda")

    def gradients(run):
        sley.manual_seed(1)
        x = leaf(5, 4)
        model.zero_grad()
        (sley.compile(run) if compiled else run)(x).sum().backward()
        return [x.grad, *(p.grad.clone() for p in model.parameters())]

    expected = gradients(model)
    for run in (
        lambda x: checkpoint(model, x, use_reentrant=False),
        lambda x: checkpoint_sequential(model, 2, x, use_reentrant=False),
    ):
        for a, b in zip(gradients(run), expected, strict=True):
            assert a.device == CUDA and sley.allclose(a, b)


def test_hooks_get_what_lies_there():
    seen = []
    x = leaf(3)
    y = x * 2
    y.register_hook(lambda grad: seen.append(grad.device) or grad * 3)
    y.retain_grad()
    y.sum().register_hook(lambda grad: seen.append(grad.device))
    total = y.sum()
    total.register_hook(lambda grad: seen.append(grad.device))
    total.backward()
    assert seen == [CUDA, CUDA] and y.grad.device == CUDA and x.grad.tolist() == [6, 6, 6]
    layer = nn.Linear(3, 2).to("cuda")
    layer.register_full_backward_hook(lambda m, ins, outs: seen.append(outs[0].device))
    layer(sley.ones(2, 3, device="cuda", requires_grad=True)).sum().backward()
    assert seen == [CUDA] * 3


def test_a_gradient_of_another_device_is_an_error():
    with pytest.raises(sley.DeviceError, match="lies on cpu, another one on cuda:0"):
        (leaf(3) * 2).backward(sley.tensor([1.0, 2.0, 3.0], dtype=sley.float64))
    x, unused = leaf(3), leaf(2)
    found = sley.autograd.grad(x.sum(), [x, unused], allow_unused=True, materialize_grads=True)
    assert [g.device for g in found] == [CUDA, CUDA]


def test_a_nan_is_told():
    x = sley.zeros(3, device="cuda", requires_grad=True)
    with sley.autograd.detect_anomaly():
        (x * 2).sum().backward()
        with pytest.raises(sley.AutogradError, match="SqrtBackward gave NaN"):
            (x.sqrt() * 0).sum().backward()


def test_gradcheck():
    x, w = leaf(3, 4), leaf(4, 2)
    options = {"check_forward_ad": True, "check_batched_grad": True}
    assert sley.autograd.gradcheck(lambda a, b: (a @ b).tanh(), (x, w), **options)
    assert sley.autograd.gradcheck(lambda a: a.sin(), x, fast_mode=True)
    assert sley.autograd.gradgradcheck(lambda a: a.sin(), (leaf(2),))
    with pytest.raises(sley.AutogradError, match="Jacobian of result 0"):
        sley.autograd.gradcheck(lambda a: ByNumpy.apply(a), (leaf(2),))


def cube(x):
    return (x**3).sum()


TRANSFORMS = {
    "grad": lambda x: [func.grad(cube)(x)],
    "hessian": lambda x: [func.hessian(cube)(x)],
    "jacrev": lambda x: [func.jacrev(lambda x: x[:2] * x.sum())(x)],
    "jacfwd": lambda x: [func.jacfwd(lambda x: x[:2] * x.sum())(x)],
    "jvp": lambda x: list(func.jvp(lambda x: (x.sin(), x * 0), (x,), (x,))[1]),
    "no slope": lambda x: list(func.jvp(lambda x: (x.sin(), x.floor()), (x,), (x,))[1]),
    "vjp": lambda x: list(func.vjp(lambda x: x.sin(), x)[1](x)),
    "vmap": lambda x: [func.vmap(func.grad(cube))(x.reshape(2, 2))],
    "chunks": lambda x: [func.jacrev(lambda x: x * x, chunk_size=3)(x)],
    "functional": lambda x: [
        functional.hessian(cube, x), functional.jacobian(lambda x: x * x, x),
        functional.hvp(cube, x, x)[1], functional.vjp(lambda x: x * x, x, x)[1],
        functional.jvp(lambda x: x * x, x, x)[1],
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transformations(name):
    same(TRANSFORMS[name](draw(4).to("cuda")), TRANSFORMS[name](draw(4)))


def test_transformed_functions_draw_and_call_modules():
    sley.manual_seed(0)
    noisy = func.vmap(lambda x: x + sley.randn(4, device=x.device), randomness="different")
    found = noisy(draw(3, 4).float().to("cuda"))
    sley.manual_seed(0)
    assert sley.allclose(found.cpu(), noisy(draw(3, 4).float()))
    layers = [nn.Linear(4, 2).double().to("cuda") for _ in range(3)]
    params, buffers = func.stack_module_state(layers)

    def call(params, buffers, x):
        return func.functional_call(layers[0], (params, buffers), (x,))

    x = draw(5, 4).to("cuda")
    found = func.vmap(call, in_dims=(0, 0, None))(params, buffers, x)
    assert found.device == CUDA and sley.allclose(found[2], layers[2](x))


def looped(x):
    carry, ys = sley.scan(lambda c, v: (c * 0.5 + v, c * v), sley.zeros_like(x[0]), x)
    return carry.sum() + ys.sum()


def chosen(x):
    return sley.cond(x.sum() > 0, lambda x: x * 2, lambda x: x * 3, x).sum()


def repeated(x):
    return sley.while_loop(lambda c: c[0] < 4, lambda c: (c[0] + 1, c[1] * 1.5), (0, x))[1].sum()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("function", [looped, chosen])
def test_control_flow(function, compiled):
    x, expected = leaf(5, 3), draw(5, 3).requires_grad_()
    (sley.compile(function) if compiled else function)(x).backward()
    function(expected).backward()
    same([x.grad], [expected.grad])


@pytest.mark.parametrize("compiled", [False, True])
def test_loops_until_data_says_so(compiled):
    x = draw(5, 3)
    found = (sley.compile(repeated) if compiled else repeated)(x.to("cuda"))
    same([found], [repeated(x)])
