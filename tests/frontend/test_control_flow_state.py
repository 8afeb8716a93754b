"""Loops and branches with what lies around them: modules, random state, sizes, training."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from recording import dynamic, record, state

import sley
from sley.nn import functional as F

RNG = np.random.default_rng(0)
XS = RNG.normal(size=(6, 4, 3)).astype(np.float32)


class Recurrent(sley.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = sley.nn.Linear(5, 5)
        self.outer = sley.nn.Linear(3, 5)

    def forward(self, xs: sley.Tensor) -> sley.Tensor:
        def step(h, x):
            h = sley.tanh(self.inner(h) + self.outer(x))
            return h, None

        return sley.scan(step, sley.zeros(xs.shape[1], 5), xs)[0]


def model() -> Recurrent:
    sley.manual_seed(1)
    return Recurrent()


def test_training_eager_and_compiled() -> None:
    losses: dict[str, list[float]] = {}
    for mode in ("eager", "compiled", "backward outside"):
        net = model()
        optimizer = sley.optim.Adam(net.parameters(), lr=0.05)

        def loss_of(xs, net=net):
            return (net(xs) - 0.5).square().mean()

        def step(xs, net=net, optimizer=optimizer, loss_of=loss_of):
            optimizer.zero_grad()
            loss = loss_of(xs)
            loss.backward()
            optimizer.step()
            return loss

        if mode == "compiled":
            step = sley.compile(step)
        if mode == "backward outside":
            step = functools.partial(step, loss_of=sley.compile(loss_of))
        losses[mode] = [float(step(sley.tensor(XS))) for _ in range(5)]
    assert losses["eager"][-1] < losses["eager"][0]
    for mode in ("compiled", "backward outside"):
        np.testing.assert_allclose(losses[mode], losses["eager"], rtol=1e-4)


def test_gradients_accumulate_over_two_loops() -> None:
    def run(net: Recurrent, xs: Any) -> sley.Tensor:
        loss = net(xs).sum()
        loss.backward()
        net(xs * 2).square().sum().backward()
        return loss

    eager, compiled = model(), model()
    run(eager, sley.tensor(XS))
    sley.compile(lambda xs: run(compiled, xs))(sley.tensor(XS))
    for one, other in zip(eager.parameters(), compiled.parameters(), strict=True):
        np.testing.assert_allclose(other.grad.numpy(), one.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_symbolic_length_and_batch() -> None:
    net = model()

    def program(xs):
        xs = xs.detach().requires_grad_()
        out = net(xs)
        (g,) = sley.autograd.grad(out.square().sum(), xs)
        return out, g

    recorded, _ = dynamic(program, [("T", "N", 3)], {"T": 5, "N": 4})
    held = state(recorded)
    (param,) = [p for p in recorded.graph.params if p not in held]
    for length, batch in ((6, 4), (1, 2), (3, 1)):
        xs = np.random.default_rng(2).normal(size=(length, batch, 3)).astype(np.float32)
        found = recorded.run({**held, param: xs})
        expected = program(sley.tensor(xs))
        for one, other in zip(found, expected, strict=False):
            np.testing.assert_allclose(one, other.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_one_compiled_program_serves_all_lengths() -> None:
    net = model()
    forward = sley.compile(net.forward, dynamic={"xs": {0: "T", 1: "N"}})
    for length, batch in ((6, 4), (2, 4), (9, 2)):
        xs = sley.tensor(RNG.normal(size=(length, batch, 3)).astype(np.float32))
        found, expected = forward(xs).detach().numpy(), net(xs).detach().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert len(forward.programs) == 1


def drawn(x: sley.Tensor) -> Any:
    def body(c, row):
        return F.dropout(c + row, 0.3), sley.randn(2)

    last, ys = sley.scan(body, sley.zeros(3), x)
    total = sley.cond(last.sum() > 0, lambda: sley.rand(2), lambda: sley.rand(2) + sley.randn(2))
    turned = sley.fori_loop(0, 3, lambda i, c: c + sley.rand(2) * i, total)
    waited = sley.while_loop(lambda c: c[0] < 3, lambda c: c + sley.rand(2), turned)
    return last, ys, waited, sley.rand(2)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_draws_are_the_same_compiled(sign: float) -> None:
    x = sley.tensor(np.abs(XS[:, 0]) * sign)
    sley.manual_seed(5)
    eager, after = [drawn(x) for _ in range(2)], sley.get_rng_state().tolist()
    compiled = sley.compile(drawn)
    sley.manual_seed(5)
    again, again_after = [compiled(x) for _ in range(2)], sley.get_rng_state().tolist()
    assert again_after == after
    for one, other in zip(eager[0] + eager[1], again[0] + again[1], strict=True):
        np.testing.assert_allclose(other.numpy(), one.numpy(), rtol=1e-6)
    assert not np.array_equal(eager[0][1].numpy(), eager[1][1].numpy())


def test_turns_draw_different_numbers() -> None:
    _, ys = sley.compile(lambda: sley.scan(lambda c, x: (c, sley.rand(())), 0, length=50))()
    assert len(set(ys.tolist())) == 50


def test_the_larger_branch_decides_where_the_stream_goes_on() -> None:
    def program(p):
        sley.cond(p > 0, lambda: sley.rand(2), lambda: sley.rand(2) + sley.rand(2) + sley.rand(2))
        return p

    for run in (program, sley.compile(program)):
        for value in (1.0, -1.0):
            sley.manual_seed(0)
            run(sley.tensor(value))
            assert sley.get_rng_state().tolist() == [0, 3]


def test_a_generator_of_its_own() -> None:
    def program(generator):
        return sley.scan(
            lambda c, x: (c + sley.rand(2, generator=generator), None), sley.zeros(2), length=4
        )[0]

    one, other = (sley.Generator().manual_seed(3) for _ in range(2))
    eager = program(one)
    np.testing.assert_allclose(sley.compile(lambda: program(other))().numpy(), eager.numpy())
    assert one.get_state().tolist() == other.get_state().tolist() == [3, 4]


def test_while_loop_compiled() -> None:
    def collatz(n):
        def body(v):
            n, steps = v
            return sley.where(n % 2 == 0, n // 2, 3 * n + 1), steps + 1

        return sley.while_loop(lambda v: v[0] != 1, body, (n, 0))[1]

    compiled = sley.compile(collatz)
    for n in (1, 6, 27):
        assert int(compiled(sley.tensor(n))) == int(collatz(sley.tensor(n)))


def test_fori_loop_with_bounds_that_are_data() -> None:
    def program(n, x):
        return sley.fori_loop(1, n, lambda i, c: c * x + i, x)

    x = sley.tensor([1.0, 2.0])
    recorded = record(program, sley.tensor(5), x)
    assert "while" in recorded.ops
    compiled = sley.compile(program)
    for n in (5, 1, 0):
        expected = program(sley.tensor(n), x).numpy()
        np.testing.assert_array_equal(compiled(sley.tensor(n), x).numpy(), expected)


def test_a_number_as_bound_is_part_of_the_signature() -> None:
    def program(n, x):
        x = x.detach().requires_grad_()
        return sley.autograd.grad(sley.fori_loop(0, n, lambda i, c: c * x, x).sum(), x)[0]

    x = sley.tensor([1.0, 2.0])
    compiled = sley.compile(program)
    for n in (3, 2):
        np.testing.assert_array_equal(compiled(n, x).numpy(), program(n, x).numpy())


def test_a_size_as_bound() -> None:
    compiled = sley.compile(
        lambda x: sley.fori_loop(1, x.shape[0], lambda i, c: c + x[i], x[0]), dynamic=True
    )
    for n in (4, 7):
        x = sley.arange(n) * 2
        assert int(compiled(x)) == int(x.sum())


def test_python_bools_choose_at_once() -> None:
    recorded = record(
        lambda x: sley.cond(True, lambda x: x * 2, lambda x: x.no_such_thing, x), sley.ones(2)
    )
    assert "cond" not in recorded.ops


def test_operands_that_are_no_tensors_pass_through() -> None:
    x = sley.ones(2)
    result = sley.cond(x.sum() > 0, lambda x, o: x * o["k"], lambda x, o: x, x, {"k": 3})
    assert result.tolist() == [3, 3]


def test_under_no_grad_nothing_is_kept() -> None:
    net = model()

    def program(xs):
        with sley.no_grad():
            return net(xs)

    recorded = record(program, sley.tensor(XS))
    (scan,) = [n for n in recorded.graph.nodes if n.op.name == "scan"]
    assert len(scan.results) == 1
    assert not program(sley.tensor(XS)).requires_grad


def test_results_without_a_history_require_no_grad() -> None:
    w = sley.ones(3, requires_grad=True)

    def program(x):
        def body(c, x):
            return (c[0] * w, c[1] + 1.0), (c[1], c[0].detach())

        (a, b), (c, d) = sley.scan(body, (x, 0.0), length=3)
        return [t.requires_grad for t in (a, b, c, d)]

    flags: list[list[bool]] = [program(sley.ones(3))]
    record(lambda x: flags.append(program(x)), sley.ones(3))
    assert flags == [[True, False, False, False]] * 2


def test_numpy_arrays_and_numbers() -> None:
    last, ys = sley.scan(
        lambda c, x: (c + x[0] * x[1], c),
        0.5,
        (np.arange(3, dtype=np.float32), np.ones(3, np.float32)),
    )
    assert last.dtype is sley.float32
    assert float(last) == 3.5 and ys.tolist() == [0.5, 0.5, 1.5]


def test_an_index_out_of_range_raises_as_it_does_eager() -> None:
    table = sley.nn.Embedding(5, 3)

    def program(ids):
        def body(h, i):
            def inner(h, j):
                return h * 0.5 + table(j).sum(0), None

            return sley.scan(inner, h, i)[0], None

        return sley.scan(body, sley.zeros(3), ids)[0]

    compiled = sley.compile(program)
    ids = sley.tensor([[[0, 4], [1, 2]], [[3, 3], [0, 1]]])
    expected = program(ids).detach().numpy()
    np.testing.assert_allclose(compiled(ids).detach().numpy(), expected, rtol=1e-6)
    ids[1, 0, 1] = 5
    for run in (program, compiled):
        with pytest.raises(sley.IndexingError, match="index 5 is "):
            run(ids)
