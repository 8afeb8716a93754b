"""Any elementwise region before or after a product; what its machine code is like."""

from __future__ import annotations

import re

import kernel_building as b
import numpy as np
import pytest
from contract_building import CPUS, contract, matmul, numbers
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from kernel_building import load, op, store
from kernel_running import Program

from sley.backends.llvm.kernel import compile_kernel
from sley.backends.llvm.native import assembly
from sley.backends.llvm.target import host_target
from sley.ir.dims import symbol
from sley.ir.schedule import parse_schedule
from sley.passes.schedule import schedule as decide

UNARY = ("neg", "abs", "tanh", "sigmoid", "erf")
BINARY = ("add", "sub", "maximum", "minimum", "scaled", "chosen")
M, N, K = 23, 37, 19


@st.composite
def chains(draw, most=12):
    """1 to 12 steps; each is an op and the numbers of earlier values (negative: side inputs)."""
    steps = []
    for made in range(draw(st.integers(1, most))):
        name = draw(st.sampled_from(UNARY + BINARY))
        first = made  # the value before, so that no step is dead
        second = draw(st.integers(-3, made))
        steps.append((name, first, second))
    return steps


def run_chain(steps, value, sides, apply):
    """All values of a chain; `apply(op, *operands)` computes or emits."""
    values = [value]
    for name, first, second in steps:
        x = values[first]
        y = values[second] if second >= 0 else sides[second]
        if name in UNARY:
            values.append(apply(name, x))
        elif name == "scaled":
            values.append(apply("mul", x, sides[min(second, -1)]))
        elif name == "chosen":
            values.append(apply("where", apply("gt", sides[-1], sides[-2]), x, y))
        else:
            values.append(apply(name, x, y))
    return values


def numpy_apply(name, *arrays):
    arrays = np.broadcast_arrays(*arrays)
    return op[name].evaluate(list(arrays), {})[0]


def check(lhs_steps, out_steps, second, cpu, transposed):
    """The kernel with two results: the last value of the out chain and an earlier one."""
    second = min(second, len(out_steps) - 1)

    def body(x, w, by_row, by_k, full_lhs, bias, column, residual, y, z):
        def lhs(i, t):
            sides = [load(by_row, i), load(by_k, t), load(full_lhs, i, t)]
            return run_chain(lhs_steps, load(x, i, t), sides, lambda n, *v: op[n](*v))[-1]

        def rhs(t, j):
            return load(w, *((j, t) if transposed else (t, j)))

        def out(i, j, total):
            sides = [load(bias, j), load(column, i), load(residual, i, j)]
            values = run_chain(out_steps, total, sides, lambda n, *v: op[n](*v))
            store(y, values[-1], i, j)
            store(z, values[second], i, j)

        contract((M,), (N,), (K,), lhs, rhs, out)

    w_shape = (N, K) if transposed else (K, N)
    shapes = [(M, K), w_shape, (M,), (K,), (M, K), (N,), (M,), (M, N)]
    kernel = b.kernel([("f32", s) for s in shapes], [("f32", (M, N))] * 2, body)
    arrays = [np.clip(numbers(s), -1, 1) for s in shapes]
    y, z = (np.full((M, N), np.nan, np.float32) for _ in range(2))
    Program(kernel, cpu)([*arrays, y, z], pieces=2)

    x, w, by_row, by_k, full_lhs, bias, column, residual = (a.astype(np.float64) for a in arrays)
    left = run_chain(lhs_steps, x, [by_row[:, None], by_k[None, :], full_lhs], numpy_apply)
    total = left[-1] @ (w.T if transposed else w)
    values = run_chain(out_steps, total, [bias[None, :], column[:, None], residual], numpy_apply)
    size = max(np.abs(v).max() for v in left) * K
    size = max([size, *(np.abs(v).max() for v in values)])
    assert np.abs(y - values[-1]).max() <= 3e-6 * size
    assert np.abs(z - values[second]).max() <= 3e-6 * size


@seed(11)
@settings(
    max_examples=25, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
@given(chains(), chains(), st.integers(0, 11), st.sampled_from(CPUS), st.booleans())
def test_made_up_regions(lhs_steps, out_steps, second, cpu, transposed):
    check(lhs_steps, out_steps, second, cpu, transposed)


# ---------------------------------------------------------------------------- machine code


def innermost_product(text):
    """The lines of the innermost loop with the most multiply-adds."""
    lines = text.split("\n")
    labels = {m[1]: k for k, line in enumerate(lines) if (m := re.match(r"(\.L\w+):", line))}
    best = (0, [])
    for end, line in enumerate(lines):
        jump = re.match(r"\s+(?:j\w+|b\.\w+|cbn?z\s+\w+,)\s+(\.L\w+)", line)
        if jump is None or labels.get(jump[1], end) >= end:
            continue
        body = lines[labels[jump[1]] : end]
        if sum(re.match(r"\.L\w+:", inner) is not None for inner in body) == 1:
            count = sum(bool(re.search(r"fmadd|mulps|fmla", inner)) for inner in body)
            best = max(best, (count, body), key=lambda found: found[0])
    return best


@pytest.mark.parametrize("cpu", ["x86-64-v4", "x86-64-v3", "x86-64", "aarch64"])
@pytest.mark.parametrize("sizes", [(256, 256, 256), (symbol("M"), symbol("N"), symbol("K"))])
def test_the_tile_stays_in_registers(sizes, cpu):
    target = host_target(cpu)
    kernel = matmul(*sizes)
    chosen = decide(kernel, target)
    text = compile_kernel(kernel, chosen, target, "kernel")[0]
    code = assembly(text, cpu=target.cpu, features=target.features, triple=target.triple)
    count, body = innermost_product(code)
    tile = chosen.nests[0].contract
    assert count == tile.mr * tile.nr // tile.lanes
    assert not [line for line in body if "(%rsp)" in line or "[sp" in line]


def test_a_schedule_is_text_and_back():
    target = host_target("x86-64-v3")
    for kernel in (matmul(64, 64, 64), matmul(1, 50, 40, tb=True), matmul(40, 50, 60, tc=True)):
        chosen = decide(kernel, target)
        assert parse_schedule(str(chosen)) == chosen


@pytest.mark.parametrize("cpu", ["aarch64", "x86-64-v4"])
def test_code_for_other_processors(cpu):
    target = host_target(cpu)
    for kernel in (matmul(1, 50, 40, tb=True), matmul(3, 50, 40), matmul(20, 30, 40, tc=True)):
        text = compile_kernel(kernel, decide(kernel, target), target, "kernel")[0]
        code = assembly(text, cpu=target.cpu, features=target.features, triple=target.triple)
        assert "kernel:" in code
