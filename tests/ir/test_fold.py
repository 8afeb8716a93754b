"""What a rewriting builder computes at once."""

from __future__ import annotations

import numpy as np
import pytest

import sley
import sley.nn.functional as F
from sley.ir.builder import Rewriting
from sley.ir.dims import symbol
from sley.ir.dtypes import f32
from sley.ir.graph import full
from sley.ir.types import tensor_type


@pytest.mark.parametrize("shape", [(0, symbol("N")), (symbol("N"), 0)])
def test_nothing_of_a_symbolic_shape_is_no_constant(shape):
    builder = Rewriting()
    with builder:
        assert full(tensor_type(f32, shape), 1).type.shape == shape


def test_no_keys_for_any_number_of_queries():
    def attend(q, k, v):
        return F.scaled_dot_product_attention(q, k, v)

    args = sley.ones(2, 3, 4), sley.ones(2, 0, 4), sley.ones(2, 0, 5)
    found = sley.compile(attend, dynamic=True)(*args)
    np.testing.assert_array_equal(found.numpy(), attend(*args).numpy())
