"""Type promotion: PyTorch's documented rules as tables."""

from __future__ import annotations

import pytest

import sley.frontend.methods  # noqa: F401  (gives Tensor its operators)
from sley.frontend import context
from sley.frontend.apply import elementwise
from sley.frontend.construct import tensor
from sley.frontend.errors import DTypeError
from sley.frontend.promotion import can_cast, promote_types, result_type
from sley.ir.dtypes import ALL, bf16, bool_, f16, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64

ORDER = (bool_, u8, i32, i64, f16, bf16, f32, f64)
# Row and column in ORDER: torch.promote_types.
TABLE = """
bool u8  i32 i64 f16 bf16 f32 f64
u8   u8  i32 i64 f16 bf16 f32 f64
i32  i32 i32 i64 f16 bf16 f32 f64
i64  i64 i64 i64 f16 bf16 f32 f64
f16  f16 f16 f16 f16 f32  f32 f64
bf16 bf16 bf16 bf16 f32 bf16 f32 f64
f32  f32 f32 f32 f32 f32  f32 f64
f64  f64 f64 f64 f64 f64  f64 f64
"""


def test_promote_types_is_pytorchs_table():
    rows = [line.split() for line in TABLE.strip().splitlines()]
    for a, row in zip(ORDER, rows, strict=True):
        assert [promote_types(a, b).name for b in ORDER] == row


def test_promotion_commutes_and_never_lowers_the_category():
    for a in ALL:
        for b in ALL:
            if u64 in (a, b) and "int" in (a.kind, b.kind):
                continue
            if a is not b and (a.is_float8 or b.is_float8):
                with pytest.raises(DTypeError, match="float8 is only stored"):
                    promote_types(a, b)
                continue
            found = promote_types(a, b)
            assert found is promote_types(b, a)
            assert can_cast(a, found) and can_cast(b, found)


def test_unsigned_with_signed():
    assert promote_types(u8, i8) is i16 and promote_types(u8, i16) is i16
    assert promote_types(u16, i16) is i32 and promote_types(u16, i64) is i64
    assert promote_types(u32, i32) is i64 and promote_types(i8, i16) is i16
    with pytest.raises(DTypeError):
        promote_types(u64, i64)


def dims(dtype):
    return tensor([1], dtype=dtype)


def scalar(dtype):
    return tensor(1, dtype=dtype)


# From PyTorch's page on tensor attributes: operands and dtype of the result.
RESULTS = [
    ((dims(f32), 1), f32),
    ((dims(f32), 1.5), f32),
    ((dims(f16), 1.5), f16),
    ((dims(i32), 2), i32),
    ((dims(u8), 300), u8),
    ((dims(i32), 2.5), f32),
    ((dims(i32), True), i32),
    ((dims(bool_), 2), i64),
    ((dims(bool_), 2.0), f32),
    ((dims(bool_), True), bool_),
    ((dims(f32), scalar(f64)), f32),  # axes decide within a category
    ((dims(f16), scalar(f32)), f16),
    ((dims(i32), scalar(i64)), i32),
    ((dims(i32), scalar(f64)), f64),  # a higher category wins
    ((dims(bool_), scalar(i32)), i32),
    ((dims(f32), scalar(i64)), f32),
    ((scalar(f32), scalar(f64)), f64),
    ((scalar(i32), 2.0), f32),
    ((scalar(f64), 2.0), f64),
    ((dims(i32), dims(i64)), i64),
    ((dims(f32), dims(f64)), f64),
    ((dims(f16), dims(bf16)), f32),
    ((1, 2.0), f32),
    ((1, True), i64),
    ((True, False), bool_),
    ((dims(i32), scalar(f16), 3), f16),
]


@pytest.mark.parametrize("operands, dtype", RESULTS)
def test_result_type(operands, dtype):
    assert result_type(*operands) is dtype


@pytest.mark.parametrize("operands, dtype", [r for r in RESULTS if len(r[0]) == 2])
def test_operators_compute_in_the_result_type(operands, dtype):
    a, b = operands
    result = elementwise("mul", a, b)
    assert result.dtype is dtype


def test_floats_follow_the_default_dtype():
    with context.setting(default_dtype=f64):
        assert result_type(dims(i32), 2.5) is f64
        assert tensor(1.5).dtype is f64
    assert tensor(1.5).dtype is f32


def test_true_division_of_integers_is_a_float():
    result = tensor([1, 2]) / tensor([2, 4])
    assert result.dtype is f32
    assert result.tolist() == [0.5, 0.5]
    assert (tensor([7]) / 2).tolist() == [3.5]


def test_comparisons_promote_and_give_bools():
    result = tensor([1, 2, 3]) > 1.5
    assert result.dtype is bool_
    assert result.tolist() == [False, True, True]


def test_in_place_never_lowers_the_category():
    x = tensor([1, 2])
    with pytest.raises(DTypeError, match="float32 cannot be stored as int64"):
        x.add_(1.5)
    with pytest.raises(DTypeError):
        x /= 2
    assert x.tolist() == [1, 2]
    y = tensor([1.0, 2.0])
    y.add_(tensor([1, 1], dtype=i64))
    assert y.dtype is f32 and y.tolist() == [2.0, 3.0]
    h = tensor([1.0], dtype=f16)
    h.add_(tensor([1.0], dtype=f64))
    assert h.dtype is f16


@pytest.mark.filterwarnings("error")
def test_numbers_are_cast_as_elements_are():
    assert (tensor([1.0]) + 1e300).tolist() == [float("inf")]
    assert (tensor([1.0], dtype=f16) + 1e10).tolist() == [float("inf")]
    assert (tensor([1], dtype=u8) + 300).tolist() == [45]
    assert tensor([1]).fill_(3.7).tolist() == [3]
    assert (tensor([1.0]) * 2**70).tolist() == [2.0**70]
    assert (tensor([1.0]) + float("nan")).isnan().item()
    for number in (2**63, 2**70, -(2**63) - 1):
        with pytest.raises(DTypeError, match="fit"):
            tensor([1]) + number
        with pytest.raises(DTypeError):
            tensor([number])


def test_what_is_no_number_is_refused():
    with pytest.raises(DTypeError, match="neither a tensor nor a number"):
        elementwise("add", tensor([1.0]), "1")
    with pytest.raises(TypeError):
        tensor([1.0]) + "1"
    with pytest.raises(DTypeError, match="one dtype"):
        elementwise("add", tensor([1.0]), tensor([1]), promote="none")
