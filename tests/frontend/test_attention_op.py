"""scaled_dot_product_attention as one op: draws, groups, derivatives of any order, batching."""

from __future__ import annotations

import numpy as np
import pytest

import sley
import sley.nn.functional as F

RNG = np.random.default_rng(11)


def made(*shape: int, dtype: type = np.float64) -> sley.Tensor:
    return sley.tensor(RNG.standard_normal(shape).astype(dtype))


def step(q, k, v, g, *mask, **options):
    out = F.scaled_dot_product_attention(q, k, v, mask[0] if mask else None, **options)
    (out * g).sum().backward()
    found = [out.detach(), q.grad, k.grad, v.grad]
    return found + [m.grad for m in mask if m.requires_grad]


def both(arguments: list, **options) -> list:
    """What eager and compiled steps give from the same state of the generator."""
    results = []
    for run in (step, sley.compile(step)):
        for argument in arguments:
            argument.grad = None
        sley.manual_seed(3)
        results.append([x.numpy().copy() for x in run(*arguments, **options)])
    return results


@pytest.mark.parametrize(
    "options", [{"dropout_p": 0.4}, {"dropout_p": 0.4, "is_causal": True}, {"dropout_p": 1.0}]
)
def test_eager_and_compiled_draw_the_same(options: dict) -> None:
    operands = [made(2, 3, 20, 8).requires_grad_() for _ in range(3)]
    eager, compiled = both([*operands, made(2, 3, 20, 8)], **options)
    for found, expected in zip(compiled, eager, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


def test_draws_are_those_of_dropout() -> None:
    q, k, v = (made(2, 3, 20, 8) for _ in range(3))
    sley.manual_seed(9)
    found = F.scaled_dot_product_attention(q, k, v, dropout_p=0.3)
    sley.manual_seed(9)
    weights = F.dropout(F.softmax(q @ k.mT * 8**-0.5, -1), 0.3)
    np.testing.assert_allclose(found.numpy(), (weights @ v).numpy(), rtol=1e-9, atol=1e-11)


def test_heads_in_groups() -> None:
    q, g = made(2, 6, 11, 8).requires_grad_(), made(2, 6, 11, 5)
    k, v = made(2, 2, 12, 8).requires_grad_(), made(2, 2, 12, 5).requires_grad_()
    mask = made(11, 12).requires_grad_()
    eager, compiled = both([q, k, v, g, mask], enable_gqa=True)
    repeated = [t.detach().repeat_interleave(3, 1).requires_grad_() for t in (k, v)]
    plain, _ = both([q, *repeated, g, mask])
    for n in (2, 3):
        plain[n] = plain[n].reshape(2, 2, 3, *plain[n].shape[2:]).sum(2)
    for found in (eager, compiled):
        for a, b in zip(found, plain, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_a_mask_that_is_learned() -> None:
    operands = [made(2, 3, 20, 8).requires_grad_() for _ in range(3)]
    bias = made(3, 20, 20).requires_grad_()
    eager, compiled = both([*operands, made(2, 3, 20, 8), bias])
    assert len(eager) == 5
    for found, expected in zip(compiled, eager, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("masked", [False, True])
def test_second_derivatives(masked: bool) -> None:
    operands = [made(1, 2, 3, 4).requires_grad_() for _ in range(3)]
    mask = made(3, 3) if masked else None

    def attention(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=not masked)

    assert sley.autograd.gradcheck(attention, operands)
    assert sley.autograd.gradgradcheck(attention, operands)


def test_second_derivatives_of_compiled_steps() -> None:
    q, k, v = (made(1, 2, 10, 4) for _ in range(3))

    def norm(q, k, v):
        def loss(q):
            return (F.scaled_dot_product_attention(q, k, v, is_causal=True) ** 2).sum()

        return sley.grad(lambda q: (sley.grad(loss)(q) ** 2).sum())(q)

    expected, found = norm(q, k, v).numpy(), sley.compile(norm)(q, k, v).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


def test_batched_and_forward_mode() -> None:
    q, k, v, t = (made(3, 2, 10, 4) for _ in range(4))

    def one(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    together = sley.vmap(one)(q, k, v).numpy()
    np.testing.assert_allclose(together, one(q, k, v).numpy(), rtol=1e-9, atol=1e-12)
    shared = sley.vmap(one, in_dims=(0, None, None))(q, k[0], v[0]).numpy()
    expected = [one(q[n], k[0], v[0]).numpy() for n in range(3)]
    np.testing.assert_allclose(shared, np.stack(expected), rtol=1e-9, atol=1e-12)
    _, slope = sley.jvp(lambda q: one(q, k, v), (q,), (t,))
    steps = [one(q + s * 1e-6 * t, k, v).numpy() for s in (1, -1)]
    np.testing.assert_allclose(slope.numpy(), (steps[0] - steps[1]) / 2e-6, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [sley.bfloat16, sley.float16])
def test_halves_are_summed_in_float32(dtype) -> None:
    q, k, v = (made(2, 3, 70, 16, dtype=np.float32).to(dtype) for _ in range(3))
    expected = F.scaled_dot_product_attention(q.float(), k.float(), v.float()).numpy()
    step = 2.0**-8 if dtype is sley.bfloat16 else 2.0**-11
    for run in (F.scaled_dot_product_attention, sley.compile(F.scaled_dot_product_attention)):
        found = run(q, k, v)
        assert found.dtype is dtype
        np.testing.assert_allclose(found.float().numpy(), expected, rtol=step, atol=1e-6)


def test_what_does_not_fit_is_told() -> None:
    q, k = made(2, 3, 20, 8), made(2, 3, 20, 8)
    with pytest.raises(sley.ShapeError, match="attention"):
        F.scaled_dot_product_attention(q, made(2, 3, 20, 9), k)
    with pytest.raises(sley.DTypeError):
        F.scaled_dot_product_attention(q, k.float(), k)
    with pytest.raises(sley.DTypeError, match="mask"):
        F.scaled_dot_product_attention(q, k, k, sley.ones(20, 20, dtype=sley.int64))
    with pytest.raises(sley.ShapeError):
        F.scaled_dot_product_attention(q, k, k, sley.ones(20, 21, dtype=sley.bool))
    with pytest.raises(sley.ShapeError, match="multiple"):
        F.scaled_dot_product_attention(q, made(2, 2, 20, 8), made(2, 2, 20, 8), enable_gqa=True)
