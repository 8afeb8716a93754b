"""Products of 16-bit floats by a matrix unit: whether it is used, shapes, layouts, regions, blocks.

The loops run by the interpreter anywhere; machine code where this machine has such a unit.
"""

from __future__ import annotations

from dataclasses import replace

import kernel_building as b
import numpy as np
import pytest
from contract_building import contract
from kernel_building import load, op, store
from kernel_running import Program

from sley.backends.llvm.expand import expand
from sley.backends.llvm.kernel import compile_kernel
from sley.backends.llvm.native import assembly
from sley.backends.llvm.target import host_target
from sley.ir import dtypes
from sley.ir.dims import symbol
from sley.ir.evaluate import bind_sizes
from sley.ir.evaluate_kernel import evaluate_kernel, fresh_outputs
from sley.ir.isomorphic import difference
from sley.ir.parser import parse
from sley.ir.printer import print_graph
from sley.ir.schedule import ContractSchedule, Nest, Schedule, parse_schedule
from sley.ir.verifier import VerifyError, verify
from sley.passes.schedule import schedule

HOST = host_target()
TARGET = replace(
    host_target("x86-64-v4"), features="+avx512f,+amx-tile,+amx-bf16", matrix=("bf16",), threads=2
)
RNG = np.random.default_rng(11)
BF16 = dtypes.bf16.numpy
M, N, K = symbol("M"), symbol("N"), symbol("K")
LAYOUTS = [(ta, tb, tc) for ta in (False, True) for tb in (False, True) for tc in (False, True)]

runs = pytest.mark.skipif("bf16" not in HOST.matrix, reason="this processor has no matrix unit")


def product(m, n, k, ta=False, tb=False, tc=False, batch=(), dtype="bf16", lhs=None, out="f32"):
    """y[.., m, n] = sum of a[.., m, k] * b[.., k, n], as `contract_building.matmul`; `lhs`: what is
    made of an element of the left side."""
    size = len(batch)

    def body(x, w, y):
        def left(*axes):
            i, t = axes[size:]
            found = load(x, *axes[:size], *((t, i) if ta else (i, t)))
            return found if lhs is None else op["cast"](lhs(found), dtype=dtypes.by_name(dtype))

        def right(*axes):
            t, j = axes[size:]
            return load(w, *axes[:size], *((j, t) if tb else (t, j)))

        def result(*axes):
            i, j, total = axes[size:]
            value = total if out == "f32" else op["cast"](total, dtype=dtypes.by_name(out))
            store(y, value, *axes[:size], *((j, i) if tc else (i, j)))

        contract((m,), (n,), (k,), left, right, result, batch, dtype, "f32")

    shapes = [((k, m) if ta else (m, k)), ((n, k) if tb else (k, n)), ((n, m) if tc else (m, n))]
    x, w, y = ((*batch, *shape) for shape in shapes)
    first = dtype if lhs is None else "f32"
    return b.kernel([(first, x), (dtype, w)], [(out, y)], body, "product")


def unit(rows="across", columns="across", swap=False, mr=32, nr=32, kc=64, mc=64, nc=64):
    """A schedule for the unit, whether or not it pays."""
    chosen = ContractSchedule(mr, nr, kc, mc, nc, 16, swap, rows, columns, matrix=True)
    return Schedule((Nest(contract=chosen),))


def forms(ta, tb, tc, kc, **others):
    """Each operand as it lies."""
    rows, columns = ("across" if ta else "along"), ("along" if tb else "across")
    if tc:
        rows, columns = columns, rows
    return unit(rows, columns, swap=tc, kc=kc, **others)


def swapped(array, yes):
    return np.ascontiguousarray(np.swapaxes(array, -1, -2) if yes else array)


def check(run, sizes, ta=False, tb=False, tc=False, batch=(), names=None, dtype=BF16):
    """`run(arrays, sizes)` against float64: products are exact, sums float32."""
    m, n, k = sizes
    x = RNG.standard_normal((*batch, m, k)).astype(dtype)
    w = RNG.standard_normal((*batch, k, n)).astype(BF16)
    y = run([swapped(x, ta), swapped(w, tb)], (*batch, n, m) if tc else (*batch, m, n), names or {})
    left, right = x.astype(BF16).astype(np.float64), w.astype(np.float64)
    bound = np.matmul(np.abs(left), np.abs(right))
    error = np.abs(swapped(y, tc) - np.matmul(left, right))
    assert (error <= 2e-6 * bound + 1e-30).all()


def interpreted(kernel, chosen):
    loops = expand(kernel, chosen, TARGET)
    verify(loops)
    assert difference(loops, parse(print_graph(loops))) is None

    def run(arrays, shape, names):
        before = fresh_outputs(kernel, bind_sizes(kernel.inputs, arrays))
        (result,) = evaluate_kernel(loops, arrays, None, list(before.values()))
        assert result.shape == tuple(shape)
        return result

    return run


