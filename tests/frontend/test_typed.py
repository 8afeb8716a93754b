"""The constructors that PyTorch had before `tensor`: sizes or data, a class for each dtype."""

from __future__ import annotations

import numpy as np
import pytest

import sley
from sley import nn


def test_sizes_make_memory_and_data_the_default_dtype() -> None:
    assert sley.Tensor(2, 3).shape == (2, 3) and sley.Tensor(5).shape == (5,)
    assert sley.Tensor().shape == (0,) and sley.Tensor(sley.Size([2, 1])).shape == (2, 1)
    for data in ([1, 2], (1, 2), np.array([1, 2]), range(1, 3)):
        made = sley.Tensor(data)
        assert made.dtype is sley.float32 and made.tolist() == [1.0, 2.0]
    whole = sley.tensor([1, 2])
    shared = sley.Tensor(whole)
    shared[0] = 7
    assert shared.dtype is sley.int64 and whole.tolist() == [7, 2]


@pytest.mark.parametrize("wrong", [(1.5,), (True,), (2.0, 3), ("a",)])
def test_other_arguments(wrong: tuple) -> None:
    with pytest.raises(TypeError):
        sley.Tensor(*wrong)


def test_a_class_for_each_dtype() -> None:
    assert sley.LongTensor([1, 2]).dtype is sley.int64
    assert sley.FloatTensor(2, 3).shape == (2, 3)
    assert sley.BoolTensor([1, 0]).tolist() == [True, False]
    kinds = {
        sley.DoubleTensor: sley.float64, sley.HalfTensor: sley.float16,
        sley.BFloat16Tensor: sley.bfloat16, sley.IntTensor: sley.int32,
        sley.ShortTensor: sley.int16, sley.CharTensor: sley.int8, sley.ByteTensor: sley.uint8,
    }  # fmt: skip
    for kind, dtype in kinds.items():
        assert kind([1, 2]).dtype is dtype and isinstance(kind(2), kind)
    assert isinstance(sley.ones(2), sley.FloatTensor)
    assert not isinstance(sley.ones(2), sley.LongTensor)
    assert sley.ones(2).type(sley.LongTensor).dtype is sley.int64
    assert sley.zeros(2).type(sley.ones(2).double().type()).dtype is sley.float64


def test_a_variable_is_a_tensor_without_history() -> None:
    x = sley.ones(2, requires_grad=True)
    made = sley.autograd.Variable(x * 2)
    assert not made.requires_grad and sley.autograd.Variable(made, requires_grad=True).is_leaf
    valid = sley.autograd.Variable(sley.FloatTensor(2, 1).fill_(1.0), requires_grad=False)
    assert valid.tolist() == [[1.0], [1.0]]


def test_in_a_compiled_function_of_any_size() -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(sley.Tensor(3, 2))
            nn.init.ones_(self.weight)

        def forward(self, x: sley.Tensor) -> sley.Tensor:
            state = sley.Tensor(x.size(0), 2).fill_(1.0)
            return x @ self.weight + state * sley.FloatTensor([1, 2])

    layer = Layer()
    call = sley.compile(layer)
    for rows in (2, 3, 5):
        x = sley.ones(rows, 3)
        np.testing.assert_array_equal(call(x).detach(), layer(x).detach())
    assert len(layer.state_dict()["weight"]) == 3
