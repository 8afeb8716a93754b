"""scan, fori_loop, cond and while_loop: eager, recorded and compiled give the same, and so do their
gradients, which agree with central differences to second order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from recording import record, state

import sley

W = np.random.default_rng(3).normal(size=(3, 3)) * 0.5
B = np.random.default_rng(4).normal(size=3)


@pytest.fixture(autouse=True)
def doubles() -> Iterator[None]:
    sley.set_default_dtype(sley.float64)
    yield
    sley.set_default_dtype(sley.float32)


@dataclass(frozen=True)
class Program:
    """A function of float64 tensors of these shapes that gives one tensor."""

    function: Callable[..., sley.Tensor]
    shapes: tuple[tuple[int, ...], ...]

    def arrays(self) -> list[np.ndarray]:
        rng = np.random.default_rng(len(self.function.__name__))
        return [rng.normal(size=shape) for shape in self.shapes]


PROGRAMS: dict[str, Program] = {}


def program(*shapes: tuple[int, ...]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        PROGRAMS[function.__name__] = Program(function, shapes)
        return function

    return add


@program((3, 3), (3,), (5, 3))
def recurrent(w, h, xs):
    def f(carry, x):
        h = sley.tanh(carry["h"] @ w + x)
        return {"h": h, "n": carry["n"] + 1}, (h * carry["n"], None)

    last, (ys, _) = sley.scan(f, {"h": h, "n": 0}, xs)
    return ys.sum() + (last["h"] ** 2).sum() * last["n"]


@program((4, 2), (4,), (2,))
def backwards_over_a_tree(a, b, h):
    def f(h, x):
        h = h * sley.sin(x["a"]) + x["b"]
        return h, h

    last, ys = sley.scan(f, h, {"a": a, "b": b}, reverse=True)
    return (ys * sley.arange(4.0)[:, None]).sum() * last.prod()


@program((6,), (4, 3))
def integer_carry_reads_by_index(table, xs):
    def f(carry, x):
        i, total = carry
        total = total + (table[i] * x).sum() ** 2
        return ((i * 2 + 1) % 6, total), table[i]

    (_, total), read = sley.scan(f, (sley.tensor(1), 0.0), xs)
    return total + (read**3).sum()


@program((3,), (2, 4, 3))
def nested(h, xs):
    def outer(h, row):
        def inner(h, x):
            h = sley.sin(h + x)
            return h, h.sum()

        h, sums = sley.scan(inner, h, row)
        return h * sums[0], sums

    h, sums = sley.scan(outer, h, xs)
    return h.sum() + (sums**2).sum()


@program((3,), (5, 3))
def branches_in_a_loop(h, xs):
    def f(h, x):
        h = sley.cond(x.sum() > 0, lambda h: sley.sin(h) * x, lambda h: h + x**2, h)
        return h, h

    h, ys = sley.scan(f, h, xs)
    return (ys**2).sum() + h.sum()


@program((3,), (4, 3))
def loop_in_a_branch(h, xs):
    def long(h):
        return sley.scan(lambda h, x: (sley.sin(h) + x, None), h, xs)[0]

    return sley.cond(h.sum() < 100, long, lambda h: h * 2, h).sum() ** 2


@program((3,), (3, 3))
def counted(h, w):
    return (sley.fori_loop(1, 5, lambda i, h: sley.tanh(h @ w) * i, h) ** 2).sum()


@program((3,), (0, 3))
def no_turns(h, xs):
    last, ys = sley.scan(lambda h, x: (h * x, h + x), h, xs)
    return (last**3).sum() + ys.sum()


@program((3,), (4, 3))
def written_in_place(h, xs):
    def f(h, x):
        y = h * 2
        y[1:] = x[1:] * h[1:]
        y.mul_(x)
        return sley.sin(y), y

    last, ys = sley.scan(f, h, xs)
    return last.sum() + (ys**2).sum()


@program((2,), (3, 2))
def descent(p, targets):
    """Gradients are taken inside of the loop, and of the loop."""

    def f(p, target):
        q = p * 1.0 if p.requires_grad else p.clone().requires_grad_()
        (g,) = sley.autograd.grad(((sley.sin(q) - target) ** 2).sum(), q, create_graph=True)
        return p - 0.1 * g, None

    return (sley.scan(f, p, targets)[0] ** 2).sum()


@program((3,), (4, 3))
def no_gradient_inside(h, xs):
    def f(h, x):
        with sley.no_grad():
            scale = (h * x).sum()
        return sley.sin(h * scale) + x.detach(), h

    last, ys = sley.scan(f, h, xs)
    return last.sum() + (ys * xs).sum()


@program((3,), (5, 3))
def dropped(h, xs):
    sley.manual_seed(7)

    def f(h, x):
        keep = sley.rand(3) > 0.4
        h = sley.where(keep, h * x, h) + sley.cond(
            x[0] > 0, lambda: sley.rand(3) + sley.rand(3), lambda: sley.zeros(3)
        )
        return h, sley.rand(())

    last, ys = sley.scan(f, h, xs)
    return (last**2).sum() + ys.sum() + sley.rand(())


NAMES = sorted(PROGRAMS)


def tensors(arrays: list[np.ndarray], requires: bool = False) -> list[sley.Tensor]:
    return [sley.tensor(a, requires_grad=requires) for a in arrays]


def gradients(function: Callable[..., Any], create: bool = False) -> Callable[..., Any]:
    def of(*args: sley.Tensor) -> Any:
        args = tuple(a if a.requires_grad else a.detach().requires_grad_() for a in args)
        return sley.autograd.grad(
            function(*args), args, create_graph=create, materialize_grads=True
        )

    return of


def directional(function: Callable[..., Any]) -> Callable[..., Any]:
    """The derivative along fixed directions, a number; itself to be differentiated."""

    def of(*args: sley.Tensor) -> sley.Tensor:
        found = gradients(function, create=True)(*args)
        rng = np.random.default_rng(5)
        pairs = [(g * sley.tensor(rng.normal(size=tuple(g.shape)))).sum() for g in found]
        return sum(pairs[1:], pairs[0])

    return of


@pytest.mark.parametrize("name", NAMES)
def test_eager_recorded_and_compiled_agree(name: str) -> None:
    case = PROGRAMS[name]
    eager = case.function(*tensors(case.arrays())).detach().numpy()
    recorded = record(case.function, *tensors(case.arrays()))
    (found, *_) = recorded.run(state(recorded))
    np.testing.assert_allclose(found, eager, rtol=1e-12)
    compiled = sley.compile(case.function)(*tensors(case.arrays()))
    np.testing.assert_allclose(compiled.detach().numpy(), eager, rtol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_agree(name: str) -> None:
    case = PROGRAMS[name]
    eager = [g.numpy() for g in gradients(case.function)(*tensors(case.arrays()))]
    inside = sley.compile(gradients(case.function))(*tensors(case.arrays()))
    leaves = tensors(case.arrays(), requires=True)
    sley.compile(case.function)(*leaves).backward()
    for one, other, leaf in zip(eager, inside, leaves, strict=True):
        np.testing.assert_allclose(other.numpy(), one, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(leaf.grad.numpy(), one, rtol=1e-9, atol=1e-12)


def slope(function: Callable[..., Any], arrays: list[np.ndarray], along: list) -> float:
    step = 1e-6
    sides = []
    for sign in (1, -1):
        moved = [a + sign * step * d for a, d in zip(arrays, along, strict=True)]
        sides.append(float(function(*tensors(moved)).detach().numpy()))
    return (sides[0] - sides[1]) / (2 * step)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "no_gradient_inside"])
@pytest.mark.parametrize("order", [1, 2])
def test_gradients_agree_with_differences(name: str, order: int) -> None:
    case = PROGRAMS[name]
    function = case.function if order == 1 else directional(case.function)
    arrays = case.arrays()
    rng = np.random.default_rng(11)
    along = [rng.normal(size=a.shape) for a in arrays]
    recorded = record(gradients(function), *tensors(arrays))
    found = recorded.run(state(recorded))[: len(arrays)]
    got = sum(float((g * d).sum()) for g, d in zip(found, along, strict=True))
    assert got == pytest.approx(slope(function, arrays, along), rel=2e-5, abs=1e-7)


@pytest.mark.parametrize("name", ["recurrent", "branches_in_a_loop", "nested"])
def test_second_order_compiled(name: str) -> None:
    case = PROGRAMS[name]
    function = gradients(directional(case.function))
    eager = [g.numpy() for g in function(*tensors(case.arrays()))]
    for one, other in zip(eager, sley.compile(function)(*tensors(case.arrays())), strict=True):
        np.testing.assert_allclose(other.numpy(), one, rtol=1e-8, atol=1e-11)


def test_a_long_loop_has_as_many_nodes_as_a_short_one() -> None:
    def nodes(turns: int) -> int:
        h, w = tensors([B, W])
        recorded = record(gradients(lambda w, h: recurrent(w, h, sley.zeros(turns, 3))), w, h)
        return sum(1 for _ in recorded.graph.walk())

    assert nodes(10) == nodes(1000)