def compiled(kernel, chosen=None, pieces=2):
    program = Program(kernel, "host", chosen)
    assert "tdpbf16ps" in program.text

    def run(arrays, shape, names):
        y = np.full(shape, 77, np.float32)
        program([*arrays, y], names, pieces)
        return y

    return run


# ---------------------------------------------------------------------------- the decision


def test_it_follows_from_the_target():
    kernel = product(256, 256, 256)
    assert schedule(kernel, TARGET).nests[0].contract.matrix
    for target in (host_target("x86-64-v3"), host_target("x86-64"), host_target("x86-64-v4")):
        assert target.matrix == ()
        assert not schedule(kernel, target).nests[0].contract.matrix


@pytest.mark.parametrize("dtype", ["f32", "f16"])
def test_other_dtypes_are_left_alone(dtype):
    kernel = product(256, 256, 256, dtype=dtype)
    assert not schedule(kernel, TARGET).nests[0].contract.matrix


@pytest.mark.parametrize("shape", [(1, 512, 512), (512, 512, 1), (0, 64, 64), (64, 64, 0)])
def test_where_tiles_would_be_empty(shape):
    assert not schedule(product(*shape), TARGET).nests[0].contract.matrix


def test_the_schedule_has_a_text():
    chosen = schedule(product(300, 200, 5000), TARGET)
    assert parse_schedule(str(chosen)) == chosen
    assert chosen.nests[0].contract.kc % 32 == 0


def test_machine_code_configures_tiles_once():
    kernel = product(64, 64, 64)
    text = compile_kernel(kernel, schedule(kernel, TARGET), TARGET, "k").text
    code = assembly(text, cpu=TARGET.cpu, features=TARGET.features, triple=TARGET.triple)
    assert code.count("ldtilecfg") == code.count("tilerelease") == 1
    assert "tdpbf16ps" in code


@pytest.mark.parametrize("attrs", [{"tiles": (3, 2)}, {"tiles": (0, 1)}])
def test_too_many_tiles_are_refused(attrs):
    kernel = product(64, 64, 64)
    text = print_graph(expand(kernel, schedule(kernel, TARGET), TARGET))
    with pytest.raises((VerifyError, ValueError)):
        verify(parse(text.replace("tiles=[2, 2]", f"tiles={list(attrs['tiles'])}")))


# ---------------------------------------------------------------------------- the loops

SMALL = [(16, 16, 32), (17, 15, 33), (5, 40, 31), (33, 3, 2), (1, 1, 1), (31, 65, 30), (2, 2, 0)]


@pytest.mark.parametrize("shape", SMALL)
@pytest.mark.parametrize(
    "layout", [(False, False, False), (True, True, False), (True, False, True)]
)
def test_loops_by_the_interpreter(shape, layout):
    kernel = product(*shape, *layout)
    check(interpreted(kernel, forms(*layout, kc=max(1, shape[2]))), shape, *layout)


def test_blocks_of_terms_by_the_interpreter():
    kernel = product(20, 18, 70, tb=True)
    check(interpreted(kernel, forms(False, True, False, kc=32)), (20, 18, 70), tb=True)


# ---------------------------------------------------------------------------- machine code

SHAPES = [
    (1, 1, 1), (0, 5, 3), (5, 3, 0), (15, 17, 31), (16, 16, 32), (17, 15, 33), (31, 33, 65),
    (32, 32, 64), (33, 31, 63), (61, 67, 71), (47, 49, 97), (3, 130, 300), (130, 7, 129),
]  # fmt: skip


@runs
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES[3:])
def test_layouts(shape, layout):
    check(compiled(product(*shape, *layout), forms(*layout, kc=shape[2])), shape, *layout)


@runs
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 3, 0)])
def test_nothing_to_add(shape):
    check(compiled(product(*shape), unit("along", kc=max(1, shape[2]))), shape)


@runs
@pytest.mark.parametrize("tiles", [(16, 16), (16, 32), (32, 16), (16, 48), (48, 16)])
def test_other_tiles(tiles):
    shape, (mr, nr) = (70, 101, 40), tiles
    chosen = unit("along", mr=mr, nr=nr, kc=40, mc=2 * mr, nc=2 * nr)
    check(compiled(product(*shape), chosen), shape)


@runs
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sizes_that_are_symbols(layout):
    run = compiled(product(M, N, K, *layout))
    for m, n, k in [*SHAPES, (100, 70, 1100), (65, 40, 2050)]:
        check(run, (m, n, k), *layout, names={"M": m, "N": n, "K": k})


