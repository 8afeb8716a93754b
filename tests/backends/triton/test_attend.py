"""Attention as Triton text: sizes, masks, dropout, groups, dtypes, against numpy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from attend_building import (
    KNOWN,
    B,
    L,
    S,
    arrays_for,
    attrs,
    coherent,
    kernel_of,
    operand_types,
)
from triton_interpreter import interpret
from triton_texts import needs_triton

from sley.backends.triton.emit.kernel import kernel_text
from sley.backends.triton.target import gpu_target
from sley.ir.graph import Graph
from sley.ir.ops.attention import ATTENTION, ATTENTION_GRADIENT
from sley.passes.schedule_blocks import schedule_blocks

pytestmark = needs_triton
SIZES = [(1, 1, 1), (2, 3, 5), (0, 3, 4), (1, 0, 4), (1, 33, 31), (1, 65, 70), (2, 16, 64)]


def check(kernel: Graph, given: Mapping, sizes: Mapping[str, int], backward: bool) -> None:
    arrays = arrays_for(kernel, sizes, given, 0)
    arrays = coherent(arrays, given) if backward else arrays
    with np.errstate(all="ignore"):
        expected = (ATTENTION_GRADIENT if backward else ATTENTION).evaluate(arrays, given)
    outputs = [np.full(a.shape, 77, a.dtype) for a in expected]
    text = kernel_text(kernel, schedule_blocks(kernel, gpu_target("sm_90")), "attention")
    interpret(text, [*arrays, *outputs], sizes)
    # Scores of 200 features are large numbers, whose last bits an exponential shows.
    tolerance = 2e-2 if arrays[0].dtype.itemsize == 2 else 1e-4
    for found, wanted in zip(outputs, expected, strict=True):
        pair = (a.astype(np.float64) for a in (found, wanted))
        np.testing.assert_allclose(*pair, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("causal", [False, True])
def test_sizes_that_are_symbols(backward: bool, causal: bool) -> None:
    given = attrs(causal=causal)
    types = operand_types(B, (), L, S, 20, 9, "f32", None, False)
    kernel = kernel_of(types, given, backward)
    for batch, queries, keys in SIZES:
        check(kernel, given, {"B": batch, "L": queries, "S": keys}, backward)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("name", [name for name in KNOWN if name != "doubles"])
def test_forms(name: str, backward: bool) -> None:
    types, options = KNOWN[name]
    given = attrs(**options)
    check(kernel_of(types, given, backward), given, {}, backward)


def test_rows_that_see_nothing() -> None:
    types = operand_types(1, (), 20, 30, 8, 8, "f32", "bool", False)
    rng = np.random.default_rng(3)
    q, k, v = (rng.standard_normal((1, n, 8)).astype(np.float32) for n in (20, 30, 30))
    mask = rng.random((1, 20, 30)) > 0.5
    mask[0, 3:7] = False
    for safe in (True, False):
        kernel = kernel_of(types, attrs(masked=True, safe=safe), False)
        text = kernel_text(kernel, schedule_blocks(kernel, gpu_target("sm_90")), "attention")
        out, sums = np.empty((1, 20, 8), np.float32), np.empty((1, 20), np.float32)
        interpret(text, [q, k, v, mask, out, sums], {})
        empty = out[0, 3:7]
        assert (empty == 0).all() if safe else np.isnan(empty).all()
        assert (sums[0, 3:7] == np.inf).all() if safe else np.isnan(sums[0, 3:7]).all()
        assert np.isfinite(np.delete(out, range(3, 7), axis=1)).all()


def test_what_no_block_holds_is_refused() -> None:
    types, options = KNOWN["doubles"]
    with pytest.raises(NotImplementedError, match="float64"):
        schedule_blocks(kernel_of(types, attrs(**options), False), gpu_target("sm_90"))
