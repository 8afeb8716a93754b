"""`vmap` against a Python loop over the examples: eager, compiled, with a symbolic number of
examples, and differentiated."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sley
import sley.nn.functional as F
from sley import ArgumentError, IndexingError, ShapeError, TraceError, UnsupportedError
from sley.frontend.tensor import Tensor

COUNT = 3


def numbers(*shape: int, seed: int = 0, low: float = -2.0, high: float = 2.0) -> Tensor:
    return sley.tensor(np.random.default_rng(seed).uniform(low, high, shape))


def parts(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def loop(function: Callable[..., Any], dims: tuple, args: tuple) -> list[np.ndarray]:
    rows = []
    for k in range(COUNT):
        given = [a if d is None else a.select(d, k) for a, d in zip(args, dims, strict=True)]
        rows.append([p.detach().numpy() for p in parts(function(*given))])
    return [np.stack(column) for column in zip(*rows, strict=True)]


SQUARE = numbers(COUNT, 3, 3, seed=5) + 4 * sley.eye(3, dtype=sley.float64)
INDICES = sley.tensor([[0, 2, 1], [3, 3, 0], [1, 0, 2]])
# (name, function, arguments with the examples in front)
CASES: list[tuple[str, Callable[..., Any], tuple[Tensor, ...]]] = [
    ("add", lambda a, b: a + b, (numbers(COUNT, 4), numbers(COUNT, 4, seed=1))),
    ("broadcast", lambda a, b: a * b, (numbers(COUNT, 4, 1), numbers(COUNT, 3, seed=1))),
    ("where", lambda a, b: sley.where(a > 0, a, b), (numbers(COUNT, 4), numbers(COUNT, seed=1))),
    ("softmax", lambda a: F.softmax(a, -1), (numbers(COUNT, 4),)),
    ("layer norm", lambda a: F.layer_norm(a, (4,)), (numbers(COUNT, 2, 4),)),
    ("gelu", lambda a: F.gelu(a), (numbers(COUNT, 4),)),
    ("matmul", lambda a, b: a @ b, (numbers(COUNT, 2, 3), numbers(COUNT, 3, 4))),
    ("matrix times vector", lambda a, b: a @ b, (numbers(COUNT, 2, 3), numbers(COUNT, 3))),
    ("einsum", lambda a, b: sley.einsum("ij,kj->ik", a, b),
     (numbers(COUNT, 2, 3), numbers(COUNT, 4, 3))),
    ("conv", lambda a, w: F.conv2d(a, w, stride=2, padding=1),
     (numbers(COUNT, 2, 4, 7, 7), numbers(COUNT, 6, 4, 3, 3))),
    ("grouped conv", lambda a, w: F.conv2d(a, w, groups=2, dilation=2),
     (numbers(COUNT, 2, 4, 7, 7), numbers(COUNT, 6, 2, 3, 3))),
    ("transposed conv", lambda a, w: F.conv_transpose2d(a, w, stride=2),
     (numbers(COUNT, 1, 2, 3, 3), numbers(COUNT, 2, 3, 2, 2))),
    ("pool", lambda a: F.max_pool2d(a, 2), (numbers(COUNT, 2, 6, 6),)),
    ("average pool", lambda a: F.avg_pool2d(a, 3, stride=1), (numbers(COUNT, 2, 6, 6),)),
    ("cross entropy", lambda a, k: F.cross_entropy(a, k), (numbers(COUNT, 3, 4), INDICES)),
    ("sums", lambda a: (a.sum(), a.mean(0), a.var(1), a.norm()), (numbers(COUNT, 4, 3),)),
    ("extremes", lambda a: (a.max(), a.argmax(1), *a.min(0)), (numbers(COUNT, 4, 3),)),
    ("cumulative", lambda a: (a.cumsum(0), a.cumprod(1), *a.cummax(0)), (numbers(COUNT, 4, 3),)),
    ("sort", lambda a: (*a.sort(0), *a.topk(2, -1), a.argsort()), (numbers(COUNT, 4, 3),)),
    ("views", lambda a: a.reshape(2, -1).T.flip(0)[1:, ::2], (numbers(COUNT, 4, 3),)),
    ("cat", lambda a, b: sley.cat([a, b, a], 1), (numbers(COUNT, 4, 3), numbers(COUNT, 4, 1))),
    ("pad", lambda a: F.pad(a, (1, 2)), (numbers(COUNT, 4),)),
    ("roll", lambda a: sley.roll(a, 2, 0), (numbers(COUNT, 4),)),
    ("index", lambda a, k: (a[k], a[:, 1], a[k, 0]), (numbers(COUNT, 4, 3), INDICES)),
    ("gather", lambda a, k: a.gather(0, k[:, None]), (numbers(COUNT, 4, 3), INDICES)),
    ("scatter", lambda a, k: a.scatter_add(0, k, a[:3]), (numbers(COUNT, 4), INDICES)),
    ("write", lambda a, k: a.clone().index_add_(0, k, a[:3] * 2), (numbers(COUNT, 4), INDICES)),
    ("in place", lambda a: _written(a), (numbers(COUNT, 4),)),
    ("embedding", lambda w, k: F.embedding(k, w), (numbers(COUNT, 4, 2), INDICES)),
    ("solve", lambda a, b: sley.linalg.solve(a, b), (SQUARE, numbers(COUNT, 3, 2))),
    ("factors", lambda a: (sley.linalg.inv(a), sley.linalg.det(a)), (SQUARE,)),
    ("scan", lambda a, b: sley.scan(lambda h, x: (h * b + x, h.sum()), a[0], a),
     (numbers(COUNT, 4, 2), numbers(COUNT, 2))),
    ("cond", lambda a: sley.cond(a.sum() > 0, lambda x: x * 2, lambda x: -x, a),
     (numbers(COUNT, 2),)),
    ("while", lambda a: sley.while_loop(lambda x: x.sum() < 9, lambda x: x * 2, a),
     (numbers(COUNT, 2, low=0.1),)),
    ("constant", lambda a: (sley.ones(2), sley.arange(3) * a), (numbers(COUNT),)),
]  # fmt: skip


def _written(a: Tensor) -> Tensor:
    b = a.clone()
    b[1:3] = a[:2] * 3
    b[0] += 1
    b.mul_(2)
    return b


@pytest.mark.parametrize("function, args", [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_is_a_loop(function: Callable[..., Any], args: tuple[Tensor, ...]) -> None:
    choices: list[tuple] = [(0,) * len(args)]
    if len(args) == 2:
        choices += [(0, None), (None, 0)]
    for dims in choices:
        given = tuple(a[0] if d is None else a for a, d in zip(args, dims, strict=True))
        mapped = sley.vmap(function, dims)
        expected = loop(function, dims, given)
        for run in (mapped, sley.compile(mapped), sley.compile(mapped, dynamic=True)):
            found = parts(run(*given))
            for x, y in zip(found, expected, strict=True):
                assert tuple(x.shape) == y.shape and x.numpy().dtype == y.dtype
                np.testing.assert_allclose(x.numpy(), y, rtol=1e-8, atol=1e-10)


SMOOTH = [c for c in CASES if c[0] not in ("while", "constant")]


@pytest.mark.parametrize("function, args", [c[1:] for c in SMOOTH], ids=[c[0] for c in SMOOTH])
def test_gradients_through_and_inside(
    function: Callable[..., Any], args: tuple[Tensor, ...]
) -> None:
    """grad(vmap(f)), vmap(grad(f)) and the loop agree."""

    def total(*given: Tensor) -> Tensor:
        floats = [p for p in parts(function(*given)) if p.dtype.is_float]
        sums = [(p.sin() * (1 + k)).sum() for k, p in enumerate(floats)]
        return sum(sums[1:], sums[0])

    def summed(*given: Tensor) -> Tensor:
        return sley.vmap(total)(*given).sum()

    expected = np.stack([sley.grad(total)(*(a[k] for a in args)).numpy() for k in range(COUNT)])
    for run in (sley.grad(summed), sley.vmap(sley.grad(total))):
        for f in (run, sley.compile(run)):
            np.testing.assert_allclose(f(*args).numpy(), expected, rtol=1e-8, atol=1e-10)


# Where the axis of examples stands


def test_in_dims_and_out_dims() -> None:
    a, b = numbers(2, 3, 4), numbers(3, 2)
    for axis, negative in ((0, -3), (1, -2), (2, -1)):
        expected = a.sum(tuple(k for k in range(3) if k != axis)).numpy()
        for d in (axis, negative):
            np.testing.assert_allclose(sley.vmap(lambda x: x.sum(), in_dims=d)(a).numpy(), expected)
    for out in (0, 1, -1):
        made = sley.vmap(lambda x: x * 2, in_dims=1, out_dims=out)(b)
        np.testing.assert_allclose(made.numpy(), np.moveaxis(2 * b.numpy(), 1, out))
    tree = sley.vmap(
        lambda d, c: {"s": d["x"] + c, "c": c}, in_dims=({"x": -1}, None),
        out_dims={"s": 1, "c": None},
    )({"x": b}, sley.tensor(1.0, dtype=sley.float64))  # fmt: skip
    np.testing.assert_allclose(tree["s"].numpy(), b.numpy() + 1)
    assert tree["c"].shape == ()
    pair = sley.vmap(lambda x: (x, x.sum()), out_dims=(1, 0))(b)
    assert pair[0].shape == (2, 3) and pair[1].shape == (3,)
    assert sley.vmap(lambda x, *, k: x * k)(b, k=2).shape == (3, 2)
    assert sley.vmap(lambda x, y: x if y else -x, in_dims=(0, None))(b, True).shape == (3, 2)


def test_nested() -> None:
    a, b = numbers(4), numbers(3, seed=1)
    outer = sley.vmap(sley.vmap(lambda x, y: x * y, (None, 0)), (0, None))
    for f in (outer, sley.compile(outer)):
        np.testing.assert_allclose(f(a, b).numpy(), np.outer(a.numpy(), b.numpy()))
    crossed = sley.vmap(sley.vmap(lambda x, y: x - y, (0, None), out_dims=0), (None, 0), 1)
    np.testing.assert_allclose(crossed(a, b).numpy(), np.subtract.outer(a.numpy(), b.numpy()))
    deep = sley.vmap(sley.vmap(sley.vmap(lambda x: x.sin())))(numbers(2, 3, 4))
    np.testing.assert_allclose(deep.numpy(), np.sin(numbers(2, 3, 4).numpy()))


def test_every_order_with_derivatives() -> None:
    def f(w: Tensor, x: Tensor) -> Tensor:
        return sley.tanh(w @ x).sum()

    w, x = numbers(2, 3), numbers(4, 3, seed=1)
    hessians = sley.vmap(sley.hessian(f, 1), (None, 0))(w, x)
    assert hessians.shape == (4, 3, 3)
    for k in range(4):
        np.testing.assert_allclose(hessians[k].numpy(), sley.hessian(f, 1)(w, x[k]).numpy())
    rows = sley.jacrev(sley.vmap(f, (None, 0)))(w, x)
    np.testing.assert_allclose(rows.numpy(), sley.vmap(sley.grad(f), (None, 0))(w, x).numpy())
    columns = sley.jacfwd(sley.vmap(f, (None, 0)))(w, x)
    np.testing.assert_allclose(columns.numpy(), rows.numpy())
    pushed = sley.vmap(lambda v: sley.jvp(lambda x: f(w, x), (x[0],), (v,))[1])(
        sley.eye(3, dtype=sley.float64)
    )
    np.testing.assert_allclose(pushed.numpy(), sley.grad(f, 1)(w, x[0]).numpy())
    pulled = sley.vmap(lambda v: sley.vjp(lambda x: w @ x, x[0])[1](v)[0])(
        sley.eye(2, dtype=sley.float64)
    )
    np.testing.assert_allclose(pulled.numpy(), w.numpy())


def test_the_pull_of_vjp_for_many_cotangents() -> None:
    w, x = numbers(2, 3), numbers(3, seed=1)
    _, pull = sley.vjp(lambda x: sley.sin(w @ x), x)
    unit = sley.eye(2, dtype=sley.float64)
    expected = sley.jacrev(lambda x: sley.sin(w @ x))(x).numpy()
    (found,) = sley.vmap(pull)(unit)
    np.testing.assert_allclose(found.numpy(), expected)

    @sley.compile
    def jacobian(x: Tensor) -> Tensor:
        _, pull = sley.vjp(lambda x: sley.sin(w @ x), x)
        return sley.vmap(pull)(unit)[0]

    np.testing.assert_allclose(jacobian(x).numpy(), expected)


def test_captured_tensors_get_their_gradients() -> None:
    layer = sley.nn.Linear(3, 2)
    x = sley.randn(5, 3)
    (sley.vmap(layer)(x) ** 2).sum().backward()
    expected = sley.autograd.grad((layer(x) ** 2).sum(), layer.weight)[0]
    np.testing.assert_allclose(layer.weight.grad.numpy(), expected.numpy(), rtol=1e-5)


# Random numbers


def test_randomness() -> None:
    zeros = sley.zeros(COUNT)

    def noise(x: Tensor) -> Tensor:
        return x + sley.rand(4)

    with pytest.raises(UnsupportedError, match='randomness="different"'):
        sley.vmap(noise)(zeros)
    for run in (lambda f: f, sley.compile):
        sley.manual_seed(0)
        same = run(sley.vmap(noise, randomness="same"))(zeros).numpy()
        sley.manual_seed(0)
        assert (same == sley.rand(4).numpy()).all()
        sley.manual_seed(0)
        different = run(sley.vmap(noise, randomness="different"))(zeros).numpy()
        assert len(np.unique(different)) == 4 * COUNT
        after = sley.rand(1).numpy()
        sley.manual_seed(0)
        sley.rand(4)
        assert (after == sley.rand(1).numpy()).all()  # one draw was taken
    dropped = sley.vmap(lambda x: F.dropout(x, 0.5), randomness="different")(sley.ones(20, 20))
    assert len({row.tobytes() for row in dropped.numpy()}) == 20


# Chunks and sizes


def test_chunks() -> None:
    x = numbers(7, 2)
    whole = sley.vmap(lambda x: (x.sin(), x.sum()), out_dims=(1, 0))(x)
    for size in (1, 3, 7, 9):
        found = sley.vmap(lambda x: (x.sin(), x.sum()), out_dims=(1, 0), chunk_size=size)(x)
        for a, b in zip(found, whole, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_one_program_for_all_numbers_of_examples() -> None:
    f = sley.compile(sley.vmap(sley.grad(lambda x: (x.sin() * x.sum()).sum())), dynamic=True)
    for count in (2, 3, 6):
        x = numbers(count, 4)
        np.testing.assert_allclose(
            f(x).numpy(), sley.vmap(sley.grad(lambda x: (x.sin() * x.sum()).sum()))(x).numpy()
        )
    assert len(f.programs) == 1


# Errors


def test_errors() -> None:
    x = numbers(3, 2)
    with pytest.raises(ArgumentError, match="in_dims=None"):
        sley.vmap(lambda x: x, in_dims=None)(x)
    with pytest.raises(ArgumentError, match="for 1 positional"):
        sley.vmap(lambda x: x, in_dims=(0, 0))(x)
    with pytest.raises(ArgumentError, match="has no examples"):
        sley.vmap(lambda x: x)(2.0)
    with pytest.raises(ArgumentError, match="has no examples"):
        sley.vmap(lambda x: x)(sley.tensor(2.0))
    with pytest.raises(ShapeError, match="3 and 2 examples"):
        sley.vmap(lambda x, y: x)(x, sley.ones(2))
    with pytest.raises(IndexingError, match="axis 2"):
        sley.vmap(lambda x: x, in_dims=2)(x)
    with pytest.raises(ArgumentError, match="returns a float"):
        sley.vmap(lambda x: 2.0)(x)
    with pytest.raises(ArgumentError, match="out_dims says None"):
        sley.vmap(lambda x: x, out_dims=None)(x)
    with pytest.raises(ArgumentError, match="out_dims"):
        sley.vmap(lambda x: x, out_dims=(0, 0))(x)
    with pytest.raises(ArgumentError, match="none of error"):
        sley.vmap(lambda x: x, randomness="other")
    with pytest.raises(ArgumentError, match="not positive"):
        sley.vmap(lambda x: x, chunk_size=0)
    with pytest.raises(TraceError, match="no data"):
        sley.vmap(lambda x: x if x.sum() > 0 else -x)(x)
    with pytest.raises(IndexingError, match="out of range"):
        sley.vmap(lambda x, k: x[k])(x, sley.tensor([0, 1, 2]))
    held = sley.zeros(2)
    with pytest.raises(TraceError, match="written in place"):
        sley.vmap(lambda x: held.add_(x))(x)
    assert (held.numpy() == 0).all()


def test_an_index_out_of_range_in_a_compiled_call() -> None:
    f = sley.compile(sley.vmap(lambda x, k: x[k]))
    x = numbers(3, 2)
    np.testing.assert_allclose(f(x, sley.tensor([0, 1, 0])).numpy(), x.numpy()[range(3), [0, 1, 0]])
    with pytest.raises(IndexingError):
        f(x, sley.tensor([0, 2, 0]))


def test_threads() -> None:
    """Each thread maps for itself."""
    x = numbers(4, 3)
    expected = sley.vmap(sley.hessian(lambda x: (x**3).sum()))(x).numpy()
    found: list[np.ndarray] = []

    def work() -> None:
        found.append(sley.vmap(sley.hessian(lambda x: (x**3).sum()))(x).numpy())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for array in found:
        np.testing.assert_array_equal(array, expected)
