"""What a trace is: captures, shadows, sizes that are symbols, Python state that was read."""

from __future__ import annotations

import numpy as np
import pytest
from recording import check, dynamic, record, state

from sley.frontend.apply import apply, elementwise, value_of
from sley.frontend.construct import from_numpy, tensor
from sley.frontend.context import ambient
from sley.frontend.errors import Retrace, ShapeError, SleyError, TraceError
from sley.frontend.random_state import (
    Generator,
    get_rng_state,
    manual_seed,
    next_draw,
    set_rng_state,
)
from sley.frontend.symint import SymInt
from sley.frontend.tensor import of_array
from sley.frontend.trace import Trace
from sley.frontend.viewing import expand_view, permute_view, reshape_view
from sley.ir.dims import symbol
from sley.ir.dtypes import f32, i64
from sley.ir.types import tensor_type

A = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_captures_are_read_anew():
    x = tensor(A)
    recorded = record(lambda t: t * 2.0 + t, x)
    assert recorded.ops == ["constant", "broadcast", "mul", "add"]
    assert len(recorded.graph.params) == 1
    x.add_(1.0)
    np.testing.assert_array_equal(recorded.run(state(recorded))[0], (A + 1) * 3)


def test_tensors_that_share_a_storage_are_one_capture():
    x = tensor(A)
    row, column = x[0], x[:, 1]

    def program(t):
        row.mul_(2.0)
        return column + t[:, 0]

    recorded = record(program, x)
    (capture,) = recorded.trace.captures.values()
    assert capture.storage is x.storage
    np.testing.assert_array_equal(recorded.run(state(recorded))[0], [2, 7])


@pytest.mark.parametrize("as_argument", [True, False])
def test_strides_decide_alike_what_a_view_is(as_argument):
    x = from_numpy(np.arange(6, dtype=np.float32).reshape(3, 2).T)
    assert reshape_view(x, (6,)) is None and reshape_view(x[:1], (3,)).storage is x.storage
    with Trace() as trace:
        shadow = trace.add_input(x) if as_argument else x
        assert shadow.stride() == x.stride() and not shadow.is_contiguous()
        assert reshape_view(shadow, (6,)) is None
        assert reshape_view(shadow[:1], (3,)) is not None
        assert reshape_view(shadow * 1.0, (6,)).is_contiguous()


def test_nodes_carry_the_users_line():
    recorded = record(lambda t: t + t, tensor(A))
    (node,) = recorded.graph.nodes
    assert node.line.file == __file__ and node.line.function == "<lambda>"
    assert recorded.trace.captures[next(iter(recorded.trace.captures))].line == node.line


def test_the_trace_ends_with_its_block_also_on_an_error():
    with pytest.raises(KeyError), Trace():
        raise KeyError
    assert ambient.trace is None
    assert (tensor([1.0]) + 1.0).tolist() == [2.0]


@pytest.mark.parametrize(
    "use",
    [bool, float, int, lambda t: t.item(), lambda t: t.numpy(), lambda t: t.tolist(), np.asarray],
)
@pytest.mark.parametrize("captured", [True, False])
def test_data_of_a_recorded_tensor_is_an_error(use, captured):
    def program(t):
        use(t if captured else t * 2.0)

    with pytest.raises(TraceError) as caught:
        record(program, tensor(1.0))
    text = str(caught.value)
    assert "sley.where" in text and "test_trace_core.py" in text


def test_a_python_branch_names_the_line():
    def program(t):
        if t > 0:
            return t
        return -t

    with pytest.raises(TraceError, match="truth decides") as caught:
        record(program, tensor(1.0))
    assert "if t > 0:" in str(caught.value)


def test_tensors_do_not_outlive_their_trace():
    kept = []
    record(lambda t: kept.append(t * 2.0), tensor(A))
    with pytest.raises(TraceError, match="ended"):
        kept[0] + 1.0
    with pytest.raises(TraceError, match="ended"):
        kept[0].tolist()
    with pytest.raises(TraceError, match="another trace"):
        record(lambda t: t + kept[0], tensor(A))
    assert "traced f32[2, 3]" in repr(kept[0])
    with pytest.raises(TraceError), Trace(), Trace():
        pass


def test_constants_are_part_of_the_program():
    def program(t):
        extra = tensor([1.0, 2.0, 3.0])
        extra[0] = 5.0
        return t * extra + np.ones(3, np.float32)

    recorded = check(program, A)
    assert len(recorded.graph.params) == 1


# Sizes


