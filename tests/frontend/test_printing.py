"""Tensors print as PyTorch users know them. The texts are those that PyTorch gives."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import sley


@pytest.fixture(autouse=True)
def default_options() -> Iterator[None]:
    yield
    sley.set_printoptions(profile="default")


TEXTS = {
    "tensor([])": [],
    "tensor(1.5000)": 1.5,
    "tensor(-1.)": -1.0,
    "tensor(nan)": float("nan"),
    "tensor(1.0000e-09)": 1e-9,
    "tensor(1.2346e+08)": 123456792.0,
    "tensor([1., 2., 3.])": [1.0, 2, 3],
    "tensor([ 1.5000, -2.0000,  3.0000])": [1.5, -2, 3],
    "tensor([0., -0.])": [0.0, -0.0],
    "tensor([   nan, 1.5000])": [float("nan"), 1.5],
    "tensor([nan, 1., inf, -inf])": [float("nan"), 1, float("inf"), -float("inf")],
    "tensor([1.0000e-05, 1.0000e+00])": [1e-5, 1],
    "tensor([9.9999e+04, 1.0000e+00])": [99999.0, 1],
    "tensor([3.0000e+20,        inf])": [3e20, float("inf")],
    "tensor([1.0005e+03, 2.5000e-01])": [1000.5, 0.25],
    "tensor([0.0010, 0.5000])": [0.001, 0.5],
    "tensor([1, 2])": [1, 2],
    "tensor([[   1, -200],\n        [   3,    4]])": [[1, -200], [3, 4]],
    "tensor([ True, False])": [True, False],
    "tensor(7)": 7,
    "tensor([1.+2.j, 3.-1.j])": [1 + 2j, 3 - 1j],
    "tensor([1.+2.2500j, 3.-1.5000j])": [1 + 2.25j, 3 - 1.5j],
    "tensor([[[1., 2.]],\n\n        [[3., 4.]]])": [[[1.0, 2]], [[3, 4]]],
}


@pytest.mark.parametrize("text", TEXTS)
def test_values(text: str) -> None:
    assert repr(sley.tensor(TEXTS[text])) == str(sley.tensor(TEXTS[text])) == text


def test_notes() -> None:
    assert repr(sley.tensor([1, 2], dtype=sley.uint8)) == "tensor([1, 2], dtype=sley.uint8)"
    assert repr(sley.zeros(2, dtype=sley.float64)) == "tensor([0., 0.], dtype=sley.float64)"
    assert repr(sley.zeros(3, 0)) == "tensor([], size=(3, 0))"
    empty = sley.zeros(3, 0, dtype=sley.int64)
    assert repr(empty) == "tensor([], size=(3, 0), dtype=sley.int64)"
    x = sley.ones(2, requires_grad=True)
    assert repr(x) == "tensor([1., 1.], requires_grad=True)"
    assert repr(x * 2) == "tensor([2., 2.], grad_fn=<MulBackward>)"
    wide = sley.arange(17, dtype=sley.int32)
    assert repr(wide) == (
        "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16],\n"
        "       dtype=sley.int32)"
    )


def test_lines_are_filled_and_large_tensors_cut() -> None:
    assert repr(sley.arange(30)) == (
        "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n"
        "        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])"
    )
    assert repr(sley.arange(2000)) == "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"
    table = sley.arange(2000).reshape(40, 50)
    assert repr(table) == (
        "tensor([[   0,    1,    2,  ...,   47,   48,   49],\n"
        "        [  50,   51,   52,  ...,   97,   98,   99],\n"
        "        [ 100,  101,  102,  ...,  147,  148,  149],\n"
        "        ...,\n"
        "        [1850, 1851, 1852,  ..., 1897, 1898, 1899],\n"
        "        [1900, 1901, 1902,  ..., 1947, 1948, 1949],\n"
        "        [1950, 1951, 1952,  ..., 1997, 1998, 1999]])"
    )


def test_options() -> None:
    x = sley.tensor([1 / 3, 12.0])
    sley.set_printoptions(precision=2)
    assert repr(x) == "tensor([ 0.33, 12.00])"
    sley.set_printoptions(sci_mode=True)
    assert repr(x) == "tensor([3.33e-01, 1.20e+01])"
    sley.set_printoptions(threshold=5, edgeitems=1, linewidth=20, profile="default")
    assert repr(sley.arange(6)) == "tensor([0,  ..., 5])"
    with pytest.raises(ValueError, match="none of default, short, full"):
        sley.set_printoptions(profile="long")


def test_formats() -> None:
    assert f"{sley.tensor(2.5)}" == "2.5" and f"{sley.tensor(2.5):.2f}" == "2.50"
    assert f"{sley.tensor(3):4d}" == "   3" and f"{sley.ones(1)}" == "tensor([1.])"
    assert "%d" % sley.tensor(3) == "3"  # noqa: UP031
    with pytest.raises(TypeError):
        f"{sley.ones(2):.2f}"
    assert sley.compile(lambda x: x * ("traced" in repr(x)))(sley.ones(1)).tolist() == [1]


def test_narrow_floats() -> None:
    assert repr(sley.tensor([1.5, 2], dtype=sley.bfloat16)) == (
        "tensor([1.5000, 2.0000], dtype=sley.bfloat16)"
    )
    assert repr(sley.tensor(np.float16(0.1))) == "tensor(0.1000, dtype=sley.float16)"
