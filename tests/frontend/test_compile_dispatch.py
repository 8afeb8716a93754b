"""How a call finds its program: arguments taken apart by made functions, direct calls, results."""

from __future__ import annotations

import gc

import numpy as np
import optree
import pytest

import sley
from sley.frontend.compile.unpacking import unpacking
from sley.frontend.trees import flatten_tree

TREES = [
    ((1, 2), {}),
    ((), {"a": 1}),
    (([1, 2, 3], (4,), {"b": 5, "a": {"c": [6]}}), {"z": 7, "y": (8, [])}),
    ((None, [None, 1], {}), {"k": None}),
    (((1, [2, (3, {4: 5})]),), {}),
]


@pytest.mark.parametrize("tree", TREES)
def test_an_unpacking_gives_the_leaves_in_the_order_of_the_tree(tree) -> None:
    leaves, structure = flatten_tree(tree)
    assert unpacking(structure)(*tree) == leaves


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("other", TREES)
def test_an_unpacking_knows_its_structure(tree, other) -> None:
    structure = flatten_tree(tree)[1]
    found = unpacking(structure)(*other)
    assert (found is None) == (flatten_tree(other)[1] != structure)


def test_an_unpacking_looks_at_lengths_kinds_and_keys() -> None:
    unpack = unpacking(flatten_tree((([1, 2], {"a": 3, "b": 4}), {}))[1])
    assert unpack(([1, 2], {"b": 4, "a": 3}), {}) == [1, 2, 3, 4]
    for args in [
        ([1, 2, 3], {"a": 3, "b": 4}),
        ((1, 2), {"a": 3, "b": 4}),
        ([1, 2], {"a": 3}),
        ([1, 2], {"a": 3, "c": 4}),
        ([1, 2], [3, 4]),
        ([1, 2],),
    ]:
        assert unpack(args, {}) is None
    assert unpack(([1, 2], {"a": 3, "b": 4}), {"c": 1}) is None


def test_other_containers_are_flattened_the_general_way() -> None:
    from collections import OrderedDict

    structure = optree.tree_structure(((OrderedDict(a=1),), {}), namespace="sley")
    assert unpacking(structure) is None


@sley.compile
def total(x, others):
    for other in others["list"]:
        x = x + other
    return x * others["scale"]


def test_nested_calls_of_one_kind_with_other_lengths() -> None:
    x = sley.tensor([1.0, 2.0])
    for count in [2, 3, 2, 0, 3]:
        for scale in [2.0, sley.tensor(3.0), 4.0]:
            others = {"list": [x] * count, "scale": scale}
            assert np.array_equal(total(x, others).numpy(), x.numpy() * (1 + count) * float(scale))


def test_a_leaf_that_becomes_a_tree_is_no_leaf() -> None:
    f = sley.compile(lambda x, y: x if y is None else x + y[0])
    x = sley.tensor([1.0])
    assert f(x, None).tolist() == [1.0]
    assert f(x, [x]).tolist() == [2.0]
    assert f(x, (x,)).tolist() == [2.0]
    assert f(x, None).tolist() == [1.0]


def test_a_known_tensor_is_looked_at_again_when_it_changes() -> None:
    f = sley.compile(lambda x: (x * 2.0).sum())
    x = sley.tensor([1.0, 2.0, 3.0])
    for _ in range(3):
        assert float(f(x)) == 12.0
    x.data = sley.tensor([1.0, 5.0])
    assert float(f(x)) == 12.0
    x.requires_grad_()
    f(x).backward()
    assert x.grad.tolist() == [2.0, 2.0]
    x.requires_grad_(False)
    assert not f(x).requires_grad


def test_a_view_is_read_where_it_lies() -> None:
    f = sley.compile(lambda x: x + 1.0)
    x = sley.arange(12.0)
    f(x), f(x)
    for view in [x[3:6], x[::2], x.reshape(3, 4)[1], x.reshape(3, 4).T]:
        for _ in range(2):
            assert np.array_equal(f(view).numpy(), view.numpy() + 1.0)