@runs
@pytest.mark.parametrize(
    "layout", [(False, False, False), (False, True, False), (True, False, True)]
)
def test_blocks_of_terms(layout):
    shape = (70, 90, 200)
    check(compiled(product(*shape, *layout), forms(*layout, kc=64)), shape, *layout)
    shape = (40, 33, 4500)
    check(compiled(product(*shape, *layout)), shape, *layout)


@runs
@pytest.mark.parametrize("shape", [(40, 33, 50), (64, 64, 64)])
def test_batches(shape):
    chosen = forms(False, False, False, kc=shape[2])
    check(compiled(product(*shape, batch=(2, 3)), chosen), shape, batch=(2, 3))


@runs
@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("tc", [False, True])
@pytest.mark.parametrize("shape", [(5, 64, 96), (17, 80, 64), (31, 112, 2080), (32, 160, 32)])
def test_weights_beside_few_rows_are_read_in_place(shape, tc, batch):
    kernel = product(*shape, tb=True, tc=tc, batch=batch)
    chosen = schedule(kernel, HOST)
    assert chosen.nests[0].contract.rows == "direct"
    check(compiled(kernel, chosen), shape, tb=True, tc=tc, batch=batch)


@runs
@pytest.mark.parametrize("shape", [(14, 200, 1500), (32, 333, 1100), (300, 14, 700)])
def test_columns_that_are_used_once(shape):
    check(compiled(product(*shape), None), shape)


@runs
@pytest.mark.parametrize("piece", [32, 64])
@pytest.mark.parametrize("kc", [200, 128])
def test_pieces_of_a_block(piece, kc):
    shape = (100, 70, 200)
    for tb in (False, True):
        chosen = forms(False, tb, False, kc=kc, mc=96)
        nest = replace(chosen.nests[0], contract=replace(chosen.nests[0].contract, piece=piece))
        check(compiled(product(*shape, tb=tb), replace(chosen, nests=(nest,))), shape, tb=tb)


@runs
def test_every_cut_of_the_tasks_gives_the_same_bits():
    shape = (150, 190, 170)
    x, w = (RNG.standard_normal(s).astype(BF16) for s in ((150, 170), (170, 190)))
    results = []
    for threads in (1, 2, 4):
        kernel = product(*shape)
        chosen = schedule(kernel, replace(HOST, threads=threads))
        for pieces in (1, 2, 5):
            results.append(compiled(kernel, chosen, pieces)([x, w], (150, 190), {}))
    assert all((r == results[0]).all() for r in results)


@runs
@pytest.mark.parametrize("ta", [False, True])
def test_what_feeds_an_operand_is_rounded(ta):
    shape = (65, 70, 75)
    kernel = product(*shape, ta, lhs=lambda x: x * b.constant("f32", 1.0))
    check(compiled(kernel), shape, ta, dtype=np.float32)


@runs
@pytest.mark.parametrize("tb", [False, True])
def test_terms_that_do_not_exist_are_no_numbers(tb):
    """What a region makes of the zeros of masked lanes must not reach a sum."""
    m, n, k = 64, 64, 40
    kernel = product(m, n, k, tb=tb, lhs=lambda x: b.constant("f32", 1.0) / x)
    x = RNG.uniform(0.5, 2, (m, k)).astype(np.float32)
    w = RNG.standard_normal((k, n)).astype(BF16)
    y = compiled(kernel)([x, swapped(w, tb)], (m, n), {})
    expected = (1 / x).astype(BF16).astype(np.float64) @ w.astype(np.float64)
    np.testing.assert_allclose(y, expected, atol=1e-4)


@runs
def test_results_are_rounded_once():
    m, n, k = 96, 80, 128
    kernel = product(m, n, k, out="bf16")
    program = Program(kernel)
    x, w = (RNG.standard_normal(s).astype(BF16) for s in ((m, k), (k, n)))
    y = np.zeros((m, n), BF16)
    program([x, w, y])
    exact = x.astype(np.float64) @ w.astype(np.float64)
    assert (np.abs(y.astype(np.float64) - exact) <= np.abs(exact) * 2.0**-8 * 1.01 + 1e-5).all()


@runs
def test_infinities_and_nan():
    m = n = k = 64
    x, w = (RNG.standard_normal((64, 64)).astype(BF16) for _ in range(2))
    x[3, 5], x[10, 0] = np.inf, np.nan
    w[7, 8] = -np.inf
    y = compiled(product(m, n, k))([x, w], (m, n), {})
    with np.errstate(invalid="ignore"):
        expected = x.astype(np.float64) @ w.astype(np.float64)
    assert (np.isnan(y) == np.isnan(expected)).all()
    assert (np.isinf(y) == np.isinf(expected)).all()
