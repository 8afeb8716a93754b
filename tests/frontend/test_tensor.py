"""Tensors from data and back: shapes, reading, printing, copies."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import sley.frontend.methods
from sley.frontend.construct import as_tensor, from_numpy, tensor
from sley.frontend.context import no_grad
from sley.frontend.errors import AutogradError, DTypeError, IndexingError, ShapeError
from sley.frontend.tensor import Size, Tensor
from sley.ir.dtypes import bf16, bool_, f16, f32, f64, i32, i64, u8


@pytest.mark.parametrize(
    "data, dtype, shape",
    [
        (1.5, f32, ()),
        (3, i64, ()),
        (True, bool_, ()),
        ([1, 2], i64, (2,)),
        ([[1.0], [2]], f32, (2, 1)),
        ([], f32, (0,)),
        (np.ones((2, 3)), f64, (2, 3)),
        (np.float64(2), f64, ()),
        (np.arange(3, dtype=np.uint8), u8, (3,)),
    ],
)
def test_data_gives_dtype_and_shape(data, dtype, shape):
    made = tensor(data)
    assert made.dtype is dtype and made.shape == shape
    np.testing.assert_array_equal(made.numpy(), np.asarray(data))


def test_dtype_is_converted():
    assert tensor([1.7, -1.7], dtype=i32).tolist() == [1, -1]
    assert tensor([1, 0], dtype=bool_).tolist() == [True, False]
    assert tensor(3.0, dtype=bf16).item() == 3.0


@pytest.mark.filterwarnings("error")
def test_arrays_of_other_numpy_dtypes():
    assert tensor(np.array([1, 2], ">i4")).dtype is i32
    assert as_tensor(np.array([1.0, 2.0], ">f4")).tolist() == [1.0, 2.0]
    assert tensor(np.array([1], np.int16), dtype=i64).tolist() == [1]
    assert tensor([1e300]).tolist() == [np.inf]
    assert tensor(np.array([1], np.int16)).dtype is sley.int16
    with pytest.raises(DTypeError, match="float128"):
        tensor(np.array([1], np.longdouble))


def test_lists_may_hold_tensors():
    made = tensor([[tensor(1), 2], [3, tensor(4.5)]])
    assert made.dtype is f32 and made.tolist() == [[1.0, 2.0], [3.0, 4.5]]


@pytest.mark.parametrize("data", ["text", [None], {"a": 1}, [tensor([1, 2])]])
def test_what_is_no_array_of_numbers_is_refused(data):
    with pytest.raises(DTypeError):
        tensor(data)


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(ShapeError):
        tensor([[1], [2, 3]])


def test_tensor_copies_and_from_numpy_shares():
    array = np.zeros(3, np.float32)
    copied, shared = tensor(array), from_numpy(array)
    array[0] = 5
    shared[1] = 6
    assert copied.tolist() == [0, 0, 0]
    assert shared.tolist() == [5, 6, 0]
    assert array[1] == 6
    assert as_tensor(shared) is shared
    assert as_tensor(array).storage.pointer == shared.storage.pointer


def test_from_numpy_keeps_strides():
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    shared = from_numpy(array)
    assert shared.stride() == (1, 3) and not shared.is_contiguous()
    assert shared.tolist() == array.tolist()
    with pytest.raises(DTypeError):
        from_numpy(np.zeros(2, np.longdouble))
    with pytest.raises(DTypeError):
        from_numpy(np.broadcast_to(np.float32(1), (3,)))


def test_numpy_shares_memory_and_is_noted():
    x = tensor([1.0, 2.0])
    assert not x.storage.handed_out
    x.numpy()[0] = 7
    assert x.tolist() == [7.0, 2.0] and x.storage.handed_out
    with pytest.raises(AutogradError, match="detach"):
        tensor([1.0], requires_grad=True).numpy()
    assert np.asarray(x, np.float64).dtype == np.float64
    assert (np.ones(2, np.float32) + x.numpy()).tolist() == [8.0, 3.0]


def test_shape_and_size():
    x = tensor(np.zeros((2, 3, 4)))
    assert isinstance(x.shape, Size) and x.shape.numel() == 24
    assert (x.ndim, x.dim(), x.size(), x.size(-1), x.numel()) == (3, 3, (2, 3, 4), 4, 24)
    assert x.nbytes == 192 and x.element_size() == 8
    assert x.stride() == (12, 4, 1) and x.stride(0) == 12
    assert len(x) == 2 and [tuple(row.shape) for row in x] == [(3, 4), (3, 4)]
    with pytest.raises(IndexingError):
        x.size(3)


def test_one_element_becomes_a_number():
    assert float(tensor([2.5])) == 2.5 and int(tensor(3.7)) == 3 and bool(tensor(0)) is False
    assert [10, 20, 30][tensor(1)] == 20
    assert tensor([[4]]).item() == 4 and type(tensor(True).item()) is bool
    with pytest.raises(ShapeError):
        tensor([1, 2]).item()
    with pytest.raises(ShapeError, match="any"):
        bool(tensor([True, False]))
    with pytest.raises(DTypeError):
        [1, 2][tensor(1.0)]
    with pytest.raises(DTypeError):
        len(tensor(1))


@pytest.mark.parametrize(
    "name, expected",
    [
        ("add", [5, 7]), ("sub", [3, 3]), ("mul", [4, 10]), ("truediv", [4.0, 2.5]),
        ("floordiv", [4, 2]), ("mod", [0, 1]), ("pow", [4, 25]), ("and", [0, 0]),
        ("or", [5, 7]), ("xor", [5, 7]), ("lshift", [8, 20]), ("rshift", [2, 1]),
    ],
)  # fmt: skip
def test_operators(name, expected):
    a, b = tensor([4, 5]), tensor([1, 2])
    assert getattr(a, f"__{name}__")(b).tolist() == expected


def test_reflected_and_unary_operators():
    x = tensor([1.0, 2.0])
    assert (3 - x).tolist() == [2.0, 1.0] and (2 / x).tolist() == [2.0, 1.0]
    assert (2**x).tolist() == [2.0, 4.0] and (5 % tensor([3, 4])).tolist() == [2, 1]
    assert (7 // tensor([2, 3])).tolist() == [3, 2]
    assert (-x).tolist() == [-1.0, -2.0] and abs(-x).tolist() == [1.0, 2.0]
    assert (~tensor([True, False])).tolist() == [False, True]
    assert (x == 1).tolist() == [True, False] and (x != 1).tolist() == [False, True]
    assert (np.float32(1) + x).tolist() == [2.0, 3.0]
    assert type(np.ones(2, np.float32) * x) is Tensor
    assert x.__add__("x") is NotImplemented


def test_broadcasting():
    a, b = tensor([[1], [2]]), tensor([10, 20, 30])
    assert (a + b).tolist() == [[11, 21, 31], [12, 22, 32]]
    with pytest.raises(ShapeError, match=r"\[2, 1\] and \[3, 3\]"):
        a + tensor(np.zeros((3, 3)))


@pytest.mark.parametrize(
    "made, text",
    [
        (lambda: tensor([1.0, 2.5]), "tensor([1.0000, 2.5000])"),
        (lambda: tensor([1.0, -2.0]), "tensor([ 1., -2.])"),
        (lambda: tensor([[1, 2], [3, 4]]), "tensor([[1, 2],\n        [3, 4]])"),
        (lambda: tensor(3.5), "tensor(3.5000)"),
        (lambda: tensor(2), "tensor(2)"),
        (lambda: tensor([True, False]), "tensor([ True, False])"),
        (lambda: tensor([1], dtype=i32), "tensor([1], dtype=sley.int32)"),
        (lambda: tensor([1.0], dtype=f16), "tensor([1.], dtype=sley.float16)"),
        (lambda: tensor([1.5], dtype=bf16), "tensor([1.5000], dtype=sley.bfloat16)"),
        (lambda: tensor([1.0], requires_grad=True), "tensor([1.], requires_grad=True)"),
        (lambda: tensor([1.0], requires_grad=True) * 2, "tensor([2.], grad_fn=<MulBackward>)"),
        (lambda: tensor([np.inf, np.nan, 1.0]), "tensor([inf, nan, 1.])"),
        (lambda: tensor(np.zeros((0, 2), np.float32)), "tensor([], size=(0, 2))"),
    ],
)
def test_repr(made, text):
    assert repr(made()) == text


def test_deepcopy_keeps_sharing_and_gradients():
    x = tensor([1.0, 2.0], requires_grad=True)
    (x * x).backward(tensor([1.0, 1.0]))
    copied, again = copy.deepcopy([x, x])
    assert copied is again and copied.requires_grad and copied.is_leaf
    assert copied.grad.tolist() == [2.0, 4.0]
    with no_grad():
        copied.add_(1)
    assert x.tolist() == [1.0, 2.0]
    base = tensor([1.0, 2.0])
    other, view = copy.deepcopy([base, base[1:]])
    view.zero_()
    assert other.tolist() == [1.0, 0.0] and base.tolist() == [1.0, 2.0]
    with pytest.raises(AutogradError):
        copy.deepcopy(x * 2)


def test_pickle():
    x = tensor([[1.0, 2.0]], requires_grad=True)
    back = pickle.loads(pickle.dumps(x))
    assert back.tolist() == x.tolist() and back.requires_grad and back.dtype is f32
    assert pickle.loads(pickle.dumps(tensor(3, dtype=i32))).dtype is i32
    assert pickle.loads(pickle.dumps(tensor([1.5], dtype=bf16))).tolist() == [1.5]


def test_subclasses_and_the_constructor():
    class Named(Tensor):
        pass

    x = Named([1.0, 2.0], requires_grad=True)
    x.note = "kept"
    assert x.requires_grad and type(x * 2) is Tensor
    assert copy.deepcopy(x).note == "kept" and pickle.dumps(Tensor([1]))
    assert Tensor([1, 2]).dtype is f32 and Tensor([1, 2], dtype=i64).dtype is i64


def test_data_setter_swaps_the_memory():
    x, y = tensor([1.0]), tensor([2.0, 3.0])
    x.data = y
    assert x.tolist() == [2.0, 3.0]
    y[0] = 9
    assert x.tolist() == [9.0, 3.0]


def test_hash_is_identity():
    x = tensor([1.0])
    assert len({x, x, tensor([1.0])}) == 2
    assert 1.0 in x and 2.0 not in x
