"""A product stores its result through a reshape, whatever axes that makes of symbolic sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from programs import record
from random_graphs import random_arrays

from sley.ir.dims import Dim, symbol
from sley.ir.dtypes import f32
from sley.ir.evaluate import evaluate
from sley.ir.graph import Value, full
from sley.ir.ops import OPS
from sley.ir.ops.view import split_index
from sley.ir.types import tensor_type
from sley.ir.verifier import verify
from sley.passes.fuse import fuse

N, M = symbol("N"), symbol("M")
Shape = tuple[Dim, ...]


def conv(x: Value, w: Value) -> Value:
    return OPS["conv"](
        x, w, strides=(1,), padding=((0, 0),), lhs_dilation=(1,), rhs_dilation=(1,), groups=1
    )


def half(x: Value) -> Value:
    return x * full(tensor_type(f32, x.type.shape), 0.5)


READERS: dict[str, Callable[[Value, Value], Sequence[Value]]] = {
    "alone": lambda y, r: [r],
    "elementwise": lambda y, r: [half(r)],
    "both shapes": lambda y, r: [half(r), half(y)],
}
CASES: list[tuple[Shape, Shape, Shape]] = [
    ((N, 4, 9), (6, 4, 3), (N, 1, 6, 7)),
    ((N * 2, 4, 9), (6, 4, 3), (1, 2, N, 6, 7)),
    ((N * M, 4, 9), (6, 4, 3), (1, M, N, 6, 7)),
    ((N * M, 4, 9), (6, 4, 3), (M, 1, N, 1, 6, 7)),
    ((2, 4, 9), (N * 6, 4, 3), (2, 1, 6, N, 1, 7)),
    ((2, 4, 9), (N * 6, 4, 3), (2, 2, N, 3, 7)),
    ((N, N, 9), (N * M, N, 3), (N, 1, M, N, 7)),
    ((1, 4, N + 2), (6, 4, 3), (1, 6, 1, N)),
]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_convolution_is_read_through_a_reshape(case: int, reader: str) -> None:
    x, w, shape = CASES[case]

    def program(params: Sequence[Value]) -> Sequence[Value]:
        y = conv(*params)
        return READERS[reader](y, OPS["reshape"](y, shape=shape))

    graph = record(program, [tensor_type(f32, x), tensor_type(f32, w)])
    fused = fuse(graph)
    verify(fused)
    for sizes in ({"N": 3, "M": 2}, {"N": 1, "M": 1}):
        arrays = random_arrays(graph, sizes)
        for got, expected in zip(
            evaluate(fused, arrays, sizes), evaluate(graph, arrays, sizes), strict=True
        ):
            np.testing.assert_allclose(got, expected, 1e-4, 1e-4)


def test_leading_axes_of_size_one_ask_for_no_remainder() -> None:
    assert split_index(N, (1, M, 6)) == split_index(N, (M, 1, 6))[1:2] + split_index(N, (M, 6))
