"""What a user's graph of gradients is: leaves, accumulation, hooks, freeing."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from recording import check, record

import sley
from sley.frontend import autograd
from sley.frontend.apply import apply, elementwise, value_of
from sley.frontend.construct import tensor
from sley.frontend.context import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from sley.frontend.epoch import epoch
from sley.frontend.errors import AutogradError, ShapeError, TraceError

V = np.array([1.0, -2.0, 3.0], np.float32)
ONES = [1.0, 1.0, 1.0]


def total(x):
    return apply("reduce_sum", [x], axes=tuple(range(x.ndim)))


def leaf(data=V):
    return tensor(data, requires_grad=True)


def test_gradients_accumulate():
    w = leaf()
    total(w * w).backward()
    assert w.grad.tolist() == [2.0, -4.0, 6.0]
    kept = w.grad
    total(w * 3.0).backward()
    assert w.grad.tolist() == [5.0, -1.0, 9.0] and w.grad is kept
    assert not w.grad.requires_grad


def test_recorded_gradients_accumulate_too():
    def program(w):
        total(w * w).backward()
        total(w * 3.0).backward()

    check(program, V, requires_grad=True)


def test_a_captured_gradient_is_added_to_in_place():
    w = leaf()
    total(w * 3.0).backward()
    recorded = record(lambda t: total(t * t).backward(), w)
    captured = {c.storage for c in recorded.trace.captures.values() if c.is_written}
    assert captured == {w.grad.storage}
    assert recorded.trace.grad_writes() == []
    reads = {r.kind: (r.owner, r.value) for r in recorded.trace.reads if r.owner is w}
    assert reads == {"grad": (w, w.grad), "requires_grad": (w, True), "hooks": (w, None)}
    assert w.grad.tolist() == [3.0, 3.0, 3.0]


def test_setting_grad_to_none_first_needs_no_guard():
    w = leaf()
    total(w * 3.0).backward()

    def program(t):
        t.grad = None
        assert t.grad is None
        total(t * t).backward()

    recorded = record(program, w)
    assert [r.kind for r in recorded.trace.reads] == ["requires_grad", "hooks"]
    ((concrete, gradient),) = recorded.trace.grad_writes()
    assert concrete is w and gradient.storage.trace is recorded.trace
    assert w.grad.tolist() == [3.0, 3.0, 3.0]


def test_leaves_share_no_gradient_memory():
    a, b = leaf(), leaf()
    seed = tensor(ONES)
    (a + b).backward(seed)
    a.grad.zero_()
    assert b.grad.tolist() == ONES and seed.tolist() == ONES


def test_broadcast_and_cast():
    a = tensor([[1.0], [2.0]], requires_grad=True)
    b = tensor(V, requires_grad=True)
    y = a * b * tensor(2, dtype=None)
    total(y).backward()
    assert a.grad.tolist() == [[4.0], [4.0]] and b.grad.tolist() == [6.0, 6.0, 6.0]
    half = apply("cast", [leaf()], dtype=tensor(np.float16(1)).dtype)
    assert half.requires_grad


def test_what_is_a_leaf():
    w = leaf()
    y = w * 2.0
    assert w.is_leaf and not y.is_leaf and w.grad_fn is None
    assert repr(y.grad_fn) == "<MulBackward>" and y.grad_fn.name() == "MulBackward"
    assert y.requires_grad and not y.detach().requires_grad and y.detach().is_leaf
    assert w[0].requires_grad and not w[0].is_leaf
    assert not (w > 0).requires_grad
    with pytest.raises(AutogradError, match="detach"):
        y.requires_grad_(False)
    with pytest.raises(AutogradError, match="floating"):
        tensor([1]).requires_grad_()
    w.requires_grad_(False)
    assert not (w * 2.0).requires_grad


def test_a_view_can_become_a_leaf_of_its_own():
    flat = tensor(np.zeros(4, np.float32))
    part = flat[1:3].requires_grad_()
    total(part * part + part).backward()
    assert part.grad.tolist() == [1.0, 1.0] and not flat.requires_grad
    with no_grad():
        flat.fill_(2.0)
    assert part.detach().tolist() == [2.0, 2.0]
    total(part * part).backward()
    assert part.grad.tolist() == [5.0, 5.0]


def test_modes():
    w = leaf()
    with no_grad():
        assert not is_grad_enabled() and not (w * 2.0).requires_grad
        with enable_grad():
            assert (w * 2.0).requires_grad
        with set_grad_enabled(True):
            assert is_grad_enabled()
        assert not is_grad_enabled()
    set_grad_enabled(False)
    assert not is_grad_enabled()
    set_grad_enabled(True)
    with inference_mode():
        assert not is_grad_enabled()

    @no_grad()
    def plain(x):
        return x * 2.0

    @no_grad
    def bare(x):
        return x * 2.0

    @set_grad_enabled(False)
    def off(x):
        return x * 2.0

    assert is_grad_enabled()
    assert not any(f(w).requires_grad for f in (plain, bare, off))
    assert (w * 2.0).requires_grad


def test_the_mode_comes_back_after_an_error():
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert is_grad_enabled()


def test_a_second_backward_needs_a_retained_graph():
    w = leaf()
    y = total(w * w)
    y.backward(retain_graph=True)
    y.backward()
    assert w.grad.tolist() == [4.0, -8.0, 12.0]
    with pytest.raises(AutogradError, match="retain_graph"):
        y.backward()
    with pytest.raises(AutogradError, match="freed"):
        total(y * 2.0).backward()


def test_backward_needs_something_to_differentiate():
    with pytest.raises(AutogradError, match="does not require grad"):
        total(tensor(V)).backward()
    with pytest.raises(ShapeError, match="sum"):
        (leaf() * 2.0).backward()
    with pytest.raises(ShapeError):
        (leaf() * 2.0).backward(tensor([1.0]))


def test_graphs_die_with_their_results():
    gc.disable()
    try:
        w = leaf()
        y = w * 2.0
        z = total(elementwise("exp", y) * y)
        died = [weakref.ref(value_of(t)) for t in (y, z)]
        died.append(weakref.ref(y.storage))
        del y, z
        assert all(reference() is None for reference in died)
        y = w * 2.0
        saved = weakref.ref(value_of(y))
        z = total(y * y)
        del y
        assert saved() is not None
        z.backward()
        assert saved() is None
    finally:
        gc.enable()


def test_retained_and_unretained_gradients():
    w = leaf()
    y = w * 2.0
    other = y + 0.0
    y.retain_grad()
    total(other * other).backward()
    assert y.retains_grad and not other.retains_grad and other.grad is None
    assert y.grad.tolist() == [4.0, -8.0, 12.0] and w.grad.tolist() == [8.0, -16.0, 24.0]
    with pytest.raises(AutogradError):
        tensor(V).retain_grad()


def program_with_hooks(w):
    y = w * 2.0
    z = y * y
    seen = []
    y.register_hook(lambda g: g * 10.0)
    z.register_hook(lambda g: seen.append(g))
    gone = z.register_hook(lambda g: g * 1000.0)
    gone.remove()
    w.register_hook(lambda g: g + 1.0)
    y.retain_grad()
    total(z + y).backward()
    return y.grad, *seen


def test_hooks():
    results = program_with_hooks(leaf())
    assert results[0].tolist() == [50.0, -70.0, 130.0] and results[1].tolist() == ONES
    check(program_with_hooks, V, requires_grad=True)
    w = leaf()
    program_with_hooks(w)
    assert w.grad.tolist() == [101.0, -139.0, 261.0]


def test_hooks_of_captured_tensors_run_in_a_trace_and_are_guarded():
    w = leaf()
    before = epoch.count
    handle = w.register_hook(lambda g: g * 5.0)
    assert epoch.count == before + 1
    inside = []

    def program(t):
        t.register_hook(lambda g: inside.append(g))
        total(t * t).backward()

    recorded = record(program, w)
    assert len(w._hooks) == 1 and len(inside) == 1
    (read,) = [r for r in recorded.trace.reads if r.kind == "hooks"]
    assert read.value is w._hooks
    (gradient,) = recorded.run(dict.fromkeys(recorded.graph.params, V))[-1:]
    np.testing.assert_allclose(gradient, 10 * V)
    handle.remove()
    assert epoch.count == before + 3 and not w._hooks


def test_a_hook_must_keep_the_type():
    w = leaf()
    w.register_hook(lambda g: g[0])
    with pytest.raises(ShapeError, match="hook"):
        total(w * 2.0).backward()
    with pytest.raises(AutogradError):
        tensor(V).register_hook(print)


def test_grad_returns_and_leaves_grad_alone():
    w, unused = leaf(), leaf()
    (found,) = autograd.grad(total(w * w), w)
    assert found.tolist() == [2.0, -4.0, 6.0] and w.grad is None
    with pytest.raises(AutogradError, match="allow_unused"):
        autograd.grad(total(w * w), [w, unused])
    assert autograd.grad(total(w * w), [w, unused], allow_unused=True)[1] is None
    zeros = autograd.grad(total(w * w), [unused], materialize_grads=True)[0]
    assert zeros.tolist() == [0.0, 0.0, 0.0]
    y = w * 3.0
    (middle,) = autograd.grad(total(y * y), y)
    assert middle.tolist() == [6.0, -12.0, 18.0]


def test_backward_with_inputs():
    a, b = leaf(), leaf()
    total(a * b).backward(inputs=[a])
    assert a.grad.tolist() == V.tolist() and b.grad is None


def third_derivative(w):
    y = total(w * w * w * w)
    for _ in range(3):
        (g,) = autograd.grad(y, w, create_graph=True)
        y = total(g)
    return g


def test_derivatives_of_any_order():
    assert third_derivative(leaf()).tolist() == [24.0, -48.0, 72.0]
    check(third_derivative, V, requires_grad=True)


def test_create_graph_through_backward():
    w = leaf()
    total(w * w * w).backward(create_graph=True)
    assert w.grad.requires_grad
    penalty = total(w.grad * w.grad)
    w.grad = None
    penalty.backward()
    np.testing.assert_allclose(w.grad.array, 36 * V**3)


def test_second_derivatives_free_the_first_graph():
    w = leaf()
    (g,) = autograd.grad(total(w * w * w), w, create_graph=True)
    total(g).backward()
    with pytest.raises(AutogradError, match="freed"):
        total(g).backward()


def test_detach_stops_gradients_in_both_modes():
    def program(w):
        total(w * w.detach() + (w * 2.0).detach()).backward()

    check(program, V, requires_grad=True)
    w = leaf()
    program(w)
    assert w.grad.tolist() == V.tolist()


def test_stop_gradient():
    assert not apply("stop_gradient", [leaf()]).requires_grad
    check(lambda w: total(w * apply("stop_gradient", [w])).backward(), V, requires_grad=True)


def test_no_grad_in_a_trace():
    def program(w):
        with no_grad():
            y = w * 2.0
        assert not y.requires_grad
        total(w * y).backward()

    check(program, V, requires_grad=True)


def test_ops_without_a_gradient_say_so():
    w = leaf()
    with pytest.raises(AutogradError, match="no gradient"):
        total(apply("bitcast", [apply("bitcast", [w], dtype=w.dtype)], dtype=w.dtype)).backward()


def test_a_history_from_outside_does_not_enter_a_trace():
    w = leaf()
    y = w * 2.0
    with pytest.raises(TraceError, match="history from outside"):
        record(lambda t: t * 2.0, y)
    record(lambda t: t * 2.0, y.detach())


def test_what_compiled_programs_have_read_moves_the_epoch():
    w = leaf()
    before = epoch.count
    w.grad = None
    w[0:1].detach().zero_()
    w.grad = tensor(ONES)  # compared at each call
    assert epoch.count == before
    w.requires_grad_(False)
    w.data = tensor(ONES)
    assert epoch.count == before + 2

    def program(t):
        t.requires_grad_()
        assert t.requires_grad

    record(program, w)
    assert not w.requires_grad, "the driver of compiled calls sets it, not the trace"


def test_grad_has_the_type_of_its_tensor():
    w = leaf()
    with pytest.raises(ShapeError):
        w.grad = tensor([1.0])
    with pytest.raises(TypeError):
        w.grad = 1.0
    w.grad = tensor(ONES)
    assert w.grad.tolist() == ONES


def test_a_dead_result_among_several_keeps_its_history():
    # Only the values are kept; the second derivative goes through the vectors, too.
    matrix = np.random.default_rng(3).standard_normal((3, 3))
    direction = np.random.default_rng(4).standard_normal((3, 3))

    def slope(a: np.ndarray) -> float:
        x = sley.tensor(a, requires_grad=True)
        (g,) = sley.autograd.grad(sley.linalg.svdvals(x).sum(), [x])
        return float((g.numpy() * direction).sum())

    x = sley.tensor(matrix, requires_grad=True)
    (g,) = sley.autograd.grad(sley.linalg.svdvals(x).sum(), [x], create_graph=True)
    (second,) = sley.autograd.grad((g * sley.tensor(direction)).sum(), [x])
    difference = (slope(matrix + 1e-6 * direction) - slope(matrix - 1e-6 * direction)) / 2e-6
    assert abs(float((second.numpy() * direction).sum()) - difference) < 1e-6


def test_an_overwritten_dead_result_is_an_error():
    x = sley.tensor(np.random.default_rng(3).standard_normal((3, 3)), requires_grad=True)
    u, s, _ = sley.linalg.svd(x)
    with sley.no_grad():
        alias = u.detach()
        alias.zero_()
    del u, alias
    with pytest.raises(sley.AutogradError, match="written"):
        s.sum().backward()
