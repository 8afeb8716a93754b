"""Views: what shares memory, its strides, and indexing; against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sley.frontend.methods  # noqa: F401
from sley.frontend.apply import apply
from sley.frontend.construct import from_numpy, tensor
from sley.frontend.errors import (
    ArgumentError,
    DTypeError,
    IndexingError,
    ShapeError,
    UnsupportedError,
)
from sley.frontend.strides import contiguous_strides, reshape_strides
from sley.frontend.viewing import (
    expand_view,
    narrow_view,
    permute_view,
    reshape_view,
)


def counted(*shape):
    return tensor(np.arange(np.prod(shape), dtype=np.float32).reshape(shape))


INDICES = [
    0, -1, slice(None), slice(1, 3), slice(None, None, 2), slice(None, None, -1), slice(5, 1, -2),
    slice(3, 1), slice(-2, None), slice(0, 100), None, Ellipsis, (0, 1), (slice(1), 2),
    (Ellipsis, 0), (Ellipsis, slice(None, None, -1)), (None, 0, None), (0, Ellipsis, None),
    (slice(None), None, 1), (1, 2, 3), (0, slice(None), slice(1, 4, 2)), (Ellipsis, None, 2), (),
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_basic_indices_are_views_as_in_numpy(index):
    x = counted(4, 3, 5)
    view, expected = x[index], x.array[index]
    assert view.storage is x.storage
    assert view.shape == expected.shape
    np.testing.assert_array_equal(view.array, expected)
    assert view.array.size == 0 or np.shares_memory(view.array, x.array)


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_writes_through_basic_indices(index):
    x = counted(4, 3, 5)
    expected = x.array.copy()
    expected[index] = -7
    x[index] = -7
    np.testing.assert_array_equal(x.array, expected)


@given(st.data())
def test_chains_of_slices_reach_the_same_elements(data):
    x = counted(4, 5)
    view, expected = x, x.array
    for _ in range(data.draw(st.integers(1, 4))):
        bounds = st.none() | st.integers(-6, 6)
        step = data.draw(st.sampled_from([1, 2, -1, -2]))
        index = [slice(data.draw(bounds), data.draw(bounds), step) for _ in range(2)]
        view, expected = view[tuple(index)].array, expected[tuple(index)]
        np.testing.assert_array_equal(view, expected)
        view = x = from_numpy(view)


@pytest.mark.parametrize(
    "index, message",
    [
        (4, "out of range"),
        (-5, "out of range"),
        ((0, 0, 0), "3 indices"),
        ("a", "str"),
        (1.0, "float"),
        ((Ellipsis, Ellipsis), "can only have one"),
        (slice(None, None, 0), "step"),
        (slice(1.5), "float"),
        (slice(None, None, 0.5), "float"),
        ([9], "out of range"),
        (tensor([1.5]), "float32"),
    ],
)
def test_bad_indices(index, message):
    with pytest.raises(IndexingError, match=message):
        counted(4, 3)[index]


GATHERS = [
    [2, 0, 2], np.array([[0, 1], [3, -1]]), ([0, 1], [2, 0]), (slice(None), [1, 0]),
    ([0, 1], slice(None), [2, 3]), (slice(None), [0, 1], [1, 2]), (slice(1, 3), [0, -1]),
    ([[0], [1]], [[0, 2]]), (0, [1, 2]), (None, [1]), ([1], None), (Ellipsis, [0, 0]),
]  # fmt: skip


@pytest.mark.parametrize("index", GATHERS, ids=str)
def test_integer_indices_copy(index):
    x = counted(4, 3, 5)
    if isinstance(index, tuple) and None in index:
        index = tuple(np.array(i) if isinstance(i, list) else i for i in index)
    expected = x.array[index]
    found = x[index]
    assert found.storage is not x.storage
    np.testing.assert_array_equal(found.array, expected)


@pytest.mark.parametrize("index", GATHERS, ids=str)
def test_writes_through_integer_indices(index):
    x = counted(4, 3, 5)
    expected = x.array.copy()
    values = -np.arange(expected[index].size, dtype=np.float32).reshape(expected[index].shape)
    expected[index] = values
    x[index] = tensor(values)
    np.testing.assert_array_equal(x.array, expected)


def test_a_number_goes_to_every_selected_element():
    x = counted(3, 2)
    x[[0, 2]] = 9.0
    assert x.tolist() == [[9.0, 9.0], [2.0, 3.0], [9.0, 9.0]]
    x[tensor(1)] = tensor([5.0, 6.0])
    assert x[1].tolist() == [5.0, 6.0]
    with pytest.raises(ShapeError):
        x[[0, 1]] = tensor([1.0, 2.0, 3.0])


def test_masks():
    x = counted(2, 3)
    assert x[x > 2].tolist() == [3.0, 4.0, 5.0]
    assert x[tensor([True, False])].tolist() == [[0.0, 1.0, 2.0]]
    x[x > 3] = 0
    assert x.tolist() == [[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]]
    x[x == 0] = tensor([7.0, 8.0, 9.0])
    assert x.tolist() == [[7.0, 1.0, 2.0], [3.0, 8.0, 9.0]]
    x[np.array([False, True])] = -1
    assert x[1].tolist() == [-1.0, -1.0, -1.0]


def test_reshape_views_where_it_can():
    x = counted(2, 6)
    view = reshape_view(x, (3, -1))
    assert view.storage is x.storage and view.shape == (3, 4)
    assert reshape_view(permute_view(x, (1, 0)), (12,)) is None
    assert reshape_view(x[:, ::2], (2, 3, 1)).stride()[:2] == (6, 2)
    assert reshape_view(x[:, :4], (8,)) is None
    for shape in [(5, -1), (-1, -1), (7,), (-2, 6), (0, -1)]:
        with pytest.raises(ShapeError):
            reshape_view(x, shape)
    for size in (3.0, "3", None):
        with pytest.raises(DTypeError, match="size"):
            reshape_view(x, (size, 4))


@given(st.data())
def test_reshape_strides_agree_with_numpy(data):
    sizes = st.integers(1, 3)
    shape = tuple(data.draw(st.lists(sizes, min_size=1, max_size=4)))
    perm = data.draw(st.permutations(range(len(shape))))
    step = data.draw(st.sampled_from([1, 2]))
    array = np.arange(np.prod(shape)).reshape(shape).transpose(perm)[::step]
    target = data.draw(st.permutations(array.shape)) + [1] * data.draw(st.integers(0, 1))
    if data.draw(st.booleans()):
        target = [array.size]
    strides = tuple(s // array.itemsize for s in array.strides)
    found = reshape_strides(array.shape, strides, tuple(target))
    reshaped = array.reshape(target)
    if not np.shares_memory(reshaped, array):
        assert found is None
    elif found is not None:
        wanted = [s // array.itemsize for s in reshaped.strides]
        pairs = zip(found, wanted, target, strict=True)
        assert all(a == b for a, b, n in pairs if n != 1)
    else:
        raise AssertionError("numpy needs no copy")


def test_permute_and_expand():
    x = counted(2, 1, 3)
    assert permute_view(x, (2, 0, 1)).stride() == (1, 3, 3)
    wide = expand_view(x, (4, -1, 5, -1))
    assert wide.shape == (4, 2, 5, 3) and wide.stride()[0] == 0
    np.testing.assert_array_equal(wide.array, np.broadcast_to(x.array, (4, 2, 5, 3)))
    with pytest.raises(ArgumentError):
        permute_view(x, (0, 0, 1))
    with pytest.raises(ShapeError):
        expand_view(x, (3, 1, 3))
    with pytest.raises(UnsupportedError, match="clone"):
        wide.zero_()


def test_narrow():
    x = counted(4, 3)
    assert narrow_view(x, 0, 1, 2).tolist() == x.array[1:3].tolist()
    assert narrow_view(x, -1, -1, 1).shape == (4, 1)
    with pytest.raises(IndexingError):
        narrow_view(x, 0, 3, 2)


def test_results_of_ops_own_their_memory():
    x = counted(2, 3)
    for made in (
        apply("reshape", [x], shape=(3, 2)),
        apply("transpose", [x], perm=(1, 0)),
        apply("stop_gradient", [x]),
        apply("cast", [x], dtype=x.dtype),
        x.clone(),
    ):
        assert made.is_contiguous() and not np.shares_memory(made.array, x.array)
        made.zero_()
    assert x.array[1, 2] == 5.0


def test_contiguous_strides():
    assert contiguous_strides((2, 3, 4)) == (12, 4, 1)
    assert contiguous_strides(()) == ()
