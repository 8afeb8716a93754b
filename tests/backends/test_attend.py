"""Attention kernels compiled for a CPU: sizes, masks, dropout, groups, dtypes, processors."""

from __future__ import annotations

from collections.abc import Mapping

import kernel_running
import numpy as np
import pytest
from attend_building import (
    KNOWN,
    SIZES,
    B,
    L,
    S,
    arrays_for,
    attrs,
    coherent,
    kernel_of,
    operand_types,
)
from contract_building import CPUS
from kernel_running import Program

from sley.backends.llvm.expand import expand
from sley.backends.llvm.target import host_target
from sley.ir.builder import Recording
from sley.ir.evaluate_kernel import evaluate_kernel
from sley.ir.isomorphic import difference
from sley.ir.ops.attention import ATTENTION, ATTENTION_GRADIENT
from sley.ir.parser import parse
from sley.ir.printer import print_graph
from sley.ir.verifier import verify
from sley.passes.fuse import fuse
from sley.passes.schedule import schedule


def check(
    program: Program, given: Mapping, sizes: Mapping[str, int], backward: bool, seed: int = 0
) -> None:
    arrays = arrays_for(program.kernel, sizes, given, seed)
    op = ATTENTION_GRADIENT if backward else ATTENTION
    arrays = coherent(arrays, given) if backward else arrays
    with np.errstate(all="ignore"):
        expected = op.evaluate(arrays, given)
    outputs = [np.full(a.shape, 77, a.dtype) for a in expected]
    program([*arrays, *outputs], sizes, pieces=2)
    half = arrays[0].dtype.itemsize == 2
    tolerance = 2e-2 if half else 1e-12 if arrays[0].dtype == np.float64 else 3e-5
    for found, wanted in zip(outputs, expected, strict=True):
        found, wanted = (a.astype(np.float64) for a in (found, wanted))
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.fixture(autouse=True)
def _scratch_is_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was never written must not reach a result."""
    monkeypatch.setattr(kernel_running, "PAINT", 0xFF)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("causal", [False, True])
def test_sizes_that_are_symbols(cpu: str, backward: bool, causal: bool) -> None:
    given = attrs(causal=causal)
    types = operand_types(B, (), L, S, 20, 9, "f32", None, False)
    program = Program(kernel_of(types, given, backward), cpu)
    for batch, queries, keys in SIZES:
        check(program, given, {"B": batch, "L": queries, "S": keys}, backward)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("name", KNOWN)
def test_forms(name: str, backward: bool) -> None:
    types, options = KNOWN[name]
    given = attrs(**options)
    check(Program(kernel_of(types, given, backward)), given, {}, backward)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("queries", "keys", "parts"), [(40, 50, 2), (130, 131, 3), (33, 300, 2), (300, 129, 4)]
)
def test_keys_in_parts(queries: int, keys: int, parts: int, causal: bool) -> None:
    types = operand_types(2, (2,), queries, keys, 17, 9, "f32", "bool", True)
    given = {**attrs(causal=causal, masked=True, factored=True), "parts": parts}
    check(Program(kernel_of(types, given, True)), given, {}, True)


def test_halves_in_parts_add_up_in_float32() -> None:
    types = operand_types(1, (), 40, 70, 8, 8, "bf16", None, False)
    given = {**attrs(), "parts": 2}
    kernel = kernel_of(types, given, True)
    assert [p.type.dtype.name for p in kernel.out_params] == ["f32", "bf16", "bf16"]
    check(Program(kernel), given, {}, True)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("scale", [-0.5, 0.0, 1.0, 3.0])
def test_scales(scale: float, backward: bool) -> None:
    types = operand_types(1, (2,), 40, 50, 8, 8, "f32", None, False)
    given = attrs(scale=scale, causal=True)
    check(Program(kernel_of(types, given, backward)), given, {}, backward)


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3"])
def test_narrower_vectors(cpu: str) -> None:
    types, options = KNOWN["hides and is causal"]
    given = attrs(**options)
    for backward in (False, True):
        check(Program(kernel_of(types, given, backward), cpu), given, {}, backward)


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2)])
def test_gradients_that_nobody_wants_are_left_out(wanted: tuple[int, ...]) -> None:
    types = operand_types(1, (2,), 40, 50, 8, 8, "f32", None, False)
    given = attrs(causal=True)
    whole = kernel_of(types, given, True)
    builder = Recording()
    with builder:
        operands = [builder.param(p.type) for p in whole.inputs]
        results = ATTENTION_GRADIENT(*operands, **given)
    (node,) = fuse(builder.finish("some", [results[k] for k in wanted])).nodes
    kernel = node.attrs["kernel"]
    assert len(kernel.out_params) == len(wanted)
    arrays = coherent(arrays_for(whole, {}, given, 5), given)
    expected = [ATTENTION_GRADIENT.evaluate(arrays, given)[k] for k in wanted]
    outputs = [np.full(a.shape, 77, a.dtype) for a in expected]
    by_name = dict(zip([p.name for p in whole.inputs], arrays, strict=True))
    program = Program(kernel)
    program([*(by_name[p.name] for p in kernel.inputs), *outputs], {})
    for found, wanted_array in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(found, wanted_array, rtol=3e-5, atol=3e-5)


def test_rows_that_see_nothing() -> None:
    types = operand_types(1, (), 20, 30, 8, 8, "f32", "bool", False)
    rng = np.random.default_rng(3)
    q, k, v = (rng.standard_normal((1, n, 8)).astype(np.float32) for n in (20, 30, 30))
    mask = rng.random((1, 20, 30)) > 0.5
    mask[0, 3:7] = False
    for safe in (True, False):
        given = attrs(masked=True, safe=safe)
        program = Program(kernel_of(types, given, False))
        out, sums = np.empty((1, 20, 8), np.float32), np.empty((1, 20), np.float32)
        program([q, k, v, mask, out, sums], {})
        empty = out[0, 3:7]
        assert (empty == 0).all() if safe else np.isnan(empty).all()
        assert (sums[0, 3:7] == np.inf).all() if safe else np.isnan(sums[0, 3:7]).all()
        assert np.isfinite(np.delete(out, range(3, 7), axis=1)).all()


def test_infinite_and_missing_numbers_stay_in_their_rows() -> None:
    types = operand_types(1, (), 20, 30, 8, 8, "f32", None, False)
    given = attrs()
    program = Program(kernel_of(types, given, False))
    rng = np.random.default_rng(4)
    q, k, v = (rng.standard_normal((1, n, 8)).astype(np.float32) for n in (20, 30, 30))
    q[0, 2], q[0, 5] = np.nan, 1e30
    out, sums = np.empty((1, 20, 8), np.float32), np.empty((1, 20), np.float32)
    program([q, k, v, out, sums], {})
    with np.errstate(all="ignore"):
        expected, _ = ATTENTION.evaluate([q, k, v], given)
    np.testing.assert_allclose(out, expected, rtol=3e-5, atol=3e-5)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_kernels_are_evaluated_by_numpy(backward: bool) -> None:
    given = attrs(masked=True, factored=True, causal=True)
    kernel = kernel_of(operand_types(2, (3,), 5, 7, 4, 3, "f32", "bool", True), given, backward)
    verify(kernel)
    assert difference(kernel, parse(print_graph(kernel))) is None
    arrays = arrays_for(kernel, {}, given, 1)
    op = ATTENTION_GRADIENT if backward else ATTENTION
    for found, wanted in zip(
        evaluate_kernel(kernel, arrays), op.evaluate(arrays, given), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("keys", [20, 400])
def test_the_next_block_of_keys_and_results_are_brought_in(keys: int, backward: bool) -> None:
    types = operand_types(1, (), 40, keys, 8, 8, "f32", None, False)
    kernel, processor = kernel_of(types, attrs(), backward), host_target()
    loops = expand(kernel, schedule(kernel, processor), processor)
    verify(loops)
    hints = [node for node in loops.walk() if node.op.name == "prefetch"]
    expected = set() if backward else {"out0"}
    expected |= {"in1", "in2"} if keys == 400 else set()
    assert {node.operands[0].name for node in hints} == expected


@pytest.mark.parametrize("target", ["x86-64", "aarch64"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_loops_for_other_processors(target: str, backward: bool) -> None:
    given = attrs(masked=True, causal=True)
    types = operand_types(1, (), 6, 5, 5, 3, "f32", "bool", False)
    kernel, processor = kernel_of(types, given, backward), host_target(target)
    loops = expand(kernel, schedule(kernel, processor), processor)
    verify(loops)
    arrays = arrays_for(kernel, {}, given, 2)
    arrays = coherent(arrays, given) if backward else arrays
    op = ATTENTION_GRADIENT if backward else ATTENTION
    for found, wanted in zip(
        evaluate_kernel(loops, arrays), op.evaluate(arrays, given), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