def test_a_shape_has_symbols():
    def program(x):
        n = x.shape[0]
        assert isinstance(n, SymInt) and x.shape[1] == 3 and repr(n) == "N"
        assert x.numel() // 3 == n and hash(n) == hash(x.size(0)) and n + 1 > n
        return x * n + x.shape[0] // 2

    recorded, (result,) = dynamic(program, [("N", 3)], {"N": 4})
    assert result.spec.shape == (symbol("N"), 3)
    assert recorded.trace.guards == []
    for n in (0, 1, 5):
        x = np.ones((n, 3), np.float32)
        (got,) = recorded.run({recorded.graph.params[0]: x}, {"N": n})
        np.testing.assert_array_equal(got, x * n + n // 2)


def test_floats_of_sizes_are_traced_numbers():
    def program(x):
        scale = 1.0 / x.shape[0]
        return x * scale * (x.shape[0] * 0.5)

    recorded, (result,) = dynamic(program, [("N",)], {"N": 4})
    assert result.dtype is f32 and recorded.trace.guards == []
    (got,) = recorded.run({recorded.graph.params[0]: np.ones(8, np.float32)}, {"N": 8})
    np.testing.assert_allclose(got, 0.5)


def test_gradients_with_symbols():
    w = tensor([1.0, 2.0, 3.0], requires_grad=True)

    def program(x):
        y = x * w + w[0]
        apply("reduce_sum", [y * y], axes=(0, 1)).backward()
        return w.grad

    recorded, _ = dynamic(program, [("N", 3)], {"N": 4})
    x_param = recorded.trace.inputs[0].param
    (capture,) = recorded.trace.captures.values()
    for n in (0, 1, 5):
        x = np.arange(n * 3, dtype=np.float32).reshape(n, 3)
        (got,) = recorded.run({x_param: x, capture.param: w.detach().array}, {"N": n})
        w.grad = None
        program(tensor(x))
        np.testing.assert_allclose(got, w.grad.array, rtol=1e-6)


def test_views_and_writes_with_symbols():
    def program(x):
        y = x * 1.0
        flat = reshape_view(y, (x.shape[0] * 2, 3))
        assert flat is not None and flat.storage is y.storage
        flat[0] = 7.0
        y[:, 1] = 0.0
        permute_view(y, (1, 0))[2].add_(1.0)
        y[1:].mul_(2.0)
        return y, y[:, ::-1], expand_view(y[:1], (x.shape[0], -1))

    recorded, _ = dynamic(program, [("N", 6)], {"N": 4})
    for n in (2, 4, 9):
        x = np.arange(n * 6, dtype=np.float32).reshape(n, 6)
        got = recorded.run({recorded.graph.params[0]: x}, {"N": n})
        y = x.copy()
        y.reshape(-1, 3)[0] = 7
        y[:, 1] = 0
        y[:, 2] += 1
        y[1:] *= 2
        for a, b in zip(got, (y, y[:, ::-1], np.repeat(y[:1], n, 0)), strict=True):
            np.testing.assert_array_equal(a, b)


SLICES = [
    lambda x: x[1:], lambda x: x[:-1], lambda x: x[::2], lambda x: x[::-1], lambda x: x[-3:],
    lambda x: x[:2], lambda x: x[x.shape[0] // 2 :], lambda x: x[: x.shape[0] - 1],
    lambda x: x[5:2:-1], lambda x: x[-2:1:-2], lambda x: x[9:], lambda x: x[x.shape[0] - 1],
    lambda x: x[-1], lambda x: x[0], lambda x: x[None, ..., 0], lambda x: x[[0, -1]],
    lambda x: x[[1, 0], [0, -1]], lambda x: x[:, [2, -3]],
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(SLICES)))
def test_indices_of_symbolic_axes(number):
    """Where the guards hold, the program gives what numpy does; they hold for the example."""
    program = SLICES[number]
    recorded, _ = dynamic(program, [("N", 3)], {"N": 4})
    assert all(g.holds({"N": 4}) for g in recorded.trace.guards)
    tried = 0
    for n in range(12):
        if not all(g.holds({"N": n}) for g in recorded.trace.guards):
            continue
        x = np.arange(n * 3, dtype=np.float32).reshape(n, 3)
        try:
            expected = program(x)
        except IndexError:
            continue  # numpy checks what a program does not
        (got,) = recorded.run({recorded.graph.params[0]: x}, {"N": n})
        np.testing.assert_array_equal(got, expected)
        tried += 1
    assert tried >= 2


def test_writes_of_values_with_more_axes_and_masks():
    def program(x):
        y = x * 1.0
        y[:, 1] = x[None, :, 0]
        y[y > 4.0] = 0.5
        y[[0, -1], [1, 2]] = -1.0
        return y

    recorded, _ = dynamic(program, [("N", 3)], {"N": 4})
    for n in (1, 4, 7):
        x = np.arange(n * 3, dtype=np.float32).reshape(n, 3)
        (got,) = recorded.run({recorded.graph.params[0]: x}, {"N": n})
        np.testing.assert_array_equal(got, program(tensor(x)).array)
    with pytest.raises(TraceError, match="depends on data"):
        dynamic(lambda x: x[x > 0], [("N", 3)], {"N": 4})


def test_reversing_needs_no_guard():
    recorded, _ = dynamic(lambda x: (x[::-1], x[::2]), [("N",)], {"N": 4})
    assert recorded.trace.guards == []


def test_comparisons_become_guards():
    def program(x):
        if x.shape[0] > 3:
            return x + 1.0
        return x

    recorded, _ = dynamic(program, [("N",)], {"N": 4})
    (guard,) = recorded.trace.guards
    assert str(guard) == "(N > 3) is True" and guard.line.file == __file__
    assert guard.holds({"N": 9}) and not guard.holds({"N": 3})


@pytest.mark.parametrize(
    "compare, outcome, guards",
    [
        (lambda n: n == n, True, 0),
        (lambda n: n >= 0, True, 0),
        (lambda n: n + 1 > n, True, 0),
        (lambda n: n == -1, False, 0),
        (lambda n: 2 * n + 1 > 0, True, 0),
        (lambda n: n < 4.5, True, 1),
        (lambda n: n > 3.5, True, 1),
        (lambda n: n == 4.5, False, 0),
        (lambda n: n == 4, True, 1),
        (lambda n: n != 4, False, 1),
        (lambda n: n <= 3, False, 1),
        (lambda n: n > 3, True, 1),
        (lambda n: bool(n), True, 1),
        (lambda n: n % 2 == 0, True, 1),
        (lambda n: n == "4", False, 0),
        (lambda n: n < float("inf"), True, 0),
    ],
)
def test_sizes_compare_like_the_example(compare, outcome, guards):
    seen = []
    recorded, _ = dynamic(lambda x: seen.append(compare(x.shape[0])), [("N",)], {"N": 4})
    assert seen == [outcome] and len(recorded.trace.guards) == guards
    assert all(g.holds({"N": 4}) for g in recorded.trace.guards)


@pytest.mark.parametrize(
    "use",
    [int, float, range, lambda n: [0] * n, lambda n: list(range(10))[n], lambda n: 2.5**n],
)
def test_a_size_as_a_number_specialises(use):
    with pytest.raises(Retrace) as caught:
        dynamic(lambda x: use(x.shape[0]), [("N",)], {"N": 4})
    assert caught.value.kind == "specialize" and caught.value.subject == ("N",)
    assert caught.value.location.file == __file__


def test_two_symbols_are_unified():
    with pytest.raises(Retrace) as caught:
        dynamic(lambda x, y: x + y, [("N",), ("M",)], {"N": 4, "M": 4})
    assert caught.value.kind == "unify" and set(caught.value.subject) == {"N", "M"}
    with pytest.raises(ShapeError):
        dynamic(lambda x, y: x + y, [("N",), ("M",)], {"N": 4, "M": 5})
    with pytest.raises(Retrace) as caught:
        dynamic(lambda x, y: x + y, [("N",), (4,)], {"N": 4})
    assert caught.value.kind == "specialize"


def test_products_of_symbols_are_unified_factor_by_factor():
    def flat(x, y):
        return x.reshape(-1) + y.reshape(-1)

    with pytest.raises(Retrace) as caught:
        dynamic(flat, [("N", 3), ("M", 3)], {"N": 4, "M": 4})
    assert caught.value.kind == "unify" and set(caught.value.subject) == {"N", "M"}
    sizes = {"N": 4, "T": 5, "M": 4, "S": 5}
    with pytest.raises(Retrace) as caught:
        dynamic(flat, [("N", "T"), ("M", "S")], sizes)
    assert caught.value.kind == "unify" and set(caught.value.subject) == {"N", "M"}
    with pytest.raises(Retrace) as caught:
        dynamic(flat, [("N", "T"), ("N", "S")], sizes)
    assert caught.value.kind == "unify" and set(caught.value.subject) == {"T", "S"}
    with pytest.raises(Retrace) as caught:
        dynamic(flat, [("N", 2), ("M", 4)], {"N": 4, "M": 2})
    assert caught.value.kind == "specialize"


def test_a_literal_one_broadcasts_and_a_symbol_does_not():
    recorded, (result,) = dynamic(lambda x, y: x + y, [("N", 3), (1, 3)], {"N": 4})
    assert result.spec.shape == (symbol("N"), 3) and recorded.trace.guards == []
    with pytest.raises(Retrace) as caught:
        dynamic(lambda x, y: x + y, [("N",), (8,)], {"N": 1})
    assert caught.value.kind == "specialize"


def test_python_numbers_are_weak():
    trace = Trace()
    with trace:
        rate = trace.add_number(tensor_type(f32, ()), "lr")
        half = tensor(np.float16(2.0))
        assert (half * rate).dtype is half.dtype and (half * (rate * 2.0)).dtype is half.dtype
        assert (tensor([1]) * rate).dtype is f32
        with pytest.raises(Retrace) as caught:
            float(rate * 2.0)
        assert caught.value.kind == "number" and caught.value.subject == ("lr",)
        place = trace.add_number(tensor_type(i64, ()), "i")
        for use in (lambda: tensor(A)[place], lambda: tensor(A)[:place], lambda: range(place)):
            with pytest.raises(Retrace) as caught:
                use()
            assert caught.value.subject == ("i",)
        before = rate
        rate *= 0.5
        assert rate is not before and not trace.inputs[0].is_written


# Arguments


def test_an_argument_that_is_written():
    trace = Trace()
    with trace:
        x = trace.add_input(of_array(A.copy()), name="x")
        x[0] = 1.0
        assert trace.inputs[0].is_written
        graph = trace.finish("f", [x.storage.value])
    assert [p.name for p in graph.params] == ["x"]


def test_arguments_that_share_memory_and_are_written_need_another_trace():
    base = tensor(A)
    first = base[0]
    trace = Trace()
    with trace:
        row, whole = trace.add_input(first), trace.add_input(base)
        row + whole
        with pytest.raises(Retrace) as caught:
            row.zero_()
    assert caught.value.kind == "alias" and caught.value.subject == (base.storage,)
    trace = Trace()
    with trace:
        row = trace.add_input(first, whole=True)
        whole = trace.add_input(base, whole=True)
        row.zero_()
        result = value_of(whole)
    graph = trace.finish("f", [result])
    assert len(graph.params) == 1


# Python state


def test_attribute_writes_are_undone():
    class Thing:
        pass

    thing = Thing()
    thing.a = 1
    trace = Trace()
    trace.record_attribute_write(thing, "a", vars(thing))
    thing.a = 2
    trace.record_attribute_write(thing, "b", vars(thing))
    thing.b = 3
    trace.record_attribute_write(thing, "a", vars(thing))
    thing.a = 4
    trace.undo_attribute_writes()
    assert vars(thing) == {"a": 1} and trace.attribute_writes == []


def test_reads_are_noted_with_their_line():
    trace = Trace()
    trace.record_read("attribute", trace, "training", True)
    (read,) = trace.reads
    assert read[:4] == ("attribute", trace, "training", True) and read.line.file == __file__


# Random state


def test_each_draw_takes_one_offset():
    manual_seed(7)
    first, second = next_draw(), next_draw()
    assert [d.seed.item() for d in (first, second)] == [7, 7]
    assert [d.offset.item() for d in (first, second)] == [0, 1]
    kept = get_rng_state()
    next_draw()
    set_rng_state(kept)
    assert next_draw().offset.item() == 2
    other = Generator(3)
    assert other.next_draw().seed.item() == 3 and other.initial_seed() == 3
    assert manual_seed(2**64 - 1).initial_seed() == -1
    with pytest.raises(SleyError):
        manual_seed(2**64)
    with pytest.raises(SleyError):
        set_rng_state(tensor([1.0]))


def test_draws_in_a_trace_move_the_captured_state():
    manual_seed(1)
    next_draw()

    def program(t):
        draws = [next_draw(), next_draw()]
        return [elementwise("add", d.offset, 0) for d in draws]

    recorded = record(program, tensor(A))
    assert get_rng_state().tolist() == [1, 1]
    written = [c for c in recorded.trace.captures.values() if c.is_written]
    assert len(written) == 1
    results = recorded.run(state(recorded))
    assert [int(r) for r in results[:2]] == [1, 2]
    final = dict(zip(recorded.trace.captures, results[2:], strict=True))
    assert int(final[written[0].storage]) == 3
    with pytest.raises(TraceError):
        record(lambda t: get_rng_state(), tensor(A))


def test_guard_errors_are_sley_errors():
    assert not issubclass(Retrace, Exception)
