"""Evaluation by numpy: tensor programs, kernels and loops, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from sley.ir import evaluate_kernel as kernels
from sley.ir.evaluate import EvaluationError, bind_sizes, evaluate
from sley.ir.evaluate_kernel import evaluate_kernel
from sley.ir.ops import OPS
from sley.ir.parser import parse

RNG = np.random.default_rng(3)
X = RNG.standard_normal((5, 7)).astype(np.float32)


# Tensor programs.


def test_sizes_come_from_shapes() -> None:
    graph = parse("""
    graph @f(%x: f32[N, M*2 + 1]) -> (f32[N*M*2 + N], i64, f32[M]) {
      %r = reshape(%x) {shape=[N*M*2 + N]}
      yield %r, size() {expr=N - M}, iota() {shape=[M], axis=0, dtype=f32}
    }""")
    flat, difference, counted = evaluate(graph, [X])
    np.testing.assert_array_equal(flat, X.reshape(-1))
    assert difference == 5 - 3
    np.testing.assert_array_equal(counted, [0, 1, 2])


def test_declared_sizes() -> None:
    graph = parse("graph @f() -> (i64) { yield size() {expr=N*2} }")
    assert evaluate(graph, [], {"N": 4}) == [8]
    with pytest.raises(EvaluationError, match=r"size\(\)"):
        evaluate(graph, [])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (X.astype(np.float64), r"%x of type f32\[N, N\] got an array float64\[5, 7\]"),
        (X, r"f32\[N, N\] got an array float32\[5, 7\]"),
        (X[0], "got an array"),
    ],
)
def test_arrays_that_do_not_fit(array: np.ndarray, message: str) -> None:
    graph = parse("graph @f(%x: f32[N, N]) -> () { }")
    with pytest.raises(EvaluationError, match=message):
        evaluate(graph, [array])


def test_number_of_arrays() -> None:
    graph = parse("graph @f(%x: f32[N]) -> () { }")
    with pytest.raises(EvaluationError, match="takes 1 arrays, got 2"):
        bind_sizes(graph.params, [X, X])


def test_errors_name_node_and_line() -> None:
    graph = parse("""
    graph @f(%x: f32[4], %i: i64[1]) -> (f32[1]) {
      %y = gather(%x, %i) {axis=0} // model.py:7 in forward
      yield %y
    }""")
    with pytest.raises(EvaluationError, match=r"gather\(.*\) \(model.py:7 in forward\): .*index 9"):
        evaluate(graph, [np.zeros(4, np.float32), np.array([9])])


def test_launch() -> None:
    graph = parse("""
    kernel @twice(%x: f32[N, M]) -> (%y: f32[N, M]) {
      parallel %i in N, %j in M { store %y[%i, %j] = mul(load %x[%i, %j], 2.0) }
    }
    graph @f(%x: f32[N, M]) -> (f32[N, M]) { yield launch @twice(launch @twice(%x)) }
    """)
    np.testing.assert_array_equal(evaluate(graph, [X])[0], X * 4)


# Kernels.


def kernel(body: str, params: str = "%x: f32[N, M]", outs: str = "%y: f32[N]") -> object:
    return parse(f"kernel @k({params}) -> ({outs}) {{\n{body}\n}}")


ROW_SUM = "parallel %i in N { store %y[%i] = reduce add %j in M { yield load %x[%i, %j] } }"


@pytest.mark.parametrize("chunk", [1, 10, 1 << 20])
def test_row_sum_in_chunks(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "CHUNK", chunk)
    (result,) = evaluate_kernel(kernel(ROW_SUM), [X])
    np.testing.assert_allclose(result, X.sum(1), rtol=1e-6)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (1, 1)])
def test_empty_axes(shape: tuple[int, int]) -> None:
    x = np.ones(shape, np.float32)
    (result,) = evaluate_kernel(kernel(ROW_SUM), [x])
    np.testing.assert_array_equal(result, x.sum(1))


@pytest.mark.parametrize(
    ("name", "function"),
    [("add", np.sum), ("mul", np.prod), ("maximum", np.max), ("minimum", np.min)],
)
@pytest.mark.parametrize("dtype", ["f32", "f64", "i64", "bf16"])
def test_reductions(name: str, function: object, dtype: str) -> None:
    from sley.ir.dtypes import by_name

    x = RNG.integers(1, 3, (4, 6)).astype(by_name(dtype).numpy)
    text = ROW_SUM.replace("add", name)
    graph = kernel(text, f"%x: {dtype}[N, M]", f"%y: {dtype}[N]")
    (result,) = evaluate_kernel(graph, [x])
    assert result.dtype == x.dtype
    np.testing.assert_array_equal(result.astype(np.float64), function(x.astype(np.float64), 1))


ARGMAX = """
parallel %i in N {
  %low = constant -inf : f32
  %zero = constant 0 : i64
  %v, %a = reduce(%low, %zero) %j in M {
    yield load %x[%i, %j], %j
  } combine (%v: f32, %i1, %w: f32, %i2) {
    %less = lt(%v, %w)
    yield where(%less, %w, %v), where(%less, %i2, %i1)
  }
  store %y[%i] = %a
}"""


@pytest.mark.parametrize("columns", [1, 2, 7, 8, 33])
def test_a_combine_region_keeps_the_order(columns: int) -> None:
    x = RNG.integers(0, 3, (6, columns)).astype(np.float32)
    (result,) = evaluate_kernel(kernel(ARGMAX, outs="%y: i64[N]"), [x])
    np.testing.assert_array_equal(result, x.argmax(1))


@pytest.mark.parametrize("reverse", ["true", "false"])
def test_cumulate(reverse: str) -> None:
    graph = kernel(
        f"parallel %i in N {{\n%c = cumulate add %j in M {{reverse={reverse}}} "
        "{ yield load %x[%i, %j] }\n"
        "parallel %j in M { store %y[%i, %j] = load %c[%j] } }",
        outs="%y: f32[N, M]",
    )
    expected = np.cumsum(X[:, ::-1], 1)[:, ::-1] if reverse == "true" else np.cumsum(X, 1)
    np.testing.assert_allclose(evaluate_kernel(graph, [X])[0], expected, rtol=1e-5)


def test_loops_with_bounds_that_differ() -> None:
    graph = kernel("""
    parallel %i in N {
      %z = constant 0.0 : f32
      %n = index %i + 1
      %s = for %k = 0 to min(%n, M) carry (%p = %z) { yield add(%p, load %x[%i, %k]) }
      store %y[%i] = %s
    }""")
    expected = [X[i, : i + 1].sum() for i in range(5)]
    np.testing.assert_allclose(evaluate_kernel(graph, [X])[0], expected, rtol=1e-5)


def test_loop_in_steps() -> None:
    graph = kernel("""
    parallel %i in N {
      %z = constant 0.0 : f32
      %s = for %k = 1 to M step 3 carry (%p = %z) { yield add(%p, load %x[%i, %k]) }
      store %y[%i] = %s
    }""")
    np.testing.assert_allclose(evaluate_kernel(graph, [X])[0], X[:, 1::3].sum(1), rtol=1e-6)


def test_atomics_start_at_the_neutral_element() -> None:
    graph = kernel("parallel %i in N, %j in M { atomic maximum %y[0] = load %x[%i, %j] }",
                   outs="%y: f32[2]")  # fmt: skip
    result = evaluate_kernel(graph, [X])[0]
    assert result[0] == X.max()
    assert result[1] == -np.inf


def test_given_outputs_are_kept() -> None:
    graph = kernel("parallel %i in N { atomic add %y[%i] = load %x[%i, 0] }")
    before = np.ones(5, np.float32)
    np.testing.assert_allclose(evaluate_kernel(graph, [X], outputs=[before])[0], 1 + X[:, 0])
    np.testing.assert_array_equal(before, 1)


def test_random_bits_are_those_of_the_tensor_op() -> None:
    graph = parse("""
    kernel @k(%s: i64, %o: i64) -> (%y: u32[N]) {
      parallel %i in N { store %y[%i] = random_bits(load %s[], load %o[], %i) {bits=32} }
    }""")
    seed, offset = np.array(-3), np.array(1 << 40)
    expected = OPS["rng_bits"].evaluate([seed, offset], {"shape": (9,), "bits": 32})[0]
    np.testing.assert_array_equal(evaluate_kernel(graph, [seed, offset], {"N": 9})[0], expected)


def test_contract_inside_a_parallel_axis() -> None:
    a = RNG.standard_normal((3, 4, 5)).astype(np.float32)
    b = RNG.standard_normal((3, 5, 6)).astype(np.float32)
    graph = parse("""
    kernel @k(%a: f32[B, 4, 5], %b: f32[B, 5, 6]) -> (%y: f32[B, 4, 6]) {
      parallel %g in B {
        contract {batch=[], m=[4], n=[6], k=[5], dtype=f32, acc=f64}
        lhs (%i, %k) { yield load %a[%g, %i, %k] }
        rhs (%k, %j) { yield load %b[%g, %k, %j] }
        out (%i, %j, %acc: f64) { store %y[%g, %i, %j] = cast(%acc) {dtype=f32} }
      }
    }""")
    np.testing.assert_allclose(evaluate_kernel(graph, [a, b])[0], a @ b, rtol=1e-4, atol=1e-5)


GUARDED = """
parallel %i in N {
  %z = constant 1 : i64
  %ok = ge(%i, %z)
  store %y[%i] = load %x[%i - 1, 0] if %ok  // k.py:5 in f
}"""


def test_a_guarded_load_is_zero_and_touches_nothing() -> None:
    (result,) = evaluate_kernel(kernel(GUARDED), [X])
    np.testing.assert_array_equal(result, [0, *X[:-1, 0]])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (GUARDED.replace(" if %ok", ""), r"load\(.*\) \(k.py:5 in f\): index -1 along axis 0"),
        (GUARDED.replace("- 1", "+ 1"), r"index 5 along axis 0 is out of range .* \[5, 7\]"),
        ("parallel %i in N { store %y[0] = load %x[%i, 0] }", "two points store to the same"),
        (
            "parallel %i in N - 1 { store %y[%i] = load %x[%i, 0] }",
            r"never stores to %y\[4\]",
        ),
    ],
)
def test_kernels_that_are_wrong(body: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        evaluate_kernel(kernel(body), [X])


def test_an_unguarded_load_in_a_turn_that_is_not_taken() -> None:
    graph = kernel("""
    parallel %i in N {
      %z = constant 0.0 : f32
      %n = index M - %i
      %s = for %k = 0 to %n carry (%p = %z) { yield add(%p, load %x[%i, %k + %i]) }
      store %y[%i] = %s
    }""")
    expected = [X[i, i:].sum() for i in range(5)]
    np.testing.assert_allclose(evaluate_kernel(graph, [X])[0], expected, rtol=1e-5)


# Loops.

LOOPS = """
loops @sum(%x: f32[N, M]) -> (%y: f32[N], %z: f32[N, M]) {
  for %i = 0 to N {parallel=true} {
    %zero = constant 0.0 : f32
    %v0 = splat(%zero) {lanes=4} : f32[4]
    %base = index %i*M
    %v = for %j = 0 to M step 4 carry (%p = %v0) {
      %m = mask(%j, size() {expr=M}) {lanes=4}
      %e = load %x[%i, %j] if %m {lanes=4}
      store %z[%i, %j] = mul(%e, %e) if %m {lanes=4}
      yield fma(%e, splat(constant 1.0 : f32) {lanes=4}, %p)
    }
    %two = add(low(%v), high(%v))
    %s = add(extract(%two) {lane=0}, extract(%two) {lane=1})
    %scratch = alloc() {shape=[2], dtype=f32}
    store %scratch[1] = %s
    if(lt(%i, size() {expr=N})) { store %y[%i] = load %scratch[1] }
  }
}"""


def test_loops() -> None:
    y, z = evaluate_kernel(parse(LOOPS), [X])
    np.testing.assert_allclose(y, X.sum(1), rtol=1e-5)
    np.testing.assert_array_equal(z, X * X)


def test_vectors() -> None:
    graph = parse("""
    loops @k(%x: i64[8]) -> (%y: i64[8]) {
      %z = constant 0 : i64
      %k = lanes(%z) {lanes=4} : i64[4]
      %a = load %x[%k + 4] : i64[4]
      %b = join(high(%a), low(%a))
      store %y[0] = shuffle(%a, %b) {lanes=[7, 0, 5, 2]} {lanes=4}
      atomic add %y[(%k // 4) + 4] = %b
      store %y[5] = %z
      store %y[6] = %z
      store %y[7] = %z
    }""")
    (y,) = evaluate_kernel(graph, [np.arange(8)])
    assert y.tolist() == [5, 4, 7, 6, 22, 0, 0, 0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("load %x[%i, %j] if %m", "load %x[%i, %j + 9] if %m", r"load\(.*offset 35 is out of"),
        (
            " if %m {lanes=4}\n      yield",
            " if %m {lanes=4}\n store %z[N, M] = %zero yield",
            "offset",
        ),
        ("lt(%i,", "gt(%i,", r"never stores to %y at 0"),
    ],
)
def test_loops_that_are_wrong(old: str, new: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        evaluate_kernel(parse(LOOPS.replace(old, new)), [X])


def test_ops_of_another_level() -> None:
    graph = parse("loops @k() -> (%y: f32[1]) { parallel %i in 1 { } }")
    with pytest.raises(EvaluationError, match="no op of the loop level"):
        evaluate_kernel(graph, [])
    graph = parse("kernel @k() -> (%y: f32[1]) { %a = alloc() {shape=[1], dtype=f32} }")
    with pytest.raises(EvaluationError, match="no op of the kernel level"):
        evaluate_kernel(graph, [])