def test_results_are_direct_arguments_of_the_next_call() -> None:
    f = sley.compile(lambda x, n: (x + 1.0, x.reshape(-1), n + 1))
    x = sley.zeros(2, 3)
    for turn in range(4):
        x, flat, n = f(x, turn)
        assert x.tolist() == [[turn + 1.0] * 3] * 2 and flat.tolist() == [float(turn)] * 6
        assert n == turn + 1
        gc.collect()


def test_symbolic_sizes_that_take_turns() -> None:
    f = sley.compile(lambda x, y: (x * y, x.sum()), dynamic=True)
    for _ in range(2):
        for size in [5, 1, 7, 0, 64, 3]:
            x = np.arange(size, dtype=np.float32)
            product, sum = f(sley.tensor(x), sley.tensor(x + 1.0))
            assert product.shape == (size,) and np.array_equal(product.numpy(), x * (x + 1.0))
            assert float(sum) == x.sum()


def test_an_argument_that_is_written_and_one_that_is_captured() -> None:
    state = sley.zeros(3)

    @sley.compile
    def step(x, y):
        x += 1.0
        state.add_(y)
        return x + y

    x, y = sley.zeros(3), sley.ones(3)
    for turn in range(1, 4):
        assert step(x, y).tolist() == [turn + 1.0] * 3
        assert x.tolist() == [float(turn)] * 3 and state.tolist() == [float(turn)] * 3
    assert step(state, y).tolist() == [5.0 + 1.0] * 3  # now the argument is what is captured
    assert state.tolist() == [5.0] * 3


def _training() -> tuple:
    layer = sley.nn.Linear(200, 100)
    optimizer = sley.optim.SGD(layer.parameters(), lr=0.1)

    @sley.compile
    def step(x):
        optimizer.zero_grad()
        loss = (layer(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    return layer, step


def test_new_gradients_lie_where_the_old_ones_were() -> None:
    layer, step = _training()
    x = sley.ones(3, 200)
    step(x)
    place = layer.weight.grad.storage.pointer
    for _ in range(3):
        step(x)
        assert layer.weight.grad.storage.pointer == place


def test_a_gradient_that_somebody_holds_is_kept() -> None:
    layer, step = _training()
    x = sley.ones(3, 200)
    step(x)
    held, known = layer.weight.grad, layer.weight.grad.numpy().copy()
    step(x)
    assert layer.weight.grad is not held
    assert np.array_equal(held.numpy(), known)
    assert not np.array_equal(layer.weight.grad.numpy(), known)


def test_gradients_that_the_program_reads_are_there() -> None:
    w = sley.ones(100, 200).requires_grad_()

    @sley.compile
    def accumulate(x):
        before = w.grad
        (w * x).sum().backward()
        return before

    assert accumulate(sley.ones(200)) is None
    first = w.grad
    assert accumulate(sley.ones(200)) is first
    assert float(w.grad[0, 0]) == 2.0


def test_a_failing_check_leaves_the_gradients() -> None:
    table = sley.nn.Embedding(50, 200)

    @sley.compile
    def step(indices):
        table.weight.grad = None
        table(indices).sum().backward()

    step(sley.tensor([1, 2]))
    held = table.weight.grad
    with pytest.raises(IndexError):
        step(sley.tensor([1, 50]))
    assert table.weight.grad is held


def test_hooks_of_a_compiled_module_run() -> None:
    model = sley.compile(sley.nn.Linear(3, 2))
    x, seen = sley.ones(1, 3), []
    for _ in range(2):
        model(x)
    handle = model.register_forward_hook(lambda module, args, result: seen.append(result))
    found = model(x)
    assert seen == [found]
    handle.remove()
    model(x)
    assert len(seen) == 1
    model.compile()
    assert np.allclose(model(x).detach().numpy(), found.detach().numpy())
