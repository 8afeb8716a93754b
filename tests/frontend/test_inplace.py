"""Writes in place: through views, under gradients, eager and recorded alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import check, record, state

from sley.frontend import inplace
from sley.frontend.apply import value_of
from sley.frontend.construct import tensor
from sley.frontend.context import enable_grad, no_grad
from sley.frontend.errors import AutogradError, ShapeError, UnsupportedError
from sley.frontend.viewing import expand_view, permute_view, reshape_view

A = np.arange(12, dtype=np.float32).reshape(3, 4)
V = np.array([1, -2, 3, 0.5], np.float32)


def write_rows(x, v):
    x[0] = v
    x[1:] += v


def write_steps(x, v):
    x[::2, ::-1] = v
    x[:, 1::2].zero_()


def write_transposed(x, v):
    permute_view(x, (1, 0))[1].mul_(2.0)
    permute_view(x, (1, 0)).sub_(1.0)


def write_reshaped(x, v):
    flat = reshape_view(x, (-1,))
    flat[5] = 100.0
    flat[::3].add_(v)


def stale_views(x, v):
    row, corner = x[1], x[1][2:]
    x.mul_(2.0)
    corner.add_(1.0)
    return row * 1.0, corner + row[0]


def overlapping(x, v):
    x[1:] = x[:-1]
    x[:, 1:] = x[:, :-1] + 0.0


def aliases(x, v):
    y = x.detach()
    y[0] = 7.0
    x[1] = y[0] + x[2]
    return y + x


def whole(x, v):
    x.copy_(v)
    v.fill_(3)
    return x + v


def swap(x, v):
    old = x[0].clone()
    x[0] = x[1]
    x[1] = old


def indexed(x, v):
    x[[0, 2], [1, 1]] = -1.0
    x[[2, 0]] = x[[0, 2]] * 2.0
    x[x > 10.0] = 0.5


def nothing(x, v):
    x[1] = x[1]
    return x * v


def deep(x, v):
    inner = permute_view(reshape_view(x[1:], (2, 2, 2)), (2, 0, 1))[1, :, 1]
    inner.copy_(v[:2])
    return inner * inner


def clamped(x, v):
    x.clamp_(1.5, 9.5)
    x.lerp_(v, 0.5)
    x.addcmul_(v, v, value=2.0)
    x.addcdiv_(v, x + 20.0, value=-1.0)
    x.pow_(2.0)
    x.div_(3)
    x %= 2.0


PROGRAMS = [
    write_rows, write_steps, write_transposed, write_reshaped, stale_views, overlapping, aliases,
    whole, swap, indexed, nothing, deep, clamped,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_recorded_writes_are_the_eager_ones(program):
    check(program, A, V)


@pytest.mark.parametrize("program", [write_rows, write_steps, overlapping, swap])
def test_eager_writes_are_numpys(program):
    """Of these programs, each written for numpy once more."""
    x, v = A.copy(), V.copy()
    if program is write_rows:
        x[0] = v
        x[1:] += v
    elif program is write_steps:
        x[::2, ::-1] = v
        x[:, 1::2] = 0
    elif program is overlapping:
        x[1:] = x[:-1].copy()
        x[:, 1:] = x[:, :-1].copy()
    else:
        x[[0, 1]] = x[[1, 0]]
    mine = tensor(A)
    program(mine, tensor(V))
    np.testing.assert_array_equal(mine.array, x)


@pytest.mark.parametrize("program", [p for p in PROGRAMS if p is not aliases])
def test_gradients_flow_through_writes(program):
    """On a copy of leaves: the gradient eager, recorded, and by central differences."""

    def loss(x, v):
        copied, other = x * 1.0, v * 1.0
        results = program(copied, other)
        total = copied * copied
        if isinstance(results, tuple):
            return (total, *results)
        return total if results is None else (total, results)

    def run(x, v):
        outputs = loss(x, v)
        for output in outputs if isinstance(outputs, tuple) else (outputs,):
            weight = np.linspace(0.5, 1.5, output.numel()).reshape(output.shape)
            output.backward(tensor(weight, dtype=x.dtype), retain_graph=True)

    check(run, A, V, requires_grad=True)
    arrays = [A.astype(np.float64), V.astype(np.float64)]

    def number(*given):
        outputs = loss(*map(tensor, given))
        total = 0.0
        for output in outputs if isinstance(outputs, tuple) else (outputs,):
            weight = np.linspace(0.5, 1.5, output.numel()).reshape(output.shape)
            total += float((output.array * weight).sum())
        return total

    leaves = [tensor(a, requires_grad=True) for a in arrays]
    run(*leaves)
    rng = np.random.default_rng(0)
    direction = [rng.standard_normal(a.shape) for a in arrays]
    h = 1e-6
    up = number(*(a + h * d for a, d in zip(arrays, direction, strict=True)))
    down = number(*(a - h * d for a, d in zip(arrays, direction, strict=True)))
    slope = sum(
        float((leaf.grad.array * d).sum())
        for leaf, d in zip(leaves, direction, strict=True)
        if leaf.grad is not None
    )
    np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=1e-4, atol=1e-4)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["slice", "row", "permute", "reshape", "base"]),
        st.sampled_from(["add", "mul", "copy", "fill", "none"]),
        st.integers(-3, 3),
    ),
    min_size=1,
    max_size=6,
)


def flat(base):
    """`base` as one axis where that is a view, else `base`; of a tensor or an array."""
    if not isinstance(base, np.ndarray):
        view = reshape_view(base, (-1,))
        return base if view is None else view
    view = base.reshape(-1)
    return view if np.shares_memory(view, base) else base


def turned(base):
    return base.T if isinstance(base, np.ndarray) else permute_view(base, range(base.ndim)[::-1])


def run_steps(steps, x, v):
    """Views of views, some of them written; of tensors or of numpy arrays alike."""
    views = [x]
    for kind, write, number in steps:
        base = views[abs(number) % len(views)]
        if kind == "slice" and base.ndim:
            view = base[:: 1 if number >= 0 else -1]
        elif kind == "row" and base.ndim > 1:
            view = base[number % base.shape[0]]
        elif kind == "permute":
            view = turned(base)
        elif kind == "reshape":
            view = flat(base)
        else:
            view = x
        before = views[-1]
        views.append(view)
        if write == "add":
            view += float(number)
        elif write == "mul":
            view *= (before + 0.0) if before.shape == view.shape else 2.0
        elif write == "copy":
            view[...] = v[abs(number)]
        elif write == "fill":
            view[...] = float(number)
    return [view * 1.0 for view in views]


@settings(max_examples=80)
@given(STEPS)
def test_random_programs_of_views_and_writes(steps):
    x, mine = A.copy(), tensor(A)
    expected = run_steps(steps, x, V)
    for got, wanted in zip(run_steps(steps, mine, tensor(V)), expected, strict=True):
        np.testing.assert_array_equal(got.array, wanted)
    np.testing.assert_array_equal(mine.array, x)
    check(lambda x, v: run_steps(steps, x, v), A, V)
    check(lambda x, v: run_steps(steps, x * 1.0, v), A, V)


@settings(max_examples=40)
@given(STEPS)
def test_gradients_of_random_programs(steps):
    """Along one direction, against central differences; products keep the numbers moderate."""

    def outputs(x, v):
        return run_steps(steps, x * 1.0, v * 1.0)[-2:]

    def backward(x, v):
        for output in outputs(x, v):
            if output.requires_grad:
                output.backward(tensor(np.ones(output.shape), dtype=x.dtype), retain_graph=True)

    arrays = [A.astype(np.float64) / 8, V.astype(np.float64) / 4]
    check(backward, *(a.astype(np.float32) for a in arrays), requires_grad=True)
    leaves = [tensor(a, requires_grad=True) for a in arrays]
    backward(*leaves)
    rng = np.random.default_rng(0)
    directions = [rng.standard_normal(a.shape) for a in arrays]

    def total(h):
        moved = (a + h * d for a, d in zip(arrays, directions, strict=True))
        return sum(float(output.sum()) for output in outputs(*moved))

    slope = sum(
        float((leaf.grad.array * d).sum())
        for leaf, d in zip(leaves, directions, strict=True)
        if leaf.grad is not None
    )
    np.testing.assert_allclose(slope, (total(1e-6) - total(-1e-6)) / 2e-6, rtol=1e-4, atol=1e-5)


def test_versions_count_writes():
    x = tensor(A)
    x[0].zero_()
    x += 1.0
    assert x.storage.version == 2 and x.detach().storage is x.storage


def test_in_place_returns_the_tensor_itself():
    x = tensor(A)
    same = x
    same += 1.0
    assert same is x and x.add_(1) is x and x.zero_() is x


def test_expanded_views_refuse_writes():
    def program(x):
        expand_view(x, (3, 4)).add_(1.0)

    with pytest.raises(UnsupportedError, match="expanded"):
        program(tensor(V))
    with pytest.raises(UnsupportedError, match="expanded"):
        record(program, tensor(V))
    with pytest.raises(UnsupportedError):
        expand_view(tensor([1.0]), (3,))[1:].zero_()


def test_a_result_of_another_shape_is_refused():
    x = tensor(V)
    with pytest.raises(ShapeError, match="add_"):
        x.add_(tensor(A))
    with pytest.raises(ShapeError, match="copy_"):
        x.copy_(tensor(A))
    assert x.tolist() == V.tolist() and x.storage.version == 0


@pytest.mark.parametrize("view", [lambda w: w, lambda w: w[1:]], ids=["leaf", "view of leaf"])
def test_leaves_that_require_grad_refuse_writes(view):
    def program(w):
        view(w).mul_(2.0)

    for run in (program, lambda w: record(program, w)):
        w = tensor(V, requires_grad=True)
        with pytest.raises(AutogradError, match="leaf"):
            run(w)
        assert w.detach().tolist() == V.tolist()


def test_under_no_grad_a_leaf_stays_one():
    def program(w):
        with no_grad():
            w.sub_(1.0)
            w[0] = 5.0
        assert w.is_leaf and w.requires_grad
        (w * w).backward(tensor([1.0, 1.0, 1.0, 1.0]))
        return w.grad

    check(program, V, requires_grad=True)


def test_two_steps_of_descent_in_one_program():
    def program(w, x):
        for _ in range(3):
            w.grad = None
            y = w * x.detach()
            (y * y).backward(tensor([1.0, 1.0, 1.0, 1.0]))
            with no_grad():
                w -= w.grad * 0.1

    check(program, V, V + 1, requires_grad=True)


def test_no_history_is_lost_silently():
    w = tensor(V, requires_grad=True)
    y = w * 2.0
    with no_grad(), pytest.raises(UnsupportedError, match="history"):
        y.zero_()
    y.detach().zero_()
    with pytest.raises(AutogradError, match="overwritten through a detached view"):
        y * 1.0


def test_a_view_made_without_gradients_has_no_history():
    w = tensor(V, requires_grad=True)
    with no_grad():
        row = w[1:]
        row.zero_()
    assert not row.requires_grad and w.detach().tolist() == [1.0, 0.0, 0.0, 0.0]


def test_a_buffer_takes_a_history_and_its_views_too():
    def program(w):
        buffer = tensor(np.zeros((2, 4), np.float32))
        view = buffer[1]
        assert not view.requires_grad
        with enable_grad():
            buffer[1] = w * 3.0
        assert buffer.requires_grad and view.requires_grad and not buffer.is_leaf
        view.backward(tensor(V))

    check(program, V, requires_grad=True)


def test_a_copy_of_a_computed_tensor_keeps_apart_from_it():
    def program(w):
        y = w * 2.0
        buffer = tensor(np.zeros(4, np.float32))
        buffer.copy_(y)
        (buffer * buffer).backward(tensor(V), retain_graph=True)
        buffer.fill_(0.0)
        (y * y).backward(tensor(V))
        assert buffer.requires_grad  # with a gradient of zeros

    check(program, V, requires_grad=True)


def test_writing_a_view_to_its_own_place_does_nothing():
    x = tensor(A)
    x[0] = x[0]
    x[1] += 1.0
    assert x.storage.version == 1

    def program(w):
        y = w * 2.0
        y.copy_(y.detach())  # the same elements, but another history
        assert not y.requires_grad
        (y * w).backward(tensor(V))

    check(program, V, requires_grad=True)


def test_under_no_grad_a_copy_takes_no_history():
    def program(w):
        y = w * 2.0
        buffer = tensor(np.zeros(4, np.float32))
        with no_grad():
            buffer.copy_(y)
        assert not buffer.requires_grad
        (buffer * w).backward(tensor(V))

    check(program, V, requires_grad=True)


@pytest.mark.parametrize("requires_grad", [False, True])
def test_an_operand_that_was_broadcast_is_noticed_too(requires_grad):
    x = tensor(np.ones((2, 3), np.float32)).requires_grad_()
    row = tensor([1.0, 2.0, 3.0]).requires_grad_(requires_grad)
    total = (x * row).sum()
    with no_grad():
        row.add_(5)
    with pytest.raises(AutogradError, match="overwritten in place"):
        total.backward()


def test_overwritten_values_are_noticed():
    w = tensor(V, requires_grad=True)
    x = tensor(V)
    y = w * x
    x.add_(1.0)
    with pytest.raises(AutogradError) as caught:
        y.backward(tensor(V))
    text = str(caught.value)
    assert "test_inplace.py" in text and "used at" in text and "overwritten at" in text
    lines = [int(part.split(" ")[0]) for part in text.split("test_inplace.py:")[1:3]]
    assert lines[1] == lines[0] + 1


def test_values_that_no_rule_reads_may_be_overwritten():
    w = tensor(V, requires_grad=True)
    y = w * 2.0
    z = y + 1.0
    y.mul_(3.0)
    z.backward(tensor(V))
    assert w.grad.tolist() == [2.0 * v for v in V]


def test_writes_in_a_trace_leave_the_memory_alone():
    x = tensor(A)
    recorded = record(lambda t: t.zero_(), x)
    assert x.tolist() == A.tolist() and x.storage.version == 0
    (capture,) = recorded.trace.captures.values()
    assert capture.is_written and capture.storage is x.storage
    assert capture.line.file.endswith("test_inplace.py")
    np.testing.assert_array_equal(recorded.run(state(recorded))[1], np.zeros((3, 4)))


def test_a_whole_write_reads_nothing():
    recorded = record(lambda t: [inplace.fill_(t, 2.0)], tensor(A))
    (capture,) = recorded.trace.captures.values()
    assert all(capture.param not in node.operands for node in recorded.graph.nodes)


def test_detach_in_place():
    w = tensor(V, requires_grad=True)
    y = w * 2.0
    y.detach_()
    assert y.is_leaf and not y.requires_grad and value_of(y).node is None
    with pytest.raises(AutogradError):
        (w * 2.0)[0].detach_()
