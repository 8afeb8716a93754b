"""What eager ops remember of earlier ones: types by the kinds of arguments, lines by call."""

import numpy as np
import pytest

import sley
import sley.nn.functional as F


def test_numbers_of_other_kinds_are_decided_anew():
    x = sley.tensor([1, 2])
    assert [(x + n).dtype for n in (1, True, 1.0, 1j)] == [
        sley.int64, sley.int64, sley.float32, sley.complex64
    ]  # fmt: skip


def test_another_default_dtype_is_decided_anew():
    x, before = sley.tensor([1, 2]), sley.get_default_dtype()
    assert (x + 0.5).dtype == sley.float32
    sley.set_default_dtype(sley.float64)
    try:
        assert (x + 0.5).dtype == sley.float64
        assert (x / 2).dtype == sley.float64
    finally:
        sley.set_default_dtype(before)
    assert (x + 0.5).dtype == sley.float32


def test_numbers_with_and_without_axes_promote_differently():
    wide, x = sley.tensor(1.0, dtype=sley.float64), sley.ones(2)
    assert (x + wide).dtype == sley.float32
    assert (x + wide.reshape(1)).dtype == sley.float64


def test_each_call_with_wrong_shapes_is_an_error():
    for _ in range(2):
        with pytest.raises(sley.ShapeError, match="do not broadcast"):
            sley.ones(2) + sley.ones(3)
        with pytest.raises(sley.DTypeError, match="not bool"):
            sley.where(sley.ones(2), 1.0, sley.ones(2))


def test_what_was_written_is_read():
    x, y = sley.ones(2), sley.ones(2)
    first = x + y
    x.add_(1)
    np.testing.assert_array_equal((x + y).numpy(), [3, 3])
    np.testing.assert_array_equal(first.numpy(), [2, 2])


def test_a_result_has_memory_of_its_own():
    x = sley.ones(2, 3)
    for made in (x.clone(), x.reshape(3, 2).clone(), x + 0, sley.where(x > 0, x, 0)):
        made.fill_(5)
    np.testing.assert_array_equal(x.numpy(), np.ones((2, 3)))


def _place(tensor):
    from sley.frontend.autograd.history import grad_fn

    return grad_fn(tensor).node.line


def test_ops_of_one_call_have_the_line_of_the_call():
    x = sley.ones(2, 3, requires_grad=True)
    w = sley.ones(3, 3)
    a = F.linear(x, w, sley.zeros(3))
    b = F.cross_entropy(a, sley.tensor([0, 2]))
    first, second = _place(a), _place(b)
    assert first.function == second.function == "test_ops_of_one_call_have_the_line_of_the_call"
    assert second.line == first.line + 1


def test_the_line_is_forgotten_after_an_error():
    with pytest.raises(sley.ShapeError):
        F.linear(sley.ones(2, 3), sley.ones(3, 4))
    x = sley.ones(2, requires_grad=True)
    y = x * 2
    z = x * 3
    assert _place(z).line == _place(y).line + 1


def test_a_result_without_slope_has_no_history():
    x = sley.ones(2, requires_grad=True)
    assert (x > 0).is_leaf and not (x > 0).requires_grad
    assert sley.argmax(x).is_leaf
