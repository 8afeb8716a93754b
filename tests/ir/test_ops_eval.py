"""Every tensor op: its type rule says what its evaluation gives, and refuses what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from op_samples import ALL_SAMPLES, SAMPLES, Sample, tensor_ops

from sley.ir.builder import make_node
from sley.ir.dims import symbol
from sley.ir.dtypes import bool_, by_name, f16, f32, f64, i32, i64, u8
from sley.ir.graph import Value
from sley.ir.literal import array_type
from sley.ir.ops import OPS, TypeRuleError
from sley.ir.types import TensorType, tensor_type

N = symbol("N")


def test_every_op_has_a_sample() -> None:
    assert set(tensor_ops()) <= set(SAMPLES)


@pytest.mark.parametrize("sample", ALL_SAMPLES, ids=str)
def test_type_rule_and_evaluation_agree(sample: Sample) -> None:
    op = OPS[sample.op]
    for dtype in sample.dtypes:
        arrays = sample.arrays(dtype)
        types = [array_type(a) for a in arrays]
        node = make_node(op, [Value(t) for t in types], dict(sample.attrs))
        with np.errstate(all="ignore"):
            results = op.evaluate(arrays, sample.attrs)
        assert [array_type(r) for r in results] == [v.type for v in node.results]
        assert all(isinstance(r, np.ndarray) for r in results)


def f(*shape: Any, dtype: Any = f32) -> TensorType:
    return tensor_type(dtype, shape)


REDUCE = {"axes": (0,)}
DOT = {"lhs_contract": (1,), "rhs_contract": (0,), "lhs_batch": (), "rhs_batch": ()}
CONV = {
    "strides": (1,),
    "padding": ((0, 0),),
    "lhs_dilation": (1,),
    "rhs_dilation": (1,),
    "groups": 1,
}
WINDOW = {"axes": (0,), "sizes": (2,), "strides": (1,), "dilations": (1,)}
ERRORS = [
    ("add", [f(2), f(3)], {}, "equal types"),
    ("add", [f(2), f(2, dtype=f64)], {}, "equal types"),
    ("add", [f(N), f(2)], {}, "equal types"),
    ("neg", [f(2, dtype=bool_)], {}, "does not take bool"),
    ("exp", [f(2, dtype=i32)], {}, "does not take int32"),
    ("bit_not", [f(2)], {}, "does not take float32"),
    ("shift_left", [f(2), f(2)], {}, "does not take float32"),
    ("eq", [f(2), f(3)], {}, "equal types"),
    ("where", [f(2), f(2), f(2)], {}, "where takes bool"),
    ("where", [f(2, dtype=bool_), f(2), f(2, dtype=f64)], {}, "equal types"),
    ("cast", [f(2)], {"dtype": "float32"}, "no dtype"),
    ("bitcast", [f(2)], {"dtype": f16}, "bitcast"),
    ("reshape", [f(2, 3)], {"shape": (5,)}, "has not the elements"),
    ("reshape", [f(N)], {"shape": (4,)}, "has not the elements"),
    ("transpose", [f(2, 3)], {"perm": (0, 0)}, "does not order"),
    ("broadcast", [f(2)], {"shape": (2, 3), "dims": (1,)}, "does not fill"),
    ("broadcast", [f(1)], {"shape": (4,), "dims": (0,)}, "does not fill"),
    ("broadcast", [f(2, 2)], {"shape": (2, 2), "dims": (1, 0)}, "ascend"),
    ("slice", [f(4)], {"starts": (2,), "sizes": (3,), "steps": (1,)}, "slice 2..4"),
    ("slice", [f(4)], {"starts": (2,), "sizes": (1,), "steps": (0,)}, "step 0"),
    ("pad", [f(4), f(1)], {"low": (0,), "high": (0,), "interior": (0,)}, "fill"),
    ("pad", [f(4), f()], {"low": (-5,), "high": (0,), "interior": (0,)}, "leaves -1"),
    ("pad", [f(4), f()], {"low": (0,), "high": (0,), "interior": (-1,)}, "interior -1"),
    ("concat", [], {"axis": 0}, "concat of nothing"),
    ("concat", [f(2, 3), f(2, 4)], {"axis": 0}, "concat of"),
    ("window", [f(3)], {**WINDOW, "sizes": (0,)}, ">= 1"),
    ("window", [f(3)], {**WINDOW, "sizes": (5,)}, "does not fit"),
    ("update_slice", [f(4), f(3, dtype=f64)], {"starts": (0,), "steps": (1,)}, "update of"),
    ("update_slice", [f(4), f(5)], {"starts": (0,), "steps": (1,)}, "slice 0..4"),
    ("reduce_sum", [f(2, dtype=bool_)], REDUCE, "after a cast"),
    ("reduce_sum", [f(2)], {"axes": (1,)}, "in range"),
    ("reduce_sum", [f(2, 2)], {"axes": (1, 0)}, "ascending"),
    ("reduce_max", [f(2)], {**REDUCE, "ties": "last"}, "neither even nor first"),
    ("argmax", [f(0)], REDUCE, "no elements"),
    ("argmax", [f(2)], {"axes": ()}, "need an axis"),
    ("cumsum", [f(2)], {"axis": 1, "reverse": False}, "axis 1"),
    ("dot_general", [f(2, 3), f(4, 5)], DOT, "differ in size"),
    ("dot_general", [f(2, N), f(4, 5)], DOT, "differ in size"),
    ("dot_general", [f(2, 3), f(3, 5, dtype=f64)], DOT, "dot_general of"),
    ("dot_general", [f(2, 3), f(3)], {**DOT, "lhs_contract": (0, 1)}, "differ in number"),
    ("conv", [f(2, 3, 9), f(4, 2, 3)], CONV, "channels"),
    ("conv", [f(2, 3, 1), f(4, 3, 3)], CONV, "does not fit"),
    ("conv", [f(2, 4, 9), f(3, 2, 3)], {**CONV, "groups": 2}, "3 outputs in 2 groups"),
    ("gather", [f(4), f(2)], {"axis": 0}, "not integers"),
    ("gather", [f(4), f(2, dtype=i64)], {"axis": 1}, "axis 1"),
    ("scatter", [f(4), f(2, dtype=i64), f(3)], {"axis": 0, "combine": "add"}, "expected"),
    ("scatter", [f(4), f(2, dtype=i64), f(2)], {"axis": 0, "combine": "sub"}, "is not of"),
    ("sort", [f(2)], {"axis": 1, "descending": False}, "axis 1"),
    ("sort", [f(2)], {"axis": 0, "descending": 1}, "is no bool"),
    ("iota", [], {"shape": (2,), "axis": 1, "dtype": f32}, "axis 1"),
    ("iota", [], {"shape": (2,), "axis": 0, "dtype": bool_}, "iota of bool"),
    ("rng_bits", [f(), f()], {"shape": (2,), "bits": 32}, "0-d i64"),
    ("rng_bits", [f(dtype=i64)] * 2, {"shape": (2,), "bits": 8}, "not 32 or 64"),
]


@pytest.mark.parametrize(("name", "types", "attrs", "message"), ERRORS)
def test_type_rule_refuses(name: str, types: list, attrs: dict, message: str) -> None:
    with pytest.raises(TypeRuleError, match=message.replace("(", r"\(")):
        make_node(OPS[name], [Value(t) for t in types], attrs)


@pytest.mark.parametrize(
    ("name", "arrays", "attrs"),
    [
        ("gather", [np.arange(4.0), np.array([4])], {"axis": 0}),
        ("gather", [np.arange(4.0), np.array([-1])], {"axis": 0}),
        ("scatter", [np.arange(4.0), np.array([9]), np.ones(1)], {"axis": 0, "combine": "set"}),
    ],
)
def test_indices_out_of_range(name: str, arrays: list, attrs: dict) -> None:
    with pytest.raises(IndexError, match="out of range for an axis of size 4"):
        OPS[name].evaluate(arrays, attrs)


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_low_precision_is_computed_in_float32(dtype: str) -> None:
    numpy = by_name(dtype).numpy
    x = np.linspace(-3, 3, 41).astype(numpy)
    (result,) = OPS["tanh"].evaluate([x], {})
    np.testing.assert_array_equal(result, np.tanh(x.astype(np.float32)).astype(numpy))


def test_integers_wrap_around() -> None:
    x = np.array([255, 1], u8.numpy)
    (result,) = OPS["add"].evaluate([x, x], {})
    assert result.tolist() == [254, 2]
